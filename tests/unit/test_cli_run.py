"""`passevue run` as systemd starts it: ready, answering, stopping, and leaving with a code that says why."""

import asyncio
import fcntl
import os
import re
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

from passevue.cli.exits import Exit
from passevue.status.audit_trail import verify
from tests.smallest import smallest_box

STRUCTURE = "1750000000"


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    return smallest_box(tmp_path, STRUCTURE)


@asynccontextmanager
async def _started(configuration: Path, *words: str, notify: Path | None = None) -> AsyncIterator[Process]:
    environ = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PASSEVUE_CONFIG": str(configuration)}
    if notify is not None:
        environ["NOTIFY_SOCKET"] = str(notify)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "passevue", "run", *words, env=environ, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def _until(process: Process, event: str) -> str:
    assert process.stderr is not None
    said = b""
    async with asyncio.timeout(30):
        async for line in process.stderr:
            said += line
            if f"event={event} " in line.decode():
                return line.decode()
    raise AssertionError(f"{event} was never said, but: {said.decode()}")


async def test_the_box_starts_answers_and_stops_as_systemd_wants(configuration: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        async with _started(configuration, notify=tmp_path / "notify") as process:
            ready = await _until(process, "box_ready")
            port = re.search(r"page_port=(\d+)", ready)
            assert port is not None
            for path in ("health", "ready", "status.json", "metrics", ""):
                answer = await asyncio.to_thread(urlopen, f"http://127.0.0.1:{port[1]}/{path}", timeout=10)
                assert answer.status == 200
                await asyncio.to_thread(answer.close)
            process.send_signal(signal.SIGTERM)
            _, said = await asyncio.wait_for(process.communicate(), 30)
            assert process.returncode == 0, said.decode()
        heard = []
        while True:
            try:
                heard.append(systemd.recv(4096).decode())
            except BlockingIOError:
                break
    assert "READY=1" in heard
    assert "STOPPING=1" in heard
    found = await asyncio.to_thread(verify, tmp_path / "data" / "audit")
    assert found.wrong == ()
    trail = await asyncio.to_thread(
        lambda: b"".join(p.read_bytes() for p in (tmp_path / "data" / "audit").glob("*.log"))
    )
    assert trail.count(b'csd-code="110120"') == 1  # started
    assert trail.count(b'csd-code="110121"') == 1  # stopped


async def test_a_second_box_on_the_same_store_leaves_at_once(configuration: Path) -> None:
    async with _started(configuration) as first:
        await _until(first, "box_ready")
        async with _started(configuration) as second:
            _, said = await asyncio.wait_for(second.communicate(), 30)
    assert second.returncode == Exit.STORE
    assert b"Traceback" not in said


async def test_a_missing_key_stops_the_start_with_a_hint(configuration: Path) -> None:
    text = await asyncio.to_thread(configuration.read_text)
    await asyncio.to_thread(configuration.write_text, re.sub(r'sign_key = ".*"', 'sign_key = "absent.key"', text))
    async with _started(configuration) as process:
        _, said = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == Exit.CONFIG, said.decode()
    assert b"Traceback" not in said


LAUNCH = """
import os, sys
names, fds, command = sys.argv[1], sys.argv[2].split(","), sys.argv[3:]
for at, fd in enumerate(fds):
    os.dup2(int(fd), 3 + at)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)), LISTEN_FDNAMES=names)
os.execv(command[0], command)
"""


async def test_sockets_that_systemd_passes_are_the_ones_listened_on(configuration: Path, tmp_path: Path) -> None:
    """Dual stack, as `ListenStream=2575` makes them; a neighbour of IPv4 is known by its address all the same."""
    with ExitStack() as held:
        passed = {
            name: held.enter_context(socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True))
            for name in ("mllp", "dicom", "page")
        }
        passed["card"] = held.enter_context(socket.socket(socket.AF_UNIX))
        passed["card"].bind(str(tmp_path / "card.sock"))
        passed["card"].listen()
        high = [fcntl.fcntl(sock, fcntl.F_DUPFD, 50) for sock in passed.values()]  # clear of 3 and on
        for fd in high:
            held.callback(os.close, fd)
        words = [sys.executable, "-c", LAUNCH, ":".join(passed), ",".join(map(str, high)), sys.executable]
        environ = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PASSEVUE_CONFIG": str(configuration)}
        process = await asyncio.create_subprocess_exec(
            *words, "-m", "passevue", "run", "--sockets", str(tmp_path), env=environ, pass_fds=high,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            ready = await _until(process, "box_ready")
            ports = {name: int(port) for name, port in re.findall(r"(\w+)_port=(\d+)", ready)}
            assert ports == {
                name: passed[given].getsockname()[1]
                for name, given in (("ris", "mllp"), ("modality", "dicom"), ("page", "page"))
            }
            page = await asyncio.to_thread(urlopen, f"http://127.0.0.1:{ports['page']}/health", timeout=10)
            assert page.status == 200
            await asyncio.to_thread(page.close)
            reader, writer = await asyncio.open_connection("127.0.0.1", ports["ris"])
            writer.write(b"\x0bMSH|^~\\&|RIS|CENTRE|||20261121||ZZZ^Z99|1|P|2.5\r\x1c\r")
            answer = await asyncio.wait_for(reader.readuntil(b"\x1c"), 10)  # among ris.senders: it is 127.0.0.1
            assert b"MSA|A" in answer
            writer.close()
            await writer.wait_closed()
        finally:
            process.terminate()
            await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0
    assert (tmp_path / "card.sock").exists()  # systemd's, not ours to remove
