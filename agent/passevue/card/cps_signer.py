"""A `Signer` whose key is in a CPS card: VIHF in DIRECTE mode, XAdES.

    async with readers.session(event) as session:
        await session.verify(code)
        signer = CpsSigner(await session.key(KeyUse.SIGN))
        tls, operation = tls_key_of(await session.key(KeyUse.AUTH), loop)

It holds a session with one card, never a code: whoever verified the code did it on that session. A card that wants it
anew raises `PinNeeded`; a card that left raises `CardAbsent`, from then on for good: a card put in later is another
session, with another signer.
"""

from passevue.card.key_signer import KeySigner, SigningKey
from passevue.errors import CardAbsent

__all__ = ["CardKey", "CpsSigner"]

CardKey = SigningKey  # what a session with a card gives for one of its keys


class CpsSigner(KeySigner):
    """A `Signer` over the signature key of a card, until that card leaves."""

    def __init__(self, key: SigningKey) -> None:
        super().__init__(key)
        self._gone: str | None = None

    async def sign(self, data: bytes, hash_name: str) -> bytes:
        if self._gone is not None:
            raise CardAbsent(self._gone)
        try:
            return await super().sign(data, hash_name)
        except CardAbsent as err:
            self._gone = err.message
            raise
