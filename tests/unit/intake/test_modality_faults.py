"""The DICOM listener against those who mean it badly, or have bad luck (F-05, F-15, F-16, N-06, N-07, N-09)."""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import ssl
import struct
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from passevue import config
from passevue.errors import ConfigError
from passevue.intake.disk import Disk
from passevue.intake.images import Images
from passevue.intake.room import Thresholds
from tests.peers.dicom_intake import Intake, running
from tests.peers.modality import (
    RELEASE_RQ,
    Fault,
    Modality,
    RawModality,
    Refused,
    associate_rq,
    c_echo_rq,
    contexts_for,
    data_set_of,
    image,
    p_data,
    store_pdus,
    study,
)

VERIFICATION = [("1.2.840.10008.1.1", ["1.2.840.10008.1.2"])]
CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
ABORT, REJECT, ACCEPT, RELEASED, CLOSED = 7, 3, 2, 6, 0


async def good(intake: Intake) -> None:
    """The next good one is served, at once."""
    async with asyncio.timeout(5), await RawModality.connect("127.0.0.1", intake.port) as raw:
        assert (await raw.associate(VERIFICATION))[0] == ACCEPT
        await raw.send(p_data(1, 3, c_echo_rq()))
        assert await raw.status() == 0
        await raw.send(RELEASE_RQ)
        assert (await raw.pdu())[0] == RELEASED


# F-15


@pytest.mark.parametrize("fault", [Fault.CUT, Fault.RESET, Fault.ABORT, Fault.RELEASE])
@pytest.mark.parametrize("size", [32, 1100])
async def test_an_object_that_breaks_off_at_any_pdu_leaves_nothing(tmp_path: Path, fault: Fault, size: int) -> None:
    ds = image("2.25.60", "IPP", "ACC", size=size)
    pdu_bytes = 512 if size == 32 else 300_000
    last = len(store_pdus(ds, pdu_bytes=pdu_bytes)) - 1
    async with running(tmp_path) as intake:
        for at in range(last + (fault is Fault.CUT or fault is Fault.RESET)):
            async with await RawModality.connect("127.0.0.1", intake.port) as raw:
                await raw.associate(contexts_for([ds]))
                assert await raw.store(ds, pdu_bytes=pdu_bytes, fault=fault, at=at) is None
        for _ in range(100):
            if not await asyncio.to_thread(os.listdir, tmp_path / "spool"):
                break
            await asyncio.sleep(0.05)
        assert not await asyncio.to_thread(os.listdir, tmp_path / "spool")
        assert not await asyncio.to_thread(os.listdir, tmp_path / "files")
        assert await intake.images.totals() == (0, 0)
        async with await RawModality.connect("127.0.0.1", intake.port) as raw:
            await raw.associate(contexts_for([ds]))
            assert await raw.store(ds, pdu_bytes=pdu_bytes) == 0


async def test_release_in_the_middle_of_an_object_is_aborted(tmp_path: Path) -> None:
    ds = image("2.25.61", "IPP", "ACC")
    async with running(tmp_path) as intake, await RawModality.connect("127.0.0.1", intake.port) as raw:
        await raw.associate(contexts_for([ds]))
        await raw.send(b"".join(store_pdus(ds, pdu_bytes=600)[:2]) + RELEASE_RQ)
        kind, body = await raw.pdu()
        assert (kind, body[2:]) == (ABORT, b"\x02\x02")  # service provider, unexpected PDU


# F-16


async def test_idle_strangers_do_not_keep_a_neighbour_out(tmp_path: Path) -> None:
    async with running(tmp_path, first_pdu_timeout_s=5) as intake, contextlib.AsyncExitStack() as stack:
        idle = [
            await stack.enter_async_context(await RawModality.connect("127.0.0.1", intake.port)) for _ in range(200)
        ]
        await good(intake)
        closed = 0
        for raw in idle[:100]:
            with contextlib.suppress(TimeoutError):
                closed += (await raw.pdu(2))[0] in (ABORT, CLOSED)
        assert closed == 100  # those that had waited longest
        await good(intake)


async def test_who_says_nothing_is_let_go(tmp_path: Path) -> None:
    async with running(tmp_path, first_pdu_timeout_s=0.4, idle_timeout_s=0.8) as intake:
        async with await RawModality.connect("127.0.0.1", intake.port) as raw:
            began = time.monotonic()
            assert (await raw.pdu())[0] == ABORT
            assert 0.3 < time.monotonic() - began < 10
        async with await RawModality.connect("127.0.0.1", intake.port) as raw:
            assert (await raw.associate(VERIFICATION))[0] == ACCEPT
            began = time.monotonic()
            assert (await raw.pdu())[0] == ABORT
            assert 0.7 < time.monotonic() - began < 10


async def test_a_byte_now_and_then_is_no_sign_of_life(tmp_path: Path) -> None:
    async with running(tmp_path, first_pdu_timeout_s=0.5) as intake:
        async with await RawModality.connect("127.0.0.1", intake.port) as raw:
            began = time.monotonic()
            with contextlib.suppress(ConnectionError):
                for byte in associate_rq(VERIFICATION):
                    await raw.send(bytes([byte]))
                    await asyncio.sleep(0.05)
                    if time.monotonic() - began > 3:
                        break
            assert (await raw.pdu())[0] in (ABORT, CLOSED)
        await good(intake)


async def test_a_stalled_object_ends_with_the_idle_time(tmp_path: Path) -> None:
    ds = image("2.25.62", "IPP", "ACC")
    async with running(tmp_path, idle_timeout_s=0.5) as intake:
        async with await RawModality.connect("127.0.0.1", intake.port) as raw:
            await raw.associate(contexts_for([ds]))
            await raw.store(ds, pdu_bytes=500, fault=Fault.STALL, at=2)
            assert (await raw.pdu())[0] == ABORT
        assert await intake.images.totals() == (0, 0)


async def test_associations_are_bounded_for_all_and_for_one_caller(tmp_path: Path) -> None:
    async with running(tmp_path, max_associations=4) as intake, contextlib.AsyncExitStack() as stack:
        for ae in ("MODALITE", "MODALITE", "MODALITE", "STORESCU"):
            raw = await stack.enter_async_context(await RawModality.connect("127.0.0.1", intake.port))
            assert (await raw.associate(VERIFICATION, ae=ae))[0] == ACCEPT
            if ae == "MODALITE":
                last = raw
        for ae in ("MODALITE", "ECHOSCU"):
            refused = await stack.enter_async_context(await RawModality.connect("127.0.0.1", intake.port))
            kind, body = await refused.associate(VERIFICATION, ae=ae)
            assert (kind, tuple(body[1:])) == (REJECT, (2, 3, 2))
        await last.send(RELEASE_RQ)
        assert (await last.pdu())[0] == RELEASED
        last.writer.close()
        await asyncio.sleep(0.1)
        await good(intake)


# N-06, live


BAD = [
    b"\x08\x00\x00\x00\x00\x04\x00\x00\x00\x00",
    b"\x01\x00\xff\xff\xff\xff" + bytes(1000),
    b"\x01\x00\x00\x00\x00\x00",
    b"\x04\x00\x00\x10\x00\x00" + bytes(100),
    b"GET / HTTP/1.1\r\nHost: box\r\n\r\n",
    b"\x0bMSH|^~\\&|RIS\r\x1c\r",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    associate_rq([(CT, [EXPLICIT])] * 1000),
    associate_rq(VERIFICATION) + b"\x04\x00\xff\xff\xff\xff",
    associate_rq(VERIFICATION) + b"\x04\x00\x00\x00\x00\x0c\x00\x00\x00\x08\x02\x03" + bytes(6),
    associate_rq(VERIFICATION) + p_data(1, 3, c_echo_rq()) + p_data(1, 2, b"data of no command"),
    associate_rq(VERIFICATION, first_id=2),
]


@pytest.mark.parametrize("number", range(len(BAD)))
async def test_what_breaks_the_protocol_is_aborted_and_the_next_good_one_served(tmp_path: Path, number: int) -> None:
    async with running(tmp_path) as intake:
        async with await RawModality.connect("127.0.0.1", intake.port) as raw:
            await raw.send(BAD[number])
            kinds = []
            while (answer := await raw.pdu())[0] not in (ABORT, CLOSED):
                kinds.append(answer[0])
            assert answer[0] == ABORT
            assert kinds in ([], [ACCEPT], [ACCEPT, 4])
        await good(intake)


@pytest.mark.parametrize("title", [" " * 16, "\0" * 16, "MODALITE\0", "\x1b[31m", "MODALITE\\X"])
async def test_odd_titles_are_strangers(tmp_path: Path, title: str) -> None:
    async with running(tmp_path) as intake, await RawModality.connect("127.0.0.1", intake.port) as raw:
        kind, body = await raw.associate(VERIFICATION, ae=title)
        assert (kind, tuple(body[1:])) == (REJECT, (1, 1, 3))


async def test_version_and_application_context_are_checked(tmp_path: Path) -> None:
    async with running(tmp_path) as intake:
        for request, expected in (
            (associate_rq(VERIFICATION, version=2), (1, 2, 2)),
            (associate_rq(VERIFICATION, application_context="1.2.3"), (1, 1, 2)),
        ):
            async with await RawModality.connect("127.0.0.1", intake.port) as raw:
                await raw.send(request)
                kind, body = await raw.pdu()
                assert (kind, tuple(body[1:])) == (REJECT, expected)


async def test_an_operation_that_we_do_not_know_is_answered_0211(tmp_path: Path) -> None:
    find = c_echo_rq().replace(b"\x02\x00\x00\x00\x30\x00", b"\x02\x00\x00\x00\x20\x00")
    async with running(tmp_path) as intake, await RawModality.connect("127.0.0.1", intake.port) as raw:
        await raw.associate(VERIFICATION)
        await raw.send(p_data(1, 3, find))
        assert await raw.status() == 0x0211
        await raw.send(p_data(1, 3, c_echo_rq()))
        assert await raw.status() == 0


async def test_memory_does_not_follow_what_a_header_claims(tmp_path: Path) -> None:
    ours = psutil.Process()
    async with running(tmp_path) as intake, contextlib.AsyncExitStack() as stack:
        before = ours.memory_info().rss
        ds = image("2.25.63", "IPP", "ACC")
        for _ in range(20):
            raw = await stack.enter_async_context(await RawModality.connect("127.0.0.1", intake.port))
            await raw.associate(contexts_for([ds]))
            await raw.send(store_pdus(ds)[0] + struct.pack(">BxLLBB", 4, 1 << 20, (1 << 20) - 4, 1, 0) + bytes(1000))
        await good(intake)
        assert ours.memory_info().rss - before < 40 << 20


async def test_a_peer_that_does_not_read_is_let_go(tmp_path: Path) -> None:
    async with running(tmp_path) as intake:
        async with await RawModality.connect("127.0.0.1", intake.port) as raw:
            await raw.associate(VERIFICATION)
            raw.reader._transport.pause_reading()  # type: ignore[attr-defined]
            echoes = p_data(1, 3, c_echo_rq()) * 1000
            with contextlib.suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(30):
                    while True:
                        await raw.send(echoes)
            assert raw.writer.is_closing() or raw.writer.transport.get_write_buffer_size() > 0
        await good(intake)


def mangled(seed: int) -> bytes:
    chance = random.Random(seed)
    ds = image("2.25.64", "IPP", "ACC", size=8)
    pdus = [associate_rq(contexts_for([ds])), *store_pdus(ds, pdu_bytes=chance.choice((200, 4000))), RELEASE_RQ]
    chance.shuffle(pdus) if chance.random() < 0.2 else None
    data = bytearray(b"".join(pdus))
    for _ in range(chance.randrange(6)):
        data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data[: chance.randrange(len(data) + 1)]) if chance.random() < 0.3 else bytes(data)


async def test_any_bytes_on_the_port_end_in_our_own_answer(tmp_path: Path) -> None:
    """Aborted, rejected, released or closed, in bounded time; and the next good one is served."""
    async with running(tmp_path, first_pdu_timeout_s=0.3, idle_timeout_s=0.3) as intake:

        async def one(data: bytes) -> None:
            async with asyncio.timeout(10), await RawModality.connect("127.0.0.1", intake.port) as raw:
                with contextlib.suppress(ConnectionError):
                    await raw.send(data)
                while (await raw.pdu())[0] not in (ABORT, REJECT, RELEASED, CLOSED):
                    pass

        for start in range(0, 240, 24):
            noise = [random.Random(seed).randbytes(seed % 300) for seed in range(start, start + 4)]
            await asyncio.gather(*(one(mangled(seed)) for seed in range(start, start + 20)), *map(one, noise))
        await good(intake)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=500), associated=st.booleans())
def test_bytes_that_hypothesis_finds_are_answered_too(tmp_path: Path, data: bytes, associated: bool) -> None:
    async def play() -> None:
        async with running(tmp_path, first_pdu_timeout_s=0.2, idle_timeout_s=0.2) as intake:
            async with asyncio.timeout(10), await RawModality.connect("127.0.0.1", intake.port) as raw:
                with contextlib.suppress(ConnectionError):
                    await raw.send((associate_rq(VERIFICATION) if associated else b"") + data)
                while (await raw.pdu())[0] not in (ABORT, REJECT, RELEASED, CLOSED):
                    pass
            await good(intake)

    asyncio.run(play())


# N-07, N-09 over the wire


def with_data(ds: Dataset, data: bytes) -> bytes:
    return b"".join(store_pdus(ds, data=data))


async def test_data_sets_that_do_not_add_up_are_refused_and_the_association_goes_on(tmp_path: Path) -> None:
    ds = image("2.25.65", "IPP", "ACC")
    good_data = data_set_of(ds)
    element = b"\x10\x00\x10\x00PN"
    cases = [
        good_data[:-7],
        good_data.replace(element, b"\x10\x00\x10\x00ZZ"),
        good_data.replace(element, b"\x10\x00\x10\x00UN"),
        b"",
        b"MZ\x90\x00" + good_data,
        good_data + good_data,
        b"\x02\x00\x10\x00UI\x04\x001.2\x00" + good_data,
        data_set_of(image("2.25.65", "IPP", "ACC", transfer_syntax="1.2.840.10008.1.2")),
    ]
    async with running(tmp_path) as intake, await RawModality.connect("127.0.0.1", intake.port) as raw:
        await raw.associate(contexts_for([ds]))
        for case in cases:
            await raw.send(with_data(ds, case))
            assert await raw.status() in (0xC000, 0xA900)
        await raw.send(with_data(ds, good_data))
        assert await raw.status() == 0
        assert (await intake.images.totals())[0] == 1


# Full disks


async def test_a_hold_rejects_for_now_and_answers_a700_to_what_is_under_way(tmp_path: Path) -> None:
    class Filling(Disk):
        free = 50

        def room(self, folder: Path) -> tuple[int, int]:
            return 100, self.free

    disk = Filling()
    first, second = study("2.25.66", slices=2)
    async with running(tmp_path, disk=disk, thresholds=Thresholds(min_free_bytes=0)) as intake:
        async with await RawModality.connect("127.0.0.1", intake.port) as raw:
            await raw.associate(contexts_for([first]))
            assert await raw.store(first) == 0
            disk.free = 10
            await intake.images.refresh()
            assert await raw.store(second) == 0xA700
            with pytest.raises(Refused) as refused:
                await asyncio.to_thread(Modality("127.0.0.1", intake.port).echo)
            assert refused.value.rejection == (2, 3, 1)
            disk.free = 50
            await intake.images.refresh()
            assert await raw.store(second) == 0
        await good(intake)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="a small volume needs root to be mounted")
async def test_a_volume_that_fills_up_says_a700_and_recovers(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    await asyncio.to_thread(volume.mkdir)
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(volume)]
    if (await asyncio.to_thread(subprocess.run, mount, capture_output=True)).returncode:
        pytest.skip("this machine does not let a test mount a tmpfs")
    try:
        images = study("2.25.67", slices=40, size=600)  # 0.7 MB each
        async with running(volume / "box") as intake, await RawModality.connect("127.0.0.1", intake.port) as raw:
            await raw.associate(contexts_for(images))
            statuses = [await raw.store(ds, pdu_bytes=60_000) for ds in images]
            assert set(statuses) == {0, 0xA700}
            assert statuses[:8] == [0] * 8
            kept = [ds for ds, status in zip(images, statuses, strict=True) if status == 0]
            for ds in kept:
                assert (await intake.images.open(ds.SOPInstanceUID)).endswith(data_set_of(ds))
            await intake.images.delete_study("2.25.67")
            await intake.images.refresh()
            assert await raw.store(images[0], pdu_bytes=60_000) == 0
    finally:
        await asyncio.to_thread(subprocess.run, ["umount", "-l", str(volume)], check=True)


# F-09, F-39


async def started(folder: Path, *, open_files: int | None = None) -> tuple[asyncio.subprocess.Process, int]:
    """The intake as a process of its own, and its port."""
    limit = ["prlimit", f"--nofile={open_files}"] if open_files else []
    process = await asyncio.create_subprocess_exec(
        *(*limit, sys.executable, "-m", "tests.peers.dicom_intake", str(folder)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    while not (line := (await process.stdout.readline()).strip()).isdigit():
        assert process.returncode is None
    return process, int(line)


async def echo(port: int) -> int | None:
    async with await RawModality.connect("127.0.0.1", port) as raw:
        if (await raw.associate(VERIFICATION, ae="ECHOSCU"))[0] != ACCEPT:
            return None
        await raw.send(p_data(1, 3, c_echo_rq()))
        return await raw.status()


@pytest.mark.skipif(not shutil.which("prlimit"), reason="prlimit is not installed")
async def test_when_file_descriptors_run_out_others_are_let_go_and_service_goes_on(tmp_path: Path) -> None:
    process, port = await started(tmp_path / "box", open_files=48)
    try:
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(80):
                await stack.enter_async_context(await RawModality.connect("127.0.0.1", port))
            async with asyncio.timeout(20):
                assert await echo(port) == 0
        assert await echo(port) == 0
        assert process.returncode is None
    finally:
        process.kill()
        await process.wait()


async def test_an_association_is_aborted_when_the_box_stops(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        async with running(tmp_path) as intake:
            raw = await stack.enter_async_context(await RawModality.connect("127.0.0.1", intake.port))
            assert (await raw.associate(VERIFICATION))[0] == ACCEPT
        assert (await raw.pdu())[0] == ABORT


# kill -9


async def test_what_was_acknowledged_is_there_after_kill_9(tmp_path: Path) -> None:
    folder = tmp_path / "box"
    chance = random.Random(9)
    acknowledged: dict[str, Dataset] = {}
    everything = [
        image("2.25.68", "IPP", "ACC", series=series, number=number, size=1200 if number % 9 == 0 else 64)
        for series in range(1, 7)
        for number in range(1, 31)
    ]
    for series in range(1, 7):
        process, port = await started(folder)
        mine = [ds for ds in everything if ds.SeriesNumber == series]
        kill = asyncio.get_running_loop().call_later(chance.uniform(0.05, 0.5), process.send_signal, signal.SIGKILL)
        with contextlib.suppress(ConnectionError):
            async with await RawModality.connect("127.0.0.1", port) as raw:
                await raw.associate(contexts_for(mine))
                for ds in mine:
                    if await raw.store(ds, pdu_bytes=30_000) != 0:
                        break
                    acknowledged[ds.SOPInstanceUID] = ds
        await process.wait()
        kill.cancel()
    assert acknowledged
    images = Images(config.Images(), folder)
    await images.start()
    try:
        for uid, ds in acknowledged.items():
            assert (await images.open(uid)).endswith(data_set_of(ds))
        by_uid = {ds.SOPInstanceUID: ds for ds in everything}
        for stored in await images.objects("2.25.68"):
            assert (await images.read(stored)).endswith(data_set_of(by_uid[stored.sop_uid]))  # none is half there
        assert not await asyncio.to_thread(os.listdir, folder / "spool")
    finally:
        await images.stop()


# TLS, settings


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    key, crt = tmp_path / "key.pem", tmp_path / "crt.pem"
    ask = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=box"
    where = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(crt)]
    subprocess.run([*ask.split(), *where], check=True, capture_output=True)
    return key, crt


async def test_tls_is_spoken_and_clear_text_is_not(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    key, crt = certificate
    tls = config.Tls(certificate=crt, key=key)
    context = await asyncio.to_thread(ssl.create_default_context, cafile=str(crt))
    ds = image("2.25.69", "IPP", "ACC", size=700)
    async with running(tmp_path / "box", tls=tls, first_pdu_timeout_s=1) as intake:
        async with await RawModality.connect("127.0.0.1", intake.port) as clear:
            await clear.send(associate_rq(VERIFICATION))
            assert (await clear.pdu())[0] in (CLOSED, 0x15)
        for _ in range(3):
            async with await RawModality.connect("127.0.0.1", intake.port, tls=context) as raw:
                await raw.associate(contexts_for([ds]))
                assert await raw.store(ds) == 0
        statuses = await asyncio.to_thread(Modality("127.0.0.1", intake.port, tls=context).store, [ds])
        assert statuses == [0]


async def test_a_port_in_use_is_said_by_its_key(tmp_path: Path) -> None:
    async with running(tmp_path / "one") as intake:
        with pytest.raises(ConfigError, match=r"modality\.port"):
            async with running(tmp_path / "two", port=intake.port):
                pass
