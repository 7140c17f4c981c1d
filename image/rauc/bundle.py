#!/usr/bin/env python3
"""From the parts of a built image to its signed update bundle:   image/rauc/bundle.py OUT --keys KEYS [--rauc
'PREFIX… rauc']

OUT is the folder that `make image` gives: `root.img` (cut to what the file system uses), `verity.img`, `uki.efi`,
`image.json` ({version, profile, root_hash, …}). The bundle is OUT/passevue-VERSION.raucb. After signing it is opened
again the way a box does: signature against the authority, then every byte (`rauc extract`): `rauc info` alone checks
no payload.

What is in it, and why an update of the agent alone fetches little: README.md. Runs rauc where `--rauc` says (the
tools tree of the image), or the one on the path.
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
OVERLAY = HERE / "overlay/usr/lib/passevue"
COMPATIBLE = "passevue-x86-64"
SQUASHFS = "--mksquashfs-args=-b 8192"
"""A box that lacks a chunk of 4 KiB fetches the block of the squashfs around it: 128 KiB, unless one says. Why eight:
README.md, "Why".
"""
sys.path.insert(0, str(OVERLAY))

from slots import uki  # noqa: E402

MANIFEST = """\
[update]
compatible={compatible}
version={version}
build={build}

[bundle]
format=verity

[hooks]
filename=hook

[image.rootfs]
filename=root.img
hooks=pre-install;post-install
adaptive=block-hash-index

[image.verity]
filename=verity.img
hooks=post-install
adaptive=block-hash-index

[image.uki]
filename=uki.img
hooks=post-install
adaptive=block-hash-index
"""


class BundleError(Exception):
    """For the person who builds."""


def lay_out(out: Path, folder: Path) -> str:
    """Fills the folder that becomes the bundle. Returns the version."""
    facts = json.loads((out / "image.json").read_text())
    meta = {
        "schema": 1,
        "compatible": COMPATIBLE,
        "version": facts["version"],
        "profile": facts["profile"],
        "root_hash": facts["root_hash"],
        "rollback_index": facts.get("rollback_index", 0),
        "epoch": facts.get("epoch", 0),
        "commit": facts.get("commit", ""),
    }
    packed = uki.pack((out / "uki.efi").read_bytes(), meta["version"])
    (folder / "uki.img").write_bytes(packed)
    with (folder / "uki.img").open("rb") as blocks:
        if uki.header(blocks).root_hash != meta["root_hash"]:
            raise BundleError("the UKI starts another root than image.json says")
    _blocks(out / "root.img", folder / "root.img")
    _blocks(out / "verity.img", folder / "verity.img")
    (folder / "meta.json").write_text(json.dumps(meta, indent=1, sort_keys=True) + "\n")
    (folder / "manifest.raucm").write_text(
        MANIFEST.format(compatible=COMPATIBLE, version=meta["version"], build=meta["epoch"])
    )
    write_hook(folder / "hook")
    return str(meta["version"])


def write_hook(target: Path) -> None:
    """The hook and the slots package in one file, as Python runs it: a bundle holds no folders (RAUC 1.13 refuses
    them).
    """
    modules = {f"slots/{path.name}": path for path in sorted((OVERLAY / "slots").glob("*.py"))}
    with target.open("wb") as file:
        file.write(b"#!/usr/bin/python3 -BI\n")
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, path in {"__main__.py": HERE / "hook", **modules}.items():
                packed.writestr(zipfile.ZipInfo(name), path.read_bytes(), zipfile.ZIP_DEFLATED)
    target.chmod(0o755)


def box_conf(folder: Path, keyring: Path, rauc: list[str]) -> Path:
    """The part of the box's configuration that says whom it believes."""
    conf = folder / "rauc.conf"
    conf.write_text(
        f"[system]\ncompatible={COMPATIBLE}\nbootloader=noop\nbundle-formats=verity\n"
        f"[keyring]\npath={keyring}\ncheck-crl=true\ncheck-purpose={purpose(rauc)}\n"
    )
    return conf


def purpose(rauc: list[str]) -> str:
    """What a signer's certificate is for, by the name this RAUC knows: `codesign-rauc` came with 1.9; Debian 12 has
    1.8.
    """
    told = _run([*rauc, "--version"]).split()[-1]
    return "codesign-rauc" if tuple(int(part) for part in told.split(".")[:2]) >= (1, 9) else "codesign"


def _blocks(source: Path, target: Path) -> None:
    """A copy of whole blocks of 4 KiB, without the zeros at its end: those of the hash tree are in no level of it."""
    data = bytearray(source.read_bytes())
    while len(data) > 4096 and not any(memoryview(data)[-4096:]):
        del data[-4096:]
    target.write_bytes(bytes(data) + bytes(-len(data) % 4096))


def make(out: Path, keys: Path, rauc: list[str]) -> Path:
    """Raises:
    BundleError: rauc refuses to make it, or what it made does not open again.
    """
    with tempfile.TemporaryDirectory(dir=out, prefix="bundle-") as scratch:
        folder = Path(scratch) / "content"
        folder.mkdir()
        version = lay_out(out, folder)
        keyring = Path(scratch) / "keyring.pem"
        keyring.write_bytes((keys / "rauc-ca.crt").read_bytes() + (keys / "rauc-ca.crl").read_bytes())
        made = out / f"passevue-{version}.raucb"
        draft = Path(scratch) / made.name
        asking = [*rauc, f"--conf={box_conf(Path(scratch), keyring, rauc)}"]
        _run([*asking, "bundle", SQUASHFS, f"--cert={keys / 'rauc.crt'}", f"--key={keys / 'rauc.key'}", folder, draft])
        _run([*asking, "extract", "--trust-environment", draft, Path(scratch) / "again"])
        for name in ("root.img", "verity.img", "uki.img", "meta.json", "hook"):
            if (Path(scratch) / "again" / name).read_bytes() != (folder / name).read_bytes():
                raise BundleError(f"{name} comes out of the bundle otherwise than it went in")
        draft.replace(made)
    return made


def _run(argv: list[object]) -> str:
    done = subprocess.run([str(part) for part in argv], stdin=subprocess.DEVNULL, capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        raise BundleError(f"{shlex.join(str(part) for part in argv)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def main() -> int:
    parser = argparse.ArgumentParser(description="Makes the update bundle of a built image.")
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--keys", type=Path, required=True, help="folder with rauc.key, rauc.crt, rauc-ca.crt, rauc-ca.crl"
    )
    parser.add_argument("--rauc", default="rauc", help="how rauc is run")
    asked = parser.parse_args()
    try:
        made = make(asked.out.resolve(), asked.keys.resolve(), shlex.split(asked.rauc))
    except (BundleError, uki.NoUki) as err:
        print(f"bundle: {err}", file=sys.stderr)
        return 1
    print(f"{made}: {made.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
