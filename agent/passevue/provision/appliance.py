"""What an appliance needs of a configuration beyond what any box does: that people can open its page and change it
again, and that each zone finds its files and its keys.

Looks at the package and at what is in place already; changes nothing. A key in place cannot be read here (it is
encrypted to the zone): it fits the certificate that lies there under the name of the new one, or is asked for again.

    auth_key = "key_auth.pem"       in the configuration; [keys.national] "auth.pem" in the package (systemd.exec(5))
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from passevue.config import Config
from passevue.config_files import MAX_PEM_BYTES, certificate_of, sections
from passevue.errors import ConfigError
from passevue.provision.package import Package

HANDED = Path("/run/credentials")  # stands for the folder that systemd makes for each zone
PREFIX = "key_"  # LoadCredentialEncrypted=key:…
PORTS = {"page.port": 443, "ris.port": 2575, "modality.port": 11112}  # systemd listens there
_ZONE = {"page": "page", "ris": "intake", "modality": "intake"}


def named(config: Config) -> Iterator[tuple[str, Path, Path | None]]:
    """Each setting that names a file: its key, the file, and of a private key the certificate."""
    for section, values in sections("", config):
        for field in type(values).model_fields:
            value = getattr(values, field)
            if isinstance(value, Path) and not field.endswith("_dir"):
                certificate = getattr(values, certificate_of(field)) if field.endswith("key") else None
                yield f"{section}.{field}", value, certificate


def zone_of(key: str) -> str:
    """Whose private key it is that this setting names."""
    return _ZONE.get(key.partition(".")[0], "national")


def wrong(found: Package, config: Config, data_dir: Path) -> Iterator[ConfigError]:
    """Everything that keeps this configuration, read with `HANDED` as the keys' folder, from an appliance."""
    yield from _places(config, data_dir)
    if config.page.tls is None:
        hint = "La section [page.tls] manque : sans certificat, personne ne pourrait plus ouvrir la page du boîtier."
        yield ConfigError("page.tls", "is needed on an appliance: nobody could sign in", hint=hint)
    yield from _Files(found, data_dir).wrong(config)


def _places(config: Config, data_dir: Path) -> Iterator[ConfigError]:
    if config.box.data_dir != data_dir:
        hint = f"Sur cet appareil, box.data_dir est « {data_dir} »."
        yield ConfigError("box.data_dir", f"expected {data_dir} on an appliance", hint=hint)
    if config.box.credentials_dir is not None:
        hint = "Ôtez box.credentials_dir : sur cet appareil, systemd transmet les clés."
        yield ConfigError("box.credentials_dir", "is not for an appliance", hint=hint)
    ports = {"page.port": config.page.port, "ris.port": config.ris.port, "modality.port": config.modality.port}
    for key, port in ports.items():
        if port != PORTS[key]:
            hint = f"Sur cet appareil, {key} est {PORTS[key]}."
            yield ConfigError(key, f"expected {PORTS[key]} on an appliance instead got {port}", hint=hint)


@dataclass(frozen=True, slots=True)
class _Files:
    """Files of the package, and those in place that it leaves as they are."""

    found: Package
    data_dir: Path

    def wrong(self, config: Config) -> Iterator[ConfigError]:
        for key, path, certificate in named(config):
            try:
                if key.endswith("key"):
                    self._check_key(key, path, certificate)
                else:
                    self._certificates(key, path)
            except ConfigError as err:
                yield err

    def _certificates(self, key: str, path: Path) -> list[x509.Certificate]:
        data = self._given(path)
        return _certificates(key, path, _in_place(path) if data is None else data)

    def _given(self, path: Path) -> bytes | None:
        return self.found.files.get(path.name) if path.parent == self.data_dir / "config" else None

    def _check_key(self, key: str, path: Path, certificate: Path | None) -> None:
        zone, name = zone_of(key), path.name.removeprefix(PREFIX)
        if path.parent != HANDED or not path.name.startswith(PREFIX):
            hint = f"« {key} » : écrivez « {PREFIX} » suivi du nom de la clé dans [keys.{zone}], sans dossier."
            raise ConfigError(key, f"is not a key of [keys.{zone}]", hint=hint)
        if certificate is None:
            return  # it is told with the rest that is contradictory
        needed = self._certificates(key.removesuffix("key") + "certificate", certificate)[0]
        given = self.found.keys.get(zone, {}).get(name)
        if given is None:
            self._check_kept(key, zone, name, certificate)
        elif not _fits(key, path, given, needed):
            hint = f"La clé « {name} » n’est pas celle du certificat {certificate.name}."
            raise ConfigError(key, f"{name} does not belong to {certificate.name}", hint=hint)

    def _check_kept(self, key: str, zone: str, name: str, certificate: Path) -> None:
        if not (self.data_dir / "credentials" / zone / name).is_file():
            hint = f"La clé « {name} » manque dans [keys.{zone}]."
            raise ConfigError(key, f"{name} is neither in [keys.{zone}] nor in place", hint=hint)
        given = self._given(certificate)
        if given is None:
            return
        before = _in_place(certificate)
        owner = _certificates(key, certificate, given)[0].public_key()
        if before is None or _spki(_certificates(key, certificate, before)[0].public_key()) != _spki(owner):
            hint = f"Le certificat {certificate.name} est nouveau : donnez aussi sa clé « {name} » dans [keys.{zone}]."
            raise ConfigError(key, f"{name} is missing beside a new {certificate.name}", hint=hint)


def _in_place(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(MAX_PEM_BYTES)
    except OSError:
        return None


def _certificates(key: str, path: Path, data: bytes | None) -> list[x509.Certificate]:
    if data is None:
        hint = f"Le fichier {path.name} manque : « {key} » le nomme, mais il n’est ni dans [files] ni sur le boîtier."
        raise ConfigError(key, f"{path.name} is neither in [files] nor in place", hint=hint)
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError as err:
        hint = f"Le fichier {path.name} n’est pas un certificat PEM."
        raise ConfigError(key, f"{path.name} holds no PEM certificate", hint=hint) from err


def _fits(key: str, path: Path, private: bytes, certificate: x509.Certificate) -> bool:
    try:
        public = load_pem_private_key(private, password=None).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm) as err:
        hint = f"La clé « {path.name.removeprefix(PREFIX)} » n’est pas une clé PEM sans mot de passe."
        raise ConfigError(key, f"{path.name} is not a PEM private key without password", hint=hint) from err
    return _spki(public) == _spki(certificate.public_key())


def _spki(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
