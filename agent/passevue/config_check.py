"""What is wrong with a configuration beyond one key: two keys that contradict each other, files that are not there.

`contradictions` is pure and is asked at every start. `wrong_files` looks at the disk. `check` is the whole: what
`passevue config check` prints. All name the key, in English for the log and in French (`hint`) for the person.
"""

import stat
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from pydantic import BaseModel, HttpUrl

from passevue.config import Config, Network, Section, load, parse, read
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


def load_checked(path: Path) -> Config:
    """The configuration in `path`, refused when two of its keys contradict each other.

    Raises:
        ConfigError: naming the first wrong key.
    """
    config = load(path)
    for wrong in contradictions(config):
        raise wrong
    return config


def contradictions(config: Config) -> Iterator[ConfigError]:
    """What two keys together show to be wrong. Touches no disk."""
    yield from _listeners(config)
    yield from _networks(config)
    yield from _structures(config)
    yield from _addresses(config)
    yield from _psc(config)
    yield from _wires(config)
    yield from _the_rest(config)


def _listeners(config: Config) -> Iterator[ConfigError]:
    taken: dict[int, str] = {}
    for name, port in (("ris", config.ris.port), ("modality", config.modality.port), ("page", config.page.port)):
        if port and port in taken:
            first = taken[port]
            yield ConfigError(
                f"{name}.port",
                f"{port} is also {first}.port",
                hint=f"Donnez un autre port que celui de « {first} » ({port}).",
            )
        taken.setdefault(port, name)


def _networks(config: Config) -> Iterator[ConfigError]:
    """No list of neighbours is the whole internet: a setting never turns a control off (design § 8)."""
    lists = {"ris.senders": config.ris.senders}
    lists |= {f"modality.callers.{title}": networks for title, networks in config.modality.callers.items()}
    lists["network.page"] = config.network.page
    for key, networks in lists.items():
        if any(_everything(network) for network in networks):
            yield ConfigError(
                key, "names every address there is", hint="Indiquez le réseau du cabinet, par exemple 192.168.1.0/24."
            )


def _everything(network: Network) -> bool:
    return network.prefixlen == 0


def _structures(config: Config) -> Iterator[ConfigError]:
    seen: set[str] = set()
    for index, structure in enumerate(config.structures):
        if structure.id in seen:
            yield ConfigError(
                f"structures.{index}.id", "is there twice", hint="Chaque structure n'est décrite qu'une fois."
            )
        seen.add(structure.id)


def _addresses(config: Config) -> Iterator[ConfigError]:
    urls = {"registry.url": config.registry.url, "box.retrieve_url": config.box.retrieve_url}
    if config.psc is not None:
        urls["psc.issuer"] = config.psc.issuer
    for key, url in urls.items():
        if url.scheme != "https":
            yield ConfigError(key, "is not https", hint="L'adresse doit commencer par https://.")
        if config.box.realm == "production" and _loopback(url):
            yield ConfigError(
                key,
                "is this machine, in production",
                hint='En production, l\'adresse doit être celle du réseau national ; pour un essai : realm = "test".',
            )
    for title, peer in config.modality.commitment_peers.items():
        host, _, port = peer.rpartition(":")
        if not host or not port.isdecimal() or not 1 <= int(port) <= 65535:
            yield ConfigError(
                f"modality.commitment_peers.{title}",
                "is not host:port",
                hint="La forme attendue est « adresse:port », par exemple 192.168.1.20:104.",
            )


def _loopback(url: HttpUrl) -> bool:
    host = (url.host or "").strip("[]")
    return host == "localhost" or host.endswith(".localhost") or host.startswith("127.") or host == "::1"


def _psc(config: Config) -> Iterator[ConfigError]:
    if config.psc is None:
        return
    if (config.psc.certificate is None) != (config.psc.key is None):
        key = "psc.key" if config.psc.key is None else "psc.certificate"
        yield ConfigError(key, "is missing beside the other", hint="Donnez le certificat et sa clé, ou aucun des deux.")
    elif config.psc.certificate is None and isinstance(config.structures[0].auth_key, TokenKeyUri):
        hint = "La clé de la première structure reste dans son module : donnez à [psc] un certificat et une clé."
        yield ConfigError("psc.certificate", "is needed: the first structure's key stays in its token", hint=hint)
    for key, url in (("psc.redirect_url", config.psc.redirect_url), ("psc.logout_url", config.psc.logout_url)):
        # A browser on this machine may come back without TLS (RFC 8252 § 7.3): nothing crosses the network.
        if url is not None and url.scheme != "https" and not _loopback(url):
            yield ConfigError(key, "is neither https nor this machine", hint="L'adresse doit commencer par https://.")


def _wires(config: Config) -> Iterator[ConfigError]:
    """Two wires are told apart by name, and a fixed address belongs to one of them."""
    inside, outside = config.network.inside, config.network.outside
    wires = {"inside": inside} if outside is None else {"inside": inside, "outside": outside}
    for name, wire in wires.items():
        if wire.interface is None and (outside is not None or wire.addresses):
            yield ConfigError(
                f"network.{name}.interface",
                "is needed with two wires or a fixed address",
                hint="Indiquez le nom de l'interface réseau, par exemple enp1s0.",
            )
        if wire.addresses and wire.gateway is None and wire.routes:
            yield ConfigError(
                f"network.{name}.gateway", "is needed by routes", hint="Indiquez le routeur qui mène à ces réseaux."
            )
        if wire.gateway is not None and not any(wire.gateway in address.network for address in wire.addresses):
            yield ConfigError(
                f"network.{name}.gateway",
                "is not on the network of a fixed address",
                hint="Le routeur doit être dans le réseau d'une des adresses fixes de ce câble.",
            )
    if outside is not None and inside.interface is not None and inside.interface == outside.interface:
        yield ConfigError(
            "network.outside.interface",
            "is also network.inside.interface",
            hint="Les deux câbles sont deux interfaces différentes ; avec un seul câble, ôtez [network.outside].",
        )


def _the_rest(config: Config) -> Iterator[ConfigError]:
    if config.pacs is not None and config.pacs.retrieve == "wado-rs" and config.pacs.dicomweb_url is None:
        hint = 'retrieve = "wado-rs" demande l\'adresse DICOMweb du PACS.'
        yield ConfigError("pacs.dicomweb_url", "is needed by retrieve = wado-rs", hint=hint)
    if (
        config.pacs is not None
        and config.pacs.retrieve == "c-move"
        and config.pacs.our_ae_title != config.modality.ae_title
    ):
        hint = "Avec c-move, le PACS envoie au titre d'AE de « modality.ae_title » : donnez le même."
        yield ConfigError("pacs.our_ae_title", "is not modality.ae_title, where C-MOVE sends to", hint=hint)
    if config.ris.max_connections_per_peer > config.ris.max_connections:
        hint = "La limite par poste ne peut dépasser la limite totale (max_connections)."
        yield ConfigError("ris.max_connections_per_peer", "is more than max_connections", hint=hint)
    if config.queue.proof_days < config.queue.content_days:
        hint = "La preuve se garde au moins aussi longtemps que le contenu (content_days)."
        yield ConfigError("queue.proof_days", "is less than content_days", hint=hint)
    if config.modality.max_object_bytes > config.images.budget_bytes:
        hint = "Un objet doit tenir dans la place prévue (images.budget_bytes)."
        yield ConfigError("modality.max_object_bytes", "is more than images.budget_bytes", hint=hint)
    try:
        ZoneInfo(config.box.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        yield ConfigError("box.timezone", "is unknown", hint="Par exemple : Europe/Paris, Indian/Reunion.")


# --- files ---------------------------------------------------------------------------------------------------------


def wrong_files(config: Config, now: datetime, *, keys_of: tuple[str, ...] | None = None) -> Iterator[ConfigError]:
    """Each file that a key names: there, readable, PEM, in date; each private key closed to others and of its
    certificate. Of a token its library and its PIN's file: it is not asked itself, as a wrong PIN would cost a try.

    `keys_of`: only the private keys of these sections are looked at, as a zone of the box may read its own only.
    """
    for key, section in _sections("", config):
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
                    certificate = getattr(section, _certificate_of(field))
                    _check_key(where, value, certificate)
                else:
                    _check_certificates(where, value, now, authority=field.endswith("authority"))
            except ConfigError as err:
                yield err


def _certificate_of(key_field: str) -> str:
    return key_field.removesuffix("key") + "certificate"


def _sections(key: str, section: BaseModel) -> Iterator[tuple[str, Section]]:
    for field in type(section).model_fields:
        value = getattr(section, field)
        where = f"{key}.{field}" if key else field
        if isinstance(value, Section):
            yield where, value
            yield from _sections(where, value)
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
