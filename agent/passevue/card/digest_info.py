"""The DigestInfo of PKCS#1 v1.5 (RFC 8017 § 9.2): what a key that signs a digest is given.

The prefixes are the DER of `SEQUENCE { SEQUENCE { OID, NULL }, OCTET STRING }` up to the digest itself.
"""

import hashlib

from passevue.errors import CredentialError

_PREFIXES = {
    "sha1": bytes.fromhex("3021300906052b0e03021a05000414"),
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
}


def hashed(data: bytes, hash_name: str) -> bytes:
    """Digest of `data`.

    Raises:
        CredentialError: another hash than SHA-1 or SHA-256; no card signs it.
    """
    if hash_name not in _PREFIXES:
        raise CredentialError(
            f"a card signs sha1 or sha256, not {hash_name}",
            hint="Cet algorithme de signature n'est pas possible avec cette clé : changez « registry.digest ».",
        )
    return hashlib.new(hash_name, data, usedforsecurity=hash_name != "sha1").digest()


def digest_info(digest: bytes, hash_name: str) -> bytes:
    return _PREFIXES[hash_name] + digest


def read_digest_info(content: bytes) -> tuple[bytes, str]:
    """Digest and hash name.

    Raises:
        CredentialError: it is neither of SHA-1 nor of SHA-256.
    """
    for name, prefix in _PREFIXES.items():
        if content.startswith(prefix) and len(content) == len(prefix) + hashlib.new(name).digest_size:
            return content[len(prefix) :], name
    raise CredentialError(f"expected a DigestInfo of SHA-1 or SHA-256, got {len(content)} bytes")
