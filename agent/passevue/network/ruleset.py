"""The named sets of the firewall, from the plan and what its names mean now.

    script = fill(elements(plan, found))            # for `nft -f -`: one transaction, all of it or nothing

Rules are not made here: systemd/etc/nftables.conf has them, and a set for each name of `elements`. Each is emptied and
filled in the same transaction, so nothing is open or shut in between. An address of this machine or of everybody is
never put in.
"""

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Network, collapse_addresses

from passevue.network.plan import Address, Far, Network, Plan

TABLE = "inet passevue"
ANY_WIRE = ("en*", "eth*")

Elements = dict[str, tuple[str, ...]]  # of each set, in order: what `nft list set` shows, apart from its own layout


def elements(plan: Plan, found: Mapping[str, Iterable[Address]]) -> Elements:
    """What each set holds. `found` are the addresses of the plan's names."""
    cabinet = (plan.inside.interface,) if plan.inside.interface else ANY_WIRE
    outside = cabinet if plan.outside is None else tuple(filter(None, [plan.outside.interface])) or ANY_WIRE
    filled: Elements = {
        "cabinet": tuple(f'"{each}"' for each in cabinet),
        "outside": tuple(f'"{each}"' for each in outside),
    }
    for name, networks in plan.near.items():
        filled[f"{name}4"] = _networks(each for each in networks if isinstance(each, IPv4Network))
        filled[f"{name}6"] = _networks(each for each in networks if isinstance(each, IPv6Network))
    for name, far in plan.far.items():
        pairs = sorted({pair for each in far for pair in _pairs(each, found)}, key=lambda pair: (int(pair[0]), pair[1]))
        filled[f"{name}4"] = tuple(f"{a} . {port}" for a, port in pairs if isinstance(a, IPv4Address))
        filled[f"{name}6"] = tuple(f"{a} . {port}" for a, port in pairs if not isinstance(a, IPv4Address))
    return filled


def fill(filled: Elements) -> str:
    """The transaction that makes the sets so."""
    lines: list[str] = []
    for name, each in filled.items():
        lines.append(f"flush set {TABLE} {name}")
        if each:
            lines.append(f"add element {TABLE} {name} {{ {', '.join(each)} }}")
    return "\n".join(lines) + "\n"


def _networks(networks: Iterable[Network]) -> tuple[str, ...]:
    usable = [each for each in networks if not each.is_loopback and not each.is_multicast and each.prefixlen]
    return tuple(str(each) for each in collapse_addresses(usable))  # type: ignore[type-var]


def _pairs(far: Far, found: Mapping[str, Iterable[Address]]) -> Iterable[tuple[Address, int]]:
    own = far.address
    for address in found.get(far.host, ()) if own is None else (own,):
        if not (address.is_loopback or address.is_multicast or address.is_unspecified or address.is_link_local):
            yield address, far.port
