#!/usr/bin/env python3
"""`make image`: from this repository and the machine's own package mirror to a signed disk image and its update bundle.

What it makes lies under image/build/ (README.md): `tools/` the Debian 13 programs that build, `cache/` what was
downloaded, `keys/` throw-away keys, `stage/` our files as they land in the image, `log/` what each step printed,
`out/NAME/` the result.

As root for images that go to sites: a plain user's build boots too, with every file owned by root, and says so. No step
needs loop devices, mounts on the host or a running systemd. Python 3.11 or later, no packages.
"""

import argparse
import fcntl
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "rauc/overlay/usr/lib/passevue")]
sys.dont_write_bytecode = True

from making import results, stage  # noqa: E402
from making.apt_sources import NoSources  # noqa: E402
from making.ground import BUILD, BuildError, Order, git, in_tools, unknown  # noqa: E402
from making.image import FETCHED, run_mkosi  # noqa: E402
from making.tools import make_keys, make_tools  # noqa: E402

KEPT_S = 7 * 86400.0
"""A development build takes Debian's corrections in at least this often; a production build always."""
PROFILES = ("development", "production")


def main() -> int:
    if sys.argv[1:2] == ["--in-tools"]:
        command = [str(part) for part in in_tools((HERE,), *sys.argv[2:])]
        return subprocess.run(command).returncode  # noqa: S603 (typed by who builds)
    os.umask(0o022)  # the image's folders are made on the way: the same ones whoever builds
    order = read_order(sys.argv[1:])
    started = time.monotonic()
    try:
        check(order)
        wait_for_others()
        make_tools(fresh=order.fresh)
        make_keys(order)
        stage.get_wheels()
        run_mkosi(order, stage.lay_out(order))
        results.give(order)
        results.make_bundle(order)
    except (BuildError, NoSources, OSError) as err:  # OSError: a full disk, a place that cannot be written
        print(f"\nimage: {err}", file=sys.stderr)
        return 1
    print(f"\n{results.told(order)}, in {time.monotonic() - started:.0f} s", file=sys.stderr)
    return 0


def read_order(argv: Sequence[str]) -> Order:
    parser = argparse.ArgumentParser(
        description="Builds the image of the box.",
        epilog="build.py --in-tools PROGRAM …: runs a program of the tools tree.",
    )
    add = parser.add_argument
    add("--profile", choices=PROFILES, default="development")
    add("--test", action="store_true", help="with a root console on the serial line (development only)")
    add("--version", default=stage.version(), help="default: that of pyproject.toml")
    add("--name", help="folder under image/build/out (default: the profile)")
    add("--keys", type=Path, help="key set (default: image/build/keys/PROFILE, made when missing)")
    extra = "folder whose files are laid over the image, root's, 0644 or 0755 (development only)"
    add("--extra", type=Path, action="append", default=[], help=extra)
    add("--compression", default="zstd,12", help="of the root: lz4hc,6 while trying, zstd,12 (default)")
    add("--fresh", action="store_true", help="nothing from an earlier build's trees (production: always)")
    asked = parser.parse_args(argv)
    return Order(
        profile=asked.profile,
        test=asked.test,
        version=asked.version,
        name=asked.name or asked.profile + ("-test" if asked.test else ""),
        keys=(asked.keys or BUILD / "keys" / asked.profile).resolve(),
        extra=tuple(path.resolve() for path in asked.extra),
        compression=asked.compression,
        epoch=int(os.environ.get("SOURCE_DATE_EPOCH") or git("log", "-1", "--format=%ct")),
        fresh=asked.fresh or asked.profile == "production" or trees_age_s() > KEPT_S,
    )


def trees_age_s() -> float:
    """Since the packages' lists were fetched and the trees made that quick builds start from."""
    return time.time() - FETCHED.stat().st_mtime if FETCHED.exists() else 0.0


def check(order: Order) -> None:
    """Refuses what would put development into production.

    Raises:
        BuildError: that, what nobody reviewed, or a version that updates cannot compare.
    """
    if order.profile == "production" and (order.test or order.extra):
        raise BuildError("a production image takes no root console and no extra tree")
    if missing := [extra for extra in order.extra if not extra.is_dir()]:
        raise BuildError(f"{missing[0]} is no folder to lay over the image")
    if unreviewed := unknown("image/mkosi.*"):
        raise BuildError(f"not in the repository, but mkosi would take it: {', '.join(unreviewed)}")
    purpose = order.keys / "purpose"
    if purpose.exists() and (found := purpose.read_text().strip()) != order.profile:
        raise BuildError(f"{order.keys} holds {found} keys: they sign no {order.profile} image")
    if not re.fullmatch(r"\d+(\.\d+){1,3}", order.version):
        raise BuildError(f"version {order.version}: expected numbers and dots, as 1.4.2")
    if os.getuid():
        print("image: not root: every file of the image will be root's. For trying, not for sites.", file=sys.stderr)


def wait_for_others() -> None:
    """One build of this tree at a time; the lock is held until this process ends."""
    BUILD.mkdir(exist_ok=True)
    lock = os.open(BUILD / "lock", os.O_CREAT | os.O_WRONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("image: another build is under way; waiting for it", file=sys.stderr)
        fcntl.flock(lock, fcntl.LOCK_EX)


if __name__ == "__main__":
    sys.exit(main())
