"""A `Signer` whose key is in a CPS card: VIHF in DIRECTE mode, XAdES, and the card holder's TLS.

Rules:
- It holds a session with one card, never a code: whoever verified the code did it on that session. A card that wants
  it anew raises `PinNeeded`; a card that left raises `CardAbsent`, from then on for good: a card put in later is
  another session, with another signer.
- Each signature is checked with the certificate before anyone sees it (cps-card.md § 6): a card swapped between the
  reading and the signature is a `TrustError`, never a document signed by one person in the name of another.
- The signature key signs documents, the authentication key opens TLS: which is used is fixed when the signer is made
  and the certificate's key usage must agree.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from passevue.card.digest_info import hashed, read_digest_info
from passevue.card.tls_key import TlsKey
from passevue.card.tls_thread import AwaitedOperation
from passevue.errors import CardAbsent, CredentialError, TrustError

_HASHES: dict[str, hashes.HashAlgorithm] = {"sha1": hashes.SHA1(), "sha256": hashes.SHA256()}  # noqa: S303
_LONGEST_ON_LOOP_BYTES = 1 << 20  # hashed in about 1 ms


class CardKey(Protocol):
    """One private key of the card in the reader, for as long as that card stays there.

    A second implementer keeps this contract: both are coroutines that never block the loop, one card operation each.
    `raw_rsa` says whether `decrypt_block` works (CPS4's authentication key).

    Raises (from both):
        CardAbsent: the card was pulled, or is another one by now.
        PinNeeded, PinBlocked: its code is wanted first.
        CardFault: it answered nonsense, or not in time.
    """

    @property
    def certificate(self) -> x509.Certificate: ...

    @property
    def raw_rsa(self) -> bool: ...

    async def sign_digest(self, digest: bytes, hash_name: str) -> bytes:
        """PKCS#1 v1.5 signature of a digest made with `hash_name` `sha1` or `sha256`."""
        ...

    async def decrypt_block(self, block: bytes) -> bytes:
        """Raw RSA with the private exponent on a block as long as the modulus."""
        ...


class CpsSigner:
    """A `Signer` over one key of a card.

    Raises:
        CredentialError: the certificate is not one that may sign documents, or not RSA.
    """

    def __init__(self, key: CardKey) -> None:
        if not _usage(key.certificate).content_commitment:
            raise CredentialError(
                "expected the card's signature certificate (nonRepudiation)",
                hint="Le certificat de signature de la carte est absent ou inutilisable.",
            )
        self._key = key
        self._public = _public(key.certificate)
        self._gone: CardAbsent | None = None

    @property
    def certificate(self) -> x509.Certificate:
        return self._key.certificate

    async def sign(self, data: bytes, hash_name: str) -> bytes:
        if self._gone is not None:
            raise CardAbsent(self._gone.message)
        if len(data) > _LONGEST_ON_LOOP_BYTES:
            digest = await asyncio.to_thread(hashed, data, hash_name)
        else:
            digest = hashed(data, hash_name)
        try:
            signature = await self._key.sign_digest(digest, hash_name)
        except CardAbsent as err:
            self._gone = err
            raise
        try:
            self._public.verify(signature, digest, padding.PKCS1v15(), Prehashed(_HASHES[hash_name]))
        except InvalidSignature as err:
            raise TrustError(
                "the card's signature does not belong to the certificate that was read",
                hint="La carte a été changée pendant la signature : rien n'a été signé. Réinsérez votre carte.",
            ) from err
        return signature


def card_tls_key(
    key: CardKey, loop: asyncio.AbstractEventLoop, chain: Sequence[x509.Certificate] = ()
) -> tuple[TlsKey, AwaitedOperation]:
    """What `TlsThread` wants, for the card's authentication key; `loop` is where the card is spoken to.

    Raises:
        CredentialError: the certificate is not one that may open TLS.
    """
    if not _usage(key.certificate).digital_signature:
        raise CredentialError(
            "expected the card's authentication certificate (digitalSignature)",
            hint="Le certificat d'authentification de la carte est absent ou inutilisable.",
        )

    async def sign(digest_info: bytes) -> bytes:
        return await key.sign_digest(*read_digest_info(digest_info))

    operation = AwaitedOperation(loop, sign, key.decrypt_block if key.raw_rsa else None)
    return TlsKey(key.certificate, operation, chain), operation


def _usage(certificate: x509.Certificate) -> x509.KeyUsage:
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except (x509.ExtensionNotFound, ValueError) as err:
        raise CredentialError("the card's certificate says nothing of its key usage") from err


def _public(certificate: x509.Certificate) -> rsa.RSAPublicKey:
    public = certificate.public_key()
    if not isinstance(public, rsa.RSAPublicKey):
        raise CredentialError(f"expected an RSA certificate, got {type(public).__name__}")
    return public
