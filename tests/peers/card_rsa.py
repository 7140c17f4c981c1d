"""What the card's coprocessor does: raw RSA, PKCS#1 v1.5 and PSS around it (RFC 8017)."""

import functools
import hashlib

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils

DIGEST_INFO = {  # RFC 8017 § 9.2 note 1
    "sha1": bytes.fromhex("3021300906052b0e03021a05000414"),
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
}


def raw(key: rsa.RSAPrivateKey, block: bytes) -> bytes:
    """`block`^d mod n, on the size of the modulus."""
    numbers = _numbers(key)
    n = numbers.public_numbers.n
    value = int.from_bytes(block, "big")
    if value >= n:
        raise ValueError("the block is not smaller than the modulus")
    # Chinese remainders: four times quicker, as a card does.
    m1 = pow(value % numbers.p, numbers.dmp1, numbers.p)
    m2 = pow(value % numbers.q, numbers.dmq1, numbers.q)
    found = m2 + numbers.q * ((m1 - m2) * numbers.iqmp % numbers.p)
    return found.to_bytes(key.key_size // 8, "big")


@functools.cache
def _numbers(key: rsa.RSAPrivateKey) -> rsa.RSAPrivateNumbers:
    return key.private_numbers()


def sign_block(key: rsa.RSAPrivateKey, content: bytes) -> bytes:
    """PKCS#1 v1.5, block type 1, of whatever `content` is: a DigestInfo if the caller does right."""
    size = key.key_size // 8
    return raw(key, b"\x00\x01" + b"\xff" * (size - 3 - len(content)) + b"\x00" + content)


def sign_digest(key: rsa.RSAPrivateKey, algorithm: str, digest: bytes) -> bytes:
    return sign_block(key, DIGEST_INFO[algorithm] + digest)


def sign_pss(key: rsa.RSAPrivateKey, algorithm: str, digest: bytes) -> bytes:
    """PSS, salt as long as the digest, MGF1 with the same hash: what TLS 1.3 wants."""
    chosen = {"sha1": hashes.SHA1(), "sha256": hashes.SHA256()}[algorithm]
    scheme = padding.PSS(padding.MGF1(chosen), salt_length=len(digest))
    return key.sign(digest, scheme, utils.Prehashed(chosen))


def decipher(key: rsa.RSAPrivateKey, cryptogram: bytes) -> bytes:
    """What PKCS#1 v1.5 encryption hid.

    Raises:
        ValueError: the padding is wrong.
    """
    block = raw(key, cryptogram)
    end = block.find(b"\x00", 2)
    if block[:2] != b"\x00\x02" or end < 10:
        raise ValueError("no PKCS#1 v1.5 padding")
    return block[end + 1 :]


def digest_size(algorithm: str) -> int:
    return hashlib.new(algorithm).digest_size
