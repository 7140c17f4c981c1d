"""Putting a virtual card in and out by hand, from one terminal or two.

    python -m tests.peers.card --kind cps3 --port 35963 --insert     # a card, and a prompt: insert, remove, swap, quit
    python -m tests.peers.card remove                                # the same from another terminal
    python -m tests.peers.card --pcscd                               # with a pcscd of its own, and says where

The first process holds the card and listens on a unix socket (`--control`); orders of others come there, one a line,
and get one line back.
"""

import argparse
import contextlib
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from .card import Holder, Kind, Profile, Update, VirtualCard
from .card_vpcd import VpcdLink
from .pcsc import Pcscd, why_not
from .pki_persons import Persons, of_process

ORDERS = ("insert", "remove", "swap", "status", "quit")
VPCD_PORT = 35963  # 0x8C7B, of Debian's /etc/reader.conf.d/vpcd


class Desk:
    """One reader, one card in hand and another beside it: what an order does, and what is said back."""

    def __init__(self, link: VpcdLink, cards: tuple[VirtualCard, VirtualCard]) -> None:
        self.link = link
        self.cards = cards
        self.done = threading.Event()

    def obey(self, order: str) -> str:
        orders: dict[str, Callable[[], str]] = {
            "insert": self._insert,
            "remove": self._remove,
            "swap": self._swap,
            "status": self._status,
            "quit": self._quit,
        }
        return orders[order]() if order in orders else f"orders: {', '.join(ORDERS)}"

    def _insert(self) -> str:
        self.link.insert(self.cards[0])
        return self._status()

    def _remove(self) -> str:
        self.link.remove()
        return self._status()

    def _swap(self) -> str:
        self.cards = (self.cards[1], self.cards[0])
        self.link.swap(self.cards[0])
        return self._status()

    def _status(self) -> str:
        if self.link.card is None:
            return "no card"
        seen = "" if self.link.connected else " (no reader takes it yet)"
        return f"card {self.link.card.profile.number} ({self.link.card.profile.kind}) is in{seen}"

    def _quit(self) -> str:
        self.link.close()
        self.done.set()
        return "closed"


def control_path() -> Path:
    """Where the process that holds the card listens, unless `--control` says otherwise."""
    return Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"passevue-card-{os.getuid()}.sock"


@contextlib.contextmanager
def listening(desk: Desk, path: Path) -> Iterator[None]:
    """Takes orders on a unix socket that only its owner may use, for as long as the context lasts."""
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(4)
        thread = threading.Thread(target=_serve, args=(listener, desk), name="card orders", daemon=True)
        thread.start()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            path.unlink(missing_ok=True)


def order(path: Path, what: str) -> str:
    """Says one order to the process that holds the card.

    Raises:
        OSError: none does.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        connection.sendall(what.encode() + b"\n")
        return connection.makefile().readline().strip()


def _serve(listener: socket.socket, desk: Desk) -> None:
    while not desk.done.is_set():
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection, contextlib.suppress(OSError):
            connection.settimeout(5)
            said = desk.obey(connection.makefile().readline(64).strip())
            connection.sendall(said.encode() + b"\n")


def main(arguments: list[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    if chosen.order:
        try:
            print(order(chosen.control, chosen.order))
        except OSError:
            print(f"no card is held at {chosen.control}: start one first (--help)", file=sys.stderr)
            return 1
        return 0
    with contextlib.ExitStack() as stack:
        try:
            link = stack.enter_context(_reader(chosen, stack))
        except RuntimeError as err:
            print(err, file=sys.stderr)
            return 1
        desk = Desk(link, _cards(chosen))
        signal.signal(signal.SIGTERM, lambda *_: desk.done.set())
        stack.enter_context(listening(desk, chosen.control))
        if chosen.insert:
            print(desk.obey("insert"), flush=True)
        _prompt(desk)
    return 0


def _prompt(desk: Desk) -> None:
    """Orders from the keyboard; without one, those of the socket only."""
    if not sys.stdin or sys.stdin.closed:
        desk.done.wait()
        return
    print(f"orders: {', '.join(ORDERS)}", flush=True)
    reader = threading.Thread(target=_read_orders, args=(desk,), daemon=True)
    reader.start()
    with contextlib.suppress(KeyboardInterrupt):
        desk.done.wait()


def _read_orders(desk: Desk) -> None:
    for line in sys.stdin:
        if line.strip():
            print(desk.obey(line.strip()), flush=True)
        if desk.done.is_set():
            return


def _reader(chosen: argparse.Namespace, stack: contextlib.ExitStack) -> VpcdLink:
    if not chosen.pcscd:
        return VpcdLink(chosen.port)
    if reason := why_not():
        raise RuntimeError(reason)
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="passevue-pcscd-")))
    pcscd = stack.enter_context(Pcscd(folder))
    for name, value in pcscd.program_environment.items():
        print(f"export {name}={value}", flush=True)
    return pcscd.slots[0].link


def _cards(chosen: argparse.Namespace) -> tuple[VirtualCard, VirtualCard]:
    family, _, given = chosen.holder.partition(" ")
    holder = replace(Holder(), family=family.upper(), given=given.upper() or Holder().given, id_nat=chosen.id_nat)
    first = Profile(Kind(chosen.kind), holder, chosen.number, category=chosen.category, pin=chosen.pin,
                    update=Update(chosen.update))  # fmt: skip
    colleague = replace(holder, family="COLLEGUE", id_nat="899700367917", know_how=("SM45",))
    second = replace(first, holder=colleague, number="99213852")
    persons = Persons(chosen.keys, chosen.category) if chosen.keys else of_process(chosen.category)
    print(f"authority: {persons.authority}", flush=True)
    return VirtualCard(first, persons.card_keys(first)), VirtualCard(second, persons.card_keys(second))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.peers.card", description=__doc__.partition("\n\n")[0])
    parser.add_argument("order", nargs="?", choices=ORDERS, help="an order for the process that already holds a card")
    parser.add_argument("--kind", choices=[kind.value for kind in Kind], default=Kind.CPS3)
    parser.add_argument("--holder", default="RADIOLOGUE CAMILLE", metavar="'FAMILY GIVEN'")
    parser.add_argument("--id-nat", default=Holder().id_nat, help="8 and the RPPS number")
    parser.add_argument("--number", default=Profile().number, help="eight digits of the card")
    parser.add_argument("--pin", default=Profile().pin)
    parser.add_argument("--category", choices=["test", "production"], default="test")
    parser.add_argument("--update", choices=[update.value for update in Update], default=Update.NEVER)
    parser.add_argument(
        "--keys", type=Path, metavar="FOLDER", help="the persons' authority: kept there, or found there"
    )
    parser.add_argument("--port", type=int, default=VPCD_PORT, help="of vpcd's slot (default: Debian's)")
    parser.add_argument("--pcscd", action="store_true", help="start a pcscd of its own, beside any other")
    parser.add_argument("--insert", action="store_true", help="put the card in at once")
    parser.add_argument("--control", type=Path, default=control_path(), metavar="SOCKET", help="where orders come")
    return parser
