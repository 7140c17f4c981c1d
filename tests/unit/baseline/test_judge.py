from datetime import timedelta

import pytest

from passevue.baseline.judge import Standing, closing, good_until_s, holding, judge
from passevue.baseline.rule import (
    Effect,
    Finding,
    Function,
    Level,
    Rule,
    Status,
    When,
    failed,
    not_applicable,
    passed,
    unknown,
)
from tests.unit.baseline.rules_made_up import START, made_up

BLOCK = made_up()
FLAPS = made_up(can_flap=True)


def after(rule: Rule, *findings: tuple[float, Finding], appliance: bool = True) -> Standing:
    standing: Standing | None = None
    for second, finding in findings:
        at = START + timedelta(seconds=second)
        standing = judge(rule, standing, finding, at, 1000.0 + second, appliance=appliance)
    assert standing is not None
    return standing


def test_a_failure_fires_at_once() -> None:
    standing = after(BLOCK, (0, passed("")), (600, failed("")))
    assert standing.fires
    assert standing.effect is Effect.BLOCK


def test_one_pass_clears() -> None:
    assert not after(BLOCK, (0, failed("")), (60, passed(""))).fires
    assert not after(FLAPS, (0, failed("")), (60, passed(""))).fires


def test_what_can_flap_needs_two_failures_a_minute_apart() -> None:
    assert not after(FLAPS, (0, passed("")), (600, failed(""))).fires
    assert not after(FLAPS, (0, passed("")), (600, failed("")), (659, failed(""))).fires
    assert after(FLAPS, (0, passed("")), (600, failed("")), (660, failed(""))).fires


def test_a_pass_between_two_failures_begins_a_new_row() -> None:
    assert not after(FLAPS, (0, passed("")), (600, failed("")), (630, passed("")), (660, failed(""))).fires


def test_an_unknown_between_two_failures_ends_no_row() -> None:
    assert after(FLAPS, (0, passed("")), (600, failed("")), (630, unknown("")), (660, failed(""))).fires


def test_what_never_passed_has_nothing_to_flap_from() -> None:
    assert after(FLAPS, (0, failed(""))).fires


def test_the_same_evidence_is_no_second_failure() -> None:
    first = judge(FLAPS, after(FLAPS, (0, passed(""))), failed(""), START, 1600.0, appliance=True, evidence_s=1590.0)
    same = judge(FLAPS, first, failed(""), START, 1700.0, appliance=True, evidence_s=1590.0)
    other = judge(FLAPS, same, failed(""), START, 1900.0, appliance=True, evidence_s=1890.0)
    assert (first.fires, same.fires, other.fires) == (False, False, True)


def test_unknown_on_a_must_counts_after_three_tries() -> None:
    assert not after(BLOCK, (0, passed("")), (60, unknown("")), (120, unknown(""))).fires
    assert after(BLOCK, (0, passed("")), (60, unknown("")), (120, unknown("")), (180, unknown(""))).fires


def test_unknown_on_a_must_counts_after_five_minutes() -> None:
    assert not after(BLOCK, (0, unknown("")), (299, unknown(""))).fires
    assert after(BLOCK, (0, unknown("")), (300, unknown(""))).fires


def test_unknown_on_a_should_never_counts() -> None:
    rule = made_up(level=Level.SHOULD, effect=Effect.WARN)
    assert not after(rule, *((60.0 * n, unknown("")) for n in range(20))).fires


def test_unknown_does_not_clear_what_fires() -> None:
    standing = after(BLOCK, (0, failed("")), (60, unknown("")))
    assert standing.fires
    assert standing.finding.status is Status.UNKNOWN


def test_unknown_takes_the_graver_of_two_effects() -> None:
    rule = made_up(effect=Effect.HOLD, worse=Effect.BLOCK)
    assert after(rule, (0, unknown("")), (300, unknown(""))).effect is Effect.BLOCK


def test_a_finding_may_say_the_graver_effect() -> None:
    rule = made_up(effect=Effect.HOLD, worse=Effect.BLOCK)
    assert after(rule, (0, failed(""))).effect is Effect.HOLD
    assert after(rule, (0, failed("", Effect.BLOCK))).effect is Effect.BLOCK


def test_since_is_when_the_status_came() -> None:
    standing = after(BLOCK, (0, passed("")), (60, failed("")), (120, failed("")))
    assert standing.since == START + timedelta(seconds=60)
    assert standing.checked == START + timedelta(seconds=120)


def test_off_the_appliance_nothing_does_more_than_warn() -> None:
    standing = after(BLOCK, (0, failed("")), appliance=False)
    assert standing.effect is Effect.WARN
    assert closing([BLOCK], {BLOCK.id: standing}, appliance=False) == ()
    assert closing([BLOCK], {}, appliance=False) == ()


@pytest.mark.parametrize(
    ("findings", "closed"),
    [
        ([], True),
        ([unknown("")], True),
        ([passed("")], False),
        ([not_applicable("")], False),
        ([passed(""), unknown("")], False),
        ([passed(""), failed("")], True),
    ],
)
def test_national_waits_for_every_block_rule(findings: list[Finding], *, closed: bool) -> None:
    standings = {BLOCK.id: after(BLOCK, *((60.0 * n, each) for n, each in enumerate(findings)))} if findings else {}
    assert closing([BLOCK], standings, appliance=True) == ((BLOCK.id,) if closed else ())


def test_a_narrow_block_leaves_national_open() -> None:
    rule = made_up(narrow=True)
    assert closing([rule], {rule.id: after(rule, (0, failed("")))}, appliance=True) == ()


def test_a_hold_rule_that_blocks_closes_national() -> None:
    rule = made_up(effect=Effect.HOLD, worse=Effect.BLOCK, holds=frozenset({Function.PUBLICATION}))
    standings = {rule.id: after(rule, (0, failed("", Effect.BLOCK)))}
    assert closing([rule], standings, appliance=True) == (rule.id,)
    assert holding([rule], standings) == {}


def test_a_hold_names_its_functions() -> None:
    rule = made_up(effect=Effect.HOLD, holds=frozenset({Function.SIGN_IN, Function.CONSULTATION}))
    assert holding([rule], {rule.id: after(rule, (0, failed("")))}) == {
        Function.SIGN_IN: (rule.id,),
        Function.CONSULTATION: (rule.id,),
    }


def test_images_go_on_while_nobody_can_say_what_is_wrong() -> None:
    """Taking in stands still for what was seen to be wrong, never for who looks (security-baseline.md § 1.1)."""
    rule = made_up(effect=Effect.HOLD, holds=frozenset({Function.IMAGES, Function.SIGN_IN}))
    blind = after(rule, *((60.0 * n, unknown("no facts")) for n in range(4)))
    assert blind.fires
    assert holding([rule], {rule.id: blind}) == {Function.SIGN_IN: (rule.id,)}
    seen = after(rule, (0, failed("")), (60, unknown("no facts")))
    assert set(holding([rule], {rule.id: seen})) == {Function.IMAGES, Function.SIGN_IN}
    assert set(holding([rule], {rule.id: after(rule, (0, failed("")))})) == {Function.IMAGES, Function.SIGN_IN}


def test_results_are_believed_for_half_an_hour_after_the_oldest() -> None:
    other = made_up(id="TEST-02", when=frozenset({When.START}))
    daily = made_up(id="TEST-03", when=frozenset({When.DAILY}))
    standings = {BLOCK.id: after(BLOCK, (0, passed(""))), other.id: after(other, (100, passed("")))}
    assert good_until_s([BLOCK, other, daily], standings) == 1000.0 + 1800.0
    assert good_until_s([BLOCK, other, daily], {BLOCK.id: standings[BLOCK.id]}) == 0.0
