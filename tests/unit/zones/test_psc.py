"""Pro Santé Connect by way of national: who signs in is the same, tokens stay, who goes away is left there too."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from passevue import config
from passevue.errors import SignInError, ZoneAway
from passevue.national.personal import InPerson
from passevue.national.psc import Psc
from passevue.national.psc_face import PscPerson
from passevue.national.psc_identity import PscIdentity
from passevue.zones.in_person import FarConsents, NearConsents
from passevue.zones.meeting import Meeting, Place
from passevue.zones.part import Part
from passevue.zones.psc import FarPsc
from tests.peers.pki import Pki
from tests.peers.psc import PscPeer
from tests.peers.trusted import servers_of
from tests.unit.national.psc_browser import MEDECIN, visit
from tests.unit.national.submissions import STRUCTURE


class Two:
    """National with its Pro Santé Connect, and the page."""

    def __init__(self, folder: Path, pki: Pki, peer: PscPeer) -> None:
        self.pki = pki
        self.peer = peer
        self._meeting = Meeting(folder / "run")
        self._folder = folder
        self._stack = AsyncExitStack()

    async def begin_national(self) -> None:
        keys = self.pki.structure(STRUCTURE)
        settings = config.Psc(
            issuer=self.peer.issuer,  # type: ignore[arg-type]
            client_id=self.peer.client_id,
            redirect_url="https://boite.essai.example/psc/retour",  # type: ignore[arg-type]
            authority=self.pki.authority,
        )
        identity = PscIdentity(keys.auth_certificate, keys.auth_key, servers_of(self.pki))
        self.psc = await self._stack.enter_async_context(Psc(settings, identity, self._folder / "psc"))
        near = NearConsents(InPerson(), self.psc)
        door = await self._stack.enter_async_context(self._meeting.open_door(Place.IN_PERSON, Part.PAGE, near.serve))
        self._national = [asyncio.create_task(door.run())]

    async def end_national(self) -> None:
        await _ended(self._national)
        await self._stack.aclose()

    async def begin_page(self) -> None:
        consents = FarConsents(self._meeting)
        self.far = FarPsc(consents.line.met, lambda: datetime.now(UTC))
        consents.more_told = self.far.told
        self._page = [asyncio.create_task(consents.line.run())]
        await until(lambda: consents.reaches)

    async def end_page(self) -> None:
        await _ended(self._page)

    async def signed_in(self) -> PscPerson:
        self.peer.auto_approve = MEDECIN
        request = await self.far.begin_code()
        return await self.far.finish_code(request, await visit(request.url, self.pki))


async def _ended(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def until(done: Callable[[], bool]) -> None:
    deadline = asyncio.get_running_loop().time() + 10
    while not done():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.02)


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Two]:
    pki = await asyncio.to_thread(Pki, tmp_path / "pki")
    async with PscPeer(pki, structure=STRUCTURE) as peer:
        peer.phones.interval_s = 1
        both = Two(tmp_path, pki, peer)
        await both.begin_national()
        await both.begin_page()
        yield both
        await both.end_page()
        await both.end_national()


async def test_a_browser_signs_in_and_leaves(two: Two) -> None:
    person = await two.signed_in()
    assert person.person.id_nat == MEDECIN
    assert person.person.exercices[0].activities
    assert person.token.acr == "eidas1"
    assert not person.over
    assert "access" not in vars(person)
    await person.end()
    assert person.over
    await until(lambda: two.peer.sessions[-1].over)
    await person.end()  # asked again, does nothing


async def test_a_phone_signs_in(two: Two) -> None:
    request = await two.far.begin_ciba(MEDECIN)
    assert await two.peer.asked(MEDECIN) == request.binding_message
    two.peer.approve(MEDECIN)
    assert (await two.far.finish_ciba(request)).person.id_nat == MEDECIN


async def test_a_refusal_says_why(two: Two) -> None:
    request = await two.far.begin_ciba(MEDECIN)
    await two.peer.asked(MEDECIN)
    two.peer.deny(MEDECIN)
    with pytest.raises(SignInError) as caught:
        await two.far.finish_ciba(request)
    assert caught.value.code == "access_denied"
    with pytest.raises(SignInError):
        await two.far.finish_code(None, {"state": "of nobody"})
    with pytest.raises(SignInError, match="too many parts"):
        await two.far.finish_code(None, {str(number): "" for number in range(30)})


async def test_a_session_that_ended_there_ends_here(two: Two) -> None:
    person = await two.signed_in()
    (session,) = two.psc._sessions
    await session.end()
    await until(lambda: person.over)


async def test_when_national_goes_everybody_is_out(two: Two) -> None:
    person = await two.signed_in()
    await two.end_national()
    await until(lambda: person.over)
    with pytest.raises(ZoneAway):
        await two.far.begin_ciba(MEDECIN)
    await two.begin_national()


async def test_when_the_page_goes_its_people_leave_there_too(two: Two) -> None:
    await two.signed_in()
    await two.end_page()
    await until(lambda: two.peer.sessions[-1].over)
    await two.begin_page()


@pytest.mark.parametrize("wait_s", [0.0, 0.05, 0.5])
async def test_who_is_not_waited_for_any_more_leaves_there_too(two: Two, wait_s: float) -> None:
    request = await two.far.begin_ciba(MEDECIN)
    await two.peer.asked(MEDECIN)
    waiting = asyncio.create_task(two.far.finish_ciba(request))
    await asyncio.sleep(wait_s)
    waiting.cancel()
    await asyncio.wait([waiting])
    two.peer.approve(MEDECIN)
    await until(lambda: bool(two.peer.sessions) and two.peer.sessions[-1].over)
    assert not two.psc._sessions
