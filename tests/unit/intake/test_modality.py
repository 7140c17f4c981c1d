"""The DICOM listener against a modality that speaks through pynetdicom."""

import asyncio
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)
from pynetdicom import AllStoragePresentationContexts

from passevue.errors import NoRoom, StoreError
from passevue.intake.received import Kind
from tests.peers.dicom_intake import running
from tests.peers.invented import KO_CLASS, key_object
from tests.peers.modality import (
    Modality,
    RawModality,
    Refused,
    contexts_for,
    file_of,
    image,
    key_image_note,
    manifest,
    rejection_note,
    store_pdus,
    study,
)

CT = "1.2.840.10008.5.1.4.1.1.2"


async def store(port: int, *datasets: object, ae: str = "MODALITE") -> list[int | None]:
    return await asyncio.to_thread(Modality("127.0.0.1", port, ae).store, datasets)


async def test_echo_is_answered(tmp_path: Path) -> None:
    async with running(tmp_path) as intake:
        assert await asyncio.to_thread(Modality("127.0.0.1", intake.port).echo) == 0


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, JPEGLSLossless, RLELossless]
)
async def test_an_object_is_kept_byte_for_byte_in_its_transfer_syntax(tmp_path: Path, syntax: str) -> None:
    ds = image("2.25.77", "IPP-1", "ACC-1", transfer_syntax=syntax)
    async with running(tmp_path) as intake:
        assert await store(intake.port, ds) == [0]
        kept = await intake.images.open(ds.SOPInstanceUID)
    assert kept[:128] == bytes(128)
    (tmp_path / "kept.dcm").write_bytes(kept)
    read = dcmread(tmp_path / "kept.dcm")
    assert read.file_meta.TransferSyntaxUID == syntax
    assert read.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
    assert read.PixelData == ds.PixelData
    assert read == ds


async def test_a_study_is_found_as_a_pacs_would_describe_it(tmp_path: Path) -> None:
    images = study("2.25.78", "IPP-2", "ACC-2", slices=4, series=2, modality="MR")
    async with running(tmp_path) as intake:
        assert await store(intake.port, *images) == [0] * 8
        found = await intake.images.find_study("2.25.78")
        assert await intake.images.find_study("2.25.79") is None
    assert found is not None
    assert (found.PatientID, found.AccessionNumber, found.StudyDescription) == ("IPP-2", "ACC-2", "MR inventé")
    assert found.StudyDate is not None
    assert found.StudyDate.isoformat() == "2026-11-20"
    assert found.StudyTime is not None
    assert [(each.SeriesNumber, each.Modality, len(each.instances)) for each in found.series] == [
        (1, "MR", 4),
        (2, "MR", 4),
    ]
    assert [each.InstanceNumber for each in found.series[0].instances] == [1, 2, 3, 4]
    assert found.series[0].SeriesDescription == "Série 1"


async def test_every_storage_class_of_pynetdicom_is_accepted(tmp_path: Path) -> None:
    proposed = [(str(each.abstract_syntax), [ExplicitVRLittleEndian]) for each in AllStoragePresentationContexts]
    async with running(tmp_path) as intake:
        for start in range(0, len(proposed), 128):
            part = proposed[start : start + 128]
            with_all = Modality("127.0.0.1", intake.port).association(part)
            accepted = await asyncio.to_thread(lambda held=with_all: accepted_of(held))
            assert accepted == {abstract for abstract, _ in part}


def accepted_of(held: object) -> set[str]:
    with held as assoc:  # type: ignore[attr-defined]
        return {str(each.abstract_syntax) for each in assoc.accepted_contexts}


async def test_a_private_class_is_stored_too(tmp_path: Path) -> None:
    ds = image("2.25.80", "IPP", "ACC")
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.752.24.3.7.6"
    async with running(tmp_path) as intake:
        assert await store(intake.port, ds) == [0]


async def test_deflated_and_query_contexts_are_not_accepted(tmp_path: Path) -> None:
    async with running(tmp_path) as intake, await RawModality.connect("127.0.0.1", intake.port) as raw:
        kind, body = await raw.associate(
            [
                (CT, ["1.2.840.10008.1.2.1.99"]),
                ("1.2.840.10008.5.1.4.1.2.2.1", [ImplicitVRLittleEndian]),
                (CT, ["1.2.840.10008.1.2.1.99", ImplicitVRLittleEndian]),
            ]
        )
    assert kind == 2
    results = [
        body[at + 6] for at in range(len(body) - 6) if body[at : at + 2] == b"\x21\x00" and body[at + 4] in (1, 3, 5)
    ]
    assert results == [4, 3, 0]


@pytest.mark.parametrize(
    ("ae", "called", "rejection"),
    [("STRANGER", "PASSEVUE", (1, 1, 3)), ("MODALITE", "SOMEONE", (1, 1, 7)), ("MODALITE", "passevue", (1, 1, 7))],
)
async def test_unknown_titles_are_rejected_for_good(
    tmp_path: Path, ae: str, called: str, rejection: tuple[int, int, int]
) -> None:
    async with running(tmp_path) as intake:
        with pytest.raises(Refused) as refused:
            await asyncio.to_thread(Modality("127.0.0.1", intake.port, ae, called).echo)
    assert refused.value.rejection == rejection


async def test_without_callers_nobody_is_known(tmp_path: Path) -> None:
    async with running(tmp_path, callers={}) as intake:
        with pytest.raises(Refused) as refused:
            await asyncio.to_thread(Modality("127.0.0.1", intake.port).echo)
    assert refused.value.rejection == (1, 1, 3)


async def test_a_known_title_from_another_address_is_rejected(tmp_path: Path) -> None:
    from ipaddress import IPv4Network

    async with running(tmp_path, callers={"MODALITE": (IPv4Network("192.0.2.0/24"),)}) as intake:
        with pytest.raises(Refused) as refused:
            await asyncio.to_thread(Modality("127.0.0.1", intake.port).echo)
    assert refused.value.rejection == (1, 1, 3)


@pytest.mark.parametrize("pdu_bytes", [24, 37, 4096, 65536, 1 << 20])
async def test_any_fragmentation_gives_the_same_object(tmp_path: Path, pdu_bytes: int) -> None:
    ds = image("2.25.81", "IPP", "ACC")
    async with running(tmp_path) as intake, await RawModality.connect("127.0.0.1", intake.port) as raw:
        assert (await raw.associate(contexts_for([ds])))[0] == 2
        assert await raw.store(ds, pdu_bytes=pdu_bytes) == 0
        assert dcmread_bytes(await intake.images.open(ds.SOPInstanceUID)) == ds


def dcmread_bytes(file: bytes) -> object:
    from io import BytesIO

    return dcmread(BytesIO(file))


async def test_several_values_in_one_pdu_are_read(tmp_path: Path) -> None:
    ds = image("2.25.82", "IPP", "ACC")
    pdus = store_pdus(ds, pdu_bytes=512)
    together = b"".join(pdu[6:] for pdu in pdus)
    async with running(tmp_path) as intake, await RawModality.connect("127.0.0.1", intake.port) as raw:
        await raw.associate(contexts_for([ds]))
        await raw.send(b"\x04\x00" + len(together).to_bytes(4, "big") + together)
        assert await raw.status() == 0


async def test_an_object_larger_than_memory_allows_goes_through_a_file(tmp_path: Path) -> None:
    ds = image("2.25.83", "IPP", "ACC", size=1200)  # 2.9 MB
    async with running(tmp_path) as intake:
        assert await store(intake.port, ds) == [0]
        stored = await intake.images.find(ds.SOPInstanceUID)
        assert stored is not None
        assert stored.file
        assert dcmread_bytes(await intake.images.open(ds.SOPInstanceUID)) == ds
        assert not list((tmp_path / "spool").iterdir())


async def test_an_object_longer_than_the_bound_ends_the_association(tmp_path: Path) -> None:
    ds = image("2.25.84", "IPP", "ACC", size=1200)
    async with running(tmp_path, max_object_bytes=2 << 20) as intake:
        assert await store(intake.port, ds) == [None]
        assert not list((tmp_path / "spool").iterdir())
        assert await intake.images.totals() == (0, 0)


async def test_data_set_of_another_instance_is_refused_a900(tmp_path: Path) -> None:
    ds = image("2.25.85", "IPP", "ACC")
    async with running(tmp_path) as intake, await RawModality.connect("127.0.0.1", intake.port) as raw:
        await raw.associate(contexts_for([ds]))
        await raw.send(b"".join(store_pdus(ds, sop_instance="2.25.1")))
        assert await raw.status() == 0xA900
        await raw.send(b"".join(store_pdus(ds, sop_instance="../../etc/cron.d/x")))
        assert await raw.status() == 0x0117
        await raw.send(b"".join(store_pdus(ds, sop_class="1.2.840.10008.5.1.4.1.1.4")))
        assert await raw.status() == 0x0122
        assert await raw.store(ds) == 0  # the next good one


async def test_data_set_of_another_class_is_refused_a900(tmp_path: Path) -> None:
    ds, other = image("2.25.85", "IPP", "ACC"), image("2.25.85", "IPP", "ACC", modality="MR")
    other.SOPInstanceUID = ds.SOPInstanceUID
    async with running(tmp_path) as intake, await RawModality.connect("127.0.0.1", intake.port) as raw:
        await raw.associate(contexts_for([ds]))
        await raw.send(b"".join(store_pdus(other, sop_class=CT)))
        assert await raw.status() == 0xA900


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID"])
async def test_data_set_without_study_or_series_is_refused_c000(tmp_path: Path, keyword: str) -> None:
    ds = image("2.25.86", "IPP", "ACC")
    delattr(ds, keyword)
    async with running(tmp_path) as intake:
        assert await store(intake.port, ds) == [0xC000]
        assert await intake.images.totals() == (0, 0)


async def test_a_full_box_says_so_and_takes_again(tmp_path: Path) -> None:
    ds = image("2.25.87", "IPP", "ACC")
    async with running(tmp_path) as intake:
        intake.refuse_notes = NoRoom("the queue is full")
        note = rejection_note([ds])
        assert await store(intake.port, note) == [0xA700]
        intake.refuse_notes = StoreError("the queue is broken")
        assert await store(intake.port, note) == [0x0110]
        intake.refuse_notes = None
        assert await store(intake.port, note) == [0]
        assert len(intake.notes) == 1


async def test_notes_are_handed_on_before_success(tmp_path: Path) -> None:
    images = study("2.25.88", slices=2)
    rejected, marked = rejection_note(images[:1], title="113037"), key_image_note(images[1:], "à revoir é")
    async with running(tmp_path) as intake:
        assert await store(intake.port, *images, rejected, marked) == [0] * 4
        (first, received), (second, _) = intake.notes
        found = await intake.images.find_study("2.25.88")
    assert (first.title, first.references[0].SOPInstanceUID) == ("113037", images[0].SOPInstanceUID)
    assert (received.kind, received.sender, received.peer) == (Kind.KEY_OBJECT, "MODALITE", "127.0.0.1")
    assert received.control_id == rejected.SOPInstanceUID
    assert dcmread_bytes(received.content).SOPClassUID == KO_CLASS  # type: ignore[attr-defined]
    assert (second.title, second.description) == ("113000", "à revoir é")
    assert found is not None
    assert sorted(each.title for each in found.key_objects) == ["113000", "113037"]
    assert found.instance_count == 4


async def test_a_manifest_sent_back_is_ignored(tmp_path: Path) -> None:
    images = study("2.25.89", slices=2)
    async with running(tmp_path) as intake:
        assert await store(intake.port, manifest(images)) == [0]
        assert not intake.notes
        assert await intake.images.find_study("2.25.89") is None


async def test_a_note_with_another_title_is_kept_and_nobody_is_told(tmp_path: Path) -> None:
    images = study("2.25.90", slices=1)
    async with running(tmp_path) as intake:
        assert await store(intake.port, key_object(images, "113010")) == [0]
        assert not intake.notes
        assert await intake.images.find_study("2.25.90") is not None


async def test_a_note_that_names_nothing_is_refused(tmp_path: Path) -> None:
    note = rejection_note(study("2.25.91", slices=1))
    note.CurrentRequestedProcedureEvidenceSequence = []
    async with running(tmp_path) as intake:
        assert await store(intake.port, note) == [0xC000]
        assert await intake.images.totals() == (0, 0)


async def test_same_object_again_is_folded_and_other_pixels_are_a_conflict(tmp_path: Path) -> None:  # F-17
    first, other = image("2.25.92", "IPP", "ACC"), image("2.25.92", "IPP", "ACC", seed=1)
    async with running(tmp_path) as intake:
        assert await store(intake.port, first, first, other, other, first) == [0] * 5
        versions = await intake.images.versions(first.SOPInstanceUID)
        found = await intake.images.find_study("2.25.92")
        kept = await intake.images.open(first.SOPInstanceUID)
        beside = await intake.images.read(versions[1])
    assert [each.conflict for each in versions] == [False, True]
    assert found is not None
    assert found.instance_count == 1
    assert dcmread_bytes(kept) == first
    assert dcmread_bytes(beside) == other


async def test_the_same_object_from_another_station_is_folded(tmp_path: Path) -> None:
    ds = image("2.25.93", "IPP", "ACC")
    async with running(tmp_path) as intake:
        assert await store(intake.port, ds) == [0]
        assert await store(intake.port, ds, ae="STORESCU") == [0]
        assert len(await intake.images.versions(ds.SOPInstanceUID)) == 1


async def test_four_at_once_are_all_kept(tmp_path: Path) -> None:
    studies = [study(f"2.25.{1000 + which}", slices=20) for which in range(4)]
    async with running(tmp_path) as intake:
        answers = await asyncio.gather(*(store(intake.port, *each) for each in studies))
        assert answers == [[0] * 20] * 4
        assert (await intake.images.totals())[0] == 80


def test_files_of_the_samples_are_themselves() -> None:
    ds = image("2.25.94", "IPP", "ACC")
    assert dcmread_bytes(file_of(ds)) == ds
