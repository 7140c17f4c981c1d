"""Where a private key is: in a PEM file, or in a PKCS#11 token named by its URI (RFC 7512).

    auth_key = "auth_cli.key"
    auth_key = "pkcs11:token=passevue;object=auth?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=jeton.pin"

Rules:
- A URI names one key (`object`, `id`, or both), its token, the library that speaks for it and the file of the PIN: all
  four are wanted. Nothing is guessed: no other attribute is taken, since leaving one out would match more than asked.
- The PIN is never in the configuration: `pin-value` is refused. `pin-source` is a file, looked for among the
  credentials when relative.
- The certificate stays a file beside: it is public, and it is renewed as such.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote_to_bytes

SCHEME = "pkcs11:"
LONGEST = 1024
_PATH = {"token", "object", "id", "type"}
_QUERY = {"module-path", "pin-source"}
_UNESCAPED = frozenset(range(0x21, 0x7F)) - frozenset(b'"<>\\^`')


class WrongUri(ValueError):
    """Not such a URI. `hint` says it in French."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class TokenKeyUri:
    """One key in a token.

    Attributes:
        module: the PKCS#11 library, absolute.
        token: label of the token (CKA_LABEL of its slot).
        id: CKA_ID of the key; b"" when `object` alone names it.
        object: CKA_LABEL of the key; "" when `id` alone names it.
        pin: file of the user PIN.
    """

    module: Path
    token: str
    id: bytes
    object: str
    pin: Path

    def among(self, credentials: Path) -> "TokenKeyUri":
        """With a relative PIN file looked for in `credentials`."""
        return replace(self, pin=credentials / self.pin)


def read_key_uri(text: str) -> TokenKeyUri:
    """
    Raises:
        WrongUri: saying what is missing, unknown or malformed.
    """
    if not text.startswith(SCHEME) or len(text) > LONGEST or not set(text.encode()) <= _UNESCAPED:
        raise WrongUri("is no pkcs11: URI", "une adresse pkcs11: sans espace ni accent est attendue (RFC 7512)")
    path, _, query = text.removeprefix(SCHEME).partition("?")
    found = _attributes(path, ";", _PATH) | _attributes(query, "&", _QUERY)
    if found.get("type", b"private") != b"private":
        raise WrongUri("names no private key", "dans pkcs11:, « type » ne peut être que « private »")
    for name in ("token", "module-path", "pin-source"):
        if not found.get(name):
            raise WrongUri(f"lacks {name}", f"dans pkcs11:, « {name} » manque")
    if not found.get("object") and not found.get("id"):
        raise WrongUri("names no key", "dans pkcs11:, « object » (nom de la clé) ou « id » manque")
    module = Path(_text(found, "module-path"))
    if not module.is_absolute():
        raise WrongUri("module-path is relative", "dans pkcs11:, « module-path » doit commencer par /")
    pin = Path(_text(found, "pin-source").removeprefix("file:"))
    return TokenKeyUri(module, _text(found, "token"), found.get("id", b""), _text(found, "object"), pin)


def _attributes(part: str, separator: str, known: set[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for one in filter(None, part.split(separator)):
        name, equals, value = one.partition("=")
        if name == "pin-value":
            raise WrongUri("holds a PIN", "le code du jeton ne s'écrit pas ici : donnez son fichier par « pin-source »")
        if name not in known or not equals:
            raise WrongUri("has an unknown attribute", f"dans pkcs11:, seuls {', '.join(sorted(known))} sont compris")
        if name in found:
            raise WrongUri(f"has {name} twice", f"dans pkcs11:, « {name} » est donné deux fois")
        found[name] = unquote_to_bytes(value)
    return found


def _text(found: dict[str, bytes], name: str) -> str:
    try:
        text = found.get(name, b"").decode()
    except UnicodeDecodeError as err:
        raise WrongUri(f"{name} is not UTF-8", f"dans pkcs11:, « {name} » n'est pas en UTF-8") from err
    if not text.isprintable() and text:
        raise WrongUri(f"{name} is not printable", f"dans pkcs11:, « {name} » contient un caractère interdit")
    return text
