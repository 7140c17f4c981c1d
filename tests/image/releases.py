"""Versions that come after the image under test: a good one, and ones that are broken in a way of their own.

Each is built by image/build.py like any other (a few minutes, once; again when the tree has changed), signed with the
same keys, given as an update bundle. What is broken in the kernel image only is made from the good one, signed anew.
"""

import shlex
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

from image.making import ground
from image.making.ground import in_tools
from tests.image.artefacts import REPOSITORY, Image, NoImage, image
from tests.image.state import run

BROKEN = Path(__file__).parent / "broken"
CHANGED = ("intake/mllp.py", "status/words.py", "update/words.py")
QUICK = ("--compression", "lz4hc,9")  # to build, and larger


class Releases:
    def __init__(self, running: Image, folder: Path, say: Callable[[str], None]) -> None:
        self._running, self._folder, self._say = running, folder, say

    def good(self) -> Image:
        return self._built("next", 1)

    def broken(self, name: str, number: int) -> Image:
        """With the tree broken/NAME laid over it."""
        return self._built(name, number, "--extra", str(BROKEN / name))

    def with_changed_agent(self) -> Image:
        """Three modules of the agent say one thing more; compressed as what boxes get."""
        tree = self._folder / "changed-agent"
        for name in CHANGED:
            made = tree / "usr/lib/passevue/python/passevue" / name
            made.parent.mkdir(parents=True, exist_ok=True)
            made.write_text((REPOSITORY / "agent/passevue" / name).read_text() + "\nCHANGED = True\n")
        return self._built("agent-only", 3, "--extra", str(tree), compression=())

    def with_broken_kernel(self) -> Image:
        """Correctly signed; its initrd is nothing, so that the kernel panics."""
        good = self.good()
        made = Image(self._folder / "release-broken-kernel")
        if made.folder.exists():
            return made
        shutil.copytree(good.folder, made.folder, ignore=shutil.ignore_patterns("*.raucb", "disk.raw"))
        unsigned = made.folder / "unsigned.efi"
        shutil.copy(good.uki, unsigned)
        run("sbattach", "--remove", str(unsigned))
        unsigned.write_bytes(_blanked(unsigned.read_bytes(), b".initrd"))
        keys = self._running.keys
        run(
            *("sbsign", "--key", str(keys / "db.key"), "--cert", str(keys / "db.crt")),
            *("--output", str(made.uki), str(unsigned)),
        )
        self._bundle(made)
        return made

    def _built(self, name: str, number: int, *more: str, compression: tuple[str, ...] = QUICK) -> Image:
        major, minor, patch = map(int, self._running.version.split("."))  # semver.org: what RAUC compares
        version = f"{major}.{minor}.{patch + number}"
        out = f"image-test-{name}"
        try:
            found = image(out)
            if found.facts["commit"] == self._running.facts["commit"] and found.version == version:
                return found
        except NoImage:
            pass
        self._say(f"building release {version} ({name})")
        argv = [str(REPOSITORY / "image/build.py"), "--version", version, "--name", out, *compression]
        done = subprocess.run([*argv, *more], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr[-4000:])
        return image(out)

    def _bundle(self, made: Image) -> None:
        """As image/build.py does it."""
        keys = self._running.keys
        rauc = shlex.join(str(part) for part in in_tools((REPOSITORY, made.folder, keys), "rauc"))
        ground.run([REPOSITORY / "image/rauc/bundle.py", made.folder, "--keys", keys, "--rauc", rauc], "bundle-test")


def _blanked(pe: bytes, name: bytes) -> bytes:
    """A PE file with the content of one section zeroed (PE/COFF § 4)."""
    data = bytearray(pe)
    start = struct.unpack_from("<I", data, 0x3C)[0]
    count, optional = struct.unpack_from("<H12xH", data, start + 6)
    for number in range(count):
        at = start + 24 + optional + 40 * number
        if data[at : at + 8].rstrip(b"\0") == name:
            size, offset = struct.unpack_from("<II", data, at + 16)
            data[offset : offset + size] = bytes(size)
            return bytes(data)
    raise LookupError(f"no section {name!r}")
