"""/proc/net/{tcp,tcp6,udp,udp6}: what listens, and who holds it (proc_pid_net(5)).

Facts: addresses are hexadecimal words in the machine's byte order (little-endian here), the port in plain order. State
0A is LISTEN; an unconnected UDP socket, which takes from anybody, is 07. `::` without IPV6_V6ONLY takes IPv4 too. The
kernel does not say who holds a socket: its inode is looked for among the open files of every process.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from passevue.errors import Unreadable

_LISTENING = {"tcp": "0A", "udp": "07"}
_LINE = re.compile(r"\s*\d+: ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} ([0-9A-F]{2}) (.*)")
_INODE = re.compile(r"[0-9]{1,20}")
_UNIT = re.compile(r"[^/]+\.(?:service|scope|socket|slice)")


@dataclass(frozen=True, slots=True)
class Socket:
    """`units` hold it open; a socket that systemd passes on is held by `init.scope` too."""

    proto: str  # tcp or udp
    address: str
    port: int
    units: tuple[str, ...] = ()

    @property
    def loopback(self) -> bool:
        return ip_address(self.address.partition("%")[0]).is_loopback


def read_proc_net(text: str, proto: str) -> dict[int, tuple[str, int]]:
    """What listens: inode = address, port. Raises: Unreadable."""
    lines = text.splitlines()
    if not lines or "local_address" not in lines[0]:
        raise Unreadable(f"/proc/net/{proto} is not in its form")
    found: dict[int, tuple[str, int]] = {}
    for line in lines[1:]:
        match = _LINE.match(line)
        rest = match[4].split() if match else []
        if match is None or len(rest) < 6 or not _INODE.fullmatch(rest[5]):
            raise Unreadable(f"a line of /proc/net/{proto} is not in its form")
        if match[3] == _LISTENING[proto[:3]]:
            found[int(rest[5])] = (_address(match[1]), int(match[2], 16))
    return found


def _address(text: str) -> str:
    raw = b"".join(bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8))
    if len(raw) == 4:
        return str(IPv4Address(raw))
    if len(raw) != 16:
        raise Unreadable("an address of /proc/net is not in its form")
    address = IPv6Address(raw)
    return str(address.ipv4_mapped or address)


def unit_of(cgroup: str) -> str:
    """The unit of /proc/<pid>/cgroup: the deepest service, scope or slice of the version 2 line."""
    for line in cgroup.splitlines():
        if line.startswith("0::"):
            found = _UNIT.findall(line)
            return found[-1] if found else "?"
    return "?"


def to_tree(proto: str, listening: Mapping[int, tuple[str, int]], holders: Mapping[int, Iterable[str]]) -> list[Any]:
    """For the facts: one object a socket."""
    return [
        {"proto": proto[:3], "address": address, "port": port, "units": sorted(set(holders.get(inode, ())))}
        for inode, (address, port) in sorted(listening.items(), key=lambda item: item[1])
    ]


def read_sockets(tree: Any) -> tuple[Socket, ...]:
    """Raises: Unreadable."""
    try:
        found = tuple(
            Socket(
                proto=str(each["proto"]),
                address=str(ip_address(str(each["address"]))),
                port=int(each["port"]),
                units=tuple(str(unit) for unit in each["units"]),
            )
            for each in tree
        )
    except (KeyError, TypeError, ValueError, OverflowError) as err:
        raise Unreadable("the sockets are not in their form") from err
    if any(each.proto not in _LISTENING for each in found):
        raise Unreadable("the sockets are not in their form")
    return found
