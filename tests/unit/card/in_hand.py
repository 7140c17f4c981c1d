"""A virtual card reached without a reader: what the box's card code talks to when no PC/SC is wanted."""

from collections.abc import Callable

from passevue.card.apdu import Protocol
from passevue.card.session import CardSession
from passevue.errors import CardAbsent, CardFault
from tests.peers.card import CardMute, CardRemoved, Kind, Profile, VirtualCard
from tests.peers.pki_persons import CardKeys


class Direct:
    """`apdu.Channel` straight to a card. `count` are the exchanges so far."""

    def __init__(self, card: VirtualCard) -> None:
        self.card = card
        self.count = 0

    def exchange(self, apdu: bytes | bytearray) -> bytes:
        self.count += 1
        try:
            return self.card.answer(bytes(apdu))
        except CardRemoved:
            raise CardAbsent("pulled") from None
        except CardMute:
            raise CardFault("no answer in time") from None


class Scripted:
    """`apdu.Channel` that answers what it is told: bytes in turn, or by a function of the command."""

    def __init__(self, *answers: bytes, then: Callable[[bytes], bytes] | None = None) -> None:
        self.answers = list(answers)
        self.then = then
        self.sent: list[bytes] = []

    def exchange(self, apdu: bytes | bytearray) -> bytes:
        self.sent.append(bytes(apdu))
        if self.answers:
            return self.answers.pop(0)
        assert self.then is not None, f"no answer left for {apdu.hex()}"
        return self.then(bytes(apdu))


def powered(profile: Profile | None = None, keys: CardKeys | None = None) -> tuple[VirtualCard, CardSession, Direct]:
    card = VirtualCard(profile or Profile(), keys)
    card.power()
    direct = Direct(card)
    return card, session_of(card, direct), direct


def session_of(card: VirtualCard, channel: object) -> CardSession:
    protocol = Protocol.T1 if card.profile.kind is Kind.CPS3_CONTACTLESS else Protocol.T0
    return CardSession(channel, card.atr, protocol)  # type: ignore[arg-type]


def verifies(card: VirtualCard) -> int:
    """How many codes the card was given: VERIFY, CHANGE and UNBLOCK with data."""
    return sum(1 for each in card.trace if each.command[1] in (0x20, 0x24, 0x2C) and len(each.command) > 5)
