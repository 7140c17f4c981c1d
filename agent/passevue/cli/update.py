"""`passevue update`: a new version from a file, when it may restart, where it is.

The command copies the bundle among the orders, orders, and looks on; the host zone carries it out, so that it goes on
when the terminal is closed. On the appliance, which has no terminal, the page takes the file or has a stick read.
"""

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Annotated, Any

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from passevue.cli.exits import Exit
from passevue.cli.ground import (
    DEFAULT_CONFIG,
    AsJson,
    ConfigPath,
    audited_machine,
    configuration,
    err,
    fail,
    now,
    out,
    print_json,
    who,
)
from passevue.errors import BoxError, Refused, StoreError, Unreadable, ZoneAway
from passevue.update.journey import OVER, Row, State
from passevue.update.orders import Orders, Wish
from passevue.update.row_file import RowFile
from passevue.update.updater import shown
from passevue.update.words import sentence

app = typer.Typer(no_args_is_help=True, help="Les mises à jour de l'appareil.")

LARGEST = 1 << 30
PIECE = 1 << 20
TAKEN_WITHIN_S = 150.0  # RAUC reads the whole signature and, on a slow disk, waits for it
LOOK_EVERY_S = 0.5


@app.command()
def install(
    file: Annotated[Path, typer.Argument(help="Le fichier de mise à jour (.raucb).")],
    config_path: ConfigPath = DEFAULT_CONFIG,
    at_once: Annotated[
        bool,
        typer.Option("--now", help="Sans attendre la plage horaire ; redémarre dès que tout est au calme."),
    ] = False,
    security: Annotated[
        bool, typer.Option("--security", help="Corrige une faille : sept jours au plus, au lieu de trente.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Regarde faire jusqu'au redémarrage.")] = True,
    as_json: AsJson = False,
) -> None:
    """Installe une mise à jour depuis un fichier."""
    config = configuration(config_path)
    orders, rows = Orders(config.box.data_dir), RowFile(config.box.data_dir)
    try:
        orders.sweep({rows.read().bundle})
        name = _copied(file, orders)
        audited_machine(config, "update-asked", file.name)
        order = orders.put(
            Wish.INSTALL, who(), now(), {"bundle": name, "now": at_once, "kind": "security" if security else "feature"}
        )
        row = _taken(rows, order.id)
        if wait and at_once and row.state not in OVER:
            row = _watched(rows)
    except BoxError as error:
        fail(error)
    _print(row, as_json)
    if row.state is State.FAILED:
        raise typer.Exit(Exit.NO)


@app.command()
def status(config_path: ConfigPath = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Où en est la mise à jour."""
    config = configuration(config_path)
    try:
        row = RowFile(config.box.data_dir).read()
    except BoxError as error:
        fail(error)
    _print(row, as_json)
    if row.state in (State.FAILED, State.UNDONE):
        raise typer.Exit(Exit.NO)


@app.command()
def postpone(config_path: ConfigPath = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Reporte d'un jour la mise à jour qui attend ; trois fois au plus."""
    _change(config_path, Wish.POSTPONE, as_json)


@app.command()
def cancel(config_path: ConfigPath = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Renonce à la mise à jour, tant que rien n'est écrit."""
    _change(config_path, Wish.CANCEL, as_json)


def _change(config_path: Path, wish: Wish, as_json: bool) -> None:
    config = configuration(config_path)
    rows = RowFile(config.box.data_dir)
    try:
        before = rows.read()
        if before.state is not State.WAITING:
            raise Refused("not-waiting", f"the update is {before.state}", hint="Aucune mise à jour n'attend.")
        audited_machine(config, f"update-{wish}-asked", before.version)
        Orders(config.box.data_dir).put(wish, who(), now())
        row = _changed(rows, before)
    except BoxError as error:
        fail(error)
    _print(row, as_json)


def _changed(rows: RowFile, before: Row) -> Row:
    for row in _rows(rows, TAKEN_WITHIN_S / 10):
        if row != before:
            return row
    raise Refused("not-changed", "the order was not carried out", hint="Refusé : voyez « passevue update status ».")


def _copied(file: Path, orders: Orders) -> str:
    """The bundle among the orders: whole and on the disk. Its name there.

    Raises:
        Unreadable: not a regular file, empty, or above the bound.
        StoreError: it cannot be copied.
    """
    try:
        source = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Unreadable(f"the file cannot be read: {error.strerror}", hint=f"{file.name} ne se lit pas.") from error
    found = os.fstat(source)
    if not stat.S_ISREG(found.st_mode) or not 0 < found.st_size <= LARGEST:
        os.close(source)
        hint = "Ce fichier n'est pas une mise à jour : elle pèse de quelques dizaines à quelques centaines de Mo."
        raise Unreadable(f"expected a file of at most {LARGEST} bytes", hint=hint)
    with open(source, "rb") as reading:
        return _into(orders, reading, file.name, found.st_size)


def _into(orders: Orders, reading: IO[bytes], name: str, size: int) -> str:
    """
    Raises:
        StoreError: it cannot be copied.
    """
    path: Path | None = None
    try:
        path, writing = orders.draft(".raucb", 0o640)
        with writing, _copying(name, size) as (bar, task):
            left = size  # what it was when it was opened: a file that grows meanwhile is not followed
            while left and (piece := reading.read(min(PIECE, left))):
                writing.write(piece)
                left -= len(piece)
                bar.advance(task, len(piece))
            writing.flush()
            os.fsync(writing.fileno())
    except OSError as error:
        if path is not None:
            path.unlink(missing_ok=True)
        hint = "La place manque, ou le dossier du boîtier ne s'écrit pas : lancez la commande en root."
        raise StoreError(f"the bundle cannot be copied: {error.strerror}", hint=hint) from error
    return path.name


class _copying:
    """A bar for bytes."""

    def __init__(self, name: str, size: int) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TimeElapsedColumn(),
            console=err(),
            transient=True,
        )
        self._task = self._bar.add_task(f"Copie de {name}", total=size)

    def __enter__(self) -> tuple[Progress, Any]:
        self._bar.start()
        return self._bar, self._task

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


def _taken(rows: RowFile, order: str) -> Row:
    """The row once the host zone has looked at the bundle.

    Raises:
        ZoneAway: nobody takes the order.
    """
    before = rows.read()
    for row in _rows(rows, TAKEN_WITHIN_S):
        if row.order == order:
            return row
        if before.state not in (*OVER, State.WAITING):
            break
    hint = "L'appareil ne prend pas la commande : tourne-t-il, et une autre mise à jour est-elle en cours ?"
    raise ZoneAway("nobody took the order", hint=hint)


def _watched(rows: RowFile) -> Row:
    """Looks on until it is over, or the machine goes down."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err(), transient=True) as bar:
        task = bar.add_task("", total=100)
        row = rows.read()
        for row in _rows(rows, float("inf")):
            bar.update(task, completed=row.percent, description=sentence(row))
            if row.state in OVER or row.state is State.REBOOTING:
                break
    return row


def _rows(rows: RowFile, within_s: float) -> Iterator[Row]:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        yield rows.read()
        time.sleep(LOOK_EVERY_S)


def _print(row: Row, as_json: bool) -> None:
    if as_json:
        print_json(shown(row))
        return
    out().print(sentence(row))
    if row.detail and row.state in (State.FAILED, State.UNDONE):
        out().print(f"[dim]{row.code} {row.detail}[/]")
    if row.state is State.WAITING and row.deadline is not None:
        last = row.deadline.astimezone()
        out().print(f"[dim]Au plus tard le {last:%d/%m/%Y à %H:%M}. Reports : {row.postponed} sur 3.[/]")
