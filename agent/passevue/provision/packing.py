"""A provisioning file out of a configuration and what lies beside it: the other end of `package`. No box is needed.

    packed = pack(text, folder, number=7)        # Packed, or what is wrong

`folder` holds what the configuration names: certificates, and private keys as the configuration calls them
(`key_auth.pem`). What is not there may be on the box already: it is told. What root would refuse there is refused here,
but for what depends on what is in place.
"""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from passevue import config
from passevue.config import Config
from passevue.config_check import contradictions
from passevue.config_files import MAX_PEM_BYTES
from passevue.errors import ConfigError, Unreadable
from passevue.provision import appliance, package
from passevue.provision.package import Package

DATA_DIR = Path("/var/lib/passevue")
CONFIGURATION = DATA_DIR / "config/passevue.toml"  # where it will lie


@dataclass(frozen=True, slots=True, repr=False)
class Packed:
    """`missing`: names of files that the box must have already."""

    document: bytes
    package: Package
    missing: tuple[str, ...]


def pack(text: str, folder: Path, number: int, serial: str = "") -> Packed | list[ConfigError]:
    """
    Raises:
        Unreadable: it would not be read again: too large, a name or a content that no such file takes.
    """
    handed = {"CREDENTIALS_DIRECTORY": str(appliance.HANDED)}
    read = config.parse(text, CONFIGURATION, handed)
    if isinstance(read, list):
        return read
    gathered = _Gathered(folder)
    missing = dict(gathered.take(read))
    made = Package(number, text, gathered.files, gathered.keys, serial)
    wrong = [*gathered.wrong, *contradictions(read)]
    wrong += [each for each in appliance.wrong(made, read, DATA_DIR) if each.key not in missing]
    if wrong:
        return wrong
    document = _document(made)
    if package.read(document) != made:
        raise Unreadable("what was written is not what is read", hint="Un fichier contient des caractères de contrôle.")
    return Packed(document, made, tuple(dict.fromkeys(missing.values())))


def sign(document: bytes, key: str) -> bytes:
    """In base64: a line, for people who copy it.

    Raises:
        Unreadable: no Ed25519 private key in PEM, without a password.
    """
    hint = "Ce n’est pas une clé privée Ed25519 (PEM, sans mot de passe)."
    try:
        private = load_pem_private_key(key.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as err:
        raise Unreadable("not a private key in PEM", hint=hint) from err
    if not isinstance(private, Ed25519PrivateKey):
        raise Unreadable("expected an Ed25519 private key", hint=hint)
    return base64.b64encode(private.sign(document)) + b"\n"


class _Gathered:
    """What was found of what the configuration names."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.files: dict[str, bytes] = {}
        self.keys: dict[str, dict[str, bytes]] = {}
        self.wrong: list[ConfigError] = []

    def take(self, read: Config) -> Iterator[tuple[str, str]]:
        """(setting, file) of each that is not there."""
        for key, path, _ in appliance.named(read):
            if path.parent not in (CONFIGURATION.parent, appliance.HANDED):
                yield key, str(path)
                continue
            try:
                with (self._folder / path.name).open("rb") as file:
                    content = file.read(MAX_PEM_BYTES + 1)
                if len(content) > MAX_PEM_BYTES:
                    raise OSError("too large")
                content.decode()
            except FileNotFoundError:
                yield key, path.name
            except (OSError, UnicodeDecodeError):
                hint = f"Le fichier {path.name} ne se lit pas, est trop grand, ou n’est pas du texte (PEM)."
                self.wrong.append(ConfigError(key, f"{path.name} is no readable PEM file", hint=hint))
            else:
                self._put(key, path, content)

    def _put(self, key: str, path: Path, content: bytes) -> None:
        if path.parent == appliance.HANDED:
            zone, name = appliance.zone_of(key), path.name.removeprefix(appliance.PREFIX)
            self.keys.setdefault(zone, {})[name] = content
        else:
            self.files[path.name] = content


def _document(made: Package) -> bytes:
    lines = ["schema = 1", f"number = {made.number}"]
    if made.serial:
        lines.append(f"serial = {json.dumps(made.serial)}")
    lines.append(f"configuration = {_text(made.configuration)}")
    for table, files in {"files": made.files, **{f"keys.{zone}": each for zone, each in made.keys.items()}}.items():
        if files:
            lines += ["", f"[{table}]"]
            lines += [f"{json.dumps(name)} = {_text(content.decode())}" for name, content in files.items()]
    return ("\n".join(lines) + "\n").encode()


def _text(value: str) -> str:
    """As it is, between quotes that leave lines whole (TOML 1.0, literal strings); else as one line with escapes."""
    plain = "'''" not in value and "\r" not in value and not value.endswith("'")
    return f"'''\n{value}'''" if plain else json.dumps(value, ensure_ascii=False)
