"""The keys of structures that stay in PKCS#11 tokens: found by their URI, one login for all keys of a token.

Rules:
- Nothing is asked of a token before something is to be signed: one that is not there holds entries
  (`CredentialError`), and keeps no box from taking reports in.
- What speaks PKCS#11 is loaded for the first such key: most boxes have their keys in files.
- The PIN is read from its file at each login, and kept nowhere. One that was refused is sent again only when its file
  has changed.
"""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509

from passevue.card.key_signer import SigningKey
from passevue.card.signer import Signer
from passevue.config_keys import TokenKeyUri
from passevue.errors import CredentialError
from passevue.national.file_stamp import file_stamp

if TYPE_CHECKING:
    from passevue.card.pkcs11 import KeyName, Pkcs11Token

_LONGEST_PIN_BYTES = 256  # PKCS#11 sets no bound; libraries take 64 to 255


@dataclass(frozen=True, slots=True, eq=False)
class TokenTls:
    """What opens TLS in a structure's name: its key in a token."""

    token: "Pkcs11Token"
    name: "KeyName"
    certificate: x509.Certificate
    chain: Sequence[x509.Certificate]

    async def open_tls(self) -> SigningKey:
        """Raises: CredentialError: the token, its PIN or the key are not there, or do not fit."""
        return await self.token.key(self.name, self.certificate)


class TokenKeys:
    """The tokens of one process. Any thread may ask for keys; `close` ends the tokens' own threads."""

    def __init__(self) -> None:
        self._tokens: dict[tuple[Path, str], tuple[Path, object, Pkcs11Token]] = {}
        self._lock = threading.Lock()

    def signer(self, uri: TokenKeyUri, certificate: x509.Certificate) -> Signer:
        """Raises: CredentialError: the certificate is not one that signs."""
        from passevue.card.pkcs11 import Pkcs11Key, Pkcs11Signer

        return Pkcs11Signer(Pkcs11Key(self._token(uri), _name(uri), certificate))

    def tls(self, uri: TokenKeyUri, certificate: x509.Certificate, chain: Sequence[x509.Certificate]) -> TokenTls:
        return TokenTls(self._token(uri), _name(uri), certificate, tuple(chain))

    async def close(self) -> None:
        with self._lock:
            tokens, self._tokens = self._tokens, {}
        await asyncio.gather(*(token.close() for _, _, token in tokens.values()))

    def _token(self, uri: TokenKeyUri) -> "Pkcs11Token":
        """The one of this module and label. Whichever file names its PIN first is the one that counts."""
        from passevue.card.pkcs11 import Pkcs11Token

        with self._lock:
            pin, seen, token = self._tokens.get((uri.module, uri.token), (uri.pin, None, None))
            stamp = file_stamp(pin)
            if token is None:
                token = Pkcs11Token(uri.module, uri.token, lambda: read_pin(pin))
            elif stamp != seen:
                token.unlatch()
            self._tokens[uri.module, uri.token] = (pin, stamp, token)
            return token


def read_pin(path: Path) -> str:
    """The one line of `path`.

    Raises:
        CredentialError: it is not there, or not a PIN.
    """
    try:
        with path.open("rb") as file:
            pin = file.read(_LONGEST_PIN_BYTES + 1).rstrip(b"\r\n").decode()
    except OSError as err:
        raise CredentialError(f"cannot read the token's PIN: {err.strerror}", hint=_pin_hint(path)) from err
    except UnicodeDecodeError:
        pin = ""
    if not pin or len(pin.encode()) > _LONGEST_PIN_BYTES or not pin.isprintable():
        raise CredentialError("expected one line with the token's PIN", hint=_pin_hint(path))
    return pin


def _pin_hint(path: Path) -> str:
    return f"Déposez le code du module de clés parmi les secrets, seul sur une ligne : {path.name}."


def _name(uri: TokenKeyUri) -> "KeyName":
    from passevue.card.pkcs11 import KeyName

    return KeyName(uri.id, uri.object)
