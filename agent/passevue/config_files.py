"""What is wrong with the files that a configuration names: not there, open to others, out of date, of another key.

`check` is the whole, and what `passevue config check` prints: keys, contradictions (`config_check`), files. All name
the key, in English for the log and in French (`hint`) for the person.
"""

import stat
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from pydantic import BaseModel

from passevue.config import Config, Section, parse, read
from passevue.config_check import contradictions
from passevue.config_keys import TokenKeyUri
from passevue.errors import ConfigError

MAX_PEM_BYTES = 1 << 20


def check(path: Path, now: datetime) -> list[ConfigError]:
    """Everything wrong with the file in `path`: empty when the box can start with it."""
    try:
        found = parse(read(path), path)
    except ConfigError as err:
        return [err]
    if isinstance(found, list):
        return found
    return [*contradictions(found), *wrong_files(found, now)]


def wrong_files(config: Config, now: datetime, *, keys_of: tuple[str, ...] | None = None) -> Iterator[ConfigError]:
    """Each file that a key names: there, readable, PEM, in date; each private key closed to others and of its
    certificate. Of a token its library and its PIN's file: it is not asked itself, as a wrong PIN would cost a try.

    `keys_of`: only the private keys of these sections are looked at, as a zone of the box may read its own only.
    """
    for key, section in sections("", config):
        names = type(section).model_fields
        for field in names:
            value = getattr(section, field)
            if not isinstance(value, Path | TokenKeyUri) or field.endswith("_dir"):
                continue
            where = f"{key}.{field}"
            if field.endswith("key") and keys_of is not None and key not in keys_of:
                continue
            try:
                if isinstance(value, TokenKeyUri):
                    _check_token(where, value)
                elif field.endswith("key"):
                    certificate = getattr(section, certificate_of(field))
                    _check_key(where, value, certificate)
                else:
                    _check_certificates(where, value, now, authority=field.endswith("authority"))
            except ConfigError as err:
                yield err


def certificate_of(key_field: str) -> str:
    return key_field.removesuffix("key") + "certificate"


def sections(key: str, section: BaseModel) -> Iterator[tuple[str, Section]]:
    for field in type(section).model_fields:
        value = getattr(section, field)
        where = f"{key}.{field}" if key else field
        if isinstance(value, Section):
            yield where, value
            yield from sections(where, value)
        elif isinstance(value, tuple):
            for index, item in enumerate(value):
                if isinstance(item, Section):
                    yield f"{where}.{index}", item


def _pem(key: str, path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_PEM_BYTES + 1)
    except OSError as err:
        raise ConfigError(
            key, f"{path} cannot be read: {err.strerror}", hint=f"Le fichier {path} est absent ou illisible."
        ) from err
    if len(data) > MAX_PEM_BYTES:
        raise ConfigError(key, f"{path} is too large", hint=f"Le fichier {path} n'est pas un fichier PEM.")
    return data


def _certificates(key: str, path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_pem(key, path))
    except ValueError as err:
        raise ConfigError(
            key, f"{path} holds no PEM certificate", hint=f"Le fichier {path} n'est pas un certificat PEM."
        ) from err


def _check_certificates(key: str, path: Path, now: datetime, *, authority: bool) -> None:
    certificates = _certificates(key, path)
    ours = certificates if authority else certificates[:1]
    if all(certificate.not_valid_after_utc <= now for certificate in ours):
        end = max(certificate.not_valid_after_utc for certificate in ours)
        raise ConfigError(
            key, f"{path} expired {end:%Y-%m-%d}", hint=f"Le certificat {path} a expiré le {end:%d/%m/%Y}."
        )


def _check_token(key: str, uri: TokenKeyUri) -> None:
    if not uri.module.is_file():
        hint = f"La bibliothèque {uri.module} du module de clés est absente : installez-la."
        raise ConfigError(key, f"{uri.module} is not there", hint=hint)
    if not _closed(key, uri.pin).strip():
        raise ConfigError(key, f"{uri.pin} is empty", hint=f"Écrivez le code du module de clés dans {uri.pin}.")


def _closed(key: str, path: Path) -> bytes:
    """What a file holds that nobody else may read."""
    data = _pem(key, path)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise ConfigError(
            key, f"{path} is open to other users", hint=f"Fermez la clé aux autres comptes : chmod 600 {path}"
        )
    return data


def _check_key(key: str, path: Path, certificate: Path) -> None:
    data = _closed(key, path)
    try:
        private = load_pem_private_key(data, password=None)
        public = _certificates(key, certificate)[0].public_key()
    except (ValueError, TypeError) as err:
        raise ConfigError(
            key, f"{path} is not a PEM private key without password", hint=f"Le fichier {path} n'est pas une clé PEM."
        ) from err
    spki = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if private.public_key().public_bytes(*spki) != public.public_bytes(*spki):
        raise ConfigError(
            key, f"{path} does not belong to {certificate}", hint=f"La clé {path} n'est pas celle de {certificate}."
        )
