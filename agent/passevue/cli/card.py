"""`passevue card`: readers, the card in them, its code, its keys.

What a card says of its holder is printed for the person who typed, and goes nowhere else: not to the log, not to the
store, not to the audit trail. Codes are asked without echo, sent once, and overwritten.

Works beside a running box: PC/SC shares the reader, each in turn.
"""

import asyncio
import json
import os
import sys
import termios
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, TypeVar

import typer
from rich.markup import escape
from rich.table import Table

from passevue.card.cps import Cps, Generation, KeyUse, Padding
from passevue.card.pcsc import ServiceAway
from passevue.card.pkcs15 import Pkcs15
from passevue.card.reader import CardIn, CardOut, Event, ReaderIn, ReaderOut, Readers, ReaderSession
from passevue.cli import ground
from passevue.cli.card_words import plain_cps, plain_event, plain_pin, plain_seat, rows
from passevue.cli.exits import Exit
from passevue.cli.ground import AsJson, print_json, run
from passevue.config import printable
from passevue.errors import CardAbsent, CardError, CardFault

app = typer.Typer(no_args_is_help=True, help="Les lecteurs et la carte CPS : voir, suivre, code, essai de signature.")

T = TypeVar("T")
Reader = Annotated[
    str | None, typer.Option("--reader", "-r", help="Nom du lecteur ; inutile s'il n'y a qu'une carte.", metavar="NOM")
]
LastTry = Annotated[bool, typer.Option("--last-try", help="Tenter même s'il ne reste qu'un essai.")]
CODE_LIMIT = 64
_NO_SERVICE = "Le service des lecteurs de cartes ne répond pas : « systemctl status pcscd.socket » dit pourquoi."


@app.command("list")
def list_readers(as_json: AsJson = False) -> None:
    """Liste les lecteurs, et dit s'ils tiennent une carte."""

    async def look() -> list[dict[str, object]]:
        async with _readers() as readers:
            return [plain_seat(seat) for seat in readers.seats.values()]

    found = run(look())
    if as_json:
        print_json(found)
    elif not found:
        ground.out().print("Aucun lecteur. Branchez-en un, ou voyez hw/README.md s'il est refusé.")
    for seat in found if not as_json else []:
        state = "carte muette, à remettre" if seat["mute"] else "carte présente" if seat["card"] else "vide"
        ground.out().print(f"{_shown(str(seat['reader']))}  [dim]{state}[/]")


@app.command()
def show(
    reader: Reader = None,
    with_code: Annotated[bool, typer.Option("--pin", help="Demande le code, pour lire les situations.")] = False,
    last_try: LastTry = False,
    as_json: AsJson = False,
) -> None:
    """Montre ce que dit la carte : porteur, validité, certificats, essais restants."""
    code = _ask("Code de la carte") if with_code else None

    async def read(session: ReaderSession) -> tuple[Cps, Pkcs15 | None, dict[str, object] | None]:
        cps = await session.identify()
        held = await session.objects()
        unblocking = plain_pin(await session.unblocking_state())
        if code is not None:
            await session.verify(code, last_try=last_try)
            cps = await session.situations()
        return cps, held, unblocking

    name, (cps, held, unblocking) = run(_with_card(reader, read))
    if as_json:
        print_json({"reader": name, **plain_cps(cps, held), "unblocking": unblocking})
    else:
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for heading, value in rows(cps):
            table.add_row(f"[dim]{escape(heading)}[/]", escape(value))
        ground.out().print(table)


@app.command()
def watch(
    as_json: AsJson = False,
    count: Annotated[int | None, typer.Option(help="Sort après tant d'événements.", min=1)] = None,
) -> None:
    """Suit les lecteurs et les cartes, jusqu'à Ctrl-C. En JSON : un objet par ligne."""

    async def follow() -> None:
        left = count
        async with _readers(must_answer=False) as readers:
            async for event in readers.events():
                _tell_event(event, as_json)
                if isinstance(event, CardIn):
                    await _tell_card(readers, event, as_json)
                left = None if left is None else left - 1
                if left == 0:
                    return

    run(follow())


@app.command()
def pin(
    reader: Reader = None,
    change: Annotated[bool, typer.Option("--change", help="Change le code.")] = False,
    unblock: Annotated[bool, typer.Option("--unblock", help="Débloque avec le code de déblocage.")] = False,
    last_try: LastTry = False,
    as_json: AsJson = False,
) -> None:
    """Vérifie le code de la carte, le change, ou le débloque."""
    if change and unblock:
        raise typer.BadParameter("choisissez --change ou --unblock")
    first = _ask("Code de déblocage" if unblock else "Code actuel" if change else "Code de la carte")
    second = _ask_twice() if change or unblock else bytearray()

    async def act(session: ReaderSession) -> dict[str, object] | None:
        if unblock:
            await session.unblock(first, second, last_try=last_try)
        elif change:
            await session.change(first, second, last_try=last_try)
        else:
            await session.verify(first, last_try=last_try)
        return plain_pin(await session.pin_state())

    name, state = run(_with_card(reader, act))
    done = "unblocked" if unblock else "changed" if change else "verified"
    if as_json:
        print_json({"reader": name, "act": done, "pin": state})
    else:
        ground.out().print(
            {"unblocked": "Carte débloquée.", "changed": "Code changé.", "verified": "Code juste."}[done]
        )


@app.command("test")
def try_keys(reader: Reader = None, last_try: LastTry = False, as_json: AsJson = False) -> None:
    """Fait signer chaque clé de la carte, et vérifie chaque signature avec son certificat."""

    async def act(session: ReaderSession) -> list[dict[str, object]]:
        cps = await session.identify()
        if any(key.needs_pin for key in cps.keys):
            await session.verify(await asyncio.to_thread(_ask, "Code de la carte"), last_try=last_try)
        return [await _trial(session, use, scheme) for use, scheme in _trials(cps)]

    name, trials = run(_with_card(reader, act))
    if as_json:
        print_json({"reader": name, "trials": trials})
    for each in trials if not as_json else []:
        mark = "[green]✓[/]" if each["ok"] else "[bold red]✗[/]"
        said = f"{each['seconds']} s" if each["ok"] else escape(str(each["hint"]))
        ground.out().print(f"{mark} {_KEYS[KeyUse(str(each['use']))]}, {each['scheme']} : {said}")
    if not trials or not all(each["ok"] for each in trials):
        raise typer.Exit(Exit.NO)


_KEYS = {KeyUse.AUTH: "authentification", KeyUse.SIGN: "signature", KeyUse.TECH: "clé technique"}


def _trials(cps: Cps) -> list[tuple[KeyUse, Padding]]:
    schemes = list(Padding) if cps.generation is Generation.CPS4 else [Padding.PKCS1]
    return [(key.use, scheme) for key in cps.keys for scheme in schemes]


async def _trial(session: ReaderSession, use: KeyUse, scheme: Padding) -> dict[str, object]:
    start = time.perf_counter()
    found: dict[str, object] = {"use": use.value, "scheme": scheme.value, "hash": "sha256"}
    try:
        await session.sign(use, os.urandom(32), "sha256", scheme)
    except CardAbsent:
        raise
    except CardError as error:
        return {**found, "ok": False, "seconds": None, "hint": error.hint}
    return {**found, "ok": True, "seconds": round(time.perf_counter() - start, 3), "hint": ""}


# --- the way to a card -----------------------------------------------------------------------------------------------


@asynccontextmanager
async def _readers(*, must_answer: bool = True) -> AsyncIterator[Readers]:
    """The readers, watched for as long as the block lasts.

    Raises:
        ServiceAway: pcscd does not answer.
    """
    readers = Readers()
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(readers.run(), name="readers")
            try:
                await readers.first_look()
                if must_answer and not readers.service_up:
                    raise ServiceAway("pcscd does not answer", hint=_NO_SERVICE)
                yield readers
            finally:
                task.cancel()
    except BaseExceptionGroup as wrapped:
        raise _only(wrapped) from None


async def _with_card(reader: str | None, work: Callable[[ReaderSession], Awaitable[T]]) -> tuple[str, T]:
    async with _readers() as readers:
        name = _chosen(readers, reader)
        async with readers.session(name) as session:
            return name, await work(session)


def _only(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that a task group wrapped."""
    first = group.exceptions[0]
    return _only(first) if isinstance(first, BaseExceptionGroup) else first


def _chosen(readers: Readers, wanted: str | None) -> str:
    """The reader of that name, or the only one that holds a card."""
    if wanted is not None:
        return wanted
    held = [name for name, seat in readers.seats.items() if seat.insertion]
    if not readers.seats:
        raise CardAbsent("no reader", hint="Aucun lecteur : branchez-en un, ou voyez hw/README.md s'il est refusé.")
    if not held:
        raise CardAbsent("no card in any reader")
    if len(held) > 1:
        raise CardFault("several cards are there", hint="Plusieurs cartes sont là : choisissez avec --reader.")
    return held[0]


# --- events ----------------------------------------------------------------------------------------------------------

_WORDS = {
    ReaderIn: "lecteur branché",
    ReaderOut: "lecteur débranché",
    CardIn: "carte insérée",
    CardOut: "carte retirée",
}


def _tell_event(event: Event, as_json: bool) -> None:
    if as_json:
        _line(plain_event(event))
    else:
        ground.out().print(f"{_shown(event.reader)}  {_WORDS[type(event)]}")


async def _tell_card(readers: Readers, event: CardIn, as_json: bool) -> None:
    try:
        async with readers.session(event) as session:
            cps = await session.identify()
    except CardError as error:
        if as_json:
            _line({"event": "card_refused", "reader": event.reader, "insertion": event.insertion, "hint": error.hint})
        else:
            ground.out().print(f"  [yellow]{escape(error.hint)}[/]")
        return
    if as_json:
        _line({"event": "card", "reader": event.reader, "insertion": event.insertion, **plain_cps(cps, None)})
    else:
        for heading, value in rows(cps)[:4]:
            ground.out().print(f"  [dim]{escape(heading)}[/] {escape(value)}")


def _shown(name: str) -> str:
    """A reader's name is what the device says of itself: nothing of it may act on the terminal."""
    return escape(printable(name))


def _line(value: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


# --- codes -----------------------------------------------------------------------------------------------------------


def _ask(question: str) -> bytearray:
    """A code typed without echo, or one line of standard input when that is no terminal."""
    if not sys.stdin.isatty():
        return bytearray(sys.stdin.readline(CODE_LIMIT).strip().encode())
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    silent = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
    ground.err().print(f"{question} : ", end="")
    try:
        termios.tcsetattr(descriptor, termios.TCSAFLUSH, silent)
        return _typed(descriptor)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        ground.err().print()


def _typed(descriptor: int) -> bytearray:
    code = bytearray()
    while len(code) < CODE_LIMIT and (read := os.read(descriptor, 1)) not in (b"", b"\n", b"\r"):
        code += read
    return code


def _ask_twice() -> bytearray:
    first = _ask("Nouveau code, quatre chiffres")
    again = _ask("Nouveau code, encore une fois")
    same = first == again
    again[:] = bytes(len(again))
    if not same:
        first[:] = bytes(len(first))
        raise typer.BadParameter("les deux nouveaux codes ne sont pas les mêmes : rien n'a été envoyé à la carte")
    return first
