"""A key in a file: PEM, or the PKCS#12 that the IGC-Santé delivers.

Facts:
- IGC-Santé deliveries have long been encrypted with RC2-40 and 3DES (igc-sante.md § 6). 3DES still opens here; RC2
  needs OpenSSL's legacy provider, which the image does not ship: such a file is refused, with the way to convert it.
- An RSA-2048 signature takes under 2 ms and stays on the loop; longer keys sign on a thread.
- cryptography's own check of an RSA key (are its primes prime?) takes 30 ms with the interpreter held, and with it the
  event loop, whichever thread asks. Left out: one signature, verified with the certificate, says more in 2 ms.
- SHA-1 may be refused by a strict OpenSSL policy: that is a `CredentialError`, found at the first signature.
"""

import asyncio

from cryptography import x509
from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12

from passevue.errors import CredentialError, TrustError, Unreadable

_HASHES: dict[str, type[hashes.HashAlgorithm]] = {"sha1": hashes.SHA1, "sha256": hashes.SHA256}
_LONGEST_ON_LOOP_BITS = 2048
_ANYTHING = b"Passevue"
_CONVERT = "openssl pkcs12 -legacy -in ancien.p12 -nodes | openssl pkcs12 -export -out nouveau.p12"


class PemSigner:
    """A `Signer` whose key is in memory.

    Raises:
        TrustError: the key is not that of the certificate.
    """

    def __init__(self, certificate: x509.Certificate, key: rsa.RSAPrivateKey) -> None:
        if certificate.public_key() != key.public_key():
            raise TrustError(
                f"key does not belong to certificate {certificate.serial_number:x}",
                hint="La clé privée n'est pas celle du certificat : vérifiez les deux fichiers.",
            )
        self._certificate = certificate
        self._key = key

    @property
    def certificate(self) -> x509.Certificate:
        return self._certificate

    async def sign(self, data: bytes, hash_name: str) -> bytes:
        if self._key.key_size > _LONGEST_ON_LOOP_BITS:
            return await asyncio.to_thread(self._sign, data, hash_name)
        return self._sign(data, hash_name)

    def _sign(self, data: bytes, hash_name: str) -> bytes:
        try:
            return self._key.sign(data, padding.PKCS1v15(), _HASHES[hash_name]())
        except (UnsupportedAlgorithm, ValueError) as err:
            raise CredentialError(
                f"cannot sign with {hash_name}: {err}",
                hint="Cet algorithme de signature est interdit ici : changez « registry.digest ».",
            ) from err


def read_pem(certificate: bytes, key: bytes, password: bytes | None = None) -> PemSigner:
    """A signer from the PEM bytes of a certificate (the first one counts) and of its key.

    Raises:
        Unreadable: one of them is not PEM, or not RSA, or the password is wrong.
        TrustError: they do not belong together.
    """
    try:
        leaf = x509.load_pem_x509_certificate(certificate)
    except ValueError as err:
        raise Unreadable(f"expected a PEM certificate: {err}") from err
    return read_key(leaf, key, password)


def read_key(certificate: x509.Certificate, key: bytes, password: bytes | None = None) -> PemSigner:
    """A signer from a certificate and the PEM bytes of its key. Raises as `read_pem`."""
    try:
        private = _rsa(load_pem_private_key(key, password, unsafe_skip_rsa_key_validation=True))
    except (ValueError, TypeError, UnsupportedAlgorithm) as err:
        raise Unreadable(f"expected a PEM private key: {type(err).__name__}") from err
    signer = PemSigner(certificate, private)
    _prove(private)
    return signer


def _prove(key: rsa.RSAPrivateKey) -> None:
    """What it signs is verified by its public half, which is the certificate's."""
    try:
        signature = key.sign(_ANYTHING, padding.PKCS1v15(), hashes.SHA256())
        key.public_key().verify(signature, _ANYTHING, padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, InternalError, ValueError) as err:
        raise Unreadable(
            f"the private key is damaged: {type(err).__name__}",
            hint="La clé privée est abîmée : déposez-la de nouveau.",
        ) from err


def read_pkcs12(content: bytes, password: bytes) -> tuple[PemSigner, tuple[x509.Certificate, ...]]:
    """A signer from a PKCS#12 file, and the other certificates found in it.

    Raises:
        Unreadable: not PKCS#12, wrong password, encrypted with RC2, no key or no certificate, not RSA.
        TrustError: key and certificate do not belong together.
    """
    try:
        opened = pkcs12.load_pkcs12(content, password)
    except UnsupportedAlgorithm as err:
        raise Unreadable(
            "PKCS#12 is encrypted with an algorithm that is no longer opened (RC2)",
            hint=f"Convertissez-le une fois : {_CONVERT}",
        ) from err
    except ValueError as err:
        raise Unreadable(
            "PKCS#12 cannot be opened: wrong password, RC2 encryption or damaged file",
            hint=f"Vérifiez le mot de passe ; un fichier ancien se convertit une fois : {_CONVERT}",
        ) from err
    if opened.key is None or opened.cert is None:
        raise Unreadable("PKCS#12 holds no key with its certificate")
    others = tuple(entry.certificate for entry in opened.additional_certs)
    return PemSigner(opened.cert.certificate, _rsa(opened.key)), others


def _rsa(key: object) -> rsa.RSAPrivateKey:
    if not isinstance(key, rsa.RSAPrivateKey):
        raise Unreadable(f"expected an RSA key, got {type(key).__name__}")
    return key
