"""The reader's end of the socket: one question, the files, the end; nothing for who has left."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from passevue.stick import wire
from passevue.stick.chosen import Want
from passevue.stick.reading import serve
from passevue.stick.scsi import Disk
from passevue.stick.wire import Kind
from tests.peers.stick import Stick, formatted


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return formatted(tmp_path_factory.mktemp("stick"), {"new.raucb": bytes(3 << 20)})


class Let:
    """A stick, and how often it was let in, and out again."""

    def __init__(self, image: bytes) -> None:
        self.stick, self.times, self.out = Stick(image), 0, 0

    @contextmanager
    def __call__(self) -> Iterator[Disk]:
        self.times += 1
        try:
            yield Disk(self.stick, ready_s=1)
        finally:
            self.out += 1


def frames(page: socket.socket) -> list[tuple[Kind, bytes]]:
    found = []
    with page.makefile("rb") as answer:
        while head := answer.read(wire.HEAD.size):
            kind, length = wire.read_head(head)
            found.append((kind, answer.read(length)))
    return found


def test_files_come_in_frames_and_the_connection_ends(image: bytes) -> None:
    ours, theirs = socket.socketpair()
    let = Let(image)
    thread = threading.Thread(target=serve, args=(theirs, let))
    thread.start()
    with ours:
        ours.settimeout(30)
        ours.sendall(wire.asking(Want.BUNDLE, "S"))
        found = frames(ours)
    thread.join()
    assert [kind for kind, _ in found] == [Kind.FILE, *[Kind.DATA] * 12, Kind.DONE]
    assert sum(len(data) for kind, data in found if kind is Kind.DATA) == 3 << 20
    assert (let.times, let.out) == (1, 1)


def test_a_stick_is_not_let_in_for_who_has_left(image: bytes) -> None:
    ours, theirs = socket.socketpair()
    let = Let(image)
    ours.sendall(wire.asking(Want.BUNDLE, "S"))
    ours.close()
    serve(theirs, let)
    assert let.times == 0


def test_who_leaves_while_it_is_read_ends_it(image: bytes) -> None:
    ours, theirs = socket.socketpair()
    let = Let(image)
    ours.sendall(wire.asking(Want.BUNDLE, "S"))
    let.stick.on_read = lambda: ours.close() if let.stick.reads == 3 else None
    serve(theirs, let)
    assert (let.times, let.out) == (1, 1)
    assert let.stick.reads == 3


@pytest.mark.parametrize("said", [b"\n", b"{}\n", b"x" * 300, b'{"want": "keys", "serial": "S"}\n'])
def test_a_question_that_is_none_lets_no_stick_in(image: bytes, said: bytes) -> None:
    ours, theirs = socket.socketpair()
    let = Let(image)
    with ours:
        ours.settimeout(30)
        ours.sendall(said)
        serve(theirs, let)
        assert [kind for kind, _ in frames(ours)] == [Kind.TROUBLE]
    assert let.times == 0
