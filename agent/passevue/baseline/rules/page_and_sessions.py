"""ACCT-06: held by the page itself at each request, and proved by its tests: every route for every role, pauses,
idleness.

There is nothing to measure beside that: the page that let somebody pass would not tell.
"""

from passevue.baseline.remedies import remedy
from passevue.baseline.rule import Effect, Function, Level, Rule, Text, When

RULE = Rule(
    id="ACCT-06",
    slug="page_and_sessions",
    level=Level.MUST,
    effect=Effect.HOLD,
    when=frozenset({When.EVENT}),
    title=Text("La page n’agit que pour qui s’est identifié", "The page acts only for who has signed in"),
    why=Text(
        "Un écran laissé ouvert ou un mot de passe essayé cent fois ne doivent mener à rien.",
        "A screen left open or a password tried a hundred times must lead nowhere.",
    ),
    expected="no patient data without sign-in; acts need a person; 5 failures pause 15 min; idle sessions end",
    remedy=remedy(
        "page",
        "Redémarrez le boîtier ; si la page se comporte mal, appelez la maintenance.",
        "Restart the box; if the page misbehaves, call maintenance.",
    ),
    source="CR 1.1 1.11 2.5, CRA d",
    check=None,
    holds=frozenset({Function.PAGE_ACTS}),
    proof="tests/unit/status/test_attempts.py::test_five_failures_pause_for_a_quarter_of_an_hour",
    also=(
        "tests/journeys/test_site_account.py::test_fifteen_idle_minutes_lock",
        "tests/journeys/test_site_account.py::test_the_admin_sees_no_patient_and_closes_with_a_reason",
        "tests/journeys/test_sign_in_defences.py::test_no_form_works_by_get_or_without_a_session",
    ),
)
