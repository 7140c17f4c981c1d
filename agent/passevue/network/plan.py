"""What the configuration says about the networks: who may come in, where each zone may go, which wires there are.

    plan, left_out = read_plan(tomllib.loads(text))

Runs as the one program that may change the firewall, so it stands on the standard library alone, and reads the file's
tree itself instead of through `config` and what that brings along. The file was checked before it was put in place;
what is wrong all the same is left out and named in `left_out`, and what is left out is shut. Without a file the plan is
that of a box nobody has claimed: one wire, DHCP, the page.

Each zone's list (NET-02) follows who does what (agent/README.md § Zones). `cabinet` and `outside` are the sides of the
box; with one wire both are it.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)
from typing import Any, TypeVar
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
T = TypeVar("T")

PAGE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10")
TIME = ("2.debian.pool.ntp.org",)
REVOCATION = "http://igc-sante.esante.gouv.fr"  # where lists of IGC-Santé lie, unless [crl] says otherwise
PORTS = {"http": 80, "https": 443, "postgresql": 5432}
MOST = 256  # of anything that is a list: a centre has some dozens of neighbours

_LABEL = r"[0-9A-Za-z_](?:[0-9A-Za-z_-]{0,61}[0-9A-Za-z_])?"
_HOST = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*\.?\Z")  # labels end at dots only: else it never ends
_WIRE = re.compile(r"(en|eth)[0-9a-z]{1,12}\Z")


@dataclass(frozen=True, slots=True, order=True)
class Far:
    """A service that a zone speaks to: a name or an address, and its TCP port."""

    host: str
    port: int

    @property
    def address(self) -> Address | None:
        """None: it is a name, to be looked up."""
        try:
            return ip_address(self.host)
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class Wire:
    """One connection. Without a name it is whichever there is; without addresses it asks DHCP."""

    interface: str = ""
    addresses: tuple[IPv4Interface | IPv6Interface, ...] = ()
    gateway: Address | None = None
    routes: tuple[Network, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a site decides about the networks. The names of `far` are those of nftables' sets."""

    inside: Wire
    outside: Wire | None
    resolvers: tuple[Address, ...]
    time: tuple[str, ...]
    time_nts: tuple[str, ...]
    near: Mapping[str, tuple[Network, ...]]  # mllp, dicom, page: who may come in
    far: Mapping[str, tuple[Far, ...]]  # where each zone may go, by side

    @property
    def names(self) -> frozenset[str]:
        """What has to be looked up."""
        return frozenset(far.host for each in self.far.values() for far in each if far.address is None)


class _Reading:
    """One pass over the tree: gives what is well formed, notes what is not."""

    def __init__(self, tree: Mapping[str, Any]) -> None:
        self._tree = tree
        self.left_out: list[str] = []

    def at(self, path: str) -> Any:
        found: Any = self._tree
        for key in path.split("."):
            if not isinstance(found, Mapping):
                self.left_out.append(path)
                return None
            found = found.get(key)
            if found is None:
                return None
        return found

    def one(self, path: str, read: Callable[[Any], T]) -> T | None:
        found = self.at(path)
        return None if found is None else next(self._each(path, [found], read), None)

    def many(self, path: str, read: Callable[[Any], T], default: Iterable[Any] = ()) -> tuple[T, ...]:
        found = self.at(path)
        if found is None:
            found = list(default)
        if not isinstance(found, list):
            self.left_out.append(path)
            return ()
        return tuple(self._each(path, found, read))

    def table(self, path: str) -> Mapping[str, Any]:
        found = self.at(path)
        if found is not None and not isinstance(found, Mapping):
            self.left_out.append(path)
        return found if isinstance(found, Mapping) else {}

    def values(self, path: str, found: Iterable[Any], read: Callable[[Any], T]) -> tuple[T, ...]:
        return tuple(self._each(path, list(found), read))

    def _each(self, path: str, found: list[Any], read: Callable[[Any], T]) -> Iterator[T]:
        if len(found) > MOST:
            self.left_out.append(path)
        for value in found[:MOST]:
            try:
                yield read(value)
            except (ValueError, TypeError):
                self.left_out.append(path)


def read_plan(tree: Mapping[str, Any]) -> tuple[Plan, tuple[str, ...]]:
    """The plan, and the keys of which something could not be used."""
    reading = _Reading(tree)
    outside = _wire(reading, "network.outside") if reading.at("network.outside") is not None else None
    plan = Plan(
        inside=_wire(reading, "network.inside"),
        outside=outside,
        resolvers=reading.many("network.resolvers", _address),
        time=reading.many("network.time", _host, TIME),
        time_nts=reading.many("network.time_nts", _host),
        near={
            "mllp": reading.many("ris.senders", _network),
            "dicom": _callers(reading),
            "page": reading.many("network.page", _network, PAGE),
        },
        far=_far(reading),
    )
    return plan, tuple(dict.fromkeys(reading.left_out))


def _wire(reading: _Reading, path: str) -> Wire:
    return Wire(
        reading.one(f"{path}.interface", _wire_name) or "",
        reading.many(f"{path}.addresses", _interface),
        reading.one(f"{path}.gateway", _address),
        reading.many(f"{path}.routes", _network),
    )


def _callers(reading: _Reading) -> tuple[Network, ...]:
    networks: list[Network] = []
    for title, found in reading.table("modality.callers").items():
        listed = found if isinstance(found, list) else [found]
        networks += reading.values(f"modality.callers.{title}", listed, _network)
    return tuple(dict.fromkeys(networks))


def _far(reading: _Reading) -> dict[str, tuple[Far, ...]]:
    database = _some(reading.one("queue.url", _database))
    pacs = _some(reading.one("pacs.dicomweb_url", _url))
    host = reading.one("pacs.host", _host)
    port = reading.one("pacs.port", _port) or 104
    if host is not None:
        pacs = (Far(host, port), *pacs)
    commitments = reading.values(
        "modality.commitment_peers", reading.table("modality.commitment_peers").values(), _host_and_port
    )
    revocation: tuple[Far, ...] = ()
    if reading.at("registry") is not None or reading.at("trust") is not None:
        revocation = (_url(REVOCATION), *reading.values("crl.urls", reading.table("crl.urls").values(), _url))
    return {
        "intake_cabinet": _once(commitments, database),
        "national_cabinet": _once(pacs, database),
        "national_outside": _once(_some(reading.one("registry.url", _url)), _some(reading.one("psc.issuer", _url))),
        "page_cabinet": _once(database),
        "page_outside": (),
        "host_outside": _once(revocation),
    }


def _some(found: Far | None) -> tuple[Far, ...]:
    return () if found is None else (found,)


def _once(*lists: tuple[Far, ...]) -> tuple[Far, ...]:
    return tuple(dict.fromkeys(far for each in lists for far in each))


# One value each. Raises: ValueError, TypeError.


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("expected a text")
    return value


def _address(value: Any) -> Address:
    return ip_address(_text(value))


def _interface(value: Any) -> IPv4Interface | IPv6Interface:
    return ip_interface(_text(value))


def _network(value: Any) -> Network:
    """Never everybody: a setting does not turn the firewall off."""
    network = ip_network(_text(value))
    if network.prefixlen == 0:
        raise ValueError("names every address there is")
    return network


def _wire_name(value: Any) -> str:
    if not _WIRE.match(_text(value)):
        raise ValueError("is no name of a wired interface")
    return str(value)


def _host(value: Any) -> str:
    """An address as the kernel writes it, or a name that may be asked of a resolver."""
    try:
        return str(ip_address(_text(value)))
    except ValueError:
        if not _HOST.match(value):
            raise
        return str(value).lower()


def _port(value: Any) -> int:
    if not isinstance(value, int) or not 1 <= value <= 65535:
        raise ValueError("is no port")
    return value


def _host_and_port(value: Any) -> Far:
    host, _, port = _text(value).rpartition(":")
    return Far(_host(host.strip("[]")), _port(int(port)))


def _url(value: Any) -> Far:
    parts = urlsplit(_text(value))
    if parts.scheme not in ("http", "https"):
        raise ValueError("is no http address")
    return Far(_host(parts.hostname), parts.port or PORTS[parts.scheme])


def _database(value: Any) -> Far | None:
    """PostgreSQL elsewhere; SQLite and a socket of this machine go nowhere."""
    parts = urlsplit(_text(value))
    if not parts.scheme.startswith("postgresql") or not parts.hostname:
        return None
    return Far(_host(parts.hostname), parts.port or PORTS["postgresql"])
