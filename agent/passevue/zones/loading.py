"""Imports what zones are made of, which reads many files: from then on their names are at hand.

A process imports its own zones and no other: what a zone never uses it would hold in memory for years. A test keeps
the list of libraries that each holds (`tests/unit/zones/test_loading.py`).

What it imports stays, and so does what the parts of a box are made of (`lasting`). The garbage collector is not to look
for cycles there: it holds the interpreter, and with it the event loop, 70 ms for each 100,000 objects, whichever
thread it happens to begin on.
"""

import gc
import importlib
import os
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from passevue.zones.part import Part

_AUTHORITIES = "SSL_CERT_FILE"  # what OpenSSL reads where it is told nothing else


def load(parts: Collection[Part]) -> None:
    """Blocks."""
    new = [name for name in (f"passevue.zones.{part}" for part in parts) if name not in sys.modules]
    if new:
        with _without_authorities():
            for name in new:
                importlib.import_module(name)
        gc.freeze()


@contextmanager
def lasting() -> Iterator[None]:
    """What there is at its beginning is not looked through until its end: it lasts."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def _without_authorities() -> Iterator[None]:
    """aiohttp reads the authorities of the system when it is imported (2 MiB), for connections that say nothing of
    whom they trust. Those of the box all say it, and one that did not would trust nobody."""
    before = os.environ.get(_AUTHORITIES)
    os.environ[_AUTHORITIES] = os.devnull
    try:
        yield
    finally:
        if before is None:
            del os.environ[_AUTHORITIES]
        else:
            os.environ[_AUTHORITIES] = before
