"""nftables rules in JSON (libnftables-json(5)), made comparable: what is loaded, and what a file would load.

Two forms come in: `nft -j list ruleset`, objects as they are; and `nft -j --echo -f FILE` in an empty network
namespace, the same objects as `add` commands, elements of sets apart. Handles, counters and the version of nft mean
nothing and go; the order of rules in a chain stays. Elements of named sets are kept beside: the configuration fills
some of them.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    collapse_addresses,
    ip_address,
    ip_network,
    summarize_address_range,
)
from typing import Any

from passevue.errors import Unreadable

_VOLATILE = frozenset({"handle", "packets", "bytes", "comment", "index", "used"})
_MOST_OBJECTS = 20_000

Key = tuple[str, str, str]  # family, table, name
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Chain:
    family: str
    table: str
    name: str
    kind: str = ""  # type of a base chain: filter, nat, route; empty for others
    hook: str = ""
    policy: str = ""
    place: str = ""  # among the chains of its hook: priority, device


@dataclass(frozen=True, slots=True)
class NftRule:
    chain: Key
    expressions: tuple[Any, ...]  # plain JSON values

    @property
    def verdicts(self) -> frozenset[str]:
        """accept, drop, reject, jump, goto, return, queue, snat…: names of statements that are no matches."""
        return frozenset(name for each in self.expressions for name in each if name != "match")

    def matched(self, left: Mapping[str, Any]) -> list[Any]:
        """What `left`, such as `{"meta": {"key": "skuid"}}`, is compared with, where it must be equal."""
        matches = [each["match"] for each in self.expressions if "match" in each]
        return [each["right"] for each in matches if each["left"] == left and each["op"] in {"==", "in"}]


@dataclass(frozen=True, slots=True)
class Ruleset:
    chains: tuple[Chain, ...]
    rules: tuple[NftRule, ...]
    sets: Mapping[Key, frozenset[str]]  # elements in canonical JSON
    others: tuple[str, ...]  # shapes of sets, maps, objects, flowtables, canonical JSON

    @property
    def shape(self) -> str:
        """SHA-256 over everything but the elements of named sets."""
        chains = sorted((c.family, c.table, c.name, c.kind, c.hook, c.policy, c.place) for c in self.chains)
        rules = sorted((rule.chain, number, _canonical(rule.expressions)) for number, rule in self._numbered())
        return hashlib.sha256(_canonical([chains, rules, sorted(self.others)]).encode()).hexdigest()

    def _numbered(self) -> Iterator[tuple[int, NftRule]]:
        """Rules with their place in their chain."""
        seen: dict[Key, int] = {}
        for rule in self.rules:
            seen[rule.chain] = seen.get(rule.chain, -1) + 1
            yield seen[rule.chain], rule

    def base_chains(self, hook: str) -> list[Chain]:
        return [each for each in self.chains if each.hook == hook]


def read_ruleset(tree: Any) -> Ruleset:
    """Raises: Unreadable when it is neither of the two forms."""
    chains: list[Chain] = []
    rules: list[NftRule] = []
    sets: dict[Key, set[str]] = {}
    others: list[str] = []
    try:
        for kind, body in _objects(tree["nftables"]):
            key = (str(body.get("family", "")), str(body.get("table", "")), str(body.get("name", "")))
            if kind == "chain":
                hook, place = str(body.get("hook", "")), _canonical([body.get("prio"), body.get("dev")])
                chains.append(Chain(*key, str(body.get("type", "")), hook, str(body.get("policy", "")), place))
            elif kind == "rule":
                rules.append(NftRule((key[0], key[1], str(body["chain"])), tuple(_steady(body["expr"]))))
            elif kind == "element":
                sets.setdefault(key, set()).update(_elements(body["elem"]))
            else:
                if kind in {"set", "map"}:
                    sets.setdefault(key, set()).update(_elements(body.get("elem", [])))
                others.append(_canonical([kind, {n: v for n, v in _steady(body).items() if n != "elem"}]))
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError, RecursionError) as err:
        raise Unreadable("a ruleset of nftables is not in its form") from err
    return Ruleset(tuple(chains), tuple(rules), {key: frozenset(found) for key, found in sets.items()}, tuple(others))


def _objects(found: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each object, of either form."""
    if not isinstance(found, list) or len(found) > _MOST_OBJECTS:
        raise Unreadable("a ruleset of nftables is not in its form")
    for each in found:
        ((kind, body),) = each.items()
        if kind in {"add", "insert", "create"}:
            ((kind, body),) = body.items()
        if kind not in {"metainfo", "flush", "delete", "destroy"}:
            yield kind, body


def _elements(found: Any) -> Iterator[str]:
    if isinstance(found, dict) and "set" in found:
        found = found["set"]
    for each in found if isinstance(found, list) else [found]:
        plain = each["elem"]["val"] if isinstance(each, dict) and "elem" in each else each
        yield _canonical(_steady(plain))


def _steady(tree: Any) -> Any:
    """Without what changes by itself, and with the members of anonymous sets in one order."""
    if isinstance(tree, dict):
        steady = {name: _steady(value) for name, value in tree.items() if name not in _VOLATILE}
        if isinstance(steady.get("set"), list):
            steady["set"] = sorted(steady["set"], key=_canonical)
        return steady
    return [_steady(each) for each in tree] if isinstance(tree, list) else tree


def _canonical(tree: Any) -> str:
    return json.dumps(tree, sort_keys=True, separators=(",", ":"))


def elements_of(sets: Mapping[Key, frozenset[str]], name: str) -> frozenset[str]:
    """Of the set of that name, in whichever table it is. Raises: Unreadable when there is none, or several."""
    found = [elements for key, elements in sets.items() if key[2] == name]
    if len(found) != 1:
        raise Unreadable(f"{len(found)} sets are named {name}")
    return found[0]


def networks(elements: Iterable[str]) -> list[Network]:
    """Elements of a set of addresses; a range becomes the networks that make it up. Raises: Unreadable."""
    return [network for each in elements for network in _networks(json.loads(each))]


def _networks(tree: Any) -> list[Network]:
    try:
        if isinstance(tree, str):
            return [ip_network(tree)]
        ((kind, body),) = tree.items()
        if kind == "prefix":
            return [ip_network(f"{body['addr']}/{body['len']}")]
        if kind == "range":
            first, last = (_address(each) for each in body)
            return list(summarize_address_range(first, last))
    except (ValueError, OverflowError, TypeError, KeyError, AttributeError) as err:
        raise Unreadable("an element of a set is no address") from err
    raise Unreadable("an element of a set is no address")


def _address(found: Any) -> IPv4Address | IPv6Address:
    """A number is an address to Python, not to nft."""
    if not isinstance(found, str):
        raise TypeError("expected a text")
    return ip_address(found)


def collapsed(networks: Iterable[Network]) -> frozenset[Network]:
    """The same addresses in the fewest networks, so that two lists can be compared."""
    each = list(networks)
    four = collapse_addresses(one for one in each if isinstance(one, IPv4Network))
    six = collapse_addresses(one for one in each if isinstance(one, IPv6Network))
    return frozenset([*four, *six])


def pairs(elements: Iterable[str]) -> list[tuple[str, int]]:
    """Elements of a set of address and port. Raises: Unreadable."""
    found = []
    for each in elements:
        try:
            address, port = json.loads(each)["concat"]
            found.append((str(_address(address)), int(port)))
        except (ValueError, OverflowError, TypeError, KeyError) as err:
            raise Unreadable("an element of a set is no address and port") from err
    return found
