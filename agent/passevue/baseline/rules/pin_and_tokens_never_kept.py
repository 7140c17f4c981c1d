"""CARD-01: proved before release: a code that stands out goes all its ways, then is searched for on the disk and in
the log.
"""

from passevue.baseline.remedies import IMAGE_BUG
from passevue.baseline.rule import Effect, Level, Rule, Text, When

RULE = Rule(
    id="CARD-01",
    slug="pin_and_tokens_never_kept",
    level=Level.MUST,
    effect=Effect.GATE,
    when=frozenset({When.BUILD}),
    title=Text("Le code de la carte n’est jamais gardé", "The card’s code is never kept"),
    why=Text(
        "Qui l’aurait trouvé pourrait signer à la place du professionnel.",
        "Whoever found it could sign in place of the professional.",
    ),
    expected=(
        "no code or token in file, log, environment, core or trace; a wrong code is never sent again; one try is left"
    ),
    remedy=IMAGE_BUG,
    source="PG 5.2.2, CR 1.5 3.8",
    check=None,
    proof="tests/journeys/test_sign_in_by_card.py::test_the_code_is_in_no_file_no_log_and_no_session",
    also=(
        "tests/unit/card/test_session.py::test_a_wrong_code_costs_one_try_and_is_sent_once",
        "tests/unit/national/test_psc.py::test_no_token_code_or_identity_is_logged_or_shown",
    ),
)
