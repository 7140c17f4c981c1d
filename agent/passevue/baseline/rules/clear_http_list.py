"""TLS-06: port 80 outwards is open for revocation lists alone: the one zone that fetches them, to their addresses."""

import json
from typing import Any

from passevue.baseline.machine import Machine
from passevue.baseline.reading.ruleset import Ruleset, read_ruleset
from passevue.baseline.remedies import NETWORK_RULES
from passevue.baseline.rule import Effect, Finding, Function, Level, Rule, Text, When, failed, passed

HTTP = 80
ALLOWED_SETS = ("host_outside4", "host_outside6")


def check(machine: Machine) -> Finding:
    ruleset = read_ruleset(machine.facts.tree("ruleset"))
    elsewhere = _sets_with_http(read_ruleset(machine.facts.tree("ruleset_sets")))
    if elsewhere:
        return failed(f"port {HTTP} is open by {', '.join(sorted(elsewhere))}")
    open_rules = [
        rule.chain[2] for rule in ruleset.rules if "accept" in rule.verdicts and _names_http(rule.expressions)
    ]
    if open_rules:
        return failed(f"port {HTTP} is open by a rule of {open_rules[0]}")
    return passed(f"port {HTTP} only by {', '.join(ALLOWED_SETS)}")


def _sets_with_http(ruleset: Ruleset) -> set[str]:
    """Named sets of addresses and ports that hold port 80 and should not."""
    found = set()
    for (_, _, name), elements in ruleset.sets.items():
        if name not in ALLOWED_SETS and any(HTTP in _numbers(json.loads(each)) for each in elements):
            found.add(name)
    return found


def _names_http(expressions: tuple[Any, ...]) -> bool:
    """Whether a rule lets that destination port through by its own words."""
    return any(
        _is_dport(each["match"]["left"]) and HTTP in _numbers(each["match"]["right"])
        for each in expressions
        if "match" in each
    )


def _is_dport(left: Any) -> bool:
    return isinstance(left, dict) and left.get("payload", {}).get("field") == "dport"


def _numbers(tree: Any) -> set[int]:
    """Every port below `tree`; a range counts with all that lies in it."""
    if isinstance(tree, bool):
        return set()
    if isinstance(tree, int):
        return {tree}
    if isinstance(tree, dict) and "range" in tree and all(isinstance(end, int) for end in tree["range"]):
        low, high = tree["range"]
        return {HTTP} if low <= HTTP <= high else set()
    if isinstance(tree, dict):
        return set().union(*(_numbers(value) for name, value in tree.items() if name != "prefix"))
    return set().union(*(_numbers(each) for each in tree)) if isinstance(tree, list) else set()


RULE = Rule(
    id="TLS-06",
    slug="clear_http_list",
    level=Level.MUST,
    effect=Effect.HOLD,
    when=frozenset({When.BUILD, When.PERIODIC}),
    title=Text("Rien ne sort en clair, sauf les listes de révocation", "Nothing leaves in clear but revocation lists"),
    why=Text(
        "Le référencement l’exige, et un flux en clair se lit et se modifie en chemin.",
        "Referencing asks for it, and what is in clear can be read and changed on its way.",
    ),
    expected="no rule opens port 80 outwards but for the zone that fetches revocation lists",
    remedy=NETWORK_RULES,
    source="ANS FAQ, point C17 [B]",
    check=check,
    holds=frozenset({Function.SIGN_IN, Function.CONSULTATION}),
)
