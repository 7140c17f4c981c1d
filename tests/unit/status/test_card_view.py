"""What a card is good for, decided from what was read of it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from passevue.card.cps import CardType, Category, Cps, CpsKey, Generation, Holder, KeyUse, PinState
from passevue.status import notices, people_words
from passevue.status.card_view import CardPhase, phase_of
from passevue.status.session import Ended
from passevue.status.visits import PushPhase
from tests.peers.card import Profile
from tests.peers.pki_persons import of_process

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def cps() -> Cps:
    certificate = of_process("test").card_keys(Profile()).authentication.certificate
    key = CpsKey(KeyUse.AUTH, b"2", "CPS_PRIV_AUT", 0x82, frozenset(), 2048, True, "", certificate)
    return Cps(
        generation=Generation.CPS3, number="99213845", application="CPS", card_type=CardType.CPS,
        category=Category.TEST, holder=Holder("8997", "RADIOLOGUE", "CAMILLE", "", "10", ("SM44",)), keys=(key,),
        valid_from=NOON - timedelta(days=1), valid_until=NOON + timedelta(days=1), update_broken=False, updated_at="",
        pin=PinState(3, 3), situations=None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "phase"),
    [
        ({}, CardPhase.READY),
        ({"pin": PinState(1, 3)}, CardPhase.LAST_TRY),
        ({"pin": PinState(None)}, CardPhase.LAST_TRY),  # a card that does not say counts as having one left
        ({"pin": PinState(0, 3)}, CardPhase.BLOCKED),
        ({"pin": None}, CardPhase.UNKNOWN),
        ({"update_broken": True}, CardPhase.BROKEN_UPDATE),
        ({"generation": Generation.CPS3_CONTACTLESS}, CardPhase.CONTACTLESS),
        ({"category": Category.PRODUCTION}, CardPhase.REAL_CARD),
        ({"category": None}, CardPhase.UNKNOWN),
        ({"keys": ()}, CardPhase.UNKNOWN),
        ({"holder": None}, CardPhase.UNKNOWN),
        ({"holder": Holder("8997", "A", "B", "", "", ())}, CardPhase.STAFF),
        ({"valid_from": NOON + timedelta(seconds=1)}, CardPhase.TOO_EARLY),
        ({"valid_until": NOON}, CardPhase.EXPIRED),
        ({"valid_until": None}, CardPhase.EXPIRED),
    ],
)
def test_each_card_has_its_phase(cps: Cps, changes: dict[str, Any], phase: CardPhase) -> None:
    assert phase_of(replace(cps, **changes), "test", NOON) is phase


def test_a_test_card_is_none_in_production(cps: Cps) -> None:
    assert phase_of(cps, "production", NOON) is CardPhase.TEST_CARD
    assert phase_of(replace(cps, category=Category.PRODUCTION), "production", NOON) is CardPhase.READY


def test_every_state_has_its_words_in_both_languages() -> None:
    assert set(people_words.CARDS) == set(CardPhase)
    assert set(people_words.PUSH) == set(PushPhase)
    assert set(people_words.ENDED) == set(Ended)
    pairs = [pair for both in (*people_words.CARDS.values(), *people_words.PUSH.values()) for pair in both]
    pairs += [pair for _, pair in (*people_words.ENDED.values(), *notices.NOTICES.values())]
    for french, english in pairs:
        assert french
        assert english
        assert french != english
