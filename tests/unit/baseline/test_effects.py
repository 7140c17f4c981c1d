"""What a failing rule stops: the dispatcher, a try with the registry, sign-ins; and what it leaves alone."""

import asyncio
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

import passevue
from passevue import config
from passevue.baseline.rule import Effect, Function
from passevue.baseline.rules import CATALOGUE
from passevue.errors import Refused, Unsound
from passevue.queue.retry import HELD_FOR, Facts, Phase, Policy, after
from passevue.queue.states import State
from passevue.queue.store import Store
from passevue.status import words
from passevue.status.audit_trail import AuditTrail
from passevue.status.entry_acts import EntryActs
from passevue.status.local_account import LocalAccount
from passevue.status.notices import NOTICES
from passevue.status.roles import Method, Role
from passevue.status.session import Session
from passevue.status.sign_in import SignIn
from passevue.status.visitor import Place
from tests.peers.disk import ROOMY


@pytest.mark.parametrize("phase", Phase)
def test_a_try_that_a_rule_forbids_is_held_and_burns_nothing(phase: Phase) -> None:
    step = after(Unsound("the baseline holds publications: APP-04"), phase, Facts(tries=1), 0.5, Policy())
    assert (step.state, step.facts.reason) == (State.HELD, "baseline")
    assert step.facts.failures == 0
    assert "baseline" in HELD_FOR
    assert "baseline" in words.ENGLISH_HINTS


async def test_nobody_signs_in_by_card_or_phone_into_a_box_that_is_not_sound(tmp_path: Path) -> None:
    trail = AuditTrail(tmp_path / "audit", "1.2.3")
    held: list[str] = ["APP-04"]
    sign_in = SignIn(LocalAccount(tmp_path), trail, (), lambda: datetime.now(UTC), held=lambda: held)
    task = asyncio.create_task(trail.run())
    try:
        pin = bytearray(b"1234")
        with pytest.raises(Refused) as caught:
            await sign_in.by_card(1, pin, Place.AT_BOX, "127.0.0.1")
        assert caught.value.code == "not-sound"
        assert pin == bytearray(4)  # wiped, and never sent
        for begin in (sign_in.begin_push("c" * 43, "1", "127.0.0.1"), sign_in.begin_code("c" * 43, "127.0.0.1")):
            with pytest.raises(Refused) as caught:
                await begin
            assert caught.value.code == "not-sound"
        held.clear()
        with pytest.raises(Refused) as caught:
            await sign_in.by_card(1, bytearray(b"1234"), Place.AT_BOX, "127.0.0.1")
        assert caught.value.code == "no-readers"
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_what_people_do_at_the_page_is_held_before_it_is_written_down(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    settings = config.Queue(url=f"sqlite:///{tmp_path / 'queue.sqlite'}")
    store = await Store.open(settings, tmp_path, limits=ROOMY, roles={"intake"})
    try:
        trail = AuditTrail(tmp_path / "audit", "1.2.3")
        sign_in = SignIn(LocalAccount(tmp_path), trail, (), lambda: now)
        acts = EntryActs(store, trail, sign_in, "test", lambda: now, lambda: ("NET-07",))
        session = Session(Role.ADMIN, Method.PASSWORD, "site-admin", now, now, now)
        for act in (acts.close, acts.retry, acts.release):
            with pytest.raises(Refused) as caught:
                await act(session, 1, "an order", "127.0.0.1")
            assert caught.value.code == "acts-held"
        assert not await asyncio.to_thread((tmp_path / "audit").exists)
    finally:
        await store.close()


def test_what_is_held_has_words_for_people() -> None:
    assert {"acts-held", "not-sound"} <= set(NOTICES)


NOT_YET = {Function.CONSULTATION, Function.SUPPORT}  # this version has neither


def test_what_a_rule_holds_is_asked_about_by_who_does_it() -> None:
    agent = Path(passevue.__file__).parent
    files = [path for path in agent.rglob("*.py") if "baseline" not in path.parts]
    asked = {
        name for path in files for name in re.findall(r"held\(Function\.(\w+)\)", path.read_text(encoding="utf-8"))
    }
    assert asked == {function.name for function in Function} - {function.name for function in NOT_YET}
    idle = {rule.id for rule in CATALOGUE if rule.effect is Effect.HOLD and not rule.holds - NOT_YET}
    # A unit that failed stops nothing by itself; the others speak of what is not there yet.
    assert idle == {"ACCT-05", "SERV-02", "CERT-05"}
