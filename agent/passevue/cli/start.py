"""`passevue run`: the box itself, in the foreground, until it is told to stop."""

import asyncio
import logging
from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import structlog
import typer

from passevue.box import SOCKETS, Box, Part
from passevue.cli.ground import DEFAULT_CONFIG, ConfigPath, Exit, configuration, exit_code, fail
from passevue.config import Config
from passevue.errors import BoxError
from passevue.status import logs
from passevue.status.activation import passed_sockets
from passevue.zones.meeting import Meeting

log = structlog.get_logger()


def run(
    config_path: ConfigPath = DEFAULT_CONFIG,
    part: Annotated[
        list[Part] | None, typer.Option("--part", help="Seulement cette partie ; répétable. Sans : toutes.")
    ] = None,
    sockets: Annotated[
        Path | None,
        typer.Option("--sockets", help="Dossier des prises locales entre parties.", show_default=str(SOCKETS)),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Écrit aussi chaque requête dans le journal.")] = False,
) -> None:
    """Fait tourner le boîtier, jusqu'à un signal d'arrêt."""
    logs.set_up(level=logging.DEBUG if debug else logging.INFO)
    if not config_path.exists() and _first(config_path, part or ()):
        return
    config = configuration(config_path)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            meeting = Meeting(sockets or _sockets(config), passed_sockets())
            runner.run(Box(config, tuple(part or Part), meeting=meeting, config_path=config_path).run())
    except BoxError as error:
        log.error("box_not_started", error=error, error_class=type(error).__name__)
        fail(error)
    except ExceptionGroup as group:
        raise typer.Exit(_tell(group)) from None


def _first(config_path: Path, parts: Collection[Part]) -> bool:
    """What an appliance does that has no configuration yet; False where this is none."""
    from passevue.zones import first

    if not first.is_unclaimed(config_path, parts):
        return False
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(first.run(parts))
    return True


alone = typer.Typer(name="passevue", add_completion=False, pretty_exceptions_enable=False)
"""`passevue run` and nothing else: see `__main__`."""
alone.command("run")(run)


@alone.callback()
def _with_its_name() -> None:
    """With it, the one command still goes by its name."""


def _sockets(config: Config) -> Path:
    """Where zones meet: on the appliance where systemd makes them a folder; on a laptop beside its data."""
    return SOCKETS if SOCKETS.is_dir() else config.box.data_dir / "run"


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed; the standard loop elsewhere."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.Loop


def _tell(group: ExceptionGroup) -> Exit:
    """One line for each part that failed; the code of the first of our own errors."""
    code = Exit.OTHER
    for error in _leaves(group):
        log.error("part_failed", exc_info=error)
        if isinstance(error, BoxError):
            code = exit_code(error)
    return code


def _leaves(group: ExceptionGroup) -> list[Exception]:
    found: list[Exception] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, ExceptionGroup) else [error]
    return found
