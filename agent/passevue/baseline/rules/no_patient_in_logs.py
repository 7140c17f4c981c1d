"""LOG-06: no name, INS, birth date, accession number or document outside queue, documents and audit trail."""

from passevue.baseline.remedies import IMAGE_BUG
from passevue.baseline.rule import Effect, Level, Rule, Text, When

RULE = Rule(
    id="LOG-06",
    slug="no_patient_in_logs",
    level=Level.MUST,
    effect=Effect.GATE,
    when=frozenset({When.BUILD}),
    title=Text("Aucun patient dans les journaux techniques", "No patient in technical logs"),
    why=Text(
        "Les journaux sont lus par la maintenance, qui n’a pas à savoir qui est soigné ici.",
        "Logs are read by maintenance, who need not know who is treated here.",
    ),
    expected="the identities of every test patient are in no log line of any test",
    remedy=IMAGE_BUG,
    source="CRA g, HDS scope",
    proof="tests/unit/test_guards.py",
)
