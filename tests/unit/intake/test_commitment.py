"""Storage commitment: asked, kept, told on the same association or another one, and never forgotten (PS3.4 Annex J)."""

import asyncio
import errno
import os
import struct
import time
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from passevue.errors import Unreadable
from passevue.intake.commitment import Commitment, Pending, read_request, result_of, write_result
from tests.peers.dicom_intake import Intake, running
from tests.peers.invented import reference
from tests.peers.modality import (
    COMMITMENT_INSTANCE,
    Modality,
    RawModality,
    command_set,
    file_of,
    image,
    p_data,
    padded,
    study,
    uid_of,
)

PUSH_MODEL = "1.2.840.10008.1.20.1"
IMPLICIT = "1.2.840.10008.1.2"


def modality(intake: Intake, ae: str = "MODALITE") -> Modality:
    return Modality("127.0.0.1", intake.port, ae)


async def test_what_is_stored_is_committed_on_the_same_association(tmp_path: Path) -> None:
    images = study("2.25.100", slices=3)
    async with running(tmp_path) as intake:
        peer = modality(intake)
        assert await asyncio.to_thread(peer.store, images) == [0, 0, 0]
        status, result = await asyncio.to_thread(peer.commit, images)
        assert status == 0
        assert result is not None
        assert (result.event_type, result.failed) == (1, {})
        assert sorted(result.stored) == sorted(ds.SOPInstanceUID for ds in images)
        assert result.same_association
        await settled(tmp_path)


async def settled(folder: Path) -> None:
    """Nothing is left to tell."""
    for _ in range(100):
        names = await asyncio.to_thread(os.listdir, folder / "commitments")
        if not names:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"still to be told: {names}")


async def test_what_is_missing_or_of_another_class_is_said(tmp_path: Path) -> None:
    there, missing, other = study("2.25.101", slices=3)
    async with running(tmp_path) as intake:
        peer = modality(intake)
        await asyncio.to_thread(peer.store, [there, other])
        other.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
        _, result = await asyncio.to_thread(peer.commit, [there, missing, other])
    assert result is not None
    assert result.event_type == 2
    assert result.stored == [there.SOPInstanceUID]
    assert result.failed == {missing.SOPInstanceUID: 0x0112, other.SOPInstanceUID: 0x0119}


async def test_a_requestor_that_has_left_is_called_back(tmp_path: Path) -> None:
    images = study("2.25.102", slices=2)
    peer = Modality("127.0.0.1", 0)
    with peer.listening() as port:
        async with running(tmp_path, commitment_peers={"MODALITE": f"127.0.0.1:{port}"}) as intake:
            peer.port = intake.port
            await asyncio.to_thread(peer.store, images)
            transaction = uid_of("left")
            # the event may still reach the association that is being released; pynetdicom then does not answer it
            async with await RawModality.connect("127.0.0.1", intake.port) as raw:
                assert (await raw.associate([(PUSH_MODEL, [IMPLICIT])]))[0] == 2
                await raw.send(n_action(images, transaction))
                assert await raw.status() == 0
            result = await asyncio.to_thread(peer.report, transaction, 15)
            assert result is not None
            assert result.event_type == 1
            assert not result.same_association
            await settled(tmp_path)


def n_action(
    images: list[Dataset], transaction: str, *, data: bytes | None = None, action: int = 1, instance: str = ""
) -> bytes:
    command = command_set(
        {
            0x0003: padded(PUSH_MODEL),
            0x0100: b"\x30\x01",
            0x0110: b"\x01\x00",
            0x0800: b"\x01\x00",
            0x1001: padded(instance or COMMITMENT_INSTANCE),
            0x1008: struct.pack("<H", action),
        }
    )
    return p_data(1, 3, command) + p_data(1, 2, request_of(images, transaction) if data is None else data)


def request_of(images: list[Dataset], transaction: str, syntax: str = IMPLICIT) -> bytes:
    ds = image("2.25.1", "x", "x")
    request = Dataset()
    request.TransactionUID = transaction
    request.ReferencedSOPSequence = [reference(each) for each in images]
    request.file_meta = ds.file_meta
    request.file_meta.TransferSyntaxUID = syntax
    file = file_of(request)
    return file[144 + int.from_bytes(file[140:144], "little") :]


async def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    images = study("2.25.103", slices=2)
    transaction = uid_of("restart")
    async with running(tmp_path) as intake:
        await asyncio.to_thread(modality(intake).store, images)
        async with await RawModality.connect("127.0.0.1", intake.port) as raw:
            await raw.associate([(PUSH_MODEL, [IMPLICIT])])
            await raw.send(n_action(images, transaction))
            assert await raw.status() == 0
        await asyncio.sleep(0.2)
        assert len(await asyncio.to_thread(os.listdir, tmp_path / "commitments")) == 1  # nowhere to tell it
    peer = Modality("127.0.0.1", 0)
    with peer.listening() as port:
        async with running(tmp_path, commitment_peers={"MODALITE": f"127.0.0.1:{port}"}):
            result = await asyncio.to_thread(peer.report, transaction, 15)
            assert result is not None
            assert sorted(result.stored) == sorted(ds.SOPInstanceUID for ds in images)
            await settled(tmp_path)


async def test_a_peer_that_is_away_is_tried_again(tmp_path: Path) -> None:
    images = study("2.25.104", slices=1)
    transaction = uid_of("away")
    peer = Modality("127.0.0.1", 0)
    with peer.listening() as port:
        pass  # a port that nobody listens on any more
    async with running(tmp_path, commitment_peers={"MODALITE": f"127.0.0.1:{port}"}) as intake:
        await asyncio.to_thread(modality(intake).store, images)
        async with await RawModality.connect("127.0.0.1", intake.port) as raw:
            await raw.associate([(PUSH_MODEL, [IMPLICIT])])
            await raw.send(n_action(images, transaction))
            assert await raw.status() == 0
        await asyncio.sleep(3)
        with peer.listening(port):
            assert await asyncio.to_thread(peer.report, transaction, 20) is not None
            await settled(tmp_path)


async def test_without_an_address_the_result_waits_for_the_next_request(tmp_path: Path) -> None:
    images = study("2.25.105", slices=1)
    async with running(tmp_path) as intake:
        peer = modality(intake)
        await asyncio.to_thread(peer.store, images)
        async with await RawModality.connect("127.0.0.1", intake.port) as raw:
            await raw.associate([(PUSH_MODEL, [IMPLICIT])])
            await raw.send(n_action(images, uid_of("first")))
            assert await raw.status() == 0
        await asyncio.sleep(0.2)
        await asyncio.to_thread(peer.commit, images)
        assert await asyncio.to_thread(peer.report, uid_of("first"), 5) is not None


async def test_bad_requests_are_answered_and_not_kept(tmp_path: Path) -> None:
    images = study("2.25.106", slices=1)
    async with running(tmp_path) as intake, await RawModality.connect("127.0.0.1", intake.port) as raw:
        await raw.associate([(PUSH_MODEL, [IMPLICIT])])
        for request, expected in (
            (n_action(images, "2.25.1", action=2), 0x0123),
            (n_action(images, "2.25.1", instance="1.2.3"), 0x0112),
            (n_action(images, "", data=request_of(images, "2.25.999").replace(b"2.25.999", b"../a uid")), 0x0115),
            (n_action([], "2.25.1"), 0x0115),
            (n_action(images, "2.25.1", data=b"garbage"), 0x0115),
            (n_action(images, "2.25.1", data=b""), 0x0115),
            (n_action(images, "2.25.1", data=bytes(5 << 20)[:60_000]), 0x0115),
        ):
            await raw.send(request)
            assert await raw.status() == expected
        assert not (tmp_path / "commitments").exists() or not await asyncio.to_thread(
            os.listdir, tmp_path / "commitments"
        )


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_requests_and_results_in_every_native_coding(syntax: str) -> None:
    images = study("2.25.107", slices=3)
    now = datetime(2026, 11, 21, tzinfo=UTC)
    commitment = read_request(request_of(images, "2.25.5", syntax), syntax, "MODALITE", now)
    assert [uid for _, uid in commitment.references] == [ds.SOPInstanceUID for ds in images]
    result = result_of(commitment, {images[0].SOPInstanceUID: images[0].SOPClassUID})
    data = write_result(commitment, result, syntax, "PASSEVUE")
    ds = image("2.25.1", "x", "x", transfer_syntax=syntax)
    file = file_of(ds)
    read = dcmread(BytesIO(file[: 144 + int.from_bytes(file[140:144], "little")] + data))
    assert read.TransactionUID == "2.25.5"
    assert read.RetrieveAETitle == "PASSEVUE"
    assert [each.ReferencedSOPInstanceUID for each in read.ReferencedSOPSequence] == [images[0].SOPInstanceUID]
    assert [each.FailureReason for each in read.FailedSOPSequence] == [0x0112, 0x0112]


def test_a_pending_file_that_is_damaged_is_set_aside(tmp_path: Path) -> None:
    pending = Pending(tmp_path)
    good = Commitment("2.25.1", "MODALITE", (("1.2", "2.25.3"),), 1.0)
    pending.put(good)
    (tmp_path / "bad.json").write_bytes(b'{"transaction_uid": 1')
    assert pending.names() == [("MODALITE", "2.25.1")]
    assert pending.get(good.name) == good
    assert (tmp_path / "bad.damaged").exists()
    pending.settle(good.name)
    pending.settle(good.name)
    assert pending.names() == []
    assert pending.get(good.name) is None


async def test_a_disk_that_lets_nothing_go_leaves_the_server_listening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once a volume is read-only, what was told stays on it and so does what cannot be read."""
    images = study("2.25.107", slices=1)
    transaction = uid_of("read only")
    asked = Commitment(transaction, "MODALITE", ((images[0].SOPClassUID, images[0].SOPInstanceUID),), time.time())
    await asyncio.to_thread(Pending(tmp_path / "commitments").put, asked)
    await asyncio.to_thread((tmp_path / "commitments" / "bad.json").write_bytes, b"{")

    def read_only(path: Path, *args: object, **more: object) -> None:
        raise OSError(errno.EROFS, "read-only", str(path))

    monkeypatch.setattr(Path, "unlink", read_only)
    monkeypatch.setattr(Path, "rename", read_only)
    peer = Modality("127.0.0.1", 0)
    with peer.listening() as port:
        async with running(tmp_path, commitment_peers={"MODALITE": f"127.0.0.1:{port}"}) as intake:
            peer.port = intake.port
            assert await asyncio.to_thread(peer.report, transaction, 15)
            await asyncio.sleep(0.2)
            assert await asyncio.to_thread(peer.store, images) == [0]


def test_too_many_references_are_refused() -> None:
    item = b"\xfe\xff\x00\xe0\x00\x00\x00\x00"
    sequence = b"\x08\x00\x99\x11" + (len(item) * 300_000).to_bytes(4, "little") + item * 300_000
    with pytest.raises(Unreadable):
        read_request(sequence, IMPLICIT, "MODALITE", datetime(2026, 11, 21, tzinfo=UTC))
