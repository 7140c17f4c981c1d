"""A card key made of a real RSA key that does what a CPS's does, and no more; with the faults of a card.

CPS3's signs a digest with PKCS#1 v1.5; CPS4's authentication key also does raw RSA. Waits run on the loop, as for a
card behind its own thread.
"""

import asyncio
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from passevue.errors import BoxError, CardAbsent
from tests.peers.pki_persons import CardKey as Certified

HASHES = {"sha1": hashes.SHA1(), "sha256": hashes.SHA256()}


@dataclass
class OnlySigns:
    """`fails` is raised instead of signing; `pulled` ends what is under way and all that follows."""

    certified: Certified
    raw_rsa: bool = False
    takes_s: float = 0.0
    fails: BoxError | None = None
    swapped: rsa.RSAPrivateKey | None = None  # another card's key by now
    signatures: int = 0
    pulled: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def certificate(self) -> x509.Certificate:
        return self.certified.certificate

    async def sign_digest(self, digest: bytes, hash_name: str) -> bytes:
        await self._work()
        return self._key.sign(digest, padding.PKCS1v15(), Prehashed(HASHES[hash_name]))

    async def decrypt_block(self, block: bytes) -> bytes:
        assert self.raw_rsa, "this card has no raw RSA"
        await self._work()
        numbers = self._key.private_numbers()
        modulus = numbers.public_numbers.n
        return pow(int.from_bytes(block, "big"), numbers.d, modulus).to_bytes(len(block), "big")

    @property
    def _key(self) -> rsa.RSAPrivateKey:
        return self.swapped or self.certified.key

    async def _work(self) -> None:
        self.asked.set()
        if self.takes_s:
            waiting = asyncio.ensure_future(self.pulled.wait())
            await asyncio.wait([waiting], timeout=self.takes_s)
            waiting.cancel()
        if self.pulled.is_set():
            raise CardAbsent("card was pulled")
        if self.fails is not None:
            raise self.fails
        self.signatures += 1
