"""image/SECURITY.md names every rule of the baseline, and no rule or test that does not exist."""

import re
from pathlib import Path

import pytest

from passevue.baseline.rule import Effect
from passevue.baseline.rules import BY_ID, CATALOGUE

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "image/SECURITY.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" |")]
    for line in re.findall(r"(?m)^\|(?! Protection| ---).*\|$", PAGE)
]
TESTS = sorted(set(re.findall(r"`((?:unit|image|journeys)/[\w/]+\.py)(?:::(\w+))?`", PAGE)))


def test_every_rule_is_there_and_no_other() -> None:
    assert set(re.findall(r"\b[A-Z]{3,4}-\d\d\b", PAGE)) == set(BY_ID)
    assert {row[2] for row in ROWS} == set(BY_ID)


def test_each_line_says_what_against_whom_by_which_rule_and_test() -> None:
    for row in ROWS:
        assert len(row) == 5, row
        protection, against, _, proof, doubt = row
        assert protection
        assert re.fullmatch(r"[WLVIPUMSCE]( [WLVIPUMSCE])*", against), row
        assert proof or doubt, f"neither proved nor admitted: {row}"
        assert not re.sub(r"`[^`]+`(, )?", "", proof), f"no test: {proof}"


@pytest.mark.parametrize(("file", "name"), TESTS, ids=lambda part: part or "whole")
def test_every_test_exists(file: str, name: str) -> None:
    text = (ROOT / "tests" / file).read_text(encoding="utf-8")
    assert re.search(rf"(?m)^(async )?def {name}\(" if name else r"(?m)^(async )?def test_", text)


def test_what_a_rule_calls_its_proof_is_here_too() -> None:
    for rule in CATALOGUE:
        if rule.proof:
            file = rule.proof.removeprefix("tests/").partition("::")[0]
            proofs = "".join(row[3] for row in ROWS if row[2] == rule.id)
            assert file in proofs, f"{rule.id}: {rule.proof}"


def test_what_is_proved_before_release_alone_has_a_test() -> None:
    for rule in CATALOGUE:
        if rule.effect is Effect.GATE:
            assert any(row[3] for row in ROWS if row[2] == rule.id), rule.id
