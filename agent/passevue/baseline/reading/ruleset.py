"""nftables rules in JSON (libnftables-json(5)), made comparable: what is loaded, and what a file would load.

Two forms come in: `nft -j list ruleset`, objects as they are; and `nft -j --echo -f FILE` in an empty network
namespace, the same objects as `add` commands, elements of sets apart. Handles, counters and the version of nft mean
nothing and go; the order of rules in a chain stays. Elements of named sets are kept beside: the configuration fills
some of them.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from passevue.errors import Unreadable

_VOLATILE = frozenset({"handle", "packets", "bytes", "comment", "index", "used"})
_MOST_OBJECTS = 20_000

Key = tuple[str, str, str]  # family, table, name


@dataclass(frozen=True, slots=True)
class Chain:
    family: str
    table: str
    name: str
    kind: str = ""  # type of a base chain: filter, nat, route; empty for others
    hook: str = ""
    policy: str = ""


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
        chains = sorted((c.family, c.table, c.name, c.kind, c.hook, c.policy) for c in self.chains)
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

    def rules_of(self, chain: Chain) -> list[NftRule]:
        key = (chain.family, chain.table, chain.name)
        return [each for each in self.rules if each.chain == key]


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
                rest = [str(body.get(name, "")) for name in ("type", "hook", "policy")]
                chains.append(Chain(*key, *rest))
            elif kind == "rule":
                rules.append(NftRule((key[0], key[1], str(body["chain"])), tuple(_steady(body["expr"]))))
            elif kind == "element":
                sets.setdefault(key, set()).update(_elements(body["elem"]))
            else:
                if kind in {"set", "map"}:
                    sets.setdefault(key, set()).update(_elements(body.get("elem", [])))
                others.append(_canonical([kind, {n: v for n, v in _steady(body).items() if n != "elem"}]))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as err:
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


def networks(elements: frozenset[str]) -> frozenset[str]:
    """Elements of a set of addresses, as `192.168.1.0/24`, `10.0.0.5`, `10.0.0.1-10.0.0.9`. Raises: Unreadable."""
    return frozenset(_network(json.loads(each)) for each in elements)


def _network(tree: Any) -> str:
    if isinstance(tree, str):
        return tree
    if isinstance(tree, dict) and set(tree) == {"prefix"}:
        return f"{tree['prefix']['addr']}/{tree['prefix']['len']}"
    if isinstance(tree, dict) and set(tree) == {"range"}:
        return "-".join(tree["range"])
    raise Unreadable("an element of a set is no address")
