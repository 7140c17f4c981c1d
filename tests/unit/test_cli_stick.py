"""`/usr/lib/passevue/stick` as systemd starts it: a listening socket, one question, one answer, the end."""

import socket
import subprocess
import sys
from pathlib import Path

from passevue.stick import wire
from passevue.stick.chosen import Want
from passevue.stick.wire import Kind

# As systemd does it: the socket is descriptor 3, and LISTEN_PID says whom it is for.
STARTED = """import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ["LISTEN_PID"] = str(os.getpid())
from passevue.cli.stick import stick
sys.exit(stick())"""


def started(listening: socket.socket, count: str = "1") -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", STARTED, str(listening.fileno())]
    environ = {"LISTEN_FDS": count, "LISTEN_FDNAMES": "stick", "PYTHONPATH": ":".join(sys.path)}
    return subprocess.Popen(command, pass_fds=(listening.fileno(),), env=environ, stderr=subprocess.PIPE)


def test_one_question_is_answered_and_it_ends(tmp_path: Path) -> None:
    """This machine has no stick; that it says so is the answer."""
    path = tmp_path / "stick.sock"
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as page:
        listening.bind(str(path))
        listening.listen()
        with started(listening) as process:
            page.settimeout(30)
            page.connect(str(path))
            page.sendall(wire.asking(Want.BUNDLE, "S"))
            with page.makefile("rb") as answer:
                kind, length = wire.read_head(answer.read(wire.HEAD.size))
                code, hint = wire.read_trouble(answer.read(length))
                assert answer.read() == b""
            assert process.wait(30) == 0
    assert (kind, code) == (Kind.TROUBLE, "stick-none")
    assert "Aucune clé USB" in hint


def test_without_its_socket_it_does_nothing(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other, started(other, "0") as process:
        assert process.wait(30) == 2
