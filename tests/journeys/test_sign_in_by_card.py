"""A practitioner puts a CPS into the box's reader, types the code on the page, acts, and leaves with the card."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from passevue.national.vihf import Mode
from passevue.queue.states import State
from tests.peers.card import Kind, Update
from tests.peers.front_desk import ELSEWHERE, HERE, Browser, FrontDesk
from tests.peers.ris_report import Doctor


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[FrontDesk]:
    async with FrontDesk(tmp_path) as desk:
        yield desk


@pytest.fixture
async def browser(desk: FrontDesk) -> AsyncIterator[Browser]:
    async with desk.browser() as browser:
        yield browser


async def test_from_an_empty_reader_to_ones_own_page(desk: FrontDesk, browser: Browser) -> None:
    assert "Insérez votre carte" in await browser.get("/sign-in")
    async with browser.events("/sign-in/events") as events:
        assert "Insérez votre carte" in (await anext(events))[1]
        desk.hand.put_in(desk.card())
        seen = [(await anext(events))[1] for _ in range(2)]
    assert "Lecture de la carte" in seen[0]
    assert "Carte reconnue" in seen[1]
    assert "CAMILLE RADIOLOGUE" in seen[1]  # the browser is at the box
    text = await browser.sign_in_by_card()
    assert browser.path == "/me"
    assert "CAMILLE RADIOLOGUE" in text
    assert "Médecin" in text
    assert HERE.name in text
    assert ELSEWHERE.name not in text  # not a structure of this box
    trail = await desk.audited()
    assert 'UserID="899700367909"' in trail
    assert "110122" in trail


@pytest.mark.parametrize("kind", [Kind.CPS3, Kind.CPS4])
async def test_each_generation_signs_in(desk: FrontDesk, browser: Browser, kind: Kind) -> None:
    desk.hand.put_in(desk.card(kind=kind))
    assert "CAMILLE" in await browser.sign_in_by_card()
    assert browser.path == "/me"


async def test_a_wrong_code_is_sent_once_and_says_what_is_left(desk: FrontDesk, browser: Browser) -> None:
    card = desk.card()
    desk.hand.put_in(card)
    text = await browser.sign_in_by_card("9999")
    assert browser.path == "/sign-in"
    assert "il reste 2 essais" in text.replace("\N{NO-BREAK SPACE}", " ")
    assert _codes_sent(card) == 1
    assert "il reste 2 essais" not in (await browser.get("/sign-in"))  # told once; reloading sends nothing
    assert _codes_sent(card) == 1
    assert "CAMILLE" in await browser.sign_in_by_card("1234")
    assert browser.path == "/me"


async def test_the_last_try_needs_the_persons_word(desk: FrontDesk, browser: Browser) -> None:
    card = desk.card()
    desk.hand.put_in(card)
    await browser.sign_in_by_card("9999")
    text = await browser.sign_in_by_card("8888")
    assert "il ne reste qu’un essai" in text
    assert "Je suis sûr de mon code" in text
    text = await browser.sign_in_by_card("1234")  # the box is not ticked
    assert "Rien n’a été envoyé à la carte" in text
    assert _codes_sent(card) == 2
    assert "CAMILLE" in await browser.sign_in_by_card("1234", last_try="yes")
    assert browser.path == "/me"


async def test_a_card_blocked_by_the_last_try_says_so_and_takes_no_code(desk: FrontDesk, browser: Browser) -> None:
    card = desk.card()
    desk.hand.put_in(card)
    for pin in ("9999", "8888"):
        await browser.sign_in_by_card(pin)
    text = await browser.sign_in_by_card("7777", last_try="yes")
    assert "Carte bloquée" in text
    assert 'name="pin"' not in text
    sent = _codes_sent(card)
    assert "pas répondu" in await browser.post("/sign-in/card", insertion="1", pin="1234", last_try="yes")
    assert _codes_sent(card) == sent == 3


@pytest.mark.parametrize("pin", ["", "12", "12345", "abcd", "１２３４", "12 4", "1234%00"])
async def test_what_is_no_code_is_not_sent_to_the_card(desk: FrontDesk, browser: Browser, pin: str) -> None:
    card = desk.card()
    desk.hand.put_in(card)
    assert "quatre chiffres" in await browser.sign_in_by_card(pin)
    assert _codes_sent(card) == 0


async def test_pulling_the_card_closes_the_session_at_once(desk: FrontDesk, browser: Browser) -> None:
    desk.hand.put_in(desk.card())
    await browser.sign_in_by_card()
    async with browser.events("/session/events") as events:
        desk.hand.pull()
        async with asyncio.timeout(1):
            assert await anext(events) == ("go", "/sign-in")
    text = await browser.get("/me")
    assert browser.path == "/sign-in"
    assert "Carte retirée" in text
    assert "CAMILLE" not in text
    assert len(desk.sign_in.sessions) == 0
    assert desk.hand.opened == 0
    assert "card-out" in await desk.audited()


async def test_swapping_the_card_closes_the_session_too(desk: FrontDesk, browser: Browser) -> None:
    card = desk.card()
    desk.hand.put_in(card)
    await browser.sign_in_by_card()
    desk.hand.put_in(card)  # the very same, out and in
    await asyncio.sleep(0.05)
    await browser.get("/me")
    assert browser.path == "/sign-in"


async def test_a_code_typed_for_one_card_never_reaches_another(desk: FrontDesk, browser: Browser) -> None:
    desk.hand.put_in(desk.card())
    await browser.card_shown()
    other = desk.card(number="99213800")
    desk.hand.put_in(other)
    assert "retirée ou changée" in await browser.post("/sign-in/card", insertion="1", pin="1234")
    assert _codes_sent(other) == 0


async def test_a_card_pulled_while_it_signs_signs_nobody_in(desk: FrontDesk, browser: Browser) -> None:
    for after in range(0, 40, 3):
        card = desk.card()
        desk.hand.put_in(card)
        await browser.card_shown()
        card.faults.once(after=after, remove=True)
        await browser.sign_in_by_card()
        if browser.path == "/me":
            break
        assert len(desk.sign_in.sessions) == 0
        desk.hand.pull()
    assert after > 6, "the card was pulled in none of the steps"
    assert desk.hand.opened <= 1


async def test_signing_out_resets_the_card_and_it_may_sign_in_again(desk: FrontDesk, browser: Browser) -> None:
    card = desk.card()
    desk.hand.put_in(card)
    await browser.sign_in_by_card()
    resets = card.resets
    text = await browser.post("/sign-out")
    assert "Vous êtes déconnecté" in text
    await browser.card_shown()
    assert card.resets > resets
    assert "CAMILLE" in await browser.sign_in_by_card()
    assert browser.path == "/me"


async def test_five_idle_minutes_lock(desk: FrontDesk, browser: Browser) -> None:
    desk.hand.put_in(desk.card())
    await browser.sign_in_by_card()
    desk.clock.pass_by(minutes=4.9)
    await browser.get("/me")
    assert browser.path == "/me"
    desk.clock.pass_by(minutes=4.9)
    await browser.get("/me")
    assert browser.path == "/me"
    desk.clock.pass_by(minutes=5.1)
    text = await browser.get("/me")
    assert browser.path == "/sign-in"
    assert "rien n’a été fait depuis quelques minutes" in text
    await browser.card_shown()
    assert desk.hand.opened == 0  # the card was let go of


async def test_a_page_left_open_keeps_no_session_alive(desk: FrontDesk, browser: Browser) -> None:
    desk.hand.put_in(desk.card())
    await browser.sign_in_by_card()
    async with browser.events("/session/events") as events:
        desk.clock.pass_by(minutes=5.1)
        async with asyncio.timeout(3):
            assert await anext(events) == ("go", "/sign-in")


async def test_four_hours_are_the_longest(desk: FrontDesk, browser: Browser) -> None:
    desk.hand.put_in(desk.card())
    await browser.sign_in_by_card()
    for _ in range(4 * 60 // 4):
        desk.clock.pass_by(minutes=4)
        text = await browser.get("/me")
    assert browser.path == "/sign-in"
    assert "durée maximale" in text


async def test_a_clock_set_back_gives_nobody_time(desk: FrontDesk, browser: Browser) -> None:
    desk.hand.put_in(desk.card())
    await browser.sign_in_by_card()
    desk.clock.pass_by(hours=-2)
    await browser.get("/me")
    assert browser.path == "/sign-in"


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        ({"kind": Kind.CPS3_CONTACTLESS}, "Carte sans contact"),
        ({"kind": Kind.CPS2TER}, "2ter"),
        ({"kind": Kind.FOREIGN}, "Carte inconnue"),
        ({"update": Update.HALF}, "Mise à jour interrompue"),
    ],
)
async def test_a_card_that_cannot_serve_says_why(
    desk: FrontDesk, browser: Browser, profile: dict[str, object], words: str
) -> None:
    desk.hand.put_in(desk.card(**profile))
    text = await browser.card_shown(words)
    assert 'name="pin"' not in text


async def test_an_expired_card_says_so(desk: FrontDesk, browser: Browser) -> None:
    desk.clock.pass_by(days=4 * 365)
    desk.hand.put_in(desk.card())
    assert 'name="pin"' not in await browser.card_shown("Carte expirée")


async def test_a_test_card_is_refused_in_production(tmp_path: Path) -> None:
    async with FrontDesk(tmp_path, realm="production") as desk, desk.browser() as browser:
        desk.hand.put_in(desk.card(category="test"))
        await browser.card_shown("Carte de test")


async def test_a_card_of_another_authority_is_refused(desk: FrontDesk, browser: Browser, tmp_path: Path) -> None:
    from tests.peers.card import Profile, VirtualCard
    from tests.peers.pki_persons import Persons

    strangers = await asyncio.to_thread(Persons, tmp_path / "strangers")
    profile = Profile()
    card = VirtualCard(profile, await asyncio.to_thread(strangers.card_keys, profile))
    desk.hand.put_in(card)
    assert 'name="pin"' not in await browser.card_shown("Carte refusée")


async def test_two_cards_in_two_readers_each_have_their_own_code(desk: FrontDesk, browser: Browser) -> None:
    from tests.peers.card_hand import CardHand

    second = CardHand(desk.cards, "Autre lecteur")
    desk.hand.put_in(desk.card())
    second._insertions = 100
    second.put_in(desk.card(number="99213800"))
    await browser.card_shown('value="101"')
    text = await browser.get("/sign-in")
    assert text.count('name="pin"') == 2
    assert "CAMILLE" in await browser.post("/sign-in/card", insertion="101", pin="1234")
    assert browser.path == "/me"


async def test_an_unplugged_reader_is_told(desk: FrontDesk, browser: Browser) -> None:
    desk.hand.put_in(desk.card())
    await browser.sign_in_by_card()
    desk.hand.unplug()
    await asyncio.sleep(0.05)
    assert "Aucun lecteur de carte" in await browser.get("/me")


# --- what a practitioner sees and does -------------------------------------------------------------------------------


async def test_details_are_shown_to_a_practitioner_of_this_box_and_audited(desk: FrontDesk, browser: Browser) -> None:
    number = await desk.set_aside()
    desk.hand.put_in(desk.card())
    text = await browser.sign_in_by_card()
    assert f"/entries/{number}" in text
    assert "PAT-TROIS" not in text  # the list names nobody
    text = await browser.get(f"/entries/{number}")
    assert "PAT-TROIS" in text
    assert "28/03/1979" in text
    trail = await desk.audited()
    assert "entry-show" in trail
    assert "279035121518989" in trail


async def test_a_practitioner_of_elsewhere_sees_only_themselves(desk: FrontDesk, browser: Browser) -> None:
    number = await desk.set_aside()
    desk.hand.put_in(desk.card(ELSEWHERE))
    text = await browser.sign_in_by_card()
    assert "Aucune de vos situations" in text
    assert f"/entries/{number}" not in text
    text = await browser.get(f"/entries/{number}")
    assert "PAT-TROIS" not in text
    assert browser.path == "/me"
    assert "entry-show" not in await desk.audited()


async def test_retrying_is_audited_before_it_is_done(desk: FrontDesk, browser: Browser) -> None:
    number = await desk.set_aside()
    desk.hand.put_in(desk.card())
    await browser.sign_in_by_card()
    await browser.get(f"/entries/{number}")
    text = await browser.post(f"/entries/{number}/retry", why="INS corrigé")
    assert f"La demande {number} est relancée" in text
    shown = await desk.store.show(number)
    assert shown is not None
    assert shown.line.state is State.WAITING
    assert [(act.act, act.by, act.why) for act in shown.acts] == [("retry", "899700367909", "INS corrigé")]
    assert "queue-retry" in await desk.audited()


async def test_publishing_in_ones_own_name_lasts_as_long_as_the_card_stays(desk: FrontDesk, browser: Browser) -> None:
    number = await desk.set_aside()
    desk.hand.put_in(desk.card())
    await browser.sign_in_by_card()
    assert "Publier en mon nom" in await browser.get(f"/entries/{number}")
    text = await browser.post(f"/entries/{number}/publish")
    assert "part en votre nom" in text
    in_person = desk.sign_in.in_person
    signer = in_person.of(number)
    assert signer is not None
    assert (signer.id_nat, signer.mode) == ("899700367909", Mode.DIRECTE)
    assert signer.situation.structure_id == HERE.structure_id
    assert signer.signer is not None
    assert len(await signer.signer.sign(b"a VIHF", "sha256")) == 256  # by the card, its code given at sign-in
    assert in_person.of_person("899700367909", number) is signer
    assert "queue-publish-in-person" in await desk.audited()
    desk.hand.pull()
    await asyncio.sleep(0.05)
    assert in_person.of(number) is None


async def test_anothers_report_is_not_published_in_ones_name(desk: FrontDesk, browser: Browser) -> None:
    number = await desk.set_aside(Doctor())
    desk.hand.put_in(desk.card())
    await browser.sign_in_by_card()
    text = await browser.get(f"/entries/{number}")
    assert "Publier en mon nom" not in text
    assert "Relancer" in text
    assert "signé par quelqu’un d’autre" in await browser.post(f"/entries/{number}/publish")
    assert desk.sign_in.in_person.of(number) is None


async def test_a_practitioner_closes_nothing(desk: FrontDesk, browser: Browser) -> None:
    number = await desk.set_aside()
    desk.hand.put_in(desk.card())
    await browser.sign_in_by_card()
    await browser.get(f"/entries/{number}")
    await browser.post(f"/entries/{number}/close", why="parce que")
    shown = await desk.store.show(number)
    assert shown is not None
    assert shown.line.state is State.SET_ASIDE


async def test_whoever_works_in_two_of_the_structures_chooses(desk: FrontDesk, browser: Browser) -> None:
    from dataclasses import replace

    number = await desk.set_aside()
    desk.hand.put_in(desk.card(HERE, replace(HERE, sector="SA05")))
    text = await browser.sign_in_by_card()
    assert "J’agis en tant que" in text
    assert f"/entries/{number}" not in text
    assert f"/entries/{number}" in await browser.post("/me/situation", situation="1")
    assert "Choisissez d’abord" in await browser.post("/me/situation", situation="7")


# --- the code ----------------------------------------------------------------------------------------------------


async def test_the_code_is_in_no_file_no_log_and_no_session(
    desk: FrontDesk, browser: Browser, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.hand.put_in(desk.card(pin="4711"))
    text = await browser.sign_in_by_card("4711")
    assert "4711" not in text
    await browser.post("/sign-out")
    printed = capsys.readouterr()
    assert "4711" not in printed.out + printed.err

    def kept() -> list[Path]:
        return [
            path for path in desk.folder.rglob("*") if path.is_file() and re.search(rb"\b4711\b", path.read_bytes())
        ]

    assert await asyncio.to_thread(kept) == []


def _codes_sent(card: object) -> int:
    """VERIFY commands that carry a code."""
    return sum(1 for one in card.trace if len(one.command) > 5 and one.command[1] == 0x20)  # type: ignore[attr-defined]
