"""What is under way at browsers is bounded, and not washed away by those who only make noise."""

from datetime import UTC, datetime

from passevue.national.psc import CodeRequest
from passevue.status.visits import MOST, Visits

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
ASKED = CodeRequest("https://psc.example/auth", "state", "nonce", "verifier", NOW)


def test_a_flood_of_words_to_show_leaves_a_question_under_way() -> None:
    visits = Visits()
    visits.keep("mine", NOW).code = ASKED
    for number in range(3 * MOST):
        visits.keep(f"noise {number}", NOW).notice = ("form-old", {})
    mine = visits.find("mine", NOW)
    assert mine is not None
    assert mine.code is ASKED
    assert visits.find(f"noise {3 * MOST - 1}", NOW) is not None
    assert len(visits._kept) == MOST


def test_questions_themselves_are_bounded() -> None:
    visits = Visits()
    for number in range(2 * MOST):
        visits.keep(f"question {number}", NOW).code = ASKED
    assert len(visits._kept) == MOST
    assert visits.find(f"question {2 * MOST - 1}", NOW) is not None
