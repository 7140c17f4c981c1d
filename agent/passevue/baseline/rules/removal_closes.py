"""CARD-02: held where it happens, by the sessions of the page, and proved with a simulated reader.

There is nothing to measure beside that: a session that outlived its card would not tell.
"""

from passevue.baseline.remedies import RESTART
from passevue.baseline.rule import Effect, Function, Level, Rule, Text, When

RULE = Rule(
    id="CARD-02",
    slug="removal_closes",
    level=Level.MUST,
    effect=Effect.HOLD,
    when=frozenset({When.EVENT}),
    title=Text("Retirer sa carte ferme la session", "Taking one’s card out closes the session"),
    why=Text("Une carte partie, plus personne n’agit en son nom.", "Once the card has gone nobody acts in its name."),
    expected="session ended and tokens dropped within 2 s of the card or reader leaving",
    remedy=RESTART,
    source="PG 4.5.2.2",
    check=None,
    holds=frozenset({Function.SIGN_IN}),
    proof="tests/journeys/test_sign_in_by_card.py::test_pulling_the_card_closes_the_session_at_once",
)
