"""The box itself, in the foreground, until it is told to stop: what `passevue run` does once its words are read."""

import asyncio
import logging
from pathlib import Path

import structlog

from passevue.box import SOCKETS, Box
from passevue.cli.exits import Exit, exit_code
from passevue.cli.words import Wanted
from passevue.config import Config
from passevue.config_check import load_checked
from passevue.errors import BoxError
from passevue.status import logs
from passevue.status.activation import passed_sockets
from passevue.zones.meeting import Meeting
from passevue.zones.part import Part

log = structlog.get_logger()


def live(wanted: Wanted) -> Exit:
    """Blocks until the box has ended; how it did."""
    logs.set_up(level=logging.DEBUG if wanted.debug else logging.INFO)
    try:
        if wanted.config_path.exists() or not _first(wanted):
            _box(wanted)
    except BoxError as error:
        _explain(error)
        return exit_code(error)
    except ExceptionGroup as group:
        return _tell(group)
    return Exit.DONE


def _box(wanted: Wanted) -> None:
    config = load_checked(wanted.config_path)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            meeting = Meeting(wanted.sockets or _sockets(config), passed_sockets())
            runner.run(Box(config, wanted.parts or tuple(Part), meeting=meeting, config_path=wanted.config_path).run())
    except BoxError as error:
        log.error("box_not_started", error=error, error_class=type(error).__name__)
        raise


def _first(wanted: Wanted) -> bool:
    """What an appliance does that has no configuration yet; False where this is none."""
    from passevue.zones import first

    if not first.is_unclaimed(wanted.config_path, wanted.parts):
        return False
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(first.run(wanted.parts))
    return True


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


def _explain(error: BoxError) -> None:
    """To the person who typed it."""
    from passevue.cli.ground import tell

    tell(error)


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
