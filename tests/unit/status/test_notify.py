"""systemd hears what it asked for, and its absence changes nothing."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from passevue.status.activation import passed_sockets
from passevue.status.notify import Watchdog, notify, watchdog_period_s


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[tuple[socket.socket, dict[str, str]]]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(5)
        yield sock, {"NOTIFY_SOCKET": str(tmp_path / "notify")}


def test_ready_reaches_systemd(systemd: tuple[socket.socket, dict[str, str]]) -> None:
    sock, environ = systemd
    assert notify("READY=1", "STATUS=prêt", environ=environ)
    assert sock.recv(4096).decode() == "READY=1\nSTATUS=prêt"


def test_an_abstract_socket_is_understood() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        name = f"passevue-test-{os.getpid()}"
        sock.bind("\0" + name)
        assert notify("READY=1", environ={"NOTIFY_SOCKET": "@" + name})
        assert sock.recv(64) == b"READY=1"


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/at/all"])
def test_without_systemd_nothing_happens(address: str) -> None:
    assert not notify("READY=1", environ={"NOTIFY_SOCKET": address})


def test_a_full_buffer_does_not_stop_the_box(systemd: tuple[socket.socket, dict[str, str]]) -> None:
    _, environ = systemd
    assert not all(notify("STATUS=" + "x" * 900, environ=environ) for _ in range(5000))


def test_the_watchdog_is_patted_at_half_its_time() -> None:
    assert watchdog_period_s({"WATCHDOG_USEC": "30000000"}) == 15
    assert watchdog_period_s({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}) == 15
    assert watchdog_period_s({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}) is None
    assert watchdog_period_s({"WATCHDOG_USEC": "soon"}) is None
    assert watchdog_period_s({}) is None


async def test_the_watchdog_part_pats_until_cancelled(systemd: tuple[socket.socket, dict[str, str]]) -> None:
    sock, environ = systemd
    task = asyncio.create_task(Watchdog(lambda: "calme", environ | {"WATCHDOG_USEC": "20000"}).run())
    await asyncio.sleep(0.1)
    task.cancel()
    heard = {sock.recv(64) for _ in range(6)}
    assert heard == {b"WATCHDOG=1", b"STATUS=calme"}


def test_sockets_come_by_name() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        handed = os.dup(listener.fileno())
        environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "ris"}
        found = passed_sockets(environ, first=handed)
        assert found["ris"].getsockname() == listener.getsockname()
        assert not found["ris"].getblocking()
        found["ris"].close()


def test_sockets_of_another_process_are_left_alone() -> None:
    assert passed_sockets({"LISTEN_PID": "1", "LISTEN_FDS": "1"}) == {}
    assert passed_sockets({}) == {}
