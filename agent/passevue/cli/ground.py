"""What every command stands on: the configuration, the open store, who types, and how an error leaves.

Exit codes: `exits`. An error prints the French sentence first, then what happened in English for whoever is called.
"""

import asyncio
import json
import os
import pwd
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from passevue.cli.exits import exit_code
from passevue.cli.words import DEFAULT_CONFIG as DEFAULT_CONFIG
from passevue.cli.words import FROM_ENVIRONMENT
from passevue.config import Config, printable
from passevue.config_check import load_checked
from passevue.errors import BoxError, ConfigError, StoreError
from passevue.status import audit
from passevue.status.audit_trail import AuditTrail, TrailRefused
from passevue.status.folders import audit_folder

if TYPE_CHECKING:
    from passevue.queue.store import Store

T = TypeVar("T")

ConfigPath = Annotated[
    Path,
    typer.Option("--config", "-c", envvar=FROM_ENVIRONMENT, help="Fichier de configuration.", show_default=True),
]
AsJson = Annotated[bool, typer.Option("--json", help="Répond en JSON, pour une machine.")]


def now() -> datetime:
    return datetime.now(UTC)


def out() -> Console:
    """Made anew each time: whoever calls may have given another standard output."""
    return Console(highlight=False, soft_wrap=True)


def err() -> Console:
    return Console(stderr=True, highlight=False, soft_wrap=True)


def tell(error: BoxError) -> None:
    """Print what a person can do, then what happened."""
    console = err()
    if error.hint:
        console.print(f"[bold red]{escape(printable(error.hint, 500))}[/]")
    console.print(f"[dim]{escape(printable(str(error), 500))}[/]")


def fail(error: BoxError) -> NoReturn:
    """Tell it; leave with the code of the error's kind."""
    tell(error)
    raise typer.Exit(exit_code(error))


def print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine; its errors leave as `fail` says."""
    try:
        return asyncio.run(work)
    except BoxError as error:
        fail(error)


def configuration(path: Path) -> Config:
    try:
        return load_checked(path)
    except ConfigError as error:
        fail(error)


@asynccontextmanager
async def opened(config: Config) -> AsyncIterator["Store"]:
    """The box's store, beside the box if it runs.

    Raises:
        StoreError: it is not there, or cannot be opened.
    """
    from passevue.queue.store import FILE_NAME, Store  # `run` starts here too, and not every zone has a store

    if config.queue.url is None and not await asyncio.to_thread((config.box.data_dir / FILE_NAME).is_file):
        hint = f"Le boîtier n'a encore rien gardé dans {config.box.data_dir} : a-t-il déjà été lancé ?"
        raise StoreError("there is no store in the data folder", hint=hint)
    store = await Store.open(config.queue, config.box.data_dir)
    try:
        yield store
    finally:
        await store.close()


async def with_store(config: Config, work: Callable[["Store"], Awaitable[T]]) -> T:
    async with opened(config) as store:
        return await work(store)


def who() -> str:
    """The account that types; behind sudo, the one that asked."""
    asked = os.environ.get("SUDO_USER", "")
    if asked and os.geteuid() == 0:
        return f"account:{printable(asked, 64)}"
    try:
        return f"account:{pwd.getpwuid(os.getuid()).pw_name}"
    except KeyError:
        return f"account:{os.getuid()}"


async def audited(config: Config, what: str, numbers: list[int], why: str) -> None:
    """Write the act to the audit trail before it happens (LOG-01, LOG-02).

    Raises:
        StoreError: the trail takes nothing, so the act must not happen.
    """
    events = [audit.person_acted(now(), who(), what, number, said=why) for number in numbers]
    await asyncio.to_thread(_trace, config, events)


def audited_machine(config: Config, what: str, said: str) -> None:
    """The same for what is asked of the machine itself. Raises: StoreError."""
    _trace(config, [audit.machine_changed(now(), what, who(), said)])


def _trace(config: Config, events: list[audit.Event]) -> None:
    trail = AuditTrail(audit_folder(config), config.box.oid)
    try:
        trail.append([audit.to_xml(event, config.box.oid) for event in events])
    except (OSError, TrailRefused) as error:
        hint = "Le journal d'audit ne s'écrit pas : rien n'a été fait. Lancez la commande avec le compte du boîtier."
        why = error.strerror if isinstance(error, OSError) else error.message
        raise StoreError(f"audit trail cannot be written: {why}", hint=hint) from error


def progress() -> Progress:
    """For what takes longer than a blink; on standard error, and gone when done."""
    return Progress(
        SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=err(), transient=True
    )
