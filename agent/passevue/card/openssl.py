"""The few functions of libssl and libcrypto that put a key which only signs behind Python's own `SSLContext`.

Python's `ssl` has no key callback. OpenSSL has: an RSA object with a method of ours, given to the `SSL_CTX` that an
`SSLContext` wraps. This module knows where that pointer is and which C functions take it; it knows no card and no key.

Facts (cps-card.md § 10):
- The libraries used are those `_ssl` itself is linked with: found through `_ssl`'s own handle, since other extension
  modules of the process carry copies of their own. A Python with OpenSSL linked in statically has none to offer.
- CPython keeps `SSL_CTX *ctx` right behind the object header. That is not promised anywhere, so it is proved once per
  process on contexts made for it, reading memory in a way that fails instead of crashing, and refused otherwise.
- `RSA_METHOD`s are not counted: one is made for the process and kept for ever, as is its callbacks' code.
"""

import ctypes
import functools
import os
import ssl
import struct
import sys
from typing import Any

from passevue.errors import CredentialError

PKCS1_PADDING = 1  # RSA_PKCS1_PADDING: the data is a DigestInfo
NO_PADDING = 3  # RSA_NO_PADDING: the data is a whole block, already padded (PSS)
_EVP_PKEY_RSA = 6
_CTRL_CHAIN = 88
_CTRL_CHAIN_CERT = 89
_CTRL_SET_CLIENT_SIGALGS_LIST = 102
_OLDEST, _BEYOND = (3, 0), (4, 0)  # proved with 3.0 and 3.5

_P, _I, _L = ctypes.c_void_p, ctypes.c_int, ctypes.c_long
_U64 = ctypes.c_uint64
PrivateEncrypt = ctypes.CFUNCTYPE(_I, _I, _P, _P, _P, _I)  # flen, from, to, rsa, padding
Finish = ctypes.CFUNCTYPE(_I, _P)

# name: (result, arguments)
_FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "BN_bin2bn": (_P, (ctypes.c_char_p, _I, _P)),
    "BN_free": (None, (_P,)),
    "EVP_PKEY_assign": (_I, (_P, _I, _P)),
    "EVP_PKEY_free": (None, (_P,)),
    "EVP_PKEY_new": (_P, ()),
    "ERR_clear_error": (None, ()),
    "RSA_PKCS1_OpenSSL": (_P, ()),
    "RSA_free": (None, (_P,)),
    "RSA_meth_dup": (_P, (_P,)),
    "RSA_meth_get_finish": (_P, (_P,)),
    "RSA_meth_set_finish": (_I, (_P, Finish)),
    "RSA_meth_set_priv_enc": (_I, (_P, PrivateEncrypt)),
    "RSA_new": (_P, ()),
    "RSA_set0_key": (_I, (_P, _P, _P, _P)),
    "RSA_set_method": (_I, (_P, _P)),
    "SSL_CTX_ctrl": (_L, (_P, _I, _L, _P)),
    "SSL_CTX_get_options": (_U64, (_P,)),
    "SSL_CTX_get_verify_mode": (_I, (_P,)),
    "SSL_CTX_use_PrivateKey": (_I, (_P, _P)),
    "SSL_CTX_use_certificate": (_I, (_P, _P)),
    "X509_free": (None, (_P,)),
    "d2i_X509": (_P, (_P, ctypes.POINTER(ctypes.c_char_p), _L)),
}


class OpenSsl:
    """The functions, typed. Attributes are named as in OpenSSL's manual."""

    def __init__(self) -> None:
        import _ssl

        library = ctypes.CDLL(getattr(_ssl, "__file__", None))
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, list(arguments)
            setattr(self, name, function)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)

    def context_of(self, context: ssl.SSLContext) -> int:
        """Address of the `SSL_CTX` that `context` wraps."""
        (address,) = struct.unpack("P", ctypes.string_at(id(context) + object.__basicsize__, struct.calcsize("P")))
        return int(address)

    def certificate(self, der: bytes) -> int:
        """An `X509` of `der`, to be freed by the caller. Raises CredentialError when OpenSSL does not read it."""
        start = ctypes.c_char_p(der)
        found = self.d2i_X509(None, ctypes.byref(start), len(der))
        if not found:
            self.ERR_clear_error()
            raise CredentialError(
                "OpenSSL cannot read the certificate", hint="Le certificat de la carte est illisible."
            )
        return int(found)

    def public_rsa(self, modulus: int, exponent: int) -> int:
        """An `RSA` that has a public half only, to be freed by the caller."""
        numbers = [self.BN_bin2bn(_octets(number), len(_octets(number)), None) for number in (modulus, exponent)]
        rsa = self.RSA_new()
        if not rsa or not all(numbers) or self.RSA_set0_key(rsa, *numbers, None) != 1:
            raise MemoryError("OpenSSL made no RSA key")
        return int(rsa)

    def pkey_of(self, rsa: int) -> int:
        """An `EVP_PKEY` that has taken over `rsa`, to be freed by the caller."""
        pkey = self.EVP_PKEY_new()
        if not pkey or self.EVP_PKEY_assign(pkey, _EVP_PKEY_RSA, rsa) != 1:
            raise MemoryError("OpenSSL made no key")
        return int(pkey)

    def empty_chain(self, ssl_ctx: int) -> None:
        self.SSL_CTX_ctrl(ssl_ctx, _CTRL_CHAIN, 0, None)

    def add_to_chain(self, ssl_ctx: int, x509: int) -> bool:
        return bool(self.SSL_CTX_ctrl(ssl_ctx, _CTRL_CHAIN_CERT, 1, x509) == 1)

    def set_client_signature_algorithms(self, ssl_ctx: int, names: bytes) -> bool:
        text = ctypes.c_char_p(names)
        return bool(self.SSL_CTX_ctrl(ssl_ctx, _CTRL_SET_CLIENT_SIGALGS_LIST, 0, ctypes.cast(text, _P)) == 1)


@functools.cache
def openssl() -> OpenSsl:
    """OpenSSL as `ssl` uses it, its layout proved.

    Raises:
        CredentialError: this Python offers no such thing; cards and tokens cannot open TLS on it.
    """
    if sys.implementation.name != "cpython" or not _OLDEST <= ssl.OPENSSL_VERSION_INFO[:2] < _BEYOND:
        raise _unfit(f"{sys.implementation.name} with {ssl.OPENSSL_VERSION}")
    try:
        found = OpenSsl()
    except (OSError, AttributeError, ImportError) as err:
        raise _unfit(f"no shared OpenSSL behind this Python: {err}") from err
    prove(found)
    return found


def prove(found: OpenSsl) -> None:
    """What C reads at the place where the pointer should be is what Python reads: twice, with differing settings."""
    for mode, verify, option in (
        (ssl.CERT_NONE, 0, ssl.OP_NO_TICKET),
        (ssl.CERT_REQUIRED, 3, ssl.OP_CIPHER_SERVER_PREFERENCE),  # SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT
    ):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = mode
        context.options |= option
        address = found.context_of(context)
        if not _is_memory(address):
            raise _unfit("SSLContext has another layout")
        options = found.SSL_CTX_get_options(address) & 0xFFFFFFFF
        if options != int(context.options) & 0xFFFFFFFF or found.SSL_CTX_get_verify_mode(address) != verify:
            raise _unfit("SSLContext has another layout")


def _is_memory(address: int) -> bool:
    """Whether a kilobyte can be read at `address`; the kernel answers, so that a wrong guess is no crash."""
    if address < 1 << 16 or address % struct.calcsize("P"):
        return False
    handle = os.open("/proc/self/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return len(os.pread(handle, 1024, address)) == 1024
    except (OSError, OverflowError):
        return False
    finally:
        os.close(handle)


def _unfit(reason: str) -> CredentialError:
    return CredentialError(
        f"the card's key cannot open TLS here: {reason}",
        hint="Cette installation de Python ne permet pas la connexion avec la carte : utilisez celle du système.",
    )


def _octets(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")
