"""APP-05: what reads the cabinet's bytes reaches no key but those of its own listeners, and nobody but declared peers.

The text of the rule also keeps it from the queue's database. Ours writes it: baseline/README.md says why.
"""

from passevue.baseline.remedies import IMAGE_BUG
from passevue.baseline.rule import Effect, Level, Rule, Text, When

RULE = Rule(
    id="APP-05",
    slug="parsers_apart",
    level=Level.MUST,
    effect=Effect.GATE,
    when=frozenset({When.BUILD}),
    title=Text(
        "Ce qui lit les messages reçus ne touche pas aux clés de la structure",
        "What reads incoming messages reaches none of the structure’s keys",
    ),
    why=Text(
        "Un message piégé qui prendrait la main n’aurait ni les clés de la structure ni un chemin vers l’extérieur.",
        "A crafted message that took control would have neither the structure’s keys nor a way out.",
    ),
    expected="an exploited parser reads no key but its listeners’ and reaches nobody but the cabinet’s declared peers",
    remedy=IMAGE_BUG,
    source="BP R65(R), CR 5.4",
    proof="tests/unit/systemd/test_files.py::test_a_zone_cannot_touch_what_is_another_zones",
    also=("tests/image/test_sabotage.py::test_a_parser_that_was_taken_reaches_no_key_and_nobody_outside",),
)
