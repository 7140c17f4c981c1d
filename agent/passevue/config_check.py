"""What is wrong with a configuration beyond one key: two keys that contradict each other.

Touches no disk, and is asked at every start. The files that keys name are looked at in `config_files`. All name the
key, in English for the log and in French (`hint`) for the person.
"""

from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import HttpUrl

from passevue.config import Config, Network, load
from passevue.config_keys import TokenKeyUri
from passevue.errors import ConfigError


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
