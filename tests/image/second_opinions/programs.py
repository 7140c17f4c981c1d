"""The programs that judge the box, and what they judge it by: Debian packages, unpacked into a tree, installed nowhere.

    python3 -m tests.image.second_opinions.programs      # makes or renews it (tests/image/setup.sh)

OpenSCAP is Debian 13's, since it runs inside the guest. The rules in Debian 13 end at Debian 12: those for 13
(ssg-debian from 0.1.82), kernel-hardening-checker and lynis are the next release's; data and scripts run anywhere.

Mirrors are those of this machine's own apt (image/making/apt_sources.py). No root needed.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from image.making import apt_sources

REPOSITORY = Path(__file__).parents[3]
PLACE = REPOSITORY / ".cache/image-test/second-opinions"
TREE = PLACE / "tree"
APT = PLACE / "apt"
LIBRARIES = "usr/lib/x86_64-linux-gnu"
LOADER = "usr/lib64/ld-linux-x86-64.so.2"
CONTENT = "usr/share/xml/scap/ssg/content/ssg-debian13-ds.xml"
RELEASE, LATER = "trixie", "forky"
WANTED = (
    "openscap-scanner",
    f"ssg-debian/{LATER}",
    f"kernel-hardening-checker/{LATER}",
    f"lynis/{LATER}",
)
NOT_NEEDED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/zoneinfo")


class NoPrograms(Exception):
    """apt could not bring them; what it said is in the message."""


def make() -> Path:
    """The tree; made again when the list of packages or the mirrors change.

    Raises:
        NoPrograms: a mirror is away, or has them no longer.
    """
    PLACE.mkdir(parents=True, exist_ok=True)
    stamp = PLACE / "stamp"
    try:
        wanted = hashlib.sha256(repr((WANTED, NOT_NEEDED, _sources().read_text())).encode()).hexdigest()
        if not (TREE.exists() and stamp.exists() and stamp.read_text() == wanted):
            stamp.unlink(missing_ok=True)
            _unpack()
            stamp.write_text(wanted)
    finally:
        shutil.rmtree(APT, ignore_errors=True)  # a copy of the machine's credentials may be in it
    return TREE


def _unpack() -> None:
    shutil.rmtree(TREE, ignore_errors=True)
    TREE.mkdir()
    for package in _packages():
        _run("dpkg-deb", "-x", package, TREE)
    for name in NOT_NEEDED:
        shutil.rmtree(TREE / name, ignore_errors=True)
    for other in (TREE / CONTENT).parent.glob("*"):
        if other.name != Path(CONTENT).name:
            other.unlink()


def _sources() -> Path:
    """apt's list of both releases, in a tree of its own; of the later one nothing but the base: it has no other."""
    later = apt_sources.write(APT, LATER).read_text()
    sources = apt_sources.write(APT, RELEASE)
    base = [entry for entry in later.split("\n\n") if f"Suites: {LATER}\n" in f"{entry}\n"]
    sources.write_text("\n".join([sources.read_text(), *(f"{entry.strip()}\n" for entry in base)]))
    return sources


def _packages() -> list[Path]:
    for name in ("state/lists/partial", "cache/archives/partial", "etc/apt/preferences.d"):
        (APT / name).mkdir(parents=True)
    (APT / "status").touch()  # nothing is installed: every library comes along
    settings = {
        "Dir::Etc": APT / "etc/apt",
        "Dir::State": APT / "state",
        "Dir::State::status": APT / "status",
        "Dir::Cache": APT / "cache",
        "APT::Architecture": "amd64",
        "APT::Default-Release": RELEASE,
        "APT::Sandbox::User": "root",
    }
    words = [f"-o{name}={value}" for name, value in settings.items()]
    _run("apt-get", "-q", *words, "update")
    _run("apt-get", "-q", "-y", *words, "--download-only", "--no-install-recommends", "install", *WANTED)
    return sorted((APT / "cache/archives").glob("*.deb"))


def _run(*argv: object) -> None:
    command = [str(part) for part in argv]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"LC_ALL": "C"})
    if done.returncode:
        raise NoPrograms(f"{' '.join(command[:2])}: {(done.stderr or done.stdout)[-2000:]}")


if __name__ == "__main__":
    try:
        make()
    except (NoPrograms, apt_sources.NoSources) as err:
        sys.exit(f"second opinions: {err}")
