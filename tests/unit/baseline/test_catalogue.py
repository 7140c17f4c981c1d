"""The catalogue is what its page says, whole, and in words that people can act on."""

import ast
import re
from pathlib import Path

import pytest

import passevue.baseline
from passevue.baseline.rule import Effect, Function, Rule, When
from passevue.baseline.rules import BY_ID, CATALOGUE

HERE = Path(passevue.baseline.__file__).parent
PAGE = (HERE / "README.md").read_text(encoding="utf-8")
ROOT = Path(__file__).parents[3]
ORDER = "bspde"

ids = [rule.id for rule in CATALOGUE]
every_rule = pytest.mark.parametrize("rule", CATALOGUE, ids=ids)


def _row(rule: Rule) -> str:
    effect = rule.effect.value + (f"/{rule.worse.value}" if rule.worse else "")
    stops = f" ({', '.join(sorted(rule.holds))})" if rule.holds else ""
    when = " ".join(sorted((each.value for each in rule.when), key=ORDER.index))
    proof = ", ".join(f"`{each}`" for each in (rule.proof, *rule.also) if each)
    return f"| {rule.id} | `{rule.slug}` | {rule.level.value} | {effect}{stops} | {when} | {rule.title.en} | {proof} |"


def test_the_page_s_table_is_the_catalogue() -> None:
    rows = re.findall(r"(?m)^\| [A-Z]+-\d\d .*$", PAGE)
    assert rows == [_row(rule) for rule in CATALOGUE]


def test_the_catalogue_is_whole() -> None:
    assert len(CATALOGUE) == len(BY_ID) == 90
    assert sum(rule.effect is Effect.GATE for rule in CATALOGUE) == 14
    assert sum(rule.level.value == "M" for rule in CATALOGUE) == 77


def test_each_rule_is_a_file_and_each_file_a_rule() -> None:
    files = {path.stem for path in (HERE / "rules").glob("*.py")} - {"__init__"}
    assert files == {rule.slug for rule in CATALOGUE}


@every_rule
def test_a_rule_is_complete(rule: Rule) -> None:
    assert re.fullmatch(r"[A-Z]+-\d\d", rule.id)
    assert rule.when
    assert rule.expected
    assert rule.source
    for text in (rule.title, rule.why, rule.remedy.text):
        assert text.fr
        assert text.en
        assert text.fr != text.en
        assert "'" not in text.fr, "a French apostrophe is ’"
    assert not rule.title.fr.endswith(".")
    assert rule.why.fr.endswith(".")
    assert rule.remedy.text.fr.endswith(".")


@every_rule
def test_a_gate_is_not_looked_at_and_everything_else_is_or_is_proved(rule: Rule) -> None:
    if rule.effect is Effect.GATE or rule.when == {When.BUILD}:
        assert rule.check is None
    if rule.check is None:
        assert rule.proof


@every_rule
def test_what_proves_a_rule_is_there(rule: Rule) -> None:
    assert rule.proof or not rule.also
    for proof in filter(None, (rule.proof, *rule.also)):
        path, _, name = proof.partition("::")
        assert (ROOT / path).is_file(), path
        assert not name or f"def {name}(" in (ROOT / path).read_text(encoding="utf-8"), proof


@every_rule
def test_two_effects_are_told_apart(rule: Rule) -> None:
    gravity = [Effect.WARN, Effect.HOLD, Effect.BLOCK]
    if rule.worse is not None:
        assert gravity.index(rule.worse) > gravity.index(rule.effect)
    if rule.effect is Effect.HOLD:
        assert rule.holds, "a hold stops a function"


def test_why_a_rule_does_not_apply_is_told_in_french() -> None:
    """People read it on the page, unlike what was observed."""
    told = []
    for path in sorted((HERE / "rules").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "not_applicable":
                told += [(path.stem, each.value) for each in ast.walk(node) if isinstance(each, ast.Constant)]
    assert len(told) > 5
    for rule, text in told:
        assert re.search(r"\b(le|la|les|ce|cette|aucun|rien)\b", text), (rule, text)
        assert not re.search(r"\b(the|is|until|runs)\b", text), (rule, text)
        assert "'" not in text, (rule, "a French apostrophe is ’")
        assert not text.endswith("."), (rule, text)


def test_what_is_taken_in_is_held_by_rules_about_taking_in_alone() -> None:
    """security-baseline.md § 1.1: intake goes on, whatever else fails."""
    assert {rule.id for rule in CATALOGUE if Function.IMAGES in rule.holds} == {"STOR-05", "STOR-07", "NET-03"}


def test_a_key_of_the_fleet_means_one_remedy() -> None:
    texts: dict[str, set[str]] = {}
    for rule in CATALOGUE:
        texts.setdefault(rule.remedy.key, set()).add(rule.remedy.text.fr)
    assert {key: found for key, found in texts.items() if len(found) > 1} == {}
