"""Imports what zones are made of, which reads many files: from then on their names are at hand.

A process imports its own zones and no other: what a zone never uses it would hold in memory for years. A test keeps
the list of libraries that each holds (`tests/unit/zones/test_loading.py`).
"""

import importlib
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from passevue.zones.part import Part

_AUTHORITIES = "SSL_CERT_FILE"  # what OpenSSL reads where it is told nothing else


def load(parts: Collection[Part]) -> None:
    """Blocks."""
    with _without_authorities():
        for part in parts:
            importlib.import_module(f"passevue.zones.{part}")


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
