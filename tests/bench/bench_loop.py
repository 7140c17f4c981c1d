"""How long the event loop of a whole box is held while cards, TLS and revocation lists are at work: never over 20 ms.

All parts of the box are one process, as on a laptop; pcscd with its reader, the DMP, the PACS, the RIS, the ANS and the
browser are others. The story, `RUNS` times: the list of 6 MiB comes and is read; a card comes, is known, signs in by
its code; a report that was set aside goes in its holder's name (VIHF and XAdES by the card, TLS by the card); another
goes in the structure's; the card leaves.

The aim is for a beat (`held_loop`). `idle beside` is that of a loop that does nothing at the same time: the grain of
the machine and of the measure.
"""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from aiohttp import ClientConnectionError, ClientSession, ClientTimeout, CookieJar

from passevue.national.servers import LOOK_EVERY_S
from passevue.queue.retry import Policy
from tests.bench.figure import Figure
from tests.bench.held_loop import Held, Longest, box_process, idle_process
from tests.peers.ans import Ans, Fault, lists_of
from tests.peers.cabinet import SITE, Cabinet
from tests.peers.card import Holder, Kind, Profile, Situation, VirtualCard
from tests.peers.dmp import PUBLISH, DmpPeer
from tests.peers.front_desk import DOCTOR, Browser
from tests.peers.pcsc import Pcscd, why_not
from tests.peers.pki_persons import Persons
from tests.peers.ports import free_port
from tests.peers.ris import PAT_TROIS, Exam, Ris, invented_exam, oru

RUNS, AIM_MS = 5, 20.0
ENTRIES = 180_000  # 6.4 MiB
LONG = ("TEST AC IGC-SANTE FORT PERSONNES", "TEST AC IGC-SANTE ELEMENTAIRE ORGANISATIONS")  # lists that are as the real
PHASES = ("box starts", "list of 6 MiB read", "card in and known", "code and sign-in", "report set aside",
          "published in one's name", "published in the structure's", "card out")  # fmt: skip


def figures() -> Iterator[Figure]:
    if why_not():
        return
    with tempfile.TemporaryDirectory(prefix="pv-loop-") as folder:
        worst: dict[str, list[tuple[Longest, Longest]]] = {name: [] for name in PHASES}
        with Pcscd(Path(folder)) as pcscd:
            for number in range(RUNS):
                kind = Kind.CPS4 if number % 2 else Kind.CPS3
                asyncio.run(Story(Path(folder) / f"{number}", pcscd, kind, worst).tell())
    aim = f"≤ {AIM_MS:g} ms"
    for name, seen in worst.items():
        beat = max(one.beat for one, _ in seen)
        others = {
            "in one turn": max(one.turn for one, _ in seen),
            "own processor time": max(one.processor for one, _ in seen),
            "idle beside": max(idle.beat for _, idle in seen),
        }
        yield Figure(f"loop held: {name}", "ms", beat, aim, beat <= AIM_MS, others)


class Story:
    """One box, from its start to its end."""

    def __init__(self, folder: Path, pcscd: Pcscd, kind: Kind, worst: dict[str, list[tuple[Longest, Longest]]]) -> None:
        self._folder = folder
        self._pcscd = pcscd
        self._kind = kind
        self._worst = worst
        self._held, self._idle = Held(), Held()
        self._ans = Ans()
        self._ans.fault = Fault.HELD
        self._persons = Persons(folder / "persons")
        self._ports = {name: free_port() for name in ("ris", "page")}

    async def tell(self) -> None:
        cabinet = Cabinet(self._folder / "box", self._folder / "pki", lists=False)
        self._lists = lists_of(self._persons) | lists_of(cabinet.pki)
        cabinet.dmp = DmpPeer(cabinet.pki, persons=self._persons)
        async with self._ans, cabinet.dmp, cabinet.pacs:
            cabinet.more = {name: {"port": port} for name, port in self._ports.items()}
            urls = self._ans.serve_all(self._lists)
            for number, (name, lists) in enumerate(self._lists.items()):
                if name in LONG:
                    self._ans.serve(f"/CRL/{number}.crl", lists.long(ENTRIES))
            cabinet.more["trust"] = {"authority": self._persons.authority}
            cabinet.more["crl"] = {"urls": urls}
            idle = idle_process(self._idle)
            box = box_process(cabinet.config(), Policy(), self._pcscd.program_environment, self._held)
            try:
                await asyncio.to_thread(idle.start)
                await asyncio.to_thread(box.start)
                await self._live(cabinet)
            finally:
                for process in (box, idle):
                    process.terminate()
                    await asyncio.to_thread(process.join)

    async def _live(self, cabinet: Cabinet) -> None:
        page = f"http://127.0.0.1:{self._ports['page']}"
        async with ClientSession(cookie_jar=CookieJar(unsafe=True), timeout=ClientTimeout(60)) as session:
            browser = Browser(page, session)
            await self._phase("box starts", self._started(browser))
            await self._phase("list of 6 MiB read", self._list_read())
            await self._phase("card in and known", self._card_in(browser))
            await self._phase("code and sign-in", self._signed_in(browser))
            first, second = invented_exam(1), invented_exam(2)
            cabinet.dmp.unknown_patients.add(f"{PAT_TROIS.ins}^^^&{PAT_TROIS.ins_oid}&ISO^NH")
            await self._phase("report set aside", self._set_aside(cabinet, browser, first))
            cabinet.dmp.unknown_patients.clear()
            await self._phase("published in one's name", self._in_ones_name(cabinet, browser))
            await self._phase("published in the structure's", self._in_the_structures(cabinet, second))
            await self._phase("card out", self._card_out(browser))
        modes = [one.mode for one in cabinet.dmp.requests if one.action == PUBLISH]
        assert modes == ["DIRECTE", "INDIRECTE"], modes

    async def _phase(self, name: str, work: Awaitable[object]) -> None:
        self._held.begin()
        self._idle.begin()
        await work
        await asyncio.sleep(0.3)
        self._worst[name].append((self._held.longest(), self._idle.longest()))

    async def _started(self, browser: Browser) -> None:
        async with asyncio.timeout(30):
            while browser.status != 200:
                try:
                    await browser.get("/health")
                except ClientConnectionError:
                    await asyncio.sleep(0.05)

    async def _list_read(self) -> None:
        self._ans.fault = Fault.NONE
        folder = self._folder / "box" / "crl" / "test"
        await _until(lambda: len(list(folder.glob("*.crl"))) == len(self._lists))
        await asyncio.sleep(2 * LOOK_EVERY_S)  # national reads what host has fetched

    async def _card_in(self, browser: Browser) -> None:
        situation = Situation(SITE.name, SITE.id, "SA08")
        profile = Profile(holder=Holder(situations=(situation,)), category="test", kind=self._kind)
        card = VirtualCard(profile, self._persons.card_keys(profile))
        await asyncio.to_thread(self._pcscd.slots[0].link.insert, card)
        await browser.until("/sign-in", 'name="pin"', 30)

    async def _signed_in(self, browser: Browser) -> None:
        assert "CAMILLE" in await browser.sign_in_by_card()

    async def _set_aside(self, cabinet: Cabinet, browser: Browser, exam: Exam) -> None:
        await self._send(cabinet, exam)
        await browser.until("/entries/1", "pas de dossier ouvert", 30)  # why it is set aside
        assert "/entries/1/publish" in await browser.get("/entries/1")

    async def _in_ones_name(self, cabinet: Cabinet, browser: Browser) -> None:
        await browser.post("/entries/1/publish")
        await _until(lambda: len(cabinet.dmp.committed) == 1)

    async def _in_the_structures(self, cabinet: Cabinet, exam: Exam) -> None:
        await self._send(cabinet, exam)
        await _until(lambda: len(cabinet.dmp.committed) == 2)

    async def _card_out(self, browser: Browser) -> None:
        await asyncio.to_thread(self._pcscd.slots[0].link.remove)
        await browser.until("/me", "Insérez votre carte", 30)

    async def _send(self, cabinet: Cabinet, exam: Exam) -> None:
        cabinet.examine(PAT_TROIS, exam, slices=30)
        message = oru(cabinet.cda(PAT_TROIS, exam, authenticator=DOCTOR), PAT_TROIS)
        async with Ris("127.0.0.1", self._ports["ris"]) as ris:
            ack = await ris.send(message)
        assert ack.code == "AA", ack


async def _until(true: Callable[[], bool], within_s: float = 60) -> None:
    async with asyncio.timeout(within_s):
        while not true():  # noqa: ASYNC110 - another process has no event for it
            await asyncio.sleep(0.02)
