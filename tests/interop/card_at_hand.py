"""A virtual card in a reader of a pcscd of one's own, a program that uses it, and `openssl s_server` to be reached."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.peers.card import Kind, Profile, VirtualCard
from tests.peers.pcsc import Pcscd
from tests.peers.pki import KeyPaths
from tests.peers.pki_persons import Persons

OPENSSL = shutil.which("openssl")
ROOT = Path(__file__).parents[2]


@contextmanager
def card_at_hand(folder: Path, persons: Persons, kind: Kind) -> Iterator[tuple[VirtualCard, Pcscd]]:
    profile = Profile(kind=kind)
    card = VirtualCard(profile, persons.card_keys(profile))
    with Pcscd(folder) as pcscd:
        pcscd.slots[0].link.insert(card)
        yield card, pcscd


class Child:
    """`card_child`, at work. `next` is the next object that it prints."""

    def __init__(self, pcscd: Pcscd, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.interop.card_child", *arguments],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | pcscd.environment,
        )

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def next(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the child ended"
        found: dict[str, Any] = json.loads(line)
        return found


@dataclass(frozen=True, slots=True)
class SServer:
    """`openssl s_server -Verify`: it closes who shows no certificate, or one that its authority did not issue."""

    port: int

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}/"


@contextmanager
def s_server(keys: KeyPaths, authority: Path, *options: str) -> Iterator[SServer]:
    """Answers each GET with a page of its state, which tells the client's certificate."""
    assert OPENSSL is not None
    command = [OPENSSL, "s_server", "-accept", "127.0.0.1:0", "-cert", str(keys.certificate), "-key", str(keys.key),
               "-cert_chain", str(keys.certificate), "-CAfile", str(authority), "-Verify", "3", "-verify_return_error",
               "-www", *options]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        port = next(int(line.rpartition(":")[2]) for line in process.stdout if line.startswith("ACCEPT 127"))
        yield SServer(port)
    finally:
        process.kill()
        process.communicate()
