"""What a card answers: any bytes end in a whole card or in our own error, within bounds; then a good card works.

An input is a script for one card: its first byte chooses the card, then come records of position, length and answer put
in place of what the card would have said.
"""

import hashlib
from collections.abc import Iterable

from passevue.card.apdu import MOST_EXCHANGES
from passevue.errors import CardError
from tests.peers.card import Kind, Profile, VirtualCard
from tests.unit.card.in_hand import Direct, session_of, verifies

KINDS = (Kind.CPS3, Kind.CPS4, Kind.CPS3_CONTACTLESS)
DIGEST = hashlib.sha256(b"fuzz").digest()
_KEYS = VirtualCard().keys


class Liar:
    """A card whose answers at some positions are those of the input."""

    def __init__(self, card: VirtualCard, lies: dict[int, bytes]) -> None:
        self.direct = Direct(card)
        self.lies = lies

    def exchange(self, apdu: bytes | bytearray) -> bytes:
        said = self.direct.exchange(apdu)
        return self.lies.get(self.direct.count, said)


def seeds() -> Iterable[bytes]:
    for kind in range(len(KINDS)):
        yield bytes([kind])
        yield bytes([kind, 3, 0, 2, 0x6A, 0x82])
        yield bytes([kind, 9, 0, 2, 0x61, 0x10, 12, 0, 2, 0x6C, 0x01])
    card = VirtualCard(keys=_KEYS)
    direct = Direct(card)
    session_of(card, direct).identify()
    for position, exchange in enumerate(card.trace, 1):
        yield bytes([0, position]) + len(exchange.answer).to_bytes(2, "big") + exchange.answer


def script(data: bytes) -> tuple[Kind, dict[int, bytes]]:
    kind, rest, lies = KINDS[data[0] % len(KINDS)] if data else Kind.CPS3, data[1:], {}
    while len(rest) >= 3:
        size = int.from_bytes(rest[1:3], "big")
        lies[rest[0]] = rest[3 : 3 + size]
        rest = rest[3 + size :]
    return kind, lies


def whole_story(card: VirtualCard, channel: object) -> None:
    session = session_of(card, channel)
    cps = session.identify()
    if cps.pin is not None:
        session.verify(b"1234")
        session.situations()
    for key in cps.keys:
        session.sign(key.use, DIGEST)


def one_input(data: bytes) -> None:
    kind, lies = script(data)
    card = VirtualCard(Profile(kind=kind), _KEYS)
    liar = Liar(card, lies)
    try:
        whole_story(card, liar)
    except CardError as error:
        if not error.hint:
            raise AssertionError("an error without words") from error
    assert liar.direct.count <= 5 * MOST_EXCHANGES
    assert verifies(card) <= 1
    good = VirtualCard(Profile(kind=kind), _KEYS)
    assert session_of(good, Direct(good)).identify().number == good.profile.number
