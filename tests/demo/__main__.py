"""`make demo`: a whole centre on this machine, and the story of a few reports told while it happens.

Simulated neighbours (RIS, PACS, DMP) run in this process; the box is the real program, started as a person would, on a
configuration file that is left for reading in `.cache/demo`. Without `--once` it goes on after the story, a report
every few seconds, until Ctrl-C.
"""

import argparse
import asyncio
import itertools
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.demo.centre import Centre
from tests.demo.people import CODE, MAUD, People
from tests.peers.dmp_registry import APPROVED, DELETED, DEPRECATED
from tests.peers.front_desk import DOCTOR, Browser
from tests.peers.ris import Ask

FOLDER = Path(".cache/demo")
WAITING = 5
console = Console(highlight=False)


def say(text: str) -> None:
    console.print(f"  [green]✓[/] {text}")


def chapter(number: int, title: str) -> None:
    console.print(f"\n[bold]{number}. {title}[/]")


class Story:
    """The chapters, in order. Raises: AssertionError, TimeoutError when the box does not do what is told."""

    def __init__(self, centre: Centre) -> None:
        self._centre = centre

    async def tell(self) -> None:
        await self._one_report()
        await self._network_away()
        await self._network_back()
        await self._replacement()
        await self._deletion()
        await self._card()
        await self._phone()
        self._ledgers()

    async def _one_report(self) -> None:
        chapter(1, "Le radiologue valide un compte rendu")
        started = time.perf_counter()
        await self._send(1)
        await self._until(lambda: len(self._centre.dmp.committed) == 1, "publication dans le DMP", 1, self._published)
        say(f"Reçu par HL7, images trouvées dans le PACS, manifeste publié : {time.perf_counter() - started:.2f} s")

    async def _network_away(self) -> None:
        chapter(2, "Le réseau national est coupé")
        await self._centre.dmp.cut()
        for number in range(2, 2 + WAITING):
            await self._send(number)
        waiting = await self._centre.waiting()
        say(f"{WAITING} comptes rendus acquittés au RIS ; {waiting} en attente sur le disque du boîtier")

    async def _network_back(self) -> None:
        chapter(3, "Le réseau revient")
        await self._centre.dmp.restore()
        await self._until(
            lambda: self._published() == 1 + WAITING,
            "le boîtier réessaie de lui-même, en une minute au plus",
            1 + WAITING,
            self._published,
        )
        say("Tout est parti, dans l'ordre, une seule fois")

    async def _replacement(self) -> None:
        chapter(4, "Le compte rendu est corrigé")
        await self._send(1, Ask.REPLACE)
        await self._until(lambda: self._count(DEPRECATED) == 1, "remplacement", 1, lambda: self._count(DEPRECATED))
        say("L'ancien manifeste est remplacé par le nouveau")

    async def _deletion(self) -> None:
        chapter(5, "Un compte rendu est supprimé")
        await self._send(2, Ask.DELETE)
        await self._until(lambda: self._count(DELETED) == 1, "dépublication", 1, lambda: self._count(DELETED))
        say("Son manifeste est retiré du DMP")

    async def _card(self) -> None:
        chapter(6, "Une praticienne met sa carte CPS dans le lecteur")
        people = self._centre.people
        if people.without_reader:
            console.print(f"  [yellow]–[/] chapitre laissé de côté : {people.without_reader}")
            return
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
            browser = people.browser(session)
            assert "Insérez votre carte" in await browser.get("/sign-in")
            await asyncio.to_thread(people.put_card_in)
            await browser.until("/sign-in", 'name="insertion"', 15)
            say("La page dit « Insérez votre carte » ; la carte est mise et reconnue")
            text = await browser.sign_in_by_card(CODE)
            assert browser.path == "/me", f"signed in at {browser.path}"
            assert "CAMILLE" in text, "the page does not name the holder"
            say("Code tapé sur la page : elle est connectée, avec sa situation d'exercice")
            await self._in_her_name(browser)
            await asyncio.to_thread(people.pull_card)
            await self._signed_out(browser)
            say("La carte est retirée : la session se ferme aussitôt")

    async def _in_her_name(self, browser: Browser) -> None:
        """A report of hers that was set aside goes out signed by her card."""
        number = await self._centre.refused(50, DOCTOR)
        before = self._published()
        await browser.get(f"/entries/{number}")
        await browser.post(f"/entries/{number}/publish")
        await self._until(lambda: self._published() > before, "publication en son nom", 1, lambda: 0)
        (mode,) = {one.mode for one in self._centre.dmp.requests[-1:]}
        assert mode == "DIRECTE", f"the DMP saw {mode}"
        say(f"Son compte rendu n° {number}, mis de côté, part en son nom, signé par sa carte")

    async def _phone(self) -> None:
        chapter(7, "Un médecin s'identifie par e-CPS, sur son téléphone")
        people = self._centre.people
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
            browser = people.browser(session)
            await browser.get("/sign-in")
            await browser.post("/sign-in/phone", id_nat=MAUD)
            number = await people.psc.asked(MAUD)
            say(f"La page et le téléphone montrent le même nombre : {number}")
            people.psc.approve(MAUD)
            await browser.until("/sign-in/phone", "Maud", 15)
            say("Approuvé sur le téléphone : il est connecté")

    async def _signed_out(self, browser: Browser) -> None:
        for _ in range(50):
            await browser.get("/me")
            if browser.path == "/sign-in":
                return
            await asyncio.sleep(0.1)
        raise AssertionError("the session outlived the card")

    def _ledgers(self) -> None:
        table = Table("ce que le DMP a reçu", "combien", title="Les deux registres concordent")
        for status, name in ((APPROVED, "en vigueur"), (DEPRECATED, "remplacés"), (DELETED, "retirés")):
            table.add_row(name, str(self._count(status)))
        ids = [one.unique_id for one in self._centre.dmp.committed]
        in_person = 0 if self._centre.people.without_reader else 1
        assert len(ids) == len(set(ids)) == WAITING + 2 + in_person, f"{len(ids)} published, {len(set(ids))} different"
        assert (self._count(APPROVED), self._count(DEPRECATED), self._count(DELETED)) == (WAITING + in_person, 1, 1)
        console.print()
        console.print(table)

    async def _send(self, number: int, ask: Ask = Ask.NEW) -> None:
        ack = await self._centre.send(number, ask)
        assert ack.code == "AA", f"the box answered {ack.code} {ack.text}"

    def _published(self) -> int:
        return len(self._centre.dmp.committed)

    def _count(self, status: str) -> int:
        documents = self._centre.dmp.documents.values()
        return sum(one.status == status and one.mime_type == "application/dicom" for one in documents)

    async def _until(
        self, done: Callable[[], bool], what: str, total: int, count: Callable[[], int], within_s: float = 180
    ) -> None:
        columns = (TextColumn("    {task.description}"), BarColumn(30), TextColumn("{task.completed}/{task.total}"))
        deadline = time.monotonic() + within_s
        with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
            task = progress.add_task(what, total=total)
            while not done():
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{what}: not within {within_s:.0f} s")
                progress.update(task, completed=count())
                await asyncio.sleep(0.05)


async def go_on(centre: Centre) -> None:
    """A report every few seconds, and what is typed in the terminal, until Ctrl-C."""
    console.print("\n[dim]La démonstration continue, un compte rendu toutes les dix secondes. Ctrl-C pour finir.[/]")
    if not centre.people.without_reader:
        console.print(f"[dim]Tapez « carte » pour mettre la carte (code {CODE}), « retirer » pour l'ôter,[/]")
    console.print(f"[dim]« approuver » quand la page a fait sonner le téléphone de {MAUD}.[/]")
    async with asyncio.TaskGroup() as group:
        group.create_task(_obey(centre.people))
        group.create_task(_report_after_report(centre))


async def _report_after_report(centre: Centre) -> None:
    for number in itertools.count(100):
        await asyncio.sleep(10)
        ack = await centre.send(number)
        console.print(f"  compte rendu {number} : {ack.code}")


async def _obey(people: People) -> None:
    """Orders of the terminal, one a line; a terminal that is closed gives none."""
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str] = asyncio.Queue()

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(lines.put_nowait, line.strip().casefold())

    threading.Thread(target=read, daemon=True).start()
    while True:
        console.print(f"  {await people.obey(await lines.get())}")


async def demo(*, once: bool) -> None:
    with console.status("Autorité d'essai, RIS, PACS et DMP simulés, puis le boîtier…"):
        centre = Centre(FOLDER)
        await centre.open()
    try:
        console.print(Panel(f"Page du boîtier : [bold]{centre.page}[/]\nConfiguration : {centre.config_file}"))
        await Story(centre).tell()
        if not once:
            await go_on(centre)
    finally:
        await centre.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="play the story once and exit")
    options = parser.parse_args()
    started = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    try:
        asyncio.run(demo(once=options.once))
    except KeyboardInterrupt:
        return 0
    except (AssertionError, TimeoutError, RuntimeError) as err:
        console.print(f"\n[red]✗ La démonstration a échoué : {err}[/]\n  Journal du boîtier : {FOLDER / 'box.log'}")
        return 1
    console.print(f"\n[bold green]✓ La démonstration s'est bien terminée[/] en {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
