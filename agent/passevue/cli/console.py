"""`/usr/lib/passevue/console`, run by `passevue-console.service`: what stands on the box's own screen at each start.

It runs while everything else starts too, so it loads little; what is shown is `provision.console`.
"""

import sys
import time
from pathlib import Path

from passevue.cli.glance import path_in
from passevue.provision import console as screen
from passevue.status.claim_code import read_code
from passevue.update.machine import Machine

DATA_DIR = Path("/var/lib/passevue")
CONFIG = "config/passevue.toml"
FIRST_CERTIFICATE = "page/first.crt"
ROUTES = Path("/proc/self/net/fib_trie")
PAGE_PORT = 443
ADDRESS_S = 20  # DHCP may be slower than we are


def console(root: Path = Path("/"), data_dir: Path = DATA_DIR, routes: Path = ROUTES, wait_s: float = ADDRESS_S) -> int:
    """Show it; the exit code. Blocks for `wait_s` at the most while the box has no address."""
    machine = Machine(root)
    certificate = path_in(data_dir / CONFIG, "page", "tls", "certificate") or data_dir / FIRST_CERTIFICATE
    addresses = screen.addresses(_text(routes))
    until = time.monotonic() + wait_s
    while not addresses and time.monotonic() < until:
        time.sleep(1)
        addresses = screen.addresses(_text(routes))
    shown = screen.Screen(
        machine.serial, machine.version, addresses, PAGE_PORT, screen.fingerprint(certificate), read_code(data_dir)
    )
    sys.stdout.write(screen.text(shown))
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
