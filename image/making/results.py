"""What mkosi made, under stable names in build/out/NAME; the UKI on its blocks of the disk; the update bundle."""

import json
import re
import shlex
import struct
import subprocess
from pathlib import Path

from slots import uki as uki_slot

from making.ground import HERE, REPOSITORY, BuildError, Order, commit, git, in_tools, remove, run, step
from making.image import MADE, rollback_index

PAPERS = ("manifest.json", "manifest.json.sig", "sbom.cdx.json", "licences.txt")
"""Of the image, beside it: what somebody can check or read who has not booted it."""
UKI_SLOT = "passevue-uki-a"
_EROFS = 0xE0F5E1E2


def give(order: Order) -> None:
    with step("results"):
        remove(order.out)
        order.out.mkdir(parents=True)
        stem = f"passevue_{order.version}"
        found = {"raw": "disk.raw", "efi": "uki.efi", "manifest": "packages.json"}
        found |= {"root-[0-9a-f]*.raw": "root.img", "root-verity-*.raw": "verity.img"}
        for pattern, name in found.items():
            (made,) = MADE.glob(f"{stem}.{pattern}")
            made.rename(order.out / name)
        for other in MADE.glob("passevue*"):
            other.unlink()
        _trim_erofs(order.out / "root.img")
        _copy_papers(order.out)
        uki = (order.out / "uki.efi").read_bytes()
        write_partition(order.out / "disk.raw", UKI_SLOT, uki_slot.pack(uki, order.version))
        (root_hash,) = set(re.findall(rb"roothash=([0-9a-f]{64})", uki))
        facts = {
            "version": order.version,
            "profile": order.profile,
            "test": order.test,
            "root_hash": root_hash.decode(),
            "rollback_index": rollback_index(),
            "epoch": order.epoch,
            "commit": git("rev-parse", "HEAD"),
            "changed": commit().endswith("+"),
        }
        (order.out / "image.json").write_text(json.dumps(facts, indent=1) + "\n")


def make_bundle(order: Order) -> None:
    """The signed update, by image/rauc/bundle.py with the tools tree's rauc."""
    with step("update bundle, signed, and opened again"):
        rauc = shlex.join([str(part) for part in in_tools((REPOSITORY, order.keys), "rauc")])
        run([HERE / "rauc/bundle.py", order.out, "--keys", order.keys, "--rauc", rauc], "bundle")


def told(order: Order) -> str:
    parts = {"root": "root.img", "UKI": "uki.efi", "update": f"passevue-{order.version}.raucb"}
    sizes = [f"{name} {(order.out / file).stat().st_size / 1e6:.1f} MB" for name, file in parts.items()]
    return f"{order.out.relative_to(REPOSITORY)}/disk.raw: {order.profile} {order.version}, {', '.join(sizes)}"


def _copy_papers(out: Path) -> None:
    """Out of the root itself, so that they are its own."""
    for name in PAPERS:
        command = in_tools((out,), "dump.erofs", "--cat", f"--path=/usr/share/passevue/{name}", out / "root.img")
        done = subprocess.run([str(part) for part in command], capture_output=True)  # noqa: S603
        if done.returncode or not done.stdout:
            raise BuildError(f"the root has no {name}: {done.stderr.decode(errors='replace')}")
        (out / name).write_bytes(done.stdout)


def _trim_erofs(image: Path) -> None:
    """Cuts the partition's image to what the file system uses: superblock at 1024, blocks at +36, their size at +12."""
    with image.open("r+b") as file:
        file.seek(1024)
        head = file.read(128)
        if struct.unpack_from("<I", head)[0] != _EROFS:
            raise BuildError(f"{image.name} is no erofs")
        blocks, shift = struct.unpack_from("<I", head, 36)[0], head[12]
        file.truncate(blocks << shift)


def write_partition(disk: Path, label: str, data: bytes) -> None:
    """Writes `data` at the start of the partition with this name (GPT: UEFI 2.10 § 5.3).

    Raises:
        BuildError: there is none, or it is too small.
    """
    with disk.open("r+b") as file:
        file.seek(512)
        table, count, size = struct.unpack_from("<QII", file.read(92), 72)
        file.seek(table * 512)
        entries = file.read(count * size)
        for at in range(0, count * size, size):
            first, last = struct.unpack_from("<QQ", entries, at + 32)
            if entries[at + 56 : at + 128].decode("utf-16-le").rstrip("\0") == label:
                if len(data) > (last - first + 1) * 512:
                    raise BuildError(f"{len(data)} bytes do not fit into the partition {label}")
                file.seek(first * 512)
                file.write(data)
                return
    raise BuildError(f"no partition {label} on {disk.name}")
