"""The page of a box with its readers, its store and its trail, and a browser before it: for tests of people.

    async with FrontDesk(tmp_path) as desk:
        desk.hand.put_in(desk.card())                       # see card_hand.py
        async with desk.browser() as browser:
            await browser.sign_in_by_card("1234")
            assert "CAMILLE" in await browser.get("/me")
        desk.clock.pass_by(minutes=6)

The page, the store, the trail, the sign-in are the box's own, joined by `open_people` as the box joins them.
"""

import asyncio
import io
import re
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Self
from zoneinfo import ZoneInfo

from aiohttp import ClientResponse, ClientSession, ClientTimeout, CookieJar, FormData, TCPConnector
from cryptography import x509
from yarl import URL

from passevue import config
from passevue.card.reader import Readers
from passevue.card.trust import PersonTrust, Use, read_authorities
from passevue.document.request import Action, Task
from passevue.intake.received import Kind, Received
from passevue.national.psc import Psc, open_psc
from passevue.queue.retry import Facts, Step
from passevue.queue.states import State
from passevue.queue.store import Store
from passevue.status import door
from passevue.status.audit_trail import AuditTrail
from passevue.status.card_desk import CardDesk
from passevue.status.folders import audit_folder
from passevue.status.machine_pages import Desk
from passevue.status.observer import Observer
from passevue.status.page import Page
from passevue.status.people import open_people
from tests.clocks import ShiftedClock
from tests.peers.card import Holder, Profile, Situation, VirtualCard
from tests.peers.card_hand import CardHand
from tests.peers.disk import ROOMY
from tests.peers.pki import Pki
from tests.peers.pki_persons import Persons, of_process
from tests.peers.psc import PscPeer
from tests.peers.ris import PAT_TROIS, Site, invented_document_id, invented_exam, oru, report
from tests.peers.ris_report import Doctor

SITE = Site()
MANY = door.Limits(requests_per_s=1000, burst=1000)
DOCTOR = Doctor("899700367909", "RADIOLOGUE", "CAMILLE")
HERE = Situation(SITE.name, SITE.id, "SA08")
ELSEWHERE = Situation("CENTRE HOSPITALIER DES FALAISES", "10B0184569", "SA01")
_TOKEN = re.compile(r'name="token" value="([0-9a-f]{64})"')


class FrontDesk:
    """One box's page. `psc`: with a Pro Santé Connect; `readers`: real ones instead of a hand."""

    def __init__(
        self,
        folder: Path,
        *,
        psc: bool = False,
        readers: Readers | None = None,
        realm: str = "test",
        tls: bool = False,
        host: str = "127.0.0.1",
        limits: door.Limits = MANY,
        serial: str = "",
        papers: Path | None = None,
    ) -> None:
        self._serial = serial  # of an appliance; "": a laptop
        self._papers = papers  # what its image says that it is made of
        self.folder = folder
        self.clock = ShiftedClock()
        self.zone = ZoneInfo("Europe/Paris")
        self.persons: Persons = of_process(realm)
        self.pki = Pki(folder / "pki")
        self.peer = PscPeer(self.pki, structure=SITE.id) if psc else None
        self._readers = readers
        self._realm = realm
        self._tls = tls
        self._host = host
        self._limits = limits
        self._exams = 0
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            if self.peer is not None:
                await stack.enter_async_context(self.peer)
            await self._start(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _start(self, stack: AsyncExitStack) -> None:
        self._sock = socket.create_server((self._host, 0))  # known before: Pro Santé Connect comes back to it
        settings = await asyncio.to_thread(self._config)
        self.config = settings
        box = settings.box
        self.store = await Store.open(settings.queue, box.data_dir, limits=ROOMY, roles={"intake", "national"})
        stack.push_async_callback(self.store.close)
        self.trail = AuditTrail(audit_folder(settings), box.oid)
        self.psc: Psc | None = None
        if self.peer is not None:
            self.peer.phones.interval_s = 1
            self.psc = open_psc(settings, self.clock)
            assert self.psc is not None
            await stack.enter_async_context(self.psc)
        authority = await asyncio.to_thread(self.persons.authority.read_bytes)
        trust = PersonTrust(self._realm, read_authorities(authority, self._realm), lambda _: None)

        async def believe(certificate: x509.Certificate, now: datetime, use: Use) -> None:
            trust.identify(certificate, use, now)

        self.cards = CardDesk(self._realm, believe, self.clock, self._readers)
        people = open_people(settings, self.store, self.trail, self.clock, cards=self.cards, psc=self.psc)
        if self._serial:
            machine = Desk(settings.box.data_dir, self._serial, self.trail, self.clock, self.folder / "stick.sock")
            people = replace(people, machine=machine)
        if self._papers is not None:
            people = replace(people, papers=self._papers)
        self.sign_in = people.sign_in
        await self.sign_in.account.start()
        if self._readers is None:
            self.hand = CardHand(self.cards)
        observer = await asyncio.to_thread(lambda: Observer(settings, self.store, clock=self.clock))
        self.page = Page(
            settings.page,
            observer.summary,
            self.zone,
            people=people,
            limits=self._limits,
            sock=self._sock,
            look_every_s=0.02,
        )
        readers = [self._readers] if self._readers is not None else []
        parts: list[Any] = [self.trail, *readers, self.sign_in, self.cards, self.page]
        tasks = [asyncio.create_task(part.run()) for part in parts]
        stack.push_async_callback(_stop, tasks)
        await self.page.started()

    def _config(self) -> config.Config:
        keys = self.pki.structure(SITE.id)
        settings: dict[str, Any] = {
            "box": {
                "name": "Cabinet des Tilleuls", "data_dir": self.folder / "box", "oid": "1.2.250.1.999.1.1.8121",
                "realm": self._realm, "retrieve_url": "https://db.essai.example/wado",
            },
            "registry": {"url": "https://dmp.essai.example", "authority": self.pki.authority,
                         "lps_homologation": "ESSAI-0001"},
            "structures": [{"id": SITE.id, "name": SITE.name, **keys.as_config()}],
            "page": {"port": 0, "host": self._host},
        }  # fmt: skip
        if self._tls:
            server = self.pki.server("127.0.0.1")
            settings["page"]["tls"] = {"certificate": server.certificate, "key": server.key}
        if self.peer is not None:
            shutil.copytree(self.pki.lists, self.folder / "box/crl" / self._realm)
            settings["psc"] = {
                "issuer": self.peer.issuer, "client_id": self.peer.client_id, "authority": self.pki.authority,
                "redirect_url": f"http://127.0.0.1:{self._sock.getsockname()[1]}/psc/retour", "timeout_s": 5,
            }  # fmt: skip
        return config.Config.model_validate(settings)

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.page.port}"

    # What happens at it

    def card(self, *situations: Situation | None, **profile: Any) -> VirtualCard:
        """A CPS whose holder works here, unless told otherwise."""
        holder = Holder(situations=situations or (HERE, None, ELSEWHERE))
        made = replace(Profile(holder=holder, category=self._realm), **profile)
        return VirtualCard(made, self.persons.card_keys(made))

    async def set_aside(self, authenticator: Doctor = DOCTOR, state: State = State.SET_ASIDE) -> int:
        """A report of `authenticator` that waits for a person; its number."""
        self._exams += 1
        exam = invented_exam(self._exams)
        document_id = invented_document_id(self._exams)
        cda = report(PAT_TROIS, exam, document_id=document_id, authenticator=authenticator, pdf_bytes=2000)
        received = Received(Kind.REPORT, oru(cda, PAT_TROIS), "RIS|CENTRE", "10.0.0.7", document_id, self.clock())
        receipt = await self.store.put(received, [Task(Action.PUBLISH, exam.study_uid)])
        if state is not State.WAITING:
            (taken,) = await self.store.take([(rank, 9) for rank in range(4)], 1, frozenset({State.WAITING}))
            facts = Facts(
                resume=State.WAITING, reason="XDSUnknownPatientId", detail="the registry does not know the patient",
                hint="Le DMP ne connaît pas ce patient : vérifiez son INS dans le RIS.",
            )  # fmt: skip
            await self.store.leave(taken, Step(state, None, facts))
        return receipt.number

    async def audited(self) -> str:
        """The whole audit trail, as text, once what waits is written."""
        await asyncio.sleep(0.05)
        return await asyncio.to_thread(self._read_trail)

    def _read_trail(self) -> str:
        return "".join(path.read_text("utf-8") for path in sorted(audit_folder(self.config).glob("audit-*.log")))

    @asynccontextmanager
    async def browser(self, host: str = "") -> AsyncIterator["Browser"]:
        context: Any = True
        if self._tls:
            context = ssl.create_default_context(cafile=self.pki.authority)
            context.check_hostname = False
        session = ClientSession(
            cookie_jar=CookieJar(unsafe=True), timeout=ClientTimeout(20), connector=TCPConnector(ssl=context)
        )
        async with session:
            yield Browser(host or self.url, session)


async def _stop(tasks: list["asyncio.Task[None]"]) -> None:
    for task in reversed(tasks):
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled() and task.exception() is not None:
            raise task.exception() or AssertionError


class Browser:
    """A browser without scripts: cookies, Origin, forms with the token of the last page."""

    def __init__(self, url: str, session: ClientSession) -> None:
        self.url = url
        self.session = session
        self.token = ""
        self.status = 0
        self.path = ""
        self.answer: ClientResponse | None = None

    async def get(self, path: str, **headers: str) -> str:
        async with self.session.get(self.url + path, headers=headers) as answer:
            return await self._seen(answer)

    async def post(self, path: str, **fields: str) -> str:
        """A form of the page that was seen last, and what is seen after it."""
        data = {"token": self.token, **fields}
        async with self.session.post(self.url + path, data=data, headers={"Origin": self.url}) as answer:
            return await self._seen(answer)

    async def send(self, path: str, token: str | None = None, **parts: bytes | str) -> str:
        """A form with files, its token first, as the page's own forms."""
        form = FormData()
        form.add_field("token", self.token if token is None else token)
        for name, value in parts.items():
            if isinstance(value, bytes):
                form.add_field(name, io.BytesIO(value), filename=f"{name}.bin")
            else:
                form.add_field(name, value)
        async with self.session.post(self.url + path, data=form, headers={"Origin": self.url}) as answer:
            return await self._seen(answer)

    async def _seen(self, answer: ClientResponse) -> str:
        text = await answer.text()
        self.status, self.path, self.answer = answer.status, answer.url.path, answer
        found = _TOKEN.search(text)
        if found:
            self.token = found[1]
        return text

    def plant(self, value: str, name: str = "passevue") -> None:
        """A cookie that somebody else put there."""
        self.session.cookie_jar.update_cookies({name: value}, URL(self.url))

    async def until(self, path: str, words: str, within_s: float = 5.0) -> str:
        """The page once it says `words`."""
        deadline = asyncio.get_running_loop().time() + within_s
        while words not in (text := await self.get(path)):
            if asyncio.get_running_loop().time() > deadline:
                raise TimeoutError(f"expected {words!r} in {text}")
            await asyncio.sleep(0.02)
        return text

    async def card_shown(self, words: str = 'name="insertion"') -> str:
        return await self.until("/sign-in", words)

    async def sign_in_by_card(self, pin: str = "1234", **fields: str) -> str:
        """Wait for the card to be read, type its code, see what comes."""
        text = await self.card_shown()
        found = re.search(r'name="insertion" value="(\d+)"', text)
        assert found
        return await self.post("/sign-in/card", insertion=found[1], pin=pin, **fields)

    async def update_from_stick(self, within_s: float = 20, **fields: str) -> str:
        """Have the stick in the box read; what the machine's page says once it is."""
        text = await self.post("/site/machine/update/stick", **fields)
        while 'data-events="/site/machine/events/stick"' in text:
            async with asyncio.timeout(within_s), self.events("/site/machine/events/stick") as events:
                said = [each async for each in events]
            assert said[-1] == ("go", "/site/machine")
            text = await self.get("/site/machine")
        return text

    @asynccontextmanager
    async def events(self, path: str) -> AsyncIterator[AsyncIterator[tuple[str, str]]]:
        """(event, data) of a live view."""
        async with self.session.get(self.url + path) as answer:
            assert answer.status == 200, answer.status
            yield _events(answer)


async def _events(answer: ClientResponse) -> AsyncIterator[tuple[str, str]]:
    buffer = ""
    async for chunk in answer.content.iter_any():
        buffer += chunk.decode()
        while "\n\n" in buffer:
            block, buffer = buffer.split("\n\n", 1)
            name = next((line[7:] for line in block.splitlines() if line.startswith("event: ")), "")
            data = "\n".join(line[6:] for line in block.splitlines() if line.startswith("data: "))
            if name:
                yield name, data
