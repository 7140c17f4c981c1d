"""Collecting the facts: everything of the system that the rules look at, read once, with bounds.

On the box three small units do it every four minutes, so that none has all the privileges that it takes:

    devices    root, CAP_SYS_ADMIN, disks, TPM; no network      device-mapper, LUKS, the disks' own health, TPM
    network    passevue-facts, CAP_NET_ADMIN; the box's network the loaded firewall, interfaces, the resolver
    rest       root, CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH …      everything else; then joins what the other two left

By hand, `passevue baseline facts` as root reads all of them at once. Nothing is decided here, and `takes` has each.

Some are dear, as walking the disk is: those are taken over from the last round while they are young (`LASTING_S`);
what lies on the verified root cannot change in one boot.
"""

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Final

from passevue.baseline.facts import MAX_FACT_BYTES, Facts
from passevue.baseline.machine import Machine
from passevue.baseline.takes import TAKES
from passevue.errors import Unreadable

FOREVER, NEARLY_A_DAY = float("inf"), 20 * 3600.0
LASTING_S: Final = {
    "data_rights": NEARLY_A_DAY, "disk_health": NEARLY_A_DAY, "firmware": NEARLY_A_DAY,
    "modules_known": FOREVER, "ruleset_signed": FOREVER,
}  # fmt: skip
MAX_REASON: Final = 200  # characters of why a fact is missing
ROUND_S: Final = 10 * 60.0  # what another unit left longer ago than this is of a round that failed since

ALL: Final = frozenset(TAKES)
DEVICES: Final = frozenset(
    {
        "crypt_table", "disk_health", "luks", "rollback_index", "slots_empty", "sysctls_guarded", "verity_status",
        "verity_table",
    }
)  # fmt: skip
NETWORK: Final = frozenset(
    {"dns", "links", "llmnr", "mdns", "radios", "ruleset", "ruleset_sets", "sysctls_network"}
)  # fmt: skip


class Hand(StrEnum):
    """A unit that reads, by the end of its name; `rest` is `passevue-facts` itself."""

    DEVICES = "devices"
    NETWORK = "network"
    REST = "rest"


HANDS: Final[Mapping[Hand, frozenset[str]]] = {
    Hand.DEVICES: DEVICES,
    Hand.NETWORK: NETWORK,
    Hand.REST: ALL - DEVICES - NETWORK,
}
# Read in pieces, by who can; one fact for the rules.
JOINED: Final = {"sysctls": ("sysctls_kernel", "sysctls_network")}


def collect(machine: Machine, before: Facts | None = None, names: Collection[str] = ALL) -> Facts:
    """Those facts, or why each is missing. `before` is the last round, if there was one in this boot. Blocks."""
    texts: dict[str, str] = {}
    missing: dict[str, str] = {}
    since: dict[str, float] = {}
    boot_id, uptime_s = machine.boot_id, machine.uptime_s
    kept = before if before is not None and before.boot_id == boot_id else Facts(boot_id, uptime_s)
    for name, take in TAKES.items():
        if name not in names:
            continue
        if name in LASTING_S and uptime_s - kept.since.get(name, float("-inf")) < LASTING_S[name]:
            texts[name], since[name] = kept.texts[name], kept.since[name]
            continue
        try:
            texts[name] = _bounded(take(machine))
        except Exception as err:  # whatever one fact meets, the others are read
            missing[name] = _reason(err)
            continue
        if name in LASTING_S:
            since[name] = uptime_s
    return Facts(boot_id, uptime_s, texts, missing, since)


def with_part(whole: Facts, hand: Hand, left: Facts | Exception, now_s: float) -> Facts:
    """The facts with what another unit left of its own, or why it left none that count. It speaks of nothing else.

    What it left may be newer than `whole`: who asks for a round while one is under way starts that unit again, and
    not this one. `now_s` is CLOCK_BOOTTIME.
    """
    names = HANDS[hand]
    if isinstance(left, Facts):
        try:
            left.check_fresh(whole.boot_id, now_s, ROUND_S)
        except Unreadable as err:
            left = err
    if isinstance(left, Exception):
        missing = dict.fromkeys(names, f"passevue-facts-{hand}: {_reason(left)}"[:MAX_REASON])
        return Facts(whole.boot_id, whole.uptime_s, whole.texts, {**whole.missing, **missing}, whole.since)
    texts = {name: text for name, text in left.texts.items() if name in names}
    missing = {name: left.missing.get(name, "not collected") for name in names if name not in texts}
    since = {name: at for name, at in left.since.items() if name in texts}
    return Facts(
        whole.boot_id,
        min(whole.uptime_s, left.uptime_s),
        {**whole.texts, **texts},
        {**whole.missing, **missing},
        {**whole.since, **since},
    )


def joined(facts: Facts) -> Facts:
    """The facts as the rules want them: what was read in pieces is one, or missing as soon as one piece is."""
    texts, missing = dict(facts.texts), dict(facts.missing)
    for whole, pieces in JOINED.items():
        reasons = [missing.pop(piece) for piece in pieces if piece in missing]
        read = [texts.pop(piece) for piece in pieces if piece in texts]
        if reasons or len(read) != len(pieces):
            missing[whole] = next(iter(reasons), "not collected")
        else:
            texts[whole] = "".join(read)
    return Facts(facts.boot_id, facts.uptime_s, texts, missing, facts.since)


def _reason(err: Exception) -> str:
    return f"{type(err).__name__}: {err}"[:MAX_REASON]


def _bounded(text: str) -> str:
    if len(text) > MAX_FACT_BYTES:
        raise Unreadable(f"longer than {MAX_FACT_BYTES} bytes")
    return text
