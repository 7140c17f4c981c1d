"""Cards: CARD-01 and CARD-02 are held where they happen; here, that their proofs are there and say what they say."""

import pytest

from passevue.baseline.rule import Effect, Rule
from passevue.baseline.rules.pin_and_tokens_never_kept import RULE as PIN_AND_TOKENS_NEVER_KEPT
from passevue.baseline.rules.removal_closes import RULE as REMOVAL_CLOSES
from tests.unit.baseline.a_box import proof_is_there


@pytest.mark.parametrize("rule", [PIN_AND_TOKENS_NEVER_KEPT, REMOVAL_CLOSES], ids=lambda rule: rule.slug)
def test_a_rule_without_a_measure_names_a_test_that_is_there(rule: Rule) -> None:
    assert rule.check is None
    assert proof_is_there(rule)


def test_the_code_is_a_gate_and_the_removal_holds_sign_in() -> None:
    assert PIN_AND_TOKENS_NEVER_KEPT.effect is Effect.GATE
    assert REMOVAL_CLOSES.effect is Effect.HOLD
