"""APP-05: code that parses peers' bytes runs without access to private keys, and without a way out.

The text of the rule also keeps it from the queue's database. Ours writes it: what is acknowledged is in the store that
all zones share before the answer goes (design § 4), and nothing between the two could lose it.
"""

from passevue.baseline.remedies import IMAGE_BUG
from passevue.baseline.rule import Effect, Level, Rule, Text, When

RULE = Rule(
    id="APP-05",
    slug="parsers_apart",
    level=Level.MUST,
    effect=Effect.GATE,
    when=frozenset({When.BUILD}),
    title=Text("Ce qui lit les messages reçus ne touche pas aux clés", "What reads incoming messages reaches no key"),
    why=Text(
        "Un message piégé qui prendrait la main n’aurait à portée ni clé ni chemin vers l’extérieur.",
        "A crafted message that took control would have neither key nor way out within reach.",
    ),
    expected="an exploited parser can neither read keys nor reach anybody outside",
    remedy=IMAGE_BUG,
    source="BP R65(R), CR 5.4",
    proof="tests/unit/systemd/test_files.py::test_a_zone_cannot_touch_what_is_another_zones",
    also=("tests/image/test_sabotage.py::test_a_parser_that_was_taken_reaches_no_key_and_nobody_outside",),
)
