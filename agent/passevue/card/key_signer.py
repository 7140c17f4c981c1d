"""One private key somewhere else, and the `Signer` and the TLS made of it: the same for a card and for a token.

Rules:
- Each signature is checked with the certificate before anyone sees it (cps-card.md § 6): a card swapped between the
  reading and the signature is a `TrustError`, never a document signed by one person in the name of another.
- One key signs documents, another opens TLS (CERT-03): the certificate's key usage decides, whoever asks.
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
from passevue.errors import CredentialError, TrustError

_HASHES: dict[str, hashes.HashAlgorithm] = {"sha1": hashes.SHA1(), "sha256": hashes.SHA256()}  # noqa: S303
_LONGEST_ON_LOOP_BYTES = 1 << 20  # hashed in about 1 ms


class SigningKey(Protocol):
    """One private key, for as long as its card or token stays there.

    A second implementer keeps this contract: both are coroutines that never block the loop, one operation each.
    `raw_rsa` says whether `decrypt_block` works (CPS4's authentication key, PKCS#11 tokens).

    Raises (from both):
        CardAbsent: the card or token was pulled, or is another one by now.
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


class KeySigner:
    """A `Signer` over such a key.

    Raises:
        CredentialError: the certificate is not one that may sign documents, or not RSA.
    """

    def __init__(self, key: SigningKey) -> None:
        if not _usage(key.certificate).content_commitment:
            raise CredentialError(
                "expected a signature certificate (nonRepudiation)",
                hint="Le certificat de signature est absent ou inutilisable.",
            )
        self._key = key
        self._public = _public(key.certificate)

    @property
    def key(self) -> SigningKey:
        return self._key

    @property
    def certificate(self) -> x509.Certificate:
        return self._key.certificate

    async def sign(self, data: bytes, hash_name: str) -> bytes:
        if len(data) > _LONGEST_ON_LOOP_BYTES:
            digest = await asyncio.to_thread(hashed, data, hash_name)
        else:
            digest = hashed(data, hash_name)
        signature = await self._key.sign_digest(digest, hash_name)
        try:
            self._public.verify(signature, digest, padding.PKCS1v15(), Prehashed(_HASHES[hash_name]))
        except InvalidSignature as err:
            raise TrustError(
                "the signature does not belong to the certificate that was read",
                hint="La carte a été changée pendant la signature : rien n'a été signé. Réinsérez votre carte.",
            ) from err
        return signature


def tls_key_of(
    key: SigningKey, loop: asyncio.AbstractEventLoop, chain: Sequence[x509.Certificate] = ()
) -> tuple[TlsKey, AwaitedOperation]:
    """What `TlsThread` wants; `loop` is where the card or token is spoken to.

    Raises:
        CredentialError: the certificate is not one that may open TLS.
    """
    if not _usage(key.certificate).digital_signature:
        raise CredentialError(
            "expected an authentication certificate (digitalSignature)",
            hint="Le certificat d'authentification est absent ou inutilisable.",
        )

    async def sign(digest_info: bytes) -> bytes:
        return await key.sign_digest(*read_digest_info(digest_info))

    operation = AwaitedOperation(loop, sign, key.decrypt_block if key.raw_rsa else None)
    return TlsKey(key.certificate, operation, chain), operation


def _usage(certificate: x509.Certificate) -> x509.KeyUsage:
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except (x509.ExtensionNotFound, ValueError) as err:
        raise CredentialError(
            "the certificate says nothing of its key usage", hint="Le certificat est inutilisable."
        ) from err


def _public(certificate: x509.Certificate) -> rsa.RSAPublicKey:
    public = certificate.public_key()
    if not isinstance(public, rsa.RSAPublicKey):
        raise CredentialError(
            f"expected an RSA certificate, got {type(public).__name__}",
            hint="Cette carte utilise un type de clé qui n'est pas encore pris en charge.",
        )
    return public
