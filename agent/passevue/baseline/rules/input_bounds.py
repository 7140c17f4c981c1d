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
    also=(
        "tests/unit/intake/test_upper_layer.py::test_memory_does_not_follow_a_length_that_lies",
        "tests/unit/intake/test_mllp_frames.py::test_the_bound_holds_at_one_less_itself_and_one_more",
        "tests/unit/document/test_xml.py::test_depth_is_bounded",
    ),
)
