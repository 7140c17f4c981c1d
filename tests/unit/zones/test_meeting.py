"""Zones find each other again whatever happens to them, and nobody who is not one of them gets a word."""

import asyncio
import os
import shutil
import socket
import stat
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from passevue.errors import StoreError
from passevue.zones.link import Bounds, Link
from passevue.zones.meeting import Line, Meeting, Place, peer_user
from passevue.zones.part import Part, user_of

BOUNDS = Bounds()
STRANGER = 64_999


class Host:
    """One listening end; `served` counts who came."""

    def __init__(self, meeting: Meeting) -> None:
        self._meeting = meeting
        self.served = 0

    async def _serve(self, sock: socket.socket) -> None:
        self.served += 1
        await Link(sock, BOUNDS).run()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        async with self._meeting.open_door(Place.CARD, Part.PAGE, self._serve) as door:
            task = asyncio.create_task(door.run())
            try:
                yield
            finally:
                task.cancel()
                await asyncio.wait([task])


@asynccontextmanager
async def visiting(meeting: Meeting, went: list[str]) -> AsyncIterator[Line]:
    async def up(_link: Link) -> None:
        went.append("up")

    line = Line(
        meeting,
        Place.CARD,
        Part.HOST,
        lambda sock, spoke: Link(sock, BOUNDS, on_first=spoke),
        up=up,
        down=lambda: went.append("down"),
    )
    task = asyncio.create_task(line.run())
    try:
        yield line
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(went: list[str], wanted: list[str]) -> None:
    deadline = asyncio.get_running_loop().time() + 5
    while went != wanted:
        assert asyncio.get_running_loop().time() < deadline, went
        await asyncio.sleep(0.01)


async def test_they_meet_part_and_meet_again_in_whatever_order_they_start(tmp_path: Path) -> None:
    meeting, went = Meeting(tmp_path / "run"), list[str]()
    host = Host(meeting)
    async with visiting(meeting, went) as line:
        await asyncio.sleep(0.2)
        assert line.link is None
        async with host.open():
            await until(went, ["up"])
            assert line.link is not None
        await until(went, ["up", "down"])
        assert line.link is None
        async with host.open():
            await until(went, ["up", "down", "up"])
    assert host.served == 2


async def test_who_has_just_asked_waits_for_a_zone_that_is_coming_and_not_for_one_that_is_away(tmp_path: Path) -> None:
    meeting, went = Meeting(tmp_path / "run"), list[str]()
    async with visiting(meeting, went) as line:
        assert await line.met(0.05) is None
        waiting = [asyncio.create_task(line.met(30)) for _ in range(2)]
        async with Host(meeting).open():
            assert await asyncio.gather(*waiting) == [line.link] * 2
            assert line.link is not None
        await until(went, ["up", "down"])
        assert await line.met(0.05) is None


async def test_the_socket_is_for_its_group_and_goes_with_its_zone(tmp_path: Path) -> None:
    async with Host(Meeting(tmp_path)).open():
        assert stat.S_IMODE((tmp_path / "card.sock").stat().st_mode) == 0o660
    assert not (tmp_path / "card.sock").exists()


async def test_what_a_crash_left_behind_is_no_obstacle(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "card.sock"))
    went: list[str] = []
    async with Host(Meeting(tmp_path)).open(), visiting(Meeting(tmp_path), went):
        await until(went, ["up"])


async def test_a_second_process_does_not_take_the_place_of_the_first(tmp_path: Path) -> None:
    went: list[str] = []
    async with Host(Meeting(tmp_path)).open():
        with pytest.raises(StoreError, match="cannot be listened on"):
            async with Host(Meeting(tmp_path)).open():
                pass
        async with visiting(Meeting(tmp_path), went):
            await until(went, ["up"])


async def test_a_guest_that_is_not_the_zones_user_is_not_answered(tmp_path: Path) -> None:
    host = Host(Meeting(tmp_path, users={Part.PAGE: STRANGER}))
    went: list[str] = []
    async with host.open(), visiting(Meeting(tmp_path), went):
        await asyncio.sleep(0.5)
    assert host.served == 0
    assert went == []


IMPOSTOR = """
import socket, sys
with socket.socket(socket.AF_UNIX) as sock:
    sock.bind(sys.argv[1])
    sock.listen()
    print("there", flush=True)
    guest, _ = sock.accept()
    print(len(guest.recv(100)), flush=True)
"""


async def test_a_host_that_is_not_the_zones_user_is_told_nothing(tmp_path: Path) -> None:
    """Whoever makes the socket listen is who SO_PEERCRED names; root may, as systemd does."""
    as_stranger = [] if os.geteuid() else ["setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups"]
    if not all(map(shutil.which, ["python3", *as_stranger[:1]])):
        pytest.skip("needs python3, and as root setpriv")
    with TemporaryDirectory(dir="/tmp") as name:
        folder, went = Path(name), list[str]()
        os.chmod(folder, 0o777)
        impostor = await asyncio.create_subprocess_exec(
            *as_stranger, "/usr/bin/python3", "-c", IMPOSTOR, str(folder / "card.sock"), stdout=asyncio.subprocess.PIPE
        )
        assert impostor.stdout is not None
        assert await impostor.stdout.readline() == b"there\n"
        os.chmod(folder / "card.sock", 0o777)
        expected = STRANGER + 1 if os.geteuid() else os.geteuid()
        async with visiting(Meeting(folder, users={Part.HOST: expected}), went):
            assert await asyncio.wait_for(impostor.stdout.readline(), 5) == b"0\n"
        assert went == []
        await impostor.wait()


async def test_no_more_guests_at_once_than_one_and_those_that_linger(tmp_path: Path) -> None:
    meeting, went = Meeting(tmp_path), list[str]()
    host = Host(meeting)
    async with host.open(), AsyncExitStack() as guests:
        for _ in range(5):
            await guests.enter_async_context(visiting(meeting, went))
        await asyncio.sleep(1)
        assert host.served == 4


async def test_a_socket_that_systemd_passes_is_used_and_left_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "elsewhere.sock"
    passed = socket.socket(socket.AF_UNIX)
    passed.bind(str(path))
    passed.listen()
    passed.setblocking(False)
    went: list[str] = []
    (tmp_path / "card.sock").symlink_to(path)
    async with Host(Meeting(tmp_path, passed={"card": passed})).open(), visiting(Meeting(tmp_path), went):
        await until(went, ["up"])
    assert path.exists()


async def test_a_folder_of_a_long_name_is_met_in_too(tmp_path: Path) -> None:
    folder = tmp_path / ("a" * 120)
    went: list[str] = []
    async with Host(Meeting(folder)).open(), visiting(Meeting(folder), went):
        await until(went, ["up"])


def test_the_kernel_says_who_is_there() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert peer_user(one) == os.geteuid()
        assert struct.calcsize("3i") == 12


@pytest.mark.parametrize("part", Part)
def test_a_machine_without_zone_users_has_them_all_in_one(part: Part) -> None:
    if os.path.exists("/usr/share/passevue"):
        pytest.skip("this is an appliance")
    assert user_of(part) == os.geteuid()
