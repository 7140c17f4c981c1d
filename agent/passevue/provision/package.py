"""A provisioning file: one TOML document that holds a configuration and the files that it names, signed as a whole.

    schema = 1
    number = 7                       # greater than the one before: an old file is not brought back
    serial = "7F3A-90C1-22BE"        # optional: for this box only
    configuration = '''…'''          # passevue.toml
    [files]                          # certificates, beside the configuration
    "dmp.pem" = '''-----BEGIN CERTIFICATE-----…'''
    [keys.national]                  # private keys of a zone: encrypted to this machine, never kept in clear
    "auth.key" = '''-----BEGIN PRIVATE KEY-----…'''

The signature is detached: 64 bytes of Ed25519 over the document's bytes (`openssl pkeyutl -sign -rawin`), raw or in
base64, on as many lines as there are: `base64` breaks them at 76 characters. The key that is trusted is the one that
was given when the box was claimed; it changes by erasing the box.
"""

import base64
import binascii
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from passevue.errors import Refused, TrustError, Unreadable

MAX_BYTES = 1 << 20
MAX_SIGNATURE = 200
MAX_KEY = 4096
MOST_FILES = 64
ZONES = ("intake", "national", "page")
_FILE = re.compile(r"[0-9a-zA-Z][0-9a-zA-Z._-]{0,60}\.(pem|crt|cer|crl|der)", re.ASCII)
_KEY = re.compile(r"[0-9a-zA-Z][0-9a-zA-Z._-]{0,60}\.(pem|key)", re.ASCII)
_WRONG = "Ce fichier de configuration n’est pas lisible : demandez-le de nouveau à qui l’a préparé."


@dataclass(frozen=True, slots=True, repr=False)
class Package:
    number: int
    configuration: str
    files: Mapping[str, bytes] = field(default_factory=dict)
    keys: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    serial: str = ""


def trusted_key(pem: bytes) -> Ed25519PublicKey:
    """
    Raises:
        Unreadable: no Ed25519 public key in PEM.
    """
    try:
        key = load_pem_public_key(pem) if len(pem) <= MAX_KEY else None
    except (ValueError, TypeError, UnsupportedAlgorithm) as err:
        raise Unreadable("not a public key in PEM", hint="Ce n’est pas une clé publique (PEM, Ed25519).") from err
    if not isinstance(key, Ed25519PublicKey):
        raise Unreadable("expected an Ed25519 public key", hint="Ce n’est pas une clé publique (PEM, Ed25519).")
    return key


def key_pem(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def verify(document: bytes, signature: bytes, key: Ed25519PublicKey) -> None:
    """
    Raises:
        TrustError: not signed by this key.
    """
    try:
        raw = signature if len(signature) == 64 else _decoded(signature[:MAX_SIGNATURE])
        key.verify(raw, document)
    except (InvalidSignature, binascii.Error, ValueError) as err:
        hint = "La signature n’est pas celle du centre qui a pris ce boîtier en main : rien n’a changé."
        raise TrustError("the configuration is not signed by the trusted key", hint=hint) from err


def _decoded(signature: bytes) -> bytes:
    return base64.b64decode(b"".join(signature.split()), validate=True)


def read(document: bytes) -> Package:
    """The package in a document that was verified; bounds are kept all the same.

    Raises:
        Unreadable: not such a document.
    """
    if len(document) > MAX_BYTES:
        raise Unreadable(f"expected at most {MAX_BYTES} bytes", hint=_WRONG)
    if document.count(b"[") + document.count(b"{") > 10_000:  # tomllib recurses, and is slow on nested brackets
        raise Unreadable("too many brackets", hint=_WRONG)
    try:
        told = tomllib.loads(document.decode("utf-8"))
        if told.get("schema") != 1:
            raise Unreadable("expected schema 1", hint=_WRONG)
        package = Package(
            _number(told.get("number")),
            _text(told.get("configuration")),
            _files(told.get("files", {}), _FILE),
            {zone: _files(found, _KEY) for zone, found in _table(told.get("keys", {})).items()},
            _text(told.get("serial", "")),
        )
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as err:
        raise Unreadable(f"not TOML: {type(err).__name__}", hint=_WRONG) from err
    if not set(package.keys) <= set(ZONES):
        raise Unreadable("keys for a zone that there is not", hint=_WRONG)
    return package


def check(package: Package, number_before: int, serial: str) -> None:
    """
    Raises:
        Refused: `other-box`: for another one. `older`: one that is older than what was put in place.
    """
    if package.serial and package.serial.upper() != serial.upper():
        raise Refused(
            "other-box", "the configuration is for another box", hint="Cette configuration est pour un autre boîtier."
        )
    if package.number <= number_before:
        hint = (
            f"Cette configuration (n° {package.number}) n’est pas plus récente que celle en place (n° {number_before})."
        )
        raise Refused("older", f"number {package.number}, in place is {number_before}", hint=hint)


def _number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 1 << 31:
        raise Unreadable("expected a number", hint=_WRONG)
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Unreadable("expected a text", hint=_WRONG)
    return value


def _table(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict) or len(value) > MOST_FILES:
        raise Unreadable("expected a table", hint=_WRONG)
    return value


def _files(value: Any, form: re.Pattern[str]) -> dict[str, bytes]:
    found = {}
    for name, content in _table(value).items():
        if not form.fullmatch(name):
            raise Unreadable("a file name of another form", hint=_WRONG)
        found[name] = _text(content).encode()
    return found
