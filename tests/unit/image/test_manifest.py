"""The signed manifest of a tree: what it says, and that anybody can check it who has the public key."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

IMAGE = Path(__file__).parents[3] / "image"
OURS = "usr/lib/systemd/system"


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small tree, its manifest written and signed by the build's own step."""
    if not shutil.which("systemctl"):
        pytest.skip("no systemctl on this machine")
    folder = tmp_path_factory.mktemp("manifest")
    subprocess.run([IMAGE / "keys", folder / "sources/keys"], check=True, capture_output=True)
    tree = folder / "tree"
    files = {
        "etc/apparmor.d/passevue-page": "profile passevue-page flags=(attach_disconnected) {\n}\n",
        "etc/passwd": "root:x:0:0::/:/bin/false\npassevue-page:x:900:900::/:/bin/false\n",
        "etc/audit/audit.rules": "-D\n-b 8192\n-w /etc/passwd -p wa\n-a always,exit -S mount\n",
        "usr/bin/rises": "",
        "usr/bin/does-not": "",
        "usr/lib/passevue/dpkg/status": "Package: lamp\nStatus: install ok installed\nVersion: 1\n",
        "usr/share/passevue/manifest.json": json.dumps({"version": "9.1", "cmdline": "quiet"}),
        "usr/share/passevue/sbom.cdx.json": "{}",
        f"{OURS}/passevue-page.socket": "[Socket]\nListenStream=443\n",
        f"{OURS}/passevue-page.service": "[Service]\nUser=passevue-page\nExecStart=/x\n[Install]\nWantedBy=x.target\n",
        f"{OURS}/passevue-facts.service": "[Service]\nExecStart=/usr/bin/x\n",
    }
    for name, text in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    (tree / "usr/bin/rises").chmod(0o4755)
    wanted = tree / "etc/systemd/system/x.target.wants/passevue-page.service"
    wanted.parent.mkdir(parents=True)
    wanted.symlink_to(f"/{OURS}/passevue-page.service")
    places = {"BUILDROOT": str(tree), "SRCDIR": str(folder / "sources")}
    subprocess.run([sys.executable, IMAGE / "finalize/20-manifest"], env=os.environ | places, check=True)
    given = folder / "given"
    given.mkdir()
    for name in ("manifest.json", "manifest.json.sig"):
        shutil.copy(tree / "usr/share/passevue" / name, given)
    shutil.copy(folder / "sources/keys/manifest.pub", given)
    return given


def command() -> list[str]:
    """The line of image/README.md, as a person would type it beside the files."""
    (line,) = re.findall(r"(?m)^openssl pkeyutl -verify .*$", (IMAGE / "README.md").read_text())
    return str(line).split()


def test_it_says_what_the_tree_holds(signed: Path) -> None:
    said = json.loads((signed / "manifest.json").read_text())
    assert said["version"] == "9.1", "what the build knows stays"
    assert said["setuid"] == ["/usr/bin/rises"]
    assert said["units"] == ["passevue-page.service"]
    assert said["root_units"] == ["passevue-facts.service"]
    assert {"proto": "tcp", "port": 443, "address": "*", "unit": "passevue-page.service"} in said["listeners"]
    assert said["packages"] == [{"name": "lamp", "version": "1"}]
    assert said["apparmor"] == ["passevue-page"]
    assert said["files"]["/usr/share/passevue/sbom.cdx.json"] == hashlib.sha256(b"{}").hexdigest()
    assert "/usr/share/passevue/manifest.json" not in said["files"]


def test_who_has_the_public_key_can_check_it_by_the_line_of_the_page(signed: Path) -> None:
    done = subprocess.run(command(), cwd=signed, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "Signature Verified Successfully")


@pytest.mark.parametrize("name", ["manifest.json", "manifest.json.sig"])
def test_one_other_bit_is_refused(signed: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(signed, tmp_path, dirs_exist_ok=True)
    data = bytearray((tmp_path / name).read_bytes())
    data[40] ^= 1
    (tmp_path / name).write_bytes(data)
    assert subprocess.run(command(), cwd=tmp_path, capture_output=True, check=False).returncode != 0


def test_another_s_key_is_refused(signed: Path, tmp_path: Path) -> None:
    shutil.copytree(signed, tmp_path, dirs_exist_ok=True)
    key = subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519"], capture_output=True, check=True).stdout
    public = subprocess.run(["openssl", "pkey", "-pubout"], input=key, capture_output=True, check=True).stdout
    (tmp_path / "manifest.pub").write_bytes(public)
    assert subprocess.run(command(), cwd=tmp_path, capture_output=True, check=False).returncode != 0
