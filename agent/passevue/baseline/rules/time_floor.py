"""TIME-03: the clock is never before what is certain: the image's build, the last time it was known to be right.

A clock moved back would bring expired certificates and update metadata to life again; one far in the future, those
that are not valid yet.
"""

from datetime import timedelta

from passevue.baseline.last_right import LIFE, read_last_right
from passevue.baseline.machine import Machine
from passevue.baseline.remedies import CLOCK_BATTERY
from passevue.baseline.rule import Effect, Event, Finding, Level, Rule, Text, When, failed, passed

SLACK = timedelta(seconds=5)  # the clock may be slewed back by less


def check(machine: Machine) -> Finding:
    built = machine.manifest.built_at
    known = read_last_right(machine)
    if machine.now < built:
        return failed(f"the clock is before the image was built, {built:%Y-%m-%d}")
    if known is not None and machine.now < known.floor - SLACK:
        return failed(f"the clock is before it was last right, {known.floor:%Y-%m-%d %H:%M}")
    if machine.now > built + LIFE:
        return failed(f"the clock says {machine.now:%Y-%m-%d}, the image is of {built:%Y-%m-%d}")
    return passed(f"after {max(built, known.floor) if known is not None else built:%Y-%m-%d %H:%M}")


RULE = Rule(
    id="TIME-03",
    slug="time_floor",
    level=Level.MUST,
    effect=Effect.BLOCK,
    when=frozenset({When.START, When.EVENT}),
    title=Text(
        "L’horloge n’est ni revenue en arrière ni partie des années en avant",
        "The clock has gone neither back nor years ahead",
    ),
    why=Text(
        "Reculée, elle ferait accepter des certificats et des mises à jour périmés ; avancée, elle périmerait tout.",
        "A clock set back would make expired certificates and updates pass; one set ahead would expire them.",
    ),
    expected="not before the image's build nor the last synchronised time; not 15 years after the build",
    remedy=CLOCK_BATTERY,
    source="freeze attack, fleet.md § 5",
    check=check,
    on=frozenset({Event.CLOCK}),
)
