"""A box whose protections stand as a test wants them."""

from dataclasses import replace
from datetime import timedelta

from passevue.baseline.rules import CATALOGUE
from passevue.status.protections import Grade, Protection, Protections
from passevue.status.summary import Summary, draw
from tests.unit.status import states
from tests.unit.status.states import NOW

NOT_HERE = "ce poste n’est pas le boîtier"


def protections(
    grades: dict[str, Grade] | None = None, *, on_box: bool = True, closed: bool = False, rest: Grade = Grade.WELL
) -> Protections:
    """Every rule of the catalogue, `rest` unless `grades` says otherwise by its id."""
    shown = []
    for rule in CATALOGUE:
        if rule.check is not None:
            grade = (grades or {}).get(rule.id, rest)
            observed = NOT_HERE if grade is Grade.APART else "offset 1.84 s"
            pairs = [(text.fr, text.en) for text in (rule.title, rule.why, rule.remedy.text)]
            shown.append(Protection(rule.id, grade, *pairs, observed, NOW - timedelta(minutes=12)))
    proved = tuple((rule.id, (rule.title.fr, rule.title.en)) for rule in CATALOGUE if rule.check is None)
    return Protections(NOW, tuple(shown), on_box, closed, proved)


def summary(found: Protections | None) -> Summary:
    calm = states.calm()
    return draw(
        now=calm.at, box=calm.box, version=calm.version, counters=calm.counters, recent=calm.recent, room=calm.room,
        certificates=calm.certificates, neighbours=calm.neighbours, started_at=calm.started_at, protections=found,
    )  # fmt: skip


BLOCKED = protections({"APP-04": Grade.BLOCK, "TIME-01": Grade.HOLD, "TLS-07": Grade.WARN}, closed=True)
JUST_STARTED = replace(protections(), at=None, rules=(), closed=True)
PENDING = replace(protections({"TIME-01": Grade.UNSURE}), closed=True)
LAPTOP = protections({"TLS-07": Grade.WARN}, on_box=False, rest=Grade.APART)
SOUND = protections()
