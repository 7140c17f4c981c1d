"""LOG-02: one audit record for each event that the texts list, with who, what, when and outcome."""

from passevue.baseline.remedies import IMAGE_BUG
from passevue.baseline.rule import Effect, Level, Rule, Text, When

RULE = Rule(
    id="LOG-02",
    slug="audit_complete",
    level=Level.MUST,
    effect=Effect.GATE,
    when=frozenset({When.BUILD}),
    title=Text("Chaque acte laisse une trace", "Each act leaves a trace"),
    why=Text(
        "Le patient et l’autorité peuvent demander qui a fait quoi.", "Patient and authority may ask who did what."
    ),
    expected="one record for each event of the list, over every way through the box",
    remedy=IMAGE_BUG,
    source="ITI-20, CLA O-6.2–6.4, CRA l",
    proof="tests/unit/baseline/test_audit_complete.py",
)
