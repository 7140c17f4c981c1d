"""image/rauc/bundle.py with a real rauc: what is signed opens, and nothing else does."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.peers.boot_disk import IMAGE, release

pytestmark = pytest.mark.skipif(not shutil.which("rauc"), reason="rauc is missing")
MAKE = [sys.executable, str(IMAGE / "bundle.py")]


def keys(folder: Path) -> Path:
    subprocess.run([IMAGE.parent / "keys", folder, "development"], check=True, capture_output=True)
    return folder


def parts(folder: Path, version: str, root_size: int = 400 << 10) -> Path:
    """What `make image` leaves behind."""
    made = release(version, root_size=root_size)
    folder.mkdir()
    (folder / "root.img").write_bytes(made.root)
    (folder / "verity.img").write_bytes(made.verity.ljust(1 << 20, b"\0"))
    (folder / "uki.efi").write_bytes(made.uki)
    facts = {"version": version, "profile": "development", "root_hash": made.root_hash, "epoch": 1, "rollback_index": 3}
    (folder / "image.json").write_text(json.dumps(facts))
    return folder


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return keys(tmp_path_factory.mktemp("authority") / "keys")


@pytest.fixture(scope="module")
def bundle(ours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made without the authority's key, which lies in a safe."""
    out = parts(tmp_path_factory.mktemp("built") / "out", "1.5.0")
    there = shutil.copytree(ours, out.parent / "keys", ignore=shutil.ignore_patterns("rauc-ca.key"))
    subprocess.run([*MAKE, out, "--keys", there], check=True, capture_output=True)
    assert sorted(path.name for path in out.iterdir()) == [
        "image.json",
        "passevue-1.5.0.raucb",
        "root.img",
        "uki.efi",
        "verity.img",
    ]
    return out / "passevue-1.5.0.raucb"


def trust(folder: Path, authority: Path, *revoked: Path) -> list[str]:
    """rauc as a box that believes this authority; formats and purpose as in system.conf."""
    crl = subprocess.run(
        [IMAGE / "make-crl", authority / "rauc-ca.crt", authority / "rauc-ca.key", *revoked],
        check=True,
        capture_output=True,
    ).stdout
    keyring = folder / "keyring.pem"
    keyring.write_bytes((authority / "rauc-ca.crt").read_bytes() + crl)
    version = subprocess.run(["rauc", "--version"], check=True, capture_output=True, text=True).stdout.split()[-1]
    purpose = "codesign" if version in ("1.8",) else "codesign-rauc"
    conf = folder / "system.conf"
    conf.write_text(
        "[system]\ncompatible=passevue-x86-64\nbootloader=noop\nbundle-formats=verity\n"
        f"[keyring]\npath={keyring}\ncheck-crl=true\ncheck-purpose={purpose}\n"
    )
    return ["rauc", f"--conf={conf}"]


def opens(rauc: list[str], bundle: Path, folder: Path) -> str:
    """Everything in it, read; the reason why not."""
    done = subprocess.run([*rauc, "extract", bundle, folder / "content"], capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_what_we_signed_opens_and_says_what_it_is(bundle: Path, ours: Path, tmp_path: Path) -> None:
    rauc = trust(tmp_path, ours)
    assert opens(rauc, bundle, tmp_path) == ""
    told = json.loads((tmp_path / "content/meta.json").read_text())
    assert (told["version"], told["profile"], told["compatible"]) == ("1.5.0", "development", "passevue-x86-64")
    assert told["rollback_index"] == 3
    shown = subprocess.run(
        [*rauc, "info", "--output-format=json", bundle], check=True, capture_output=True, text=True
    ).stdout
    facts = json.loads(shown[shown.index("{") :])
    assert (facts["compatible"], facts["version"]) == ("passevue-x86-64", "1.5.0")
    images = [next(iter(image)) if len(image) == 1 else image["slot-class"] for image in facts["images"]]
    assert images == ["rootfs", "verity", "uki"], "the hook relies on this order"


def test_the_hook_in_it_runs_alone(bundle: Path, ours: Path, tmp_path: Path) -> None:
    assert opens(trust(tmp_path, ours), bundle, tmp_path) == ""
    ran = subprocess.run([tmp_path / "content/hook", "slot-post-install"], cwd="/", capture_output=True, text=True)
    assert ran.returncode == 1
    assert ran.stderr.startswith("hook: ")  # there are no slots here
    assert "Traceback" not in ran.stderr


def test_two_builds_give_the_same_content(ours: Path, bundle: Path, tmp_path: Path) -> None:
    out = parts(tmp_path / "out", "1.5.0")
    subprocess.run([*MAKE, out, "--keys", ours], check=True, capture_output=True)
    for name, made in (("one", bundle), ("two", out / bundle.name)):
        (tmp_path / name).mkdir()
        assert opens(trust(tmp_path, ours), made, tmp_path / name) == ""
    for name in ("hook", "meta.json", "root.img", "verity.img", "uki.img"):
        assert (tmp_path / "one/content" / name).read_bytes() == (tmp_path / "two/content" / name).read_bytes()


def test_a_bundle_signed_by_another_authority_is_refused(bundle: Path, tmp_path: Path) -> None:
    assert "verif" in opens(trust(tmp_path, keys(tmp_path / "others")), bundle, tmp_path)


def test_a_bundle_of_a_revoked_signer_is_refused(bundle: Path, ours: Path, tmp_path: Path) -> None:
    assert "revoked" in opens(trust(tmp_path, ours, ours / "rauc.crt"), bundle, tmp_path)


def test_a_certificate_for_something_else_signs_no_bundle(ours: Path, tmp_path: Path) -> None:
    """One of the same authority, for TLS."""
    wrong = tmp_path / "keys"
    shutil.copytree(ours, wrong)
    made = (
        "openssl req -new -key rauc.key -subj /CN=server |"
        "openssl x509 -req -CA rauc-ca.crt -CAkey rauc-ca.key -CAcreateserial -extfile e -out rauc.crt"
    )
    (wrong / "e").write_text(
        "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\n"
    )
    subprocess.run(["sh", "-c", made], cwd=wrong, check=True, capture_output=True)
    ran = subprocess.run([*MAKE, parts(tmp_path / "out", "1.5.0"), "--keys", wrong], capture_output=True, text=True)
    assert ran.returncode == 1
    assert "purpose" in ran.stderr
    assert not list((tmp_path / "out").glob("*.raucb"))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.999])
def test_a_cut_bundle_is_refused(bundle: Path, ours: Path, tmp_path: Path, share: float) -> None:
    data = bundle.read_bytes()
    cut = tmp_path / "cut.raucb"
    cut.write_bytes(data[: int(len(data) * share)])
    assert opens(trust(tmp_path, ours), cut, tmp_path)


def test_a_bit_changed_anywhere_is_refused(bundle: Path, ours: Path, tmp_path: Path) -> None:
    data = bundle.read_bytes()
    rauc = trust(tmp_path, ours)
    for number, at in enumerate(
        (5000, len(data) // 3, len(data) // 2, len(data) - 9000, len(data) - 4000, len(data) - 4)
    ):
        other = tmp_path / f"{number}.raucb"
        other.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        (tmp_path / str(number)).mkdir()
        why = opens(rauc, other, tmp_path / str(number))
        whole = not why and all(
            (tmp_path / str(number) / "content" / name).read_bytes() == (bundle.parent / name).read_bytes()
            for name in ("root.img",)
        )
        assert why or whole, at


@pytest.mark.parametrize("more", [1, 4096, 1 << 20])
def test_what_is_added_behind_is_refused(bundle: Path, ours: Path, tmp_path: Path, more: int) -> None:
    other = tmp_path / "more.raucb"
    other.write_bytes(bundle.read_bytes() + bytes(more))
    assert opens(trust(tmp_path, ours), other, tmp_path)


def test_two_gibibytes_of_zeros_are_no_bundle(ours: Path, tmp_path: Path) -> None:
    zeros = tmp_path / "zeros.raucb"
    with zeros.open("wb") as file:
        file.truncate(2 << 30)
    assert opens(trust(tmp_path, ours), zeros, tmp_path)


def test_the_plain_format_is_refused(bundle: Path, ours: Path, tmp_path: Path) -> None:
    rauc = trust(tmp_path, ours)
    assert opens(rauc, bundle, tmp_path) == ""
    content = tmp_path / "content"
    manifest = content / "manifest.raucm"
    lines = manifest.read_text().split("[bundle]")[0] + "[image.rootfs]\nfilename=root.img\n"
    manifest.write_text(lines)
    made = tmp_path / "plain.raucb"
    loose = tmp_path / "loose.conf"
    loose.write_text((tmp_path / "system.conf").read_text().replace("=verity", "=plain verity"))
    signed = subprocess.run(
        ["rauc", f"--conf={loose}", "bundle", f"--cert={ours}/rauc.crt", f"--key={ours}/rauc.key", content, made],
        capture_output=True, text=True,
    )  # fmt: skip
    assert signed.returncode == 0, signed.stderr
    shutil.rmtree(content)
    assert "plain" in opens(rauc, made, tmp_path)
