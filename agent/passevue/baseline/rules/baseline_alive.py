"""APP-01: the baseline itself runs, in this boot, with as many rules as the image was built with.

What `national` opens on is stricter: it asks the age of every result (`verdict`). This rule is for the person, the
fleet and `passevue baseline`, who see a dead engine by its last round.
"""

from passevue.baseline.heartbeat import read_heartbeat
from passevue.baseline.machine import Machine, Unmeasurable
from passevue.baseline.remedies import RESTART
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, failed, passed

FRESH_S = 30 * 60.0


def check(machine: Machine) -> Finding:
    from passevue.baseline.rules import CATALOGUE  # this rule is one of them

    expected = machine.manifest.rules
    if len(CATALOGUE) != expected:
        return failed(f"{len(CATALOGUE)} rules, the manifest says {expected}")
    try:
        beat = read_heartbeat(machine)
    except (FileNotFoundError, Unmeasurable):
        return failed("the engine has left no heartbeat")
    if beat.boot_id != machine.boot_id:
        return failed("the engine has not run since the box started")
    age_s = machine.uptime_s - beat.uptime_s
    if not 0 <= age_s < FRESH_S:
        return failed(f"last round {age_s / 60:.0f} min ago")
    return passed(f"{expected} rules, last round {age_s:.0f} s ago")


RULE = Rule(
    id="APP-01",
    slug="baseline_alive",
    level=Level.MUST,
    effect=Effect.BLOCK,
    when=frozenset({When.PERIODIC}),
    title=Text("Le boîtier se surveille lui-même", "The box watches itself"),
    why=Text(
        "Sans cette surveillance, personne ne saurait qu’une protection est tombée.",
        "Without this watch nobody would know that a protection is gone.",
    ),
    expected="results of this boot, younger than 30 min, of as many rules as the manifest says",
    remedy=RESTART,
    source="CR 3.3",
    check=check,
)
