"""What the tests of card code talk to when no PC/SC is wanted: a virtual card, or answers written down."""

from collections.abc import Callable

from passevue.card.session import CardSession
from tests.peers.card import Profile, VirtualCard
from tests.peers.card_channel import Direct, session_of
from tests.peers.pki_persons import CardKeys

__all__ = ["Direct", "Scripted", "powered", "session_of", "verifies"]


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


def verifies(card: VirtualCard) -> int:
    """How many codes the card was given: VERIFY, CHANGE and UNBLOCK with data."""
    return sum(1 for each in card.trace if each.command[1] in (0x20, 0x24, 0x2C) and len(each.command) > 5)
