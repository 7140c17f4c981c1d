"""Who signs: one small seam behind which a PEM file, a card, a PKCS#11 token or a TPM looks the same.

A `Signer` holds one private key and its certificate. It signs digests' inputs; it never gives the key out. What is
signed, and in whose name, is decided by the callers in `national/`.
"""

from typing import Protocol

from cryptography import x509


class Signer(Protocol):
    """One key and its certificate.

    A second implementer keeps this contract: `sign` is a coroutine since a card may take seconds and wait for a
    person; it must not block the loop; it checks nothing of the content. PKCS#1 v1.5 with the named hash for RSA
    keys.

    Raises (from `sign`):
        CredentialError: the key cannot be used now (card out, PIN needed, token locked).
        TrustError: the key and its certificate do not belong together.
    """

    @property
    def certificate(self) -> x509.Certificate: ...

    async def sign(self, data: bytes, hash_name: str) -> bytes:
        """Signature of `data` (not yet hashed) with `hash_name` `sha1` or `sha256`."""
        ...
