"""A virtual card reached without a reader: its own OS as the box's card code talks to it when no PC/SC is wanted."""

from passevue.card.apdu import Protocol
from passevue.card.session import CardSession
from passevue.errors import CardAbsent, CardFault

from .card import CardMute, CardRemoved, VirtualCard


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
            raise CardAbsent("the card was pulled") from None
        except CardMute:
            raise CardFault("no answer in time") from None


def session_of(card: VirtualCard, channel: object) -> CardSession:
    protocol = Protocol.T1 if card.profile.contactless else Protocol.T0
    return CardSession(channel, card.atr, protocol)  # type: ignore[arg-type]
