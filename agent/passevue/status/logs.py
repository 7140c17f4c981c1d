"""The log: one line an event, to the journal or the terminal, without anything that identifies a patient (LOG-06).

    log = structlog.get_logger()
    log.info("associated", calling_ae="SCANNER", peer="192.168.1.31")

Rules kept here, whatever a caller or a library gives:
- the event is a stable snake_case word; anything else is not printed, since it might be a sentence with a name in it;
- a field is printed when `FIELDS` names it; numbers always are; other text is replaced by its length;
- in what is printed, numbers that look like an INS and UIDs that are not DICOM's own are blotted out, control
  characters too, and long text is cut;
- of an exception: its class, our own message if it is ours (they never hold identities), and where it came from. Never
  the message of a foreign one: `KeyError('DUPONT')`.
Libraries' lines pass the same way; those that print identifiers or whole objects are silent.

Facts: systemd sets JOURNAL_STREAM to device:inode of the pipe it gives, so that a program can tell whether its standard
error is still the journal; `<3>` to `<7>` at the start of a line there is its syslog priority (sd-daemon(3)).
"""

import logging
import os
import re
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from datetime import date, timedelta
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any, TextIO

import structlog

from passevue.config import printable
from passevue.errors import BoxError

FIELDS = frozenset(
    {
        # who speaks, as a machine
        "peer", "host", "address", "sender", "application", "calling_ae", "called_ae", "part", "neighbour", "endpoint",
        # what it is about
        "kind", "action", "demand", "transaction", "structure", "state", "event_type", "message_type", "message_id",
        "version", "sop_class", "transfer_syntax", "modality", "retrieve", "method", "route", "protocol", "cipher",
        "engine", "title", "rule", "rules", "effect",
        # how it went
        "answer", "ack", "code", "codes", "status", "result", "outcome", "how", "reason", "detail", "error",
        "error_class", "cause", "source", "hint", "where", "at", "phase", "level", "breaker", "location", "warning",
        # this machine
        "path", "file", "segment", "setting", "head", "library", "said", "certificate", "serial", "signal",
    }
)  # fmt: skip
LONGEST = 300

_EVENT = re.compile(r"[a-z][a-z0-9_]{0,59}")
# An INS (13 or 15 digits) standing alone; a UID or OID of six components or more that is not one of DICOM's own.
_BLOT = re.compile(r"(?<![\d.])\d{13}(?:\d\d)?(?![\d.])|(?<![\d.])(?!1\.2\.840\.10008\.)\d+(?:\.\d+){5,}")
_PLAIN = (bool, int, float, type(None))
_NAMED = (date, timedelta, Path, IPv4Address, IPv6Address, IPv4Network, IPv6Network)
_SILENT = ("pynetdicom", "pydicom", "aiohttp.access", "sqlalchemy.engine", "sqlalchemy.pool")
_PRIORITY = {"critical": 2, "error": 3, "exception": 3, "warning": 4, "info": 6, "debug": 7}  # sd-daemon(3)

Line = MutableMapping[str, Any]


def set_up(stream: TextIO | None = None, environ: Mapping[str, str] = os.environ, *, level: int = logging.INFO) -> None:
    """Send every line of ours and of the libraries to `stream` (default: standard error), in the form that fits it."""
    stream = stream or sys.stderr
    structlog.configure(
        processors=[structlog.processors.add_log_level, tell_exception, only_known_fields, *_dress(stream, environ)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, LibraryLines)]:
        root.removeHandler(handler)
    root.addHandler(LibraryLines(level=logging.WARNING))
    logging.captureWarnings(True)


def _dress(stream: TextIO, environ: Mapping[str, str]) -> list[structlog.types.Processor]:
    if is_journal(stream, environ):
        return [_priority]
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    if stream.isatty():
        return [structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False), structlog.dev.ConsoleRenderer()]
    return [stamp, structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"], bool_as_flag=False)]


def is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def _priority(logger: object, method: str, line: Line) -> str:
    level = str(line.pop("level", method))
    rendered = structlog.processors.LogfmtRenderer(key_order=["event"], bool_as_flag=False)(logger, method, line)
    return f"<{_PRIORITY.get(level, 6)}>{rendered}"


# --- what may be printed -------------------------------------------------------------------------------------------


def only_known_fields(_logger: object, _method: str, line: Line) -> Line:
    """The line with only what the rules above let through."""
    event = line.pop("event", None)
    level = line.pop("level", None)
    kept: Line = {"event": event if isinstance(event, str) and _EVENT.fullmatch(event) else "unnamed_event"}
    if level is not None:
        kept["level"] = level
    for name, value in line.items():
        kept[name] = _shown(name, value)
    return kept


def _shown(name: str, value: object) -> object:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, _PLAIN):
        return _blot(str(value)) if isinstance(value, int) and abs(value) >= 10**12 else value
    if isinstance(value, BoxError) and name in FIELDS:
        return _blot(value.message)
    if isinstance(value, (str, *_NAMED)) and name in FIELDS:
        return _blot(str(value))
    if isinstance(value, (tuple, list, set, frozenset)) and name in FIELDS:
        return _blot(" ".join(str(_shown(name, item)) for item in value))
    return (
        f"[{type(value).__name__} of {len(value)}]" if isinstance(value, (str, bytes)) else f"[{type(value).__name__}]"
    )


def _blot(text: str) -> str:
    return _BLOT.sub("[…]", printable(text, LONGEST))


def tell_exception(_logger: object, method: str, line: Line) -> Line:
    """`exc_info` as class, own message, and the places it passed, deepest first."""
    given = line.pop("exc_info", None)
    if given is None and method == "exception":
        given = True
    err = given if isinstance(given, BaseException) else given[1] if isinstance(given, tuple) else None
    if given is True:
        err = sys.exc_info()[1]
    if err is None:
        return line
    chain = [err]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    line["error_class"] = " < ".join(type(link).__name__ for link in chain[:5])
    if isinstance(err, BoxError):
        line.setdefault("error", err.message)
    line["where"] = " < ".join(_place(frame) for frame in reversed(traceback.extract_tb(err.__traceback__)[-6:]))
    return line


def _place(frame: traceback.FrameSummary) -> str:
    return f"{'/'.join(Path(frame.filename).parts[-2:])}:{frame.lineno}"


# --- libraries -----------------------------------------------------------------------------------------------------


class LibraryLines(logging.Handler):
    """Gives the libraries' lines the same way out as ours."""

    def emit(self, record: logging.LogRecord) -> None:
        if any(record.name == name or record.name.startswith(name + ".") for name in _SILENT):
            return
        fields: dict[str, Any] = {"library": record.name, "exc_info": record.exc_info or None}
        if record.name != "py.warnings":
            fields["said"] = _pattern(record)
        structlog.get_logger().log(record.levelno, "library_said", **fields)


def _pattern(record: logging.LogRecord) -> str:
    """What a library says without what it says it about: the format, or its words up to the first value."""
    text = str(record.msg)
    return text if record.args else re.split(r"""['"<>\[\](){}=:\n\d]""", text, maxsplit=1)[0].strip()
