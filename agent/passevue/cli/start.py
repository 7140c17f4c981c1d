"""The box itself, in the foreground, until it is told to stop: what `passevue run` does once its words are read."""

import asyncio
import logging
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from passevue.box import SOCKETS, Box
from passevue.cli.exits import Exit, exit_code
from passevue.cli.words import Wanted
from passevue.config import Config
from passevue.config_check import load_checked
from passevue.errors import BoxError, ConfigError
from passevue.status import logs
from passevue.status.activation import passed_sockets
from passevue.zones.meeting import Meeting
from passevue.zones.part import Part

if TYPE_CHECKING:  # seldom needed, and large
    from passevue.zones.first import Appliance

log = structlog.get_logger()


def live(wanted: Wanted, place: "Appliance | None" = None) -> Exit:
    """Blocks until the box has ended; how it did. `place`: only tests give another than this machine."""
    logs.set_up(level=logging.DEBUG if wanted.debug else logging.INFO)
    passed = passed_sockets()
    spare = passed["page"].dup() if "page" in passed else None  # a page that fails closes its own
    try:
        if wanted.config_path.exists() or not _first(wanted, spare, place):
            _box(wanted, passed)
    except BoxError as error:
        _explain(error)
        code, hint = exit_code(error), _wrong_setting(error)
    except ExceptionGroup as group:
        code, hint = _tell(group), _wrong_setting(*_leaves(group))
    else:
        return Exit.DONE
    return Exit.DONE if hint and _first_again(wanted, spare, place, hint) else code


def _box(wanted: Wanted, passed: dict[str, socket.socket]) -> None:
    config = load_checked(wanted.config_path)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            meeting = Meeting(wanted.sockets or _sockets(config), passed)
            runner.run(Box(config, wanted.parts or tuple(Part), meeting=meeting, config_path=wanted.config_path).run())
    except BoxError as error:
        log.error("box_not_started", error=error, error_class=type(error).__name__)
        raise


def _first(wanted: Wanted, sock: socket.socket | None, place: "Appliance | None") -> bool:
    """What an appliance does that has no configuration yet; False where this is none."""
    from passevue.zones import first

    place = place or first.Appliance()
    if not first.is_unclaimed(wanted.config_path, wanted.parts, place.machine):
        return False
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(first.run(wanted.parts, place, sock))
    return True


def _first_again(wanted: Wanted, sock: socket.socket | None, place: "Appliance | None", hint: str) -> bool:
    """What the page of an appliance does that cannot serve with its configuration; False where this is none."""
    from passevue.zones import first

    place = place or first.Appliance()
    if not first.is_page_alone(wanted.parts, place.machine):
        return False
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(first.run(wanted.parts, place, sock, first.Wrong(wanted.config_path, hint)))
    return True


def _wrong_setting(*errors: Exception) -> str:
    """What people read of the setting that is wrong; "" when none is."""
    return next((error.hint or f"« {error.key} »." for error in errors if isinstance(error, ConfigError)), "")


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
