"""Commands of a disk, against the device's half of the transport: as it should be, and as sticks are."""

import os
import random
import struct
from collections.abc import Callable

import pytest

from passevue.errors import Unreadable
from passevue.stick.scsi import Disk
from tests.peers.stick import Stick

CONTENT = os.urandom(1 << 20)


def opened(stick: Stick) -> Disk:
    return Disk(stick, ready_s=1)


@pytest.mark.parametrize("sector", [512, 4096])
def test_any_bytes_are_read_where_they_lie(sector: int) -> None:
    disk = opened(Stick(CONTENT, sector))
    assert (disk.size, disk.sector) == (len(CONTENT), sector)
    chance = random.Random(7)
    for _ in range(50):
        at, length = chance.randrange(len(CONTENT)), chance.choice((1, 511, 512, 70_000))
        length = min(length, len(CONTENT) - at)
        assert disk.read(at, length) == CONTENT[at : at + length]
    assert disk.read(0, len(CONTENT)) == CONTENT
    assert disk.read(5, 0) == b""


def test_long_reads_are_few_commands() -> None:
    stick = Stick(CONTENT)
    opened(stick).read(0, len(CONTENT))
    assert stick.reads == 4, "256 KiB each"


@pytest.mark.parametrize(("at", "length"), [(len(CONTENT), 1), (-1, 5), (0, len(CONTENT) + 1), (5, -1)])
def test_nothing_beyond_the_end_is_asked_for(at: int, length: int) -> None:
    stick = Stick(CONTENT)
    with pytest.raises(Unreadable):
        opened(stick).read(at, length)
    assert stick.reads == 0


def test_a_stick_that_is_not_ready_yet_is_waited_for() -> None:
    stick = Stick(CONTENT)
    stick.not_ready = 3
    assert opened(stick).read(0, 4) == CONTENT[:4]
    assert stick.senses == 3


def test_a_stick_that_is_never_ready_is_given_up() -> None:
    stick = Stick(CONTENT)
    stick.not_ready = 10**9
    with pytest.raises(Unreadable) as told:
        Disk(stick, ready_s=0)
    assert "essayez-en une autre" in told.value.hint


def test_a_read_that_is_refused_once_is_asked_again() -> None:
    stick = Stick(CONTENT)
    disk = opened(stick)
    stick.halts = 1
    assert disk.read(512, 9) == CONTENT[512:521]
    stick.halts = 99
    with pytest.raises(Unreadable):
        disk.read(0, 1)


def test_a_stick_that_wakes_up_slowly_is_waited_for() -> None:
    stick = Stick(CONTENT)
    stick.asleep = 3
    assert opened(stick).read(0, 4) == CONTENT[:4]


def test_an_empty_packet_before_the_status_is_passed_over() -> None:
    stick = Stick(CONTENT)
    stick.empty_first = True
    assert opened(stick).read(0, 70_000) == CONTENT[:70_000]
    assert stick.resets == 0


def test_a_status_in_place_of_the_data_is_a_refusal_and_asked_again() -> None:
    stick = Stick(CONTENT)
    disk = opened(stick)
    stick.skips_data = 1
    assert disk.read(512, 4) == CONTENT[512:516]
    assert stick.resets == 0


def test_a_stick_that_is_halted_for_good_is_our_own_error() -> None:
    stick = Stick(CONTENT)
    disk = opened(stick)
    stick.halts, stick.stuck = 99, True
    with pytest.raises(Unreadable):
        disk.read(0, 1)


def test_a_stick_that_is_pulled_out_is_told() -> None:
    stick = Stick(CONTENT)
    disk = opened(stick)
    stick.gone_after = 2
    with pytest.raises(Unreadable) as told:
        disk.read(0, len(CONTENT))
    assert "retirée" in told.value.hint


def _other_tag(status: bytes) -> bytes:
    return status[:4] + struct.pack("<I", 999_999) + status[8:]


def _phase_error(status: bytes) -> bytes:
    return status[:12] + b"\x02"


LIES: list[Callable[[bytes], bytes]] = [
    _other_tag,
    _phase_error,
    lambda status: b"USBX" + status[4:],
    lambda status: status[:7],
    lambda status: b"",
]


@pytest.mark.parametrize("lie", LIES)
def test_a_status_that_is_none_ends_in_a_reset_and_our_own_error(lie: Callable[[bytes], bytes]) -> None:
    stick = Stick(CONTENT)
    disk = opened(stick)
    stick.lies = lie
    with pytest.raises(Unreadable):
        disk.read(0, 1)
    assert 0 < stick.resets < 10


def test_what_is_no_disk_is_refused() -> None:
    stick = Stick(CONTENT)
    stick.kind = 0x05  # CD-ROM
    with pytest.raises(Unreadable) as told:
        opened(stick)
    assert "pas une clé" in told.value.hint


@pytest.mark.parametrize("sector", [1, 8, 513, 1 << 20])
def test_absurd_sectors_are_refused(sector: int) -> None:
    with pytest.raises(Unreadable):
        opened(Stick(CONTENT, sector))
