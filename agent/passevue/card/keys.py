"""Signatures by a card's keys, in each generation's own way (cps-card.md § 6), each checked before anyone sees it.

    sign(line, files, application, key, generation, digest, "sha256")

Facts:
- CPS3's authentication and technical keys take a DigestInfo by INTERNAL AUTHENTICATE, its signature key a hash by
  PSO: COMPUTE DIGITAL SIGNATURE; PKCS#1 v1.5 only, SHA-1 and SHA-256 only. A hash made off the card is accepted.
- CPS4 signs by PSO: COMPUTE DIGITAL SIGNATURE, PKCS#1 v1.5 with the signature key, PSS with both; PKCS#1 v1.5 with the
  authentication key is raw RSA of the whole padded block by PSO: DECIPHER, in a chain.
- What MANAGE SECURITY ENVIRONMENT chose is lost when another application is selected: it is chosen anew each time.
"""

import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from passevue.card.apdu import SECURITY_STATUS, Line, Response
from passevue.card.cps import CpsKey, Generation, KeyUse, Padding
from passevue.card.digest_info import digest_info
from passevue.card.files import CardFiles
from passevue.errors import CardFault, PinNeeded

_HASHES: dict[str, type[hashes.HashAlgorithm]] = {"sha1": hashes.SHA1, "sha256": hashes.SHA256}

_MSE, _PSO, _INTERNAL_AUTHENTICATE = 0x22, 0x2A, 0x88
_SET = 0x41  # for computation
_CPS4_SET = 0x81
_AUTHENTICATION, _CONFIDENTIALITY, _SIGNATURE = 0xA4, 0xB8, 0xB6  # control reference templates
_COMPUTE_SIGNATURE = (0x9E, 0x9A)
_DECIPHER = (0x80, 0x86)

# Algorithm bytes of each generation (§ 6).
_CPS3_AUTHENTICATION = 0x02
_CPS3_SIGNATURE = {"sha1": 0x12, "sha256": 0x42}
_CPS4_SIGNATURE = {
    (Padding.PKCS1, "sha1"): 0x0A,
    (Padding.PKCS1, "sha256"): 0x28,
    (Padding.PSS, "sha1"): 0x15,
    (Padding.PSS, "sha256"): 0x2C,
}


def sign(
    line: Line,
    files: CardFiles,
    application: bytes,
    key: CpsKey,
    generation: Generation,
    digest: bytes,
    hash_name: str,
    scheme: Padding = Padding.PKCS1,
) -> bytes:
    """The signature of `digest` by `key`, verified with its certificate.

    Raises:
        PinNeeded: the code was not given since the card was powered.
        CardFault: the card cannot, or what it gave is no signature of this digest.
    """
    if hash_name not in _HASHES or len(digest) != hashlib.new(hash_name).digest_size:
        raise CardFault(f"the cards sign no {len(digest)}-byte digest {hash_name}")
    if scheme is Padding.PSS and generation is not Generation.CPS4:
        raise CardFault("a CPS3 has no RSA-PSS", hint="Cette carte CPS3 ne sait pas faire cette signature.")
    files.enter(application)
    if generation is Generation.CPS4:
        signature = _cps4(line, key, digest, hash_name, scheme)
    else:
        signature = _cps3(line, key, digest, hash_name)
    check(key, signature, digest, hash_name, scheme)
    return signature


def decrypt_block(
    line: Line, files: CardFiles, application: bytes, key: CpsKey, generation: Generation, block: bytes
) -> bytes:
    """`block` raised to the private exponent: raw RSA, which CPS4's authentication key alone does.

    Raises:
        PinNeeded: the code was not given since the card was powered.
        CardFault: the card cannot, or what it gave is not that.
    """
    public = _public(key)
    size = _modulus_bytes(key)
    if generation is not Generation.CPS4 or key.use is not KeyUse.AUTH:
        raise CardFault("this key does no raw RSA")
    if len(block) != size or int.from_bytes(block, "big") >= public.public_numbers().n:
        raise CardFault(f"expected a block of {size} bytes below the modulus")
    files.enter(application)
    _choose(line, _SET, _CONFIDENTIALITY, bytes((0x83, 1, key.reference)))
    result = _signature(line.send(_PSO, *_DECIPHER, block, 256))
    numbers = public.public_numbers()
    if len(result) != size or pow(int.from_bytes(result, "big"), numbers.e, numbers.n) != int.from_bytes(block, "big"):
        raise _not_its_key()
    return result


def _cps3(line: Line, key: CpsKey, digest: bytes, hash_name: str) -> bytes:
    if key.use is KeyUse.SIGN:
        chosen = bytes((0x80, 1, _CPS3_SIGNATURE[hash_name], 0x84, 1, key.reference))
        _choose(line, _SET, _SIGNATURE, chosen)
        return _signature(line.send(_PSO, *_COMPUTE_SIGNATURE, digest, 256))
    chosen = bytes((0x80, 1, _CPS3_AUTHENTICATION, 0x84, 1, key.reference))
    _choose(line, _SET, _AUTHENTICATION, chosen)
    return _signature(line.send(_INTERNAL_AUTHENTICATE, 0, 0, digest_info(digest, hash_name), 256))


def _cps4(line: Line, key: CpsKey, digest: bytes, hash_name: str, scheme: Padding) -> bytes:
    if scheme is Padding.PSS or key.use is KeyUse.SIGN:
        algorithm = _CPS4_SIGNATURE[scheme, hash_name]
        _choose(line, _CPS4_SET, _SIGNATURE, bytes((0x91, 2, algorithm, key.reference | 0x80)))
        return _signature(line.send(_PSO, *_COMPUTE_SIGNATURE, digest, 256))
    _choose(line, _SET, _CONFIDENTIALITY, bytes((0x83, 1, key.reference)))
    size = _modulus_bytes(key)
    return _signature(line.send(_PSO, *_DECIPHER, _block(digest_info(digest, hash_name), size), 256))


def _block(content: bytes, size: int) -> bytes:
    """PKCS#1 v1.5 padding, block type 1 (RFC 8017 § 9.2)."""
    return b"\x00\x01" + b"\xff" * (size - 3 - len(content)) + b"\x00" + content


def _choose(line: Line, p1: int, template: int, references: bytes) -> None:
    response = line.send(_MSE, p1, template, references)
    if response.sw == SECURITY_STATUS:
        raise PinNeeded("the card wants its holder's code before it signs")
    if not response.ok:
        raise CardFault(f"card does not take the key for this use: {response.sw:04X}")


def _signature(response: Response) -> bytes:
    if response.sw == SECURITY_STATUS:
        raise PinNeeded("the card wants its holder's code before it signs")
    if not response.ok:
        raise CardFault(f"card does not sign: {response.sw:04X}")
    return response.data


def check(key: CpsKey, signature: bytes, digest: bytes, hash_name: str, scheme: Padding = Padding.PKCS1) -> None:
    """Raise `CardFault` unless the certificate's key made `signature`."""
    algorithm = _HASHES[hash_name]()
    how: padding.AsymmetricPadding = padding.PKCS1v15()
    if scheme is Padding.PSS:
        how = padding.PSS(padding.MGF1(algorithm), algorithm.digest_size)
    try:
        _public(key).verify(signature, digest, how, Prehashed(algorithm))
    except InvalidSignature:
        raise _not_its_key() from None


def _not_its_key() -> CardFault:
    hint = "La signature de la carte n’est pas celle de son certificat : n’utilisez plus cette carte."
    return CardFault("the card's signature does not fit its certificate", hint=hint)


def _modulus_bytes(key: CpsKey) -> int:
    return (_public(key).key_size + 7) // 8


def _public(key: CpsKey) -> rsa.RSAPublicKey:
    public = key.certificate.public_key()
    if not isinstance(public, rsa.RSAPublicKey):
        raise CardFault("a certificate of the card has no RSA key")
    return public
