"""What `make image` gave, looked at without booting it, by the tools of those who made its formats.

Signatures hold and another's do not; the root is the one that the kernel image names; the papers beside the image are
its own, and say what is in it. The last test looks at the data partition of a box that has been in use, from outside.
"""

import json
import os
import re
import shutil
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from passevue.baseline.key_scan import HEAD, LONGEST, is_private_key
from tests.image.artefacts import REPOSITORY, Image
from tests.image.disk_edit import DiskEdit
from tests.image.lab import Lab
from tests.image.state import overlay

IMAGE = REPOSITORY / "image"
OTHER_PYTHON = REPOSITORY / ".cache/image-test/bin/python"
PAPERS = ("manifest.json", "manifest.json.sig", "sbom.cdx.json", "licences.txt")
LOADERS = ("EFI/BOOT/BOOTX64.EFI", "EFI/systemd/systemd-bootx64.efi")
MOST_ROOT, MOST_BUNDLE = 180_000_000, 200_000_000
MOST_RAISED = 3
UNKNOWN_LICENCE: frozenset[str] = frozenset()  # nothing: who adds a name here has a reason beside it
LUKS_HEADER = 16 << 20

# Tools that somebody who got in would look for. Python is ours, dash starts AppArmor, mawk came with Debian's base.
FORBIDDEN = {
    "compilers": "as cc c++ gcc g++ clang ld make tcc go rustc javac",
    "debuggers": "gdb gdbserver lldb strace ltrace perf bpftrace pdb3 valgrind",
    "package managers": "apt apt-get aptitude dpkg dpkg-deb pip pip3 snap flatpak npm gem cpan",
    "clients": "curl wget nc ncat netcat nc.openbsd nc.traditional socat telnet ftp tftp ssh scp sftp rsync dig host "
    "nslookup ping traceroute nmap tcpdump openssl gnutls-cli rpcinfo mount.nfs mount.cifs",
    "interpreters": "perl ruby node php lua tclsh gawk busybox zsh ksh fish",
    "others": "sshd vi vim nano ed emacs screen tmux sudo doas pkexec",
}
# What is not hardened today; Debian builds its Python so.
NOT_POSITION_INDEPENDENT = {"/usr/bin/python3.13"}
MOST_LAZILY_BOUND = 155  # libraries mostly, and Python's own; of 786
MOST_WITHOUT_CANARY = 130  # modules of wheels mostly, Rust's among them, and what has no array to guard; of 786


def run(*argv: object, check: bool = True, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([str(part) for part in argv], capture_output=True, text=True, check=False, cwd=cwd)
    assert not check or done.returncode == 0, f"{argv[0]}: {done.stdout}{done.stderr}"
    return done


def flipped(source: Path, target: Path, offset: int) -> Path:
    """A copy with one bit other than it was."""
    shutil.copyfile(source, target)
    with target.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))
    return target


@pytest.fixture(scope="session")
def tree(the_image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The files of the root, by the erofs tools that made it (Debian 12's own know no zstd)."""
    place = tmp_path_factory.mktemp("root") / "tree"
    before, sys.path[:] = list(sys.path), [str(IMAGE), *sys.path]
    try:
        from making.ground import in_tools
    finally:
        sys.path[:] = before
    shown = (the_image.folder.resolve(), place.parent)
    how = ("--no-preserve-owner", "--preserve-perms", f"--extract={place}")
    run(*in_tools(shown, "fsck.erofs", *how, the_image.folder.resolve() / "root.img"))
    yield place
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """For copies of large files: gone with the test."""
    place = tmp_path / "scratch"
    place.mkdir()
    yield place
    shutil.rmtree(place)


@pytest.fixture(scope="session")
def another(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key set that signed nothing of this image."""
    folder = tmp_path_factory.mktemp("another") / "keys"
    run(IMAGE / "keys", folder)
    return folder


@pytest.fixture(scope="session")
def given(tree: Path) -> Path:
    return tree / "usr/share/passevue"


@pytest.fixture(scope="session")
def manifest(given: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((given / "manifest.json").read_text())
    return read


@pytest.fixture(scope="session")
def bom(given: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((given / "sbom.cdx.json").read_text())
    return read


@pytest.fixture(scope="session")
def signed_programs(the_image: Image, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """All that the firmware starts: the kernel image, and the loader under both its names."""
    folder = tmp_path_factory.mktemp("esp")
    overlay(the_image.disk, "raw", folder / "disk.qcow2")
    disk = DiskEdit(folder / "disk.qcow2")
    found = {"uki.efi": the_image.uki}
    with disk.files(disk.partition("esp")) as esp:
        (name,) = esp.names("EFI/Linux")
        assert esp.read(f"EFI/Linux/{name}") == the_image.uki.read_bytes()
        for loader in LOADERS:
            found[loader] = folder / loader.replace("/", "-")
            found[loader].write_bytes(esp.read(loader))
    return found


# Signatures


@pytest.mark.parametrize("name", ["uki.efi", *LOADERS])
def test_what_the_firmware_starts_is_signed_by_us(
    the_image: Image, signed_programs: dict[str, Path], name: str
) -> None:
    said = run("sbverify", "--cert", the_image.keys / "db.crt", signed_programs[name])
    assert "Signature verification OK" in said.stdout + said.stderr


@pytest.mark.parametrize("name", ["uki.efi", *LOADERS])
def test_it_is_signed_by_nobody_else_and_one_other_bit_is_refused(
    another: Path, the_image: Image, signed_programs: dict[str, Path], scratch: Path, name: str
) -> None:
    program = signed_programs[name]
    assert run("sbverify", "--cert", another / "db.crt", program, check=False).returncode != 0
    changed = flipped(program, scratch / "changed.efi", program.stat().st_size // 2)
    assert run("sbverify", "--cert", the_image.keys / "db.crt", changed, check=False).returncode != 0


def test_the_root_is_the_one_that_the_signed_kernel_image_names(the_image: Image) -> None:
    (root_hash,) = set(re.findall(rb"roothash=([0-9a-f]{64})", the_image.uki.read_bytes()))
    assert root_hash.decode() == the_image.root_hash
    run(
        "/usr/sbin/veritysetup",
        "verify",
        the_image.folder / "root.img",
        the_image.folder / "verity.img",
        root_hash.decode(),
    )


@pytest.mark.parametrize("part", ["root.img", "verity.img"])
def test_one_other_bit_of_the_root_or_its_hashes_is_found(the_image: Image, scratch: Path, part: str) -> None:
    parts = {name: the_image.folder / name for name in ("root.img", "verity.img")}
    within = parts["root.img"].stat().st_size // 2 if part == "root.img" else 4096 * 40 + 5
    parts[part] = flipped(parts[part], scratch / part, within)
    argv = ("/usr/sbin/veritysetup", "verify", *parts.values(), the_image.root_hash)
    assert run(*argv, check=False).returncode != 0


def test_another_root_hash_is_refused(the_image: Image) -> None:
    other = the_image.root_hash[:-1] + ("0" if the_image.root_hash[-1] != "0" else "1")
    parts = (the_image.folder / "root.img", the_image.folder / "verity.img")
    assert run("/usr/sbin/veritysetup", "verify", *parts, other, check=False).returncode != 0


def rauc_info(bundle: Path, keyring: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """As a box asks; only the name of the purpose is older with Debian 12's RAUC."""
    version = run("rauc", "--version").stdout.split()[-1].split(".")
    purpose = "codesign-rauc" if (int(version[0]), int(version[1])) >= (1, 9) else "codesign"
    conf = folder / "rauc.conf"
    conf.write_text(
        "[system]\ncompatible=passevue-x86-64\nbootloader=noop\nbundle-formats=verity\n"
        f"[keyring]\npath={keyring}\ncheck-crl=true\ncheck-purpose={purpose}\n"
    )
    return run("rauc", f"--conf={conf}", "info", bundle, check=False)


def test_the_update_is_believed_by_the_keyring_of_the_image(the_image: Image, given: Path, tmp_path: Path) -> None:
    said = rauc_info(the_image.bundle, given / "rauc-ca.pem", tmp_path)
    assert said.returncode == 0, said.stderr
    assert re.search(r"Bundle Format:\s+verity", said.stdout)
    assert f"'{the_image.version}'" in said.stdout


def test_the_update_is_not_believed_by_another_authority(the_image: Image, another: Path, tmp_path: Path) -> None:
    keyring = tmp_path / "keyring.pem"
    keyring.write_text((another / "rauc-ca.crt").read_text() + (another / "rauc-ca.crl").read_text())
    assert rauc_info(the_image.bundle, keyring, tmp_path).returncode != 0


def test_an_update_whose_signed_part_was_changed_is_not_believed(the_image: Image, given: Path, scratch: Path) -> None:
    """RAUC's inline signature ends the file; its length is the last eight bytes."""
    size = the_image.bundle.stat().st_size
    changed = flipped(the_image.bundle, scratch / "changed.raucb", size - 8 - 200)
    assert rauc_info(changed, given / "rauc-ca.pem", scratch).returncode != 0


# The papers


@pytest.mark.parametrize("name", PAPERS)
def test_the_papers_beside_the_image_are_those_in_it(the_image: Image, given: Path, name: str) -> None:
    assert (the_image.folder / name).read_bytes() == (given / name).read_bytes()


def test_the_manifest_is_signed_by_our_key_and_the_image_has_its_public_half(
    the_image: Image, another: Path, given: Path
) -> None:
    assert (given / "manifest.pub").read_bytes() == (the_image.keys / "manifest.pub").read_bytes()
    verify = (
        "openssl",
        "pkeyutl",
        "-verify",
        "-pubin",
        "-rawin",
        "-in",
        "manifest.json",
        "-sigfile",
        "manifest.json.sig",
    )
    run(*verify, "-inkey", the_image.keys / "manifest.pub", cwd=the_image.folder)
    assert run(*verify, "-inkey", another / "manifest.pub", cwd=the_image.folder, check=False).returncode != 0


def test_the_manifest_has_the_hashes_of_bill_and_licences(manifest: dict[str, Any], given: Path) -> None:
    for name in ("sbom.cdx.json", "licences.txt"):
        said = run("sha256sum", given / name).stdout.split()[0]
        assert manifest["files"][f"/usr/share/passevue/{name}"] == said


def test_programs_that_raise_rights_are_those_of_the_manifest_and_few(manifest: dict[str, Any], tree: Path) -> None:
    found = [
        f"/{path.relative_to(tree)}" for path in regular(tree) if path.lstat().st_mode & (stat.S_ISUID | stat.S_ISGID)
    ]
    assert sorted(found) == manifest["setuid"]
    assert len(found) <= MOST_RAISED


def test_listeners_of_the_manifest_are_the_socket_units_of_the_tree(manifest: dict[str, Any], tree: Path) -> None:
    """And the five of Debian's services that finalize/20-manifest names, none of which is open to TCP from outside."""
    ports = set()
    for unit in (tree / "usr/lib/systemd/system").glob("passevue-*.socket"):
        ports |= {int(port) for port in re.findall(r"(?m)^ListenStream=(?:\S*:)?(\d+)$", unit.read_text())}
    outside = {one["port"] for one in manifest["listeners"] if one["proto"] == "tcp" and one["address"] != "loopback"}
    assert outside == ports


def installed(tree: Path) -> dict[str, str]:
    stanzas = (tree / "usr/lib/passevue/dpkg/status").read_text().split("\n\n")
    fields = [dict(re.findall(r"(?m)^(Package|Version|Status): (.*)$", stanza)) for stanza in stanzas]
    return {one["Package"]: one["Version"] for one in fields if one.get("Status") == "install ok installed"}


def distributions(tree: Path) -> dict[str, str]:
    """Name and version of every dist-info that no Debian package brought."""
    found = {}
    for folder in (tree / "usr").rglob("*.dist-info"):
        if "dist-packages" not in folder.parts:
            name, version = folder.name.removesuffix(".dist-info").rsplit("-", 1)
            found[re.sub(r"[-_.]+", "-", name).lower()] = version
    return found


def test_the_bill_of_materials_is_valid_cyclonedx(given: Path) -> None:
    """By the schema of its version, strictly, and by a reader that looks at its graph."""
    script = """
import json, sys
from cyclonedx.model.bom import Bom
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
text = open(sys.argv[1]).read()
wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
assert wrong is None, wrong
assert Bom.from_json(json.loads(text)).validate()
"""
    run(OTHER_PYTHON, "-c", script, given / "sbom.cdx.json")


def test_every_package_and_every_distribution_is_in_the_bill_and_nothing_else(
    the_image: Image, bom: dict[str, Any], manifest: dict[str, Any], tree: Path
) -> None:
    debian, python = installed(tree), distributions(tree)
    assert python.pop("passevue") == bom["metadata"]["component"]["version"] == the_image.version
    listed = [(one["purl"].split("/")[0], one["name"], one["version"]) for one in bom["components"]]
    assert len(listed) == len(set(listed))
    assert {(name, version) for kind, name, version in listed if kind == "pkg:deb"} == set(debian.items())
    assert {(name, version) for kind, name, version in listed if kind == "pkg:pypi"} == set(python.items())
    assert len(listed) == len(debian) + len(python)
    told = json.loads((the_image.folder / "packages.json").read_text())["packages"]
    assert {(one["name"], one["version"]) for one in told if one["type"] == "deb"} == set(debian.items())
    assert {(one["name"], one["version"]) for one in manifest["packages"]} == set(debian.items())


def test_each_package_has_the_hash_of_its_file_and_each_wheel_one_of_the_lock(bom: dict[str, Any]) -> None:
    lock = (REPOSITORY / "agent/requirements.txt").read_text()
    for one in bom["components"]:
        (digest,) = one.get("hashes") or [None]
        assert digest is not None, f"{one['name']} has no hash: the build did not have its file"
        assert one["purl"].startswith("pkg:deb/") or digest["content"] in lock, one["name"]


def test_libraries_that_wheels_brought_are_in_the_bill(bom: dict[str, Any], tree: Path) -> None:
    carried = {inner["name"] for one in bom["components"] for inner in one.get("components", [])}
    files = {path.name for path in (tree / "usr/lib/passevue/python").glob("*.libs/*.so*")}
    assert files <= carried
    assert {"openssl", "libxml2", "libxslt"} <= carried


def test_everything_has_a_known_licence(given: Path, bom: dict[str, Any]) -> None:
    """A new component without one: look it up and add it to image/supply/by_hand.toml."""
    everything = [inner for one in bom["components"] for inner in (one, *one.get("components", []))]
    assert {one["name"] for one in everything if not one.get("licenses")} == UNKNOWN_LICENCE
    text = (given / "licences.txt").read_text()
    assert f"{len(UNKNOWN_LICENCE)} sans licence connue" in text
    missing = [one["name"] for one in everything if f"{one['name']} {one.get('version', '')}".rstrip() not in text]
    assert missing == []
    for place in re.findall(r"(?m)^    (/usr/\S+)$", text):
        assert (given.parents[2] / place.lstrip("/")).exists(), place


# What is in it


def regular(tree: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(tree):
        for path in (Path(folder) / name for name in names):
            if stat.S_ISREG(path.lstat().st_mode):
                yield path


def test_sizes_are_those_that_a_site_s_line_can_carry(the_image: Image) -> None:
    assert (the_image.folder / "root.img").stat().st_size <= MOST_ROOT
    assert the_image.bundle.stat().st_size <= MOST_BUNDLE


def test_no_tool_is_there_that_an_intruder_would_look_for(the_image: Image, tree: Path) -> None:
    """SERV-04. A shell that one can live in is in the image of the tests alone."""
    folders = [tree / name for name in ("usr/bin", "usr/sbin", "usr/local/bin", "usr/local/sbin", "usr/games", "opt")]
    programs = {path.name for folder in folders if folder.exists() for path in folder.iterdir()}
    forbidden = {name for names in FORBIDDEN.values() for name in names.split()}
    assert programs & (forbidden | ({"bash", "rbash"} if not the_image.facts["test"] else set())) == set()


CANARY = b"\0__stack_chk_fail\0"  # called where a function's canary was overwritten: a name that is linked at run time


@dataclass(frozen=True)
class Elf:
    """What a linked file asks of its loader. System V ABI, gABI chapter 5; only 64-bit, little-endian."""

    position_independent: bool
    read_only_relocations: bool
    bound_at_once: bool
    writable_code: bool
    executable_stack: bool
    stack_canary: bool


def elf(path: Path) -> Elf | None:
    data = path.read_bytes()
    if data[:6] != b"\x7fELF\x02\x01" or len(data) < 64 or struct.unpack_from("<H", data, 16)[0] not in (2, 3):
        return None  # kernel modules and static archives are others' matter
    start, size, count = *struct.unpack_from("<Q", data, 32), *struct.unpack_from("<HH", data, 54)
    relro = writable = False
    stack, at_once = True, False
    for at in range(start, start + size * count, size):
        kind, flags, offset, _, _, length = struct.unpack_from("<IIQQQQ", data, at)
        relro |= kind == 0x6474E552
        writable |= kind == 1 and flags & 3 == 3
        stack = bool(flags & 1) if kind == 0x6474E551 else stack
        for entry in range(offset, offset + length, 16) if kind == 2 else ():
            tag, value = struct.unpack_from("<qQ", data, entry)
            at_once |= tag == 24 or (tag == 30 and value & 8) or (tag == 0x6FFFFFFB and value & 1)
    return Elf(struct.unpack_from("<H", data, 16)[0] == 3, relro, bool(at_once), writable, stack, CANARY in data)


def test_compiled_programs_are_hardened(tree: Path) -> None:
    """SERV-07: all of it where it can be had; what Debian or a wheel builds otherwise does not grow."""
    found = {f"/{path.relative_to(tree)}": told for path in regular(tree) if (told := elf(path)) is not None}
    assert len(found) > 300
    assert [path for path, told in found.items() if told.writable_code or told.executable_stack] == []
    assert [path for path, told in found.items() if not told.read_only_relocations] == []
    assert {path for path, told in found.items() if not told.position_independent} <= NOT_POSITION_INDEPENDENT
    assert sum(not told.bound_at_once for told in found.values()) <= MOST_LAZILY_BOUND
    assert sum(not told.stack_canary for told in found.values()) <= MOST_WITHOUT_CANARY


def test_two_boxes_get_no_secret_from_their_image(tree: Path) -> None:
    """ACCT-02: what would be the same on each. Keys, random seeds and the machine's name are made at first boot."""
    assert (tree / "etc/machine-id").read_text() == ""
    assert not list(tree.glob("etc/ssh/ssh_host_*"))
    assert not list(tree.glob("var/lib/systemd/random-seed"))
    assert not list(tree.glob("usr/share/factory/var/lib/systemd/random-seed"))
    assert not list(tree.glob("**/var/lib/dbus/machine-id"))


def test_what_never_starts_never_starts(tree: Path) -> None:
    """A preset enables units by names of theirs that lie where our masks do (`ctrl-alt-del.target`)."""
    ours = REPOSITORY / "systemd/etc/systemd/system"
    for mask in ours.iterdir():
        assert (tree / "etc/systemd/system" / mask.name).readlink() == Path("/dev/null"), mask.name


def test_users_have_the_numbers_that_the_data_of_older_boxes_carry(tree: Path) -> None:
    """No package of Debian has taken one of them before."""
    said = (REPOSITORY / "systemd/usr/lib/sysusers.d/passevue.conf").read_text().splitlines()
    wanted = {line.split()[1]: line.split()[2] for line in said if line.startswith(("u ", "g "))}
    groups = {line.split(":")[0]: line.split(":")[2] for line in (tree / "etc/group").read_text().splitlines()}
    users = {line.split(":")[0]: line.split(":")[2] for line in (tree / "etc/passwd").read_text().splitlines()}
    assert {name: groups.get(name) for name in wanted} == wanted
    assert {name: users.get(name, groups["passevue"]) for name in wanted} == wanted


def test_no_private_key_is_in_the_image(tree: Path) -> None:
    """SECR-02, by the scanner that looks through the data of a running box."""

    def holds_one(path: Path) -> bool:
        with path.open("rb") as file:
            return is_private_key(file.read(HEAD), short=path.stat().st_size <= LONGEST)

    assert [path for path in regular(tree) if holds_one(path)] == []


# A box that has been in use


def test_the_data_partition_is_encrypted_as_it_should_be_seen_from_outside(lab: Lab, tmp_path: Path) -> None:
    """Two key slots, each opened by 256 random bits: so systemd stretches neither (PBKDF2, 1000 turns), which a
    passphrase would need.
    """
    disk = DiskEdit(lab.provisioned("header").disk)
    header = tmp_path / "header"
    header.write_bytes(disk.read(disk.partition("passevue-var").start, LUKS_HEADER + (1 << 20)))
    said = json.loads(run("/usr/sbin/cryptsetup", "luksDump", "--dump-json-metadata", header).stdout)
    (segment,) = said["segments"].values()
    assert (segment["type"], segment["encryption"]) == ("crypt", "aes-xts-plain64")
    slots = said["keyslots"]
    assert {(slot["type"], slot["key_size"], slot["area"]["encryption"]) for slot in slots.values()} == {
        ("luks2", 64, "aes-xts-plain64")
    }
    assert {(slot["kdf"]["type"], slot["kdf"].get("hash")) for slot in slots.values()} == {("pbkdf2", "sha512")}
    tokens = {token["type"]: token["keyslots"] for token in said["tokens"].values()}
    assert sorted(tokens) == ["systemd-recovery", "systemd-tpm2"]
    assert sorted(slot for held in tokens.values() for slot in held) == sorted(slots), "no slot without its token"
