"""`passevue queue`: what is in the queue, and what a person may do with an entry.

Nothing shown holds an identity; `export` writes files that do, and says so. Retrying, releasing, closing and exporting
are audited before they happen.
"""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar
from zoneinfo import ZoneInfo

import typer
from rich.markup import escape
from rich.table import Table

from passevue.cli import ground
from passevue.cli.ground import DEFAULT_CONFIG, AsJson, ConfigPath, configuration, print_json, run, with_store
from passevue.errors import Refused
from passevue.queue.listing import Line, Shown
from passevue.queue.states import State
from passevue.queue.store import Store
from passevue.status import words
from passevue.status.plain import plain_line, plain_shown
from passevue.status.words import Language

app = typer.Typer(no_args_is_help=True, help="La file d'attente : voir, relancer, libérer, clore, exporter.")

T = TypeVar("T")
Number = Annotated[int, typer.Argument(help="Numéro de la demande.", min=1, metavar="N°")]
Why = Annotated[str, typer.Option("--why", help="Raison, gardée avec l'acte.")]


@app.command("list")
def list_entries(
    config_path: ConfigPath = DEFAULT_CONFIG,
    state: Annotated[State | None, typer.Option(help="Seulement cet état.")] = None,
    most: Annotated[int, typer.Option(help="Nombre de lignes.", min=1, max=10_000)] = 50,
    below: Annotated[int | None, typer.Option(help="Seulement les numéros plus petits.", min=1)] = None,
    as_json: AsJson = False,
) -> None:
    """Liste les demandes, la plus récente d'abord."""
    config = configuration(config_path)
    lines = run(with_store(config, lambda store: store.entries(state, most, below)))
    if as_json:
        print_json([plain_line(line) for line in lines])
    elif not lines:
        ground.out().print("Aucune demande.")
    else:
        ground.out().print(_table(lines, ZoneInfo(config.box.timezone)))


@app.command("show")
def show_entry(number: Number, config_path: ConfigPath = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Montre tout d'une demande, sauf son contenu."""
    config = configuration(config_path)
    shown = run(with_store(config, lambda store: store.show(number)))
    if shown is None:
        ground.fail(_absent(number))
    if as_json:
        print_json(plain_shown(shown))
    else:
        ground.out().print(_detail(shown, ZoneInfo(config.box.timezone)))


@app.command()
def retry(number: Number, config_path: ConfigPath = DEFAULT_CONFIG, why: Why = "", as_json: AsJson = False) -> None:
    """Relance une demande mise de côté."""
    by = ground.who()
    _on_one(config_path, "retry", number, why, lambda store: store.retry(number, by, why))
    _done(as_json, "retry", [number], f"La demande {number} est relancée.")


@app.command()
def release(
    numbers: Annotated[list[int] | None, typer.Argument(help="Numéros ; aucun avec --all.", metavar="N°")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Toutes celles qui attendent ou sont retenues.")] = False,
    config_path: ConfigPath = DEFAULT_CONFIG,
    why: Why = "",
    as_json: AsJson = False,
) -> None:
    """Fait partir tout de suite ce qui attend ou est retenu."""
    if bool(numbers) == everything:
        raise typer.BadParameter("donnez des numéros, ou --all")
    config = configuration(config_path)
    by = ground.who()
    chosen = numbers or []

    async def act() -> int:
        async with ground.opened(config) as store:
            await ground.audited(config, "release", chosen or [0], why or ("all" if everything else ""))
            return await store.release(*chosen, by=by, why=why)

    count = run(act())
    _done(as_json, "release", chosen, f"{count} demande(s) libérée(s).", count)


@app.command()
def close(
    number: Number,
    why: Annotated[str, typer.Option("--why", help="Raison, obligatoire : la demande ne partira plus.")],
    config_path: ConfigPath = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Clôt une demande : elle ne partira pas. C'est définitif."""
    by = ground.who()
    _on_one(config_path, "close", number, why, lambda store: store.close_entry(number, by, why))
    _done(as_json, "close", [number], f"La demande {number} est close.")


@app.command()
def export(
    number: Number,
    folder: Annotated[Path, typer.Argument(help="Dossier où écrire.", metavar="DOSSIER")],
    config_path: ConfigPath = DEFAULT_CONFIG,
    why: Why = "",
    as_json: AsJson = False,
) -> None:
    """Écrit le contenu d'une demande dans un dossier. Ces fichiers portent l'identité du patient."""
    written = _on_one(config_path, "export", number, why, lambda store: store.export(number, folder))
    if as_json:
        print_json({"act": "export", "numbers": [number], "files": [str(path) for path in written]})
        return
    for path in written:
        typer.echo(str(path))
    ground.err().print("[yellow]Ces fichiers portent l'identité du patient : effacez-les après usage.[/]")


@app.command("confirm-restored")
def confirm_restored(config_path: ConfigPath = DEFAULT_CONFIG, why: Why = "", as_json: AsJson = False) -> None:
    """Confirme que ce boîtier, restauré d'une copie, est désormais celui qui envoie."""
    config = configuration(config_path)
    by = ground.who()

    async def act() -> None:
        async with ground.opened(config) as store:
            await ground.audited(config, "confirm-restored", [0], why)
            await store.confirm_restored(by, why)

    run(act())
    _done(as_json, "confirm-restored", [], "Les envois reprennent.")


def _on_one(config_path: Path, act: str, number: int, why: str, work: Callable[[Store], Coroutine[Any, Any, T]]) -> T:
    """What `work` does to an entry that is there, once the audit trail has it."""
    config = configuration(config_path)

    async def carry_out() -> T:
        async with ground.opened(config) as store:
            if await store.show(number) is None:
                raise _absent(number)
            await ground.audited(config, act, [number], why)
            return await work(store)

    return run(carry_out())


def _absent(number: int) -> Refused:
    return Refused("no-entry", f"there is no entry {number}", hint=f"La demande {number} n’existe pas.")


def _done(as_json: bool, act: str, numbers: list[int], sentence: str, count: int | None = None) -> None:
    if as_json:
        print_json({"act": act, "numbers": numbers, "count": len(numbers) if count is None else count})
    else:
        ground.out().print(sentence)


def _table(lines: tuple[Line, ...], zone: ZoneInfo) -> Table:
    at = ground.now()
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("N°", "Reçue", "Demande", "État", "Essais", "Pourquoi"):
        table.add_column(heading, justify="right" if heading in ("N°", "Essais") else "left")
    for line in lines:
        why = f"{escape(line.hint)} [dim]({escape(line.reason)})[/]" if line.reason else ""
        table.add_row(
            str(line.number),
            words.clock(line.received_at, at, zone),
            words.pick(words.ACTIONS.get(line.action, (line.action, line.action)), Language.FR),
            words.pick(words.STATES[line.state], Language.FR),
            str(line.tries),
            why,
        )
    return table


def _detail(shown: Shown, zone: ZoneInfo) -> Table:
    at = ground.now()
    line = shown.line
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    rows = {
        "Demande": f"n° {line.number}, {words.pick(words.ACTIONS.get(line.action, (line.action, '')), Language.FR)}",
        "État": words.pick(words.STATES[line.state], Language.FR),
        "Reçue": f"{words.clock(line.received_at, at, zone)}, de {line.sender} ({shown.peer}), {line.kind}",
        "Changée": words.clock(line.changed_at, at, zone),
        "Essais": str(line.tries),
        "Prochain essai": words.clock(line.next_try_at, at, zone) if line.next_try_at else "",
        "Pourquoi": line.hint,
        "Code": line.reason,
        "Détail": shown.detail,
        "Contenu reçu": f"SHA-256 {shown.content_sha256}",
    }
    if line.conflict:
        rows["Attention"] = "le même identifiant de message était déjà venu avec un autre contenu"
    if shown.proof is not None:
        proof = shown.proof
        rows["Preuve"] = f"{proof.outcome}, {words.clock(proof.settled_at, at, zone)}, {proof.status} ({proof.how})"
        rows["Message"] = proof.message_id
    for act in shown.acts:
        rows[f"Acte, {words.clock(act.at, at, zone)}"] = f"{act.act} par {act.by} {act.why}"
    for name, value in rows.items():
        if value:
            table.add_row(f"[dim]{escape(name)}[/]", escape(value))
    return table
