"""LOG-01: the audit trail takes records. The engine has asked it to take one just before; here it is read back.

National asks the trail itself before each request, and holds what would leave no trace (`status.witness`).
"""

from datetime import datetime, timedelta

from passevue.baseline.machine import Machine, Unmeasurable
from passevue.baseline.places import audit_folder
from passevue.baseline.reading.audit_chain import last_record
from passevue.baseline.remedies import AUDIT_ROOM
from passevue.baseline.rule import Effect, Event, Finding, Level, Rule, Text, When, failed, not_applicable, passed
from passevue.notary.trail import TAIL

RECENT = timedelta(minutes=15)
LEAST_ROOM = 1 << 20


def check(machine: Machine) -> Finding:
    folder = audit_folder(machine.config)
    try:
        names = [name for name in machine.names(folder) if name.startswith("audit-") and name.endswith(".log")]
    except FileNotFoundError:
        names = []
    if not names:
        return (
            failed("the trail has no file") if machine.appliance else not_applicable("le boîtier n’a pas encore tourné")
        )
    volume = machine.statvfs(folder)
    if volume.f_bavail * volume.f_frsize < LEAST_ROOM:
        return failed("no room is left for the trail")
    record = last_record(machine.read_tail(folder / names[-1], TAIL))
    age = machine.now - datetime.fromtimestamp(machine.stat(folder / names[-1]).st_mtime, machine.now.tzinfo)
    if isinstance(machine.trail_refused, TimeoutError):
        raise Unmeasurable("the trail was asked to take a record and has not answered yet")
    if machine.trail_refused is not None:
        return failed(f"a record was refused just now: {type(machine.trail_refused).__name__}")
    if age > RECENT and not machine.appliance:
        return not_applicable("le boîtier ne tourne pas")
    if not -RECENT < age < RECENT:
        return failed(f"record {record.number} is the last one, written {age.total_seconds() / 60:.0f} min ago")
    return passed(f"record {record.number} was taken {max(age.total_seconds(), 0):.0f} s ago")


RULE = Rule(
    id="LOG-01",
    slug="audit_writes",
    level=Level.MUST,
    effect=Effect.BLOCK,
    when=frozenset({When.START, When.EVENT}),
    title=Text("Le journal d’audit s’écrit", "The audit trail is written"),
    why=Text(
        "Ce qui part vers le DMP sans laisser de trace ne pourrait jamais être expliqué à un patient.",
        "What went to the DMP without a trace could never be explained to a patient.",
    ),
    expected="a record taken and read back within 15 min",
    remedy=AUDIT_ROOM,
    source="PG 7.2.1, CR 2.10, CIS 6.2.2",
    check=check,
    on=frozenset({Event.AUDIT}),
    appliance_only=False,
)
