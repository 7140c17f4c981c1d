"""STOR-07: the volumes of the store and of the logs are above the marks where back-pressure begins."""

from passevue.baseline.machine import Machine
from passevue.baseline.remedies import ROOM
from passevue.baseline.rule import Effect, Finding, Function, Level, Rule, Text, When, failed, passed
from passevue.errors import Unreadable

FREE_SHARE, FREE_BYTES = 0.20, 5 << 30


def check(machine: Machine) -> Finding:
    volumes = [_volume(line) for line in machine.facts.lines("room")]
    if not volumes:
        raise Unreadable("no volume was measured")
    low = [each for each in volumes if each[2] < FREE_BYTES or each[2] < each[1] * FREE_SHARE]
    told = "; ".join(
        f"{path}: {free / (1 << 30):.1f} GiB free, {free / total:.0%}" for path, total, free in low or volumes
    )
    return failed(told) if low else passed(told)


def _volume(line: str) -> tuple[str, int, int]:
    path, _, total, free = line.rsplit(" ", 3)
    if not 0 <= int(free) <= int(total) or not int(total):
        raise Unreadable("a volume has sizes that do not add up")
    return path, int(total), int(free)


RULE = Rule(
    id="STOR-07",
    slug="room_left",
    level=Level.MUST,
    effect=Effect.HOLD,
    when=frozenset({When.PERIODIC}),
    title=Text("Il reste de la place", "There is room left"),
    why=Text(
        "Un disque plein arrêterait d’abord les images, puis les comptes rendus.",
        "A full disk would stop images first, then reports.",
    ),
    expected="data and logs: free >= 20 % and >= 5 GiB",
    remedy=ROOM,
    source="LOG R8 R21 R22, PG 7.1.3.3",
    check=check,
    holds=frozenset({Function.IMAGES}),
    can_flap=True,
)
