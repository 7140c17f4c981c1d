"""What a finding means after those before it: whether the rule's effect is in force. No I/O, no clock of its own.

Rules kept here (security-baseline.md § 1):
- a failure fires at once, but for a rule that can flap and has passed since the box started: that one needs two
  failures a minute apart, and one pass clears it (§ 1.3);
- `unknown` on a must rule counts as a failure after three tries or five minutes, and takes the graver effect (§ 1.2);
  it never clears what fires;
- a block rule that has not passed yet since the engine started keeps `national` shut, whatever it is waiting for;
- on a machine that is not the appliance nothing does more than warn.

Durations are told by CLOCK_BOOTTIME: nobody can set it, and a box whose clock jumps by a year measures the same.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from passevue.baseline.rule import Effect, Finding, Function, Level, Rule, Status, When

APART_S: Final = 60.0  # of the two failures that make a flapping rule fire
TRIES: Final = 3  # unknown in a row
UNSURE_S: Final = 300.0
FRESH_S: Final = 30 * 60.0

NOT_LOOKED_AT: Final = Finding(Status.UNKNOWN, "not looked at yet")


@dataclass(frozen=True, slots=True)
class Standing:
    """How it stands with one rule.

    Attributes:
        since: when its status came to be what it is.
        checked, checked_s: when it was last looked at, by the wall clock and by CLOCK_BOOTTIME.
        fires: its effect is in force.
        effect: the one that it has, or would have.
        settled: it has been a pass or not applicable since the engine started.
        failing_since_s, unsure_since_s: first of the failures, or of the unknowns, in a row; None when there is none.
        unsure: unknowns in a row.
    """

    finding: Finding
    since: datetime
    checked: datetime
    checked_s: float
    fires: bool
    effect: Effect
    settled: bool = False
    failing_since_s: float | None = None
    unsure_since_s: float | None = None
    unsure: int = 0


def judge(
    rule: Rule,
    before: Standing | None,
    finding: Finding,
    at: datetime,
    uptime_s: float,
    *,
    appliance: bool,
    evidence_s: float | None = None,
) -> Standing:
    """How it stands with `rule` now that `finding` was found, at `at` and `uptime_s`.

    `evidence_s` is when what it was found in was read, where that was before: the same evidence is no second failure.
    """
    seen_s = uptime_s if evidence_s is None else evidence_s
    failing_s = _first_s(before.failing_since_s if before else None, finding, Status.FAIL, seen_s)
    unsure_s = _first_s(before.unsure_since_s if before else None, finding, Status.UNKNOWN, uptime_s)
    unsure = (before.unsure if before else 0) + 1 if finding.status is Status.UNKNOWN else 0
    settled = finding.status in (Status.PASS, Status.NOT_APPLICABLE) or (before is not None and before.settled)
    fired = before is not None and before.fires
    match finding.status:
        case Status.FAIL:
            waits = rule.can_flap and settled and not fired
            fires = not waits or (failing_s is not None and seen_s - failing_s >= APART_S)
        case Status.UNKNOWN:
            long = unsure >= TRIES or (unsure_s is not None and uptime_s - unsure_s >= UNSURE_S)
            fires = fired or (rule.level is Level.MUST and long)
        case _:
            fires = False
    same = before is not None and before.finding.status is finding.status
    return Standing(
        finding=finding,
        since=before.since if before is not None and same else at,
        checked=at,
        checked_s=uptime_s,
        fires=fires,
        effect=_effect(rule, before if fired else None, finding, appliance=appliance),
        settled=settled,
        failing_since_s=failing_s,
        unsure_since_s=unsure_s,
        unsure=unsure,
    )


def _first_s(before_s: float | None, finding: Finding, status: Status, uptime_s: float) -> float | None:
    """When a row of `status` began; an unknown between two failures does not end their row."""
    if finding.status is status:
        return uptime_s if before_s is None else before_s
    return before_s if status is Status.FAIL and finding.status is Status.UNKNOWN else None


def _effect(rule: Rule, fired: Standing | None, finding: Finding, *, appliance: bool) -> Effect:
    if not appliance:
        return Effect.WARN
    if finding.status is Status.UNKNOWN:
        return fired.effect if fired is not None else rule.worse or rule.effect
    return finding.effect or rule.effect


def closing(rules: Iterable[Rule], standings: Mapping[str, Standing], *, appliance: bool) -> tuple[str, ...]:
    """The rules that keep `national` shut, by id; none on a machine that is not the appliance."""
    if not appliance:
        return ()
    return tuple(rule.id for rule in rules if _closes(rule, standings.get(rule.id)))


def _closes(rule: Rule, standing: Standing | None) -> bool:
    if rule.check is None or rule.narrow:
        return False
    if standing is not None and standing.fires:
        return standing.effect is Effect.BLOCK
    return opens_on(rule) and (standing is None or not standing.settled)


def opens_on(rule: Rule) -> bool:
    """Whether `national` waits for a result of this rule: the block rules of start and timer (§ 1.5)."""
    looked_at = rule.when & {When.START, When.PERIODIC}
    blocks = Effect.BLOCK in (rule.effect, rule.worse)
    return rule.check is not None and blocks and bool(looked_at) and not rule.narrow


def holding(rules: Iterable[Rule], standings: Mapping[str, Standing]) -> Mapping[Function, tuple[str, ...]]:
    """The functions that are held, each with the rules that hold it. Images are taken in as long as nothing was seen to
    be wrong: what cannot be measured stops no intake (§ 1.1)."""
    found: dict[Function, tuple[str, ...]] = {}
    for rule in rules:
        standing = standings.get(rule.id)
        if standing is not None and standing.fires and standing.effect is Effect.HOLD:
            measured = standing.failing_since_s is not None
            for function in sorted(rule.holds if measured else rule.holds - {Function.IMAGES}):
                found[function] = (*found.get(function, ()), rule.id)
    return found


def good_until_s(rules: Iterable[Rule], standings: Mapping[str, Standing]) -> float:
    """CLOCK_BOOTTIME until which `national` may believe these results; 0 when one that it waits for is missing."""
    looked = [standings[rule.id].checked_s if rule.id in standings else None for rule in rules if opens_on(rule)]
    known = [each for each in looked if each is not None]
    return min(known) + FRESH_S if known and len(known) == len(looked) else 0.0
