"""Puts the plan in place: the firewall's sets, networkd's files, chrony's sources.

    /usr/lib/passevue/network           at start: wires and addresses, before networkd and chrony
    /usr/lib/passevue/network --names   now and then: what the names mean now, into the firewall's sets

A name's address is kept for a day after the resolver last gave it: a service behind several addresses gives them in
turn, and one that is away for an hour is not shut out. What was filled in is left in `elements.json`, for who compares.

Exit codes: 0 done; 1 the firewall did not take it; 75 some names have no address yet (sysexits.h: try again).
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from passevue.network.files import files
from passevue.network.plan import Address, Plan, read_plan
from passevue.network.ruleset import Elements, elements, fill

CONFIG = Path("/var/lib/passevue/config/passevue.toml")
OURS = Path("/run/passevue-network")
NETWORKD = Path("/run/systemd/network")
NFT = "/usr/sbin/nft"
MAX_CONFIG_BYTES = 1 << 20
MAX_SEEN_BYTES = 1 << 20
KEPT_S = 24 * 3600.0
LOOK_UP_WITHIN_S = 10.0
MOST_ADDRESSES = 64  # of one name
TRY_AGAIN = 75

Seen = dict[str, dict[str, float]]  # name → address → when a resolver last gave it
LookUp = Callable[[Iterable[str]], Mapping[str, tuple[Address, ...]]]


def main(arguments: list[str]) -> int:
    plan, left_out = read_plan(_tree(CONFIG))
    for key in left_out:
        print(f"<4>left out, and so shut: {key}", file=sys.stderr)
    seen = read_seen(OURS / "seen.json")
    if "--names" not in arguments:
        write_files(files(plan), OURS, NETWORKD)
        return 0 if _filled(plan, seen) else 1
    now = time.time()
    found = look_up(plan.names)
    seen = remember(seen, found, plan.names, now)
    _write(OURS / "seen.json", json.dumps(seen))
    if not _filled(plan, seen):
        return 1
    missing = sorted(name for name in plan.names if not seen.get(name))
    for name in missing:
        print(f"<5>no address yet: {name}", file=sys.stderr)
    return TRY_AGAIN if missing else 0


def remember(seen: Seen, found: Mapping[str, tuple[Address, ...]], names: Iterable[str], now: float) -> Seen:
    """What the names mean: now, or within the last day. A clock that was set back forgets nothing."""
    kept: Seen = {}
    for name in names:
        recent = {address: at for address, at in seen.get(name, {}).items() if now - at < KEPT_S}
        recent |= {str(address): now for address in found.get(name, ())[:MOST_ADDRESSES]}
        newest = sorted(recent.items(), key=lambda pair: pair[1], reverse=True)[:MOST_ADDRESSES]
        kept[name] = dict(sorted(newest))
    return kept


def look_up(names: Iterable[str], within_s: float = LOOK_UP_WITHIN_S) -> dict[str, tuple[Address, ...]]:
    """The addresses of each name that the resolver knows, all asked at once."""
    found: dict[str, tuple[Address, ...]] = {}

    def ask(name: str) -> None:
        try:
            answers = socket.getaddrinfo(name, None, proto=socket.IPPROTO_TCP)
        except (OSError, UnicodeError):
            return
        found[name] = tuple(dict.fromkeys(ip_address(str(answer[4][0]).partition("%")[0]) for answer in answers))

    threads = [threading.Thread(target=ask, args=(name,), daemon=True) for name in sorted(names)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + within_s
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return dict(found)


def read_seen(path: Path) -> Seen:
    """What was left by the last run; nothing when it is not there or not ours."""
    try:
        with path.open("rb") as file:
            tree = json.loads(file.read(MAX_SEEN_BYTES))
        return {
            str(name): {str(ip_address(address)): float(at) for address, at in each.items()}
            for name, each in tree.items()
        }
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def write_files(made: Mapping[str, str], ours: Path, networkd: Path) -> None:
    """Each in place by rename; those of an earlier configuration go."""
    for name, content in made.items():
        folder, _, file = name.partition("/")
        _write((networkd if folder == "networkd" else ours / folder) / file, content)
    for old in networkd.glob("*.network"):
        if f"networkd/{old.name}" not in made:
            old.unlink()


def run_nft(script: str) -> bool:
    """Whether the firewall took it."""
    done = subprocess.run([NFT, "-f", "-"], input=script.encode(), capture_output=True, timeout=30, check=False)  # noqa: S603
    if done.returncode:
        print(f"<3>nft: {done.stderr[:2000].decode(errors='replace')}", file=sys.stderr)
    return done.returncode == 0


def _filled(plan: Plan, seen: Seen) -> bool:
    filled: Elements = elements(plan, {name: tuple(map(ip_address, each)) for name, each in seen.items()})
    if not run_nft(fill(filled)):
        return False
    _write(OURS / "elements.json", json.dumps(filled))
    return True


def _tree(path: Path) -> dict[str, Any]:
    """The configuration as TOML gives it; nothing when there is none that can be read."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(handle, "rb") as file:
            text = file.read(MAX_CONFIG_BYTES + 1)
        if len(text) > MAX_CONFIG_BYTES:
            raise ValueError("is larger than a configuration")
        return tomllib.loads(text.decode("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        print(f"<4>the configuration cannot be read: {type(error).__name__}", file=sys.stderr)
        return {}


def _write(path: Path, content: str) -> None:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_text(content, encoding="utf-8")
    new.chmod(0o644)
    new.replace(path)
