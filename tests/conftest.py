"""Guards over every test, so that none needs to remember them.

- A blocking call (file, socket, SQLite, sleep, sync) made by the package on the event loop fails the test: one slow
  disk must not stop the box from answering (reliability F-08). What is left out, and why:
    - locks: whether one is contended is chance; a lock held over a blocking call is caught by that call;
    - `logging` and structlog: a line to the journal's socket is what logging costs, and it is bounded.
- A log line, of ours or of a library, that holds an identity of a sample patient or of somebody whose card or phone
  the tests use fails the test (Q-20, LOG-06); one that cannot be formatted fails it by pytest's own handler.
Warnings are errors: pyproject.toml. Speed is measured in tests/bench: no example of a property has a deadline.
"""

import logging
import re
import traceback
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from blockbuster import BlockBuster, BlockBusterFunction
from hypothesis import settings

from passevue.status.logs import LibraryLines
from tests.foreign import leave_environment
from tests.peers.card_profile import Holder
from tests.peers.psc_people import people
from tests.peers.ris_report import Doctor

leave_environment()
settings.register_profile("passevue", deadline=None)
settings.load_profile("passevue")

# Who the samples and the tests' peers speak of: names, birth dates, INS, IPP, accession and study identifiers.
IDENTITIES = (
    "PAT-TROIS",
    "DOMINIQUE",
    "19790328",
    "279035121518989",
    "248039263001064",
    "274075176079430",
    "IPP101",
    "2963001",
    "ACN124",
    "105234751",
    "28 Av de Breteuil",
)
# Who holds the virtual cards, signs the reports and has a phone: names, national identifiers, numbers of cards.
PROFESSIONALS = (
    *(text for one in (Holder(), Doctor()) for text in (one.family, one.given)),
    *(text for one in people("") for text in (one.family, one.given)),
    Doctor().id,
)
_NUMBERS = (
    r"(?<![\d.])[12378]\d{14}(?![\d.])",  # any INS-like number
    r"(?<!\d)8997\d{8}(?!\d)",  # IdNat of the test realm, as all holders here have one
    r"(?<!\d)99213\d{3}(?!\d)",  # printed on a virtual card
)
_IDENTITY = re.compile(
    "|".join(
        (
            *(re.escape(text) for text in IDENTITIES),
            *(rf"\b{re.escape(text)}\b" for text in PROFESSIONALS),
            *_NUMBERS,
        )
    ),
    re.IGNORECASE,
)
_MAY_BLOCK = (
    ("logging/__init__.py", {"emit", "handle"}),
    ("structlog/_output.py", {"msg", "_msg"}),
)


class LogGuard(logging.Handler):
    """Reads every line before it goes anywhere and keeps what is wrong with it."""

    def __init__(self) -> None:
        super().__init__(level=logging.NOTSET)
        self.wrong: list[str] = []

    def read(self, line: str) -> None:
        if found := _IDENTITY.search(line):
            self.wrong.append(f"identity {found.group()!r} in the log line: {line}")

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        if record.exc_info:
            line += "".join(traceback.format_exception(*record.exc_info))
        self.read(f"{record.name}: {line}")


def _wrapper_class(guard: LogGuard) -> type[Any]:
    base = structlog.make_filtering_bound_logger(logging.NOTSET)

    class Guarded(base):  # type: ignore[misc, valid-type]
        def _proxy_to_logger(self, method_name: str, event: str | None = None, *args: Any, **fields: Any) -> Any:
            line = f"{event} {self._context} {fields}"
            if fields.get("exc_info") or method_name == "exception":
                line += traceback.format_exc()
            guard.read(line)
            return super()._proxy_to_logger(method_name, event, *args, **fields)

    return Guarded


@pytest.fixture(autouse=True)
def no_identity_in_logs() -> Iterator[LogGuard]:
    """Fails the test whose code logs an identity; prints what is logged, for pytest to show when a test fails."""
    guard = LogGuard()
    structlog.reset_defaults()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(bool_as_flag=False),
        ],
        wrapper_class=_wrapper_class(guard),
        cache_logger_on_first_use=False,
    )
    logging.getLogger().addHandler(guard)
    yield guard
    for handler in [each for each in logging.getLogger().handlers if isinstance(each, (LogGuard, LibraryLines))]:
        logging.getLogger().removeHandler(handler)
    logging.captureWarnings(False)
    structlog.reset_defaults()
    assert not guard.wrong, "\n".join(guard.wrong)


@pytest.fixture(scope="session", autouse=True)
def no_blocking_on_the_loop() -> Iterator[None]:
    """Only calls with a frame of the package on the stack, inside a running loop, are looked at."""
    buster = BlockBuster("passevue")
    for name in [name for name in buster.functions if "Lock" in name]:
        del buster.functions[name]
    for name in ("os.fsync", "os.fdatasync"):
        buster.functions[name] = BlockBusterFunction(None, name, scanned_modules="passevue")
    for function in buster.functions.values():
        for filename, functions in _MAY_BLOCK:
            function.can_block_in(filename, functions)
    buster.activate()
    yield
    buster.deactivate()
