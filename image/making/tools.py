"""The programs and keys that build: a Debian 13 tree beside us, and throw-away keys when none are given."""

import hashlib
import os
import shutil

from making import apt_sources
from making.ground import BUILD, HERE, TOOLS, BuildError, Order, in_tools, remove, run, step

RELEASE = "trixie"


def make_tools(*, fresh: bool) -> None:
    """Made again when the list or the mirrors change.

    Raises:
        BuildError: mmdebstrap is missing, or failed.
        NoSources: the machine's apt names no Debian archive.
    """
    listed = apt_sources.write(BUILD / "apt", RELEASE)
    lines = (HERE / "tools.list").read_text().splitlines()
    names = [name for line in lines if (name := line.split("#")[0].strip())]
    wanted = hashlib.sha256((" ".join(names) + listed.read_text()).encode()).hexdigest()
    stamp = BUILD / "tools.stamp"
    if not fresh and TOOLS.exists() and stamp.exists() and stamp.read_text() == wanted:
        return
    if not shutil.which("mmdebstrap"):
        raise BuildError("mmdebstrap is missing: apt install mmdebstrap")
    with step(f"tools: {len(names)} packages of Debian 13"):
        stamp.unlink(missing_ok=True)
        remove(TOOLS)
        mode = "root" if os.getuid() == 0 else "unshare"
        settings = BUILD / "apt/etc/apt/apt.conf.d/90-build-machine"
        including = [f"--include={','.join(names)}", f"--aptopt={settings}"]
        run(["mmdebstrap", f"--mode={mode}", "--variant=apt", *including, RELEASE, TOOLS, listed], "tools")
        stamp.write_text(wanted)


def make_keys(order: Order) -> None:
    """The key set, and what the loader enrols from it (made once: these signatures hold the date of their making).

    Raises:
        BuildError: a folder was given that holds no keys.
    """
    if not (order.keys / "purpose").exists():
        if order.keys != BUILD / "keys" / order.profile:
            raise BuildError(f"{order.keys} holds no key set (image/keys makes one)")
        with step(f"throw-away {order.profile} keys"):
            run([HERE / "keys", order.keys, order.profile], "keys")
    if not (order.keys / "enrol/db.auth").exists():
        with step("Secure Boot variables to enrol"):
            run(in_tools((order.keys, HERE), HERE / "keys-enrol", order.keys), "enrol")
