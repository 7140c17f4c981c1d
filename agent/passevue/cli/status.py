"""`passevue status`: the page's summary, in a terminal."""

import asyncio
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from rich.markup import escape
from rich.table import Table

from passevue.cli.exits import Exit
from passevue.cli.ground import (
    DEFAULT_CONFIG,
    AsJson,
    ConfigPath,
    configuration,
    out,
    print_json,
    run,
    with_store,
)
from passevue.config import Config
from passevue.queue.listing import Counters
from passevue.queue.states import State
from passevue.queue.store import Store
from passevue.status import words
from passevue.status.observer import Observer
from passevue.status.plain import plain_summary
from passevue.status.summary import Summary, Verdict
from passevue.zones.protections import EngineWord

COLOURS = {Verdict.FINE: "green", Verdict.WATCH: "yellow", Verdict.ACT: "red"}
MARKS = {Verdict.FINE: "✓", Verdict.WATCH: "•", Verdict.ACT: "!"}


def status(
    config_path: ConfigPath = DEFAULT_CONFIG,
    as_json: AsJson = False,
    check: Annotated[bool, typer.Option("--check", help="Sort avec le code 1 si une action est attendue.")] = False,
) -> None:
    """Dit comment va le boîtier : ce qui attend, ce qui est mis de côté, les voisins, le disque, les certificats."""
    config = configuration(config_path)
    summary = run(with_store(config, lambda store: _look(config, store)))
    if as_json:
        print_json(plain_summary(summary))
    else:
        show(summary, ZoneInfo(config.box.timezone))
    if check and summary.verdict is Verdict.ACT:
        raise typer.Exit(Exit.NO)


async def _look(config: Config, store: Store) -> Summary:
    word = await asyncio.to_thread(EngineWord, config)
    return await Observer(config, store, in_box=False, protections=word).summary()


def show(summary: Summary, zone: ZoneInfo) -> None:
    console = out()
    colour = COLOURS[summary.verdict]
    console.print(f"[bold {colour}]{MARKS[summary.verdict]} {words.verdict(summary)}[/]  {escape(words.lead(summary))}")
    for finding in summary.findings:
        console.print(f"  [{COLOURS[finding.verdict]}]{MARKS[finding.verdict]}[/] {escape(words.sentence(finding))}")
    console.print()
    console.print(_figures(summary))
    if summary.troubles:
        console.print()
        console.print(_troubles(summary, zone))
    console.print()
    console.print(_neighbours(summary))


def _done_today(counters: Counters) -> str:
    nothing = counters.nothing_today
    return f"{counters.settled_today}, et {nothing} sans rien à envoyer" if nothing else str(counters.settled_today)


def _figures(summary: Summary) -> Table:
    counters = summary.counters
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    rows: list[tuple[str, str]] = [
        ("En attente", str(counters.open - counters.in_doubt - counters.by_state[State.HELD])),
        ("En vérification", str(counters.in_doubt)),
        ("Retenus", str(counters.by_state[State.HELD])),
        ("Mis de côté", str(counters.by_state[State.SET_ASIDE])),
        ("Terminés aujourd’hui", _done_today(counters)),
    ]
    if summary.oldest is not None:
        rows.append(("Le plus ancien", words.age(summary.oldest)))
    if summary.room is not None:
        level = words.pick(words.LEVELS[summary.room.level], words.Language.FR)
        rows.append(("Disque", f"{level}, {words.size(summary.room.volume.free_bytes)} libres"))
    for certificate in summary.certificates:
        days = certificate.days_left(summary.at)
        left = "illisible" if days is None else "expiré" if days < 0 else f"encore {days} jours"
        rows.append((f"Certificat ({words.certificate(certificate.setting, certificate.structure)})", left))
    for name, value in rows:
        table.add_row(f"[dim]{escape(name)}[/]", escape(value))
    return table


def _troubles(summary: Summary, zone: ZoneInfo) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), title="Ce qui attend quelqu’un", title_justify="left")
    for heading in ("N°", "Depuis", "État", "Que faire"):
        table.add_column(heading, justify="right" if heading == "N°" else "left")
    for line in summary.troubles:
        since = words.clock(line.changed_at, summary.at, zone)
        state = words.pick(words.STATES[line.state], words.Language.FR)
        table.add_row(str(line.number), since, state, escape(words.hint(line)[0]))
    return table


def _neighbours(summary: Summary) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for word in summary.neighbours:
        name = words.pick(words.NEIGHBOUR_TITLES[word.neighbour], words.Language.FR)
        health = words.pick(words.HEALTH[word.health(summary.at)], words.Language.FR)
        table.add_row(f"[dim]{name}[/]", health, f"[dim]{words.last_word(word, summary.at)}[/]")
    return table
