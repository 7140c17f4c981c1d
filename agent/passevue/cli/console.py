"""`/usr/lib/passevue/console`, run by `passevue-console.service`: what stands on the box's own screen.

It is run at each start, and again by `passevue-console.path` when what is shown may have changed: an address, the
configuration, the first certificate, the claim. systemd sees no further change while a run lasts, so each goes on
looking for a while: an address comes seconds after its link. It runs while everything else starts too, so it loads
little; what is shown is `provision.console`.
"""

import sys
import time
from pathlib import Path

from passevue.cli.glance import path_in, text_in
from passevue.provision import console as screen
from passevue.status.claim_code import read_code
from passevue.update.machine import Machine

DATA_DIR = Path("/var/lib/passevue")
CONFIG = "config/passevue.toml"
FIRST_CERTIFICATE = "page/first.crt"
NET = Path("/proc/self/net")
PAGE_PORT = 443
LOOK_S, EVERY_S = 10, 1  # DHCP may be slower than we are
CLEAR = "\033[H\033[2J\033[3J"  # what was scrolled away too (console_codes(4)): the code may be in it


def console(root: Path = Path("/"), data_dir: Path = DATA_DIR, net: Path = NET, look_s: float = LOOK_S) -> int:
    """Clear the screen, draw what is so, and again what changes within `look_s`; the exit code. Blocks."""
    drawn = None
    until = time.monotonic() + look_s
    while True:
        last = time.monotonic() >= until
        if (now := look(root, data_dir, net)) != drawn:
            sys.stdout.write(CLEAR + screen.text(now))
            sys.stdout.flush()
            drawn = now
        if last:
            return 0
        time.sleep(EVERY_S)


def look(root: Path, data_dir: Path, net: Path) -> screen.Screen:
    """What is so now. Blocks."""
    machine = Machine(root)
    certificate = path_in(data_dir / CONFIG, "page", "tls", "certificate") or data_dir / FIRST_CERTIFICATE
    addresses = screen.addresses(_text(net / "fib_trie"))
    if outside := text_in(data_dir / CONFIG, "network", "outside", "interface"):
        addresses = screen.but_of(outside, addresses, _text(net / "route"))
    return screen.Screen(
        machine.serial,
        machine.version,
        addresses,
        PAGE_PORT,
        screen.fingerprint(certificate),
        read_code(data_dir),
    )


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
