"""APP-02: every bound of reliability.md § 8 is enforced before memory is taken for what a stranger sends."""

from passevue.baseline.remedies import IMAGE_BUG
from passevue.baseline.rule import Effect, Level, Rule, Text, When

RULE = Rule(
    id="APP-02",
    slug="input_bounds",
    level=Level.MUST,
    effect=Effect.GATE,
    when=frozenset({When.BUILD}),
    title=Text("Rien de démesuré n’est accepté", "Nothing out of measure is taken"),
    why=Text(
        "Un message trop long ou trop profond ne doit pas pouvoir arrêter le boîtier.",
        "A message too long or too deep must not be able to stop the box.",
    ),
    expected="each bound refused before allocation, the next good message served",
    remedy=IMAGE_BUG,
    source="CR 3.5, ETSI 5.13",
    proof="tests/journeys/test_bad_input.py",
)
