"""mTLS from a stock `ssl.SSLContext` with a private key that only signs: a card's, or a token's.

OpenSSL hands the key either a DigestInfo to be signed with PKCS#1 v1.5 (TLS 1.2), or a whole PSS block for a raw RSA
operation (TLS 1.3). `TlsKey` passes it on, and checks what comes back with the certificate before OpenSSL sees it:
the certificate of one card is never combined with the signature of another.

Rules:
- A key without raw RSA (CPS3: INTERNAL AUTHENTICATE signs a DigestInfo, nothing else) is held to TLS 1.2 and
  `rsa_pkcs1_sha256`; one with it (CPS4, PKCS#11) may do TLS 1.3 with `rsa_pss_rsae_sha256` (cps-card.md § 10).
- The private operation blocks the thread of the handshake, up to a second on a card: such a context belongs into
  `tls_thread.TlsThread`, never on the main loop.
- OpenSSL can only be told that it failed: why is kept in `TlsKey` until `take_failure`.

    key = TlsKey(certificate, operation)
    use_key(context, key)
"""

import ctypes
import functools
import ssl
import threading
from collections.abc import Sequence
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from passevue.card.openssl import NO_PADDING, PKCS1_PADDING, Finish, OpenSsl, PrivateEncrypt, openssl
from passevue.errors import BoxError, CredentialError, TrustError

_PKCS1_ONLY = b"RSA+SHA256"
_PSS_FIRST = b"rsa_pss_rsae_sha256:RSA+SHA256"
_OVERHEAD_PKCS1 = 11  # 00 01, at least eight FF, 00
_C_DEFAULT_FINISH = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)


class PrivateOperation(Protocol):
    """What a key does when its thread may wait. Both block; both raise `BoxError`s.

    `raw_rsa` says whether `decrypt_block` works.
    """

    @property
    def raw_rsa(self) -> bool: ...

    def sign_digest_info(self, digest_info: bytes) -> bytes:
        """PKCS#1 v1.5 signature of a DER DigestInfo, as long as the modulus."""
        ...

    def decrypt_block(self, block: bytes) -> bytes:
        """`block ** d mod n`, both as long as the modulus."""
        ...


class TlsKey:
    """A certificate, what its key can do, and why it last failed.

    Args:
        chain: authorities sent along, from the leaf's issuer upwards; roots may stay out.

    Raises:
        CredentialError: the certificate's key is not RSA.
    """

    def __init__(
        self, certificate: x509.Certificate, operation: PrivateOperation, chain: Sequence[x509.Certificate] = ()
    ) -> None:
        public = certificate.public_key()
        if not isinstance(public, rsa.RSAPublicKey):
            raise CredentialError(
                f"expected an RSA certificate, got {type(public).__name__}",
                hint="Cette carte utilise un type de clé qui n'est pas encore pris en charge.",
            )
        self.certificate = certificate
        self.chain = tuple(chain)
        self.numbers = public.public_numbers()
        self.size = (public.key_size + 7) // 8
        self.raw_rsa = operation.raw_rsa
        self._operation = operation
        self._failure: BoxError | None = None
        self._lock = threading.Lock()

    def take_failure(self) -> BoxError | None:
        """Why the private operation last failed, once."""
        with self._lock:
            failure, self._failure = self._failure, None
            return failure

    def apply(self, data: bytes, padding: int) -> bytes | None:
        """What OpenSSL asks for: a checked result, or None with the reason kept."""
        try:
            return self._apply(data, padding)
        except BoxError as err:
            failure = err
        except Exception as err:
            failure = CredentialError(f"the key failed: {type(err).__name__}")
        with self._lock:
            self._failure = failure
        return None

    def _apply(self, data: bytes, padding: int) -> bytes:
        if padding == PKCS1_PADDING and len(data) <= self.size - _OVERHEAD_PKCS1:
            expected = b"\x00\x01" + b"\xff" * (self.size - len(data) - 3) + b"\x00" + data
            result = self._operation.sign_digest_info(data)
        elif padding == NO_PADDING and self.raw_rsa and len(data) == self.size:
            expected = data
            result = self._operation.decrypt_block(data)
        else:
            raise CredentialError(f"the key cannot do what TLS asks for (padding {padding})")
        if not self._gives(result, expected):
            raise TrustError(
                "the signature does not belong to the certificate",
                hint="La signature ne correspond pas au certificat lu : la carte a été changée ? Réinsérez-la.",
            )
        return result

    def _gives(self, result: bytes, expected: bytes) -> bool:
        if len(result) != self.size:
            return False
        number = int.from_bytes(result, "big")
        return number < self.numbers.n and pow(number, self.numbers.e, self.numbers.n) == int.from_bytes(
            expected, "big"
        )


def use_key(context: ssl.SSLContext, key: TlsKey) -> None:
    """Give `context` the certificate and the key; what the key cannot do, the context no longer offers.

    A context may be given another key later: handshakes begun keep the one they began with.

    Raises:
        CredentialError: this Python's `ssl` cannot do it (`openssl`), or OpenSSL refuses the certificate.
    """
    library = openssl()
    ssl_ctx = library.context_of(context)
    if not key.raw_rsa:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    _install(library, ssl_ctx, key)
    if not library.set_client_signature_algorithms(ssl_ctx, _PSS_FIRST if key.raw_rsa else _PKCS1_ONLY):
        raise _refused(library, "signature algorithms")
    library.empty_chain(ssl_ctx)
    for authority in key.chain:
        x509_of = library.certificate(authority.public_bytes(Encoding.DER))
        try:
            if not library.add_to_chain(ssl_ctx, x509_of):
                raise _refused(library, "chain")
        finally:
            library.X509_free(x509_of)


def _install(library: OpenSsl, ssl_ctx: int, key: TlsKey) -> None:
    leaf = library.certificate(key.certificate.public_bytes(Encoding.DER))
    try:
        if library.SSL_CTX_use_certificate(ssl_ctx, leaf) != 1:
            raise _refused(library, "certificate")
    finally:
        library.X509_free(leaf)
    signing = _method(library)
    held = library.public_rsa(key.numbers.n, key.numbers.e)
    library.RSA_set_method(held, signing.address)
    signing.keys[held] = key
    pkey = library.pkey_of(held)
    try:
        if library.SSL_CTX_use_PrivateKey(ssl_ctx, pkey) != 1:
            raise _refused(library, "key")
    finally:
        library.EVP_PKEY_free(pkey)  # the context holds its own reference


class _Method:
    """The one RSA_METHOD: which key each living RSA stands for, by its address, until OpenSSL frees it."""

    def __init__(self, library: OpenSsl) -> None:
        self.keys: dict[int, TlsKey] = {}
        keys = self.keys
        default = library.RSA_PKCS1_OpenSSL()
        default_finish = _C_DEFAULT_FINISH(library.RSA_meth_get_finish(default))

        def private_encrypt(length: int, source: int, target: int, held: int, padding: int) -> int:
            key = keys.get(held)
            result = key.apply(ctypes.string_at(source, length), padding) if key is not None else None
            if result is None:
                return -1
            ctypes.memmove(target, result, len(result))
            return len(result)

        def finish(held: int) -> int:
            keys.pop(held, None)
            return int(default_finish(held))

        self._callbacks = (PrivateEncrypt(private_encrypt), Finish(finish))
        for callback in self._callbacks:  # contexts may be freed after this module, when the interpreter ends
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(callback))
        self.address = library.RSA_meth_dup(default)
        if not self.address:
            raise MemoryError("OpenSSL made no RSA method")
        library.RSA_meth_set_priv_enc(self.address, self._callbacks[0])
        library.RSA_meth_set_finish(self.address, self._callbacks[1])


@functools.cache
def _method(library: OpenSsl) -> _Method:
    return _Method(library)


def keys_in_use() -> int:
    """How many keys living contexts and connections hold."""
    return len(_method(openssl()).keys)


def _refused(library: OpenSsl, what: str) -> CredentialError:
    library.ERR_clear_error()
    return CredentialError(
        f"OpenSSL refuses the {what} for TLS", hint="Le certificat de la carte ne permet pas d'ouvrir la connexion."
    )
