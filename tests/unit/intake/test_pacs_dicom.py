"""The PACS over DIMSE, against a real one, good and bad."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from pydicom import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from passevue import config
from passevue.errors import CabinetError, NetworkError
from passevue.intake.pacs_dicom import DicomPacs
from passevue.intake.pacs_tls import pacs_context
from passevue.intake.study import Study
from tests.peers import invented
from tests.peers.pacs import PacsPeer, part_10
from tests.peers.pki import Pki
from tests.peers.ports import free_port

STUDY = "2.25.1001"
OTHER = "2.25.1002"


@pytest.fixture
async def peer() -> AsyncIterator[PacsPeer]:
    async with PacsPeer() as peer:
        peer.add(*invented.study(STUDY, slices=3, series=2), *invented.study(OTHER, slices=1))
        yield peer


class Arrivals:
    """What has come to the box's own acceptor."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    async def arrived(self, sop_uid: str) -> bytes | None:
        return self.files.get(sop_uid)


def pacs_of(peer: PacsPeer, arrivals: Arrivals | None = None, **settings: Any) -> DicomPacs:
    settings = {"ae_title": peer.ae_title, "timeout_s": 5, **settings}
    return DicomPacs(config.Pacs(host="127.0.0.1", port=peer.port, **settings), (arrivals or Arrivals()).arrived)


async def found(peer: PacsPeer, **settings: Any) -> Study:
    study = await pacs_of(peer, **settings).find_study(STUDY)
    assert study is not None
    return study


def sops(study: Study) -> set[str]:
    return {instance.SOPInstanceUID for series in study.series for instance in series.instances}


async def test_a_study_is_found_whole(peer: PacsPeer) -> None:
    study = await found(peer)
    assert (study.PatientID, study.AccessionNumber) == ("IPP-INVENTE-1", "ACC-INVENTE-1")
    assert study.StudyDescription == "CT inventé"
    assert study.ReferringPhysicianName == "INVENTE^MEDECIN"
    assert (str(study.StudyDate), str(study.StudyTime), study.StudyID) == ("2026-11-20", "09:15:00", "1")
    assert [(one.Modality, one.SeriesNumber, one.SeriesDescription) for one in study.series] == [
        ("CT", 1, "Série 1"),
        ("CT", 2, "Série 2"),
    ]
    assert [[one.InstanceNumber for one in series.instances] for series in study.series] == [[1, 2, 3]] * 2
    assert {one.SOPClassUID for series in study.series for one in series.instances} == {invented.CLASSES["CT"]}
    assert peer.asked == ["C-FIND STUDY", "C-FIND SERIES", "C-FIND IMAGE", "C-FIND IMAGE"]


async def test_a_study_that_the_pacs_does_not_have_is_nothing(peer: PacsPeer) -> None:
    assert await pacs_of(peer).find_study("2.25.404") is None


async def test_what_is_no_uid_is_not_asked(peer: PacsPeer) -> None:
    for uid in ("", "*", "1.2\\1.3", "1.2?"):
        with pytest.raises(CabinetError):
            await pacs_of(peer).find_study(uid)
    assert peer.asked == []


async def test_a_relational_pacs_gives_the_same(peer: PacsPeer) -> None:
    strict = await found(peer)
    peer.relational = True
    assert await found(peer) == strict


@pytest.mark.parametrize("charset", ["ISO_IR 100", "ISO_IR 192", "\\ISO 2022 IR 100"])
async def test_accents_in_the_charset_of_the_pacs(peer: PacsPeer, charset: str) -> None:
    peer.charset = charset
    assert (await found(peer)).StudyDescription == "CT inventé"


async def test_answers_in_any_order_twice_and_of_others_make_the_same_study(peer: PacsPeer) -> None:
    good = await found(peer)
    peer.faults.shuffle = peer.faults.duplicate = True
    peer.faults.wrong_study = OTHER
    study = await found(peer)
    assert sops(study) == sops(good)
    assert {one.SeriesInstanceUID for one in study.series} == {one.SeriesInstanceUID for one in good.series}


async def test_optional_keys_may_be_missing(peer: PacsPeer) -> None:
    peer.faults.empty = True
    study = await found(peer)
    assert (study.StudyDate, study.StudyDescription, study.series[0].Modality) == (None, "", "")
    assert study.instance_count == 6


@pytest.mark.parametrize("status", [0xA700, 0xC001, 0xFE00])
async def test_a_pacs_that_cannot_answer_now_is_asked_again_later(peer: PacsPeer, status: int) -> None:
    peer.faults.status = status
    with pytest.raises(NetworkError):
        await found(peer)


async def test_a_pacs_that_does_not_understand_is_for_a_person(peer: PacsPeer) -> None:
    peer.faults.status = 0xA900
    with pytest.raises(CabinetError):
        await found(peer)


async def test_a_pacs_that_is_away_says_so(peer: PacsPeer) -> None:
    gone = config.Pacs(host="127.0.0.1", port=free_port(), ae_title="PACS", timeout_s=5)
    with pytest.raises(NetworkError) as caught:
        await DicomPacs(gone, Arrivals().arrived).find_study(STUDY)
    assert caught.value.hint


async def test_a_pacs_that_refuses_says_why(peer: PacsPeer) -> None:
    peer.faults.refuse = True
    with pytest.raises(NetworkError, match="local limit exceeded"):
        await found(peer)


async def test_a_pacs_that_dies_at_any_answer_is_asked_again_later(peer: PacsPeer) -> None:
    for after in range(3):
        peer.faults.abort_after, peer.faults.cut_after = after, None
        with pytest.raises(NetworkError):
            await found(peer)
        peer.faults.abort_after, peer.faults.cut_after = None, after
        with pytest.raises(NetworkError):
            await found(peer)
        peer.faults.abort_after = peer.faults.cut_after = None
    assert (await found(peer)).instance_count == 6


async def test_a_pacs_that_answers_after_the_deadline_is_not_waited_for(peer: PacsPeer) -> None:
    peer.faults.delay_s = 4
    began = time.monotonic()
    with pytest.raises(NetworkError, match=r"within 0\.2 s"):
        await found(peer, timeout_s=0.2)
    assert time.monotonic() - began < 3.5
    peer.faults.delay_s = 0
    assert (await found(peer)).instance_count == 6


async def test_a_pacs_that_drips_is_bounded_by_the_whole_deadline(peer: PacsPeer) -> None:
    """No answer is late, and there is no end of them."""
    peer.faults.delay_s, peer.faults.repeat = 0.05, 400
    settings = config.Pacs(host="127.0.0.1", port=peer.port, ae_title=peer.ae_title, timeout_s=10)
    with pytest.raises(NetworkError, match="within 3 s"):
        await DicomPacs(settings, Arrivals().arrived, whole_s=3).find_study(STUDY)


async def test_two_patients_for_one_study_are_for_a_person(peer: PacsPeer) -> None:
    peer.faults.second_patient = "IPP-INVENTE-2"
    with pytest.raises(CabinetError, match="PatientID"):
        await found(peer)


async def test_cancelling_gives_the_association_back(peer: PacsPeer) -> None:
    peer.faults.delay_s = 0.2
    pacs = pacs_of(peer, max_associations=1)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await pacs.find_study(STUDY)
    peer.faults.delay_s = 0
    assert await pacs.find_study(STUDY) is not None


async def test_no_more_associations_than_allowed_at_once(peer: PacsPeer) -> None:
    pacs = pacs_of(peer, max_associations=2)
    studies = await asyncio.gather(*[pacs.find_study(STUDY) for _ in range(8)])
    assert all(study == studies[0] for study in studies)
    assert peer.most_queries <= 2


# Notes


def with_note(peer: PacsPeer, *, title: str = "113000", text: str = "Lésion à revoir") -> Dataset:
    note = invented.key_object(peer.held(STUDY)[:2], title, text=text)
    peer.add(note)
    return note


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"])
async def test_a_key_image_note_is_fetched_by_c_get(peer: PacsPeer, syntax: str) -> None:
    note = with_note(peer)
    note.file_meta.TransferSyntaxUID = syntax
    study = await found(peer)
    assert note.SOPInstanceUID in sops(study)
    [key_object] = study.key_objects
    assert (key_object.title, key_object.description) == ("113000", "Lésion à revoir")
    assert [one.SOPInstanceUID for one in key_object.references] == [ds.SOPInstanceUID for ds in peer.held(STUDY)[:2]]
    assert peer.asked[-1] == "C-GET"


async def test_a_key_image_note_is_fetched_by_c_move(peer: PacsPeer) -> None:
    note = with_note(peer)
    arrivals = Arrivals()
    async with PacsPeer("BOX") as acceptor:
        acceptor.on_store = lambda ds: arrivals.files.update({str(ds.SOPInstanceUID): part_10(ds)})
        peer.destinations["BOX"] = ("127.0.0.1", acceptor.port)
        pacs = pacs_of(peer, arrivals, retrieve="c-move", our_ae_title="BOX")
        study = await pacs.find_study(STUDY)
        assert study is not None
        assert [one.SOPInstanceUID for one in study.key_objects] == [note.SOPInstanceUID]
        assert await pacs.find_study(STUDY) == study
    assert peer.asked.count("C-MOVE") == 1, "what has come already is not moved again"


async def test_a_c_move_to_a_destination_that_the_pacs_does_not_know_says_so(peer: PacsPeer) -> None:
    with_note(peer)
    with pytest.raises(NetworkError, match="destination"):
        await found(peer, retrieve="c-move")


async def test_a_note_that_is_moved_elsewhere_is_missed(peer: PacsPeer) -> None:
    with_note(peer)
    async with PacsPeer("BOX") as elsewhere:
        peer.destinations["PASSEVUE"] = ("127.0.0.1", elsewhere.port)
        with pytest.raises(NetworkError, match="did not come"):
            await found(peer, retrieve="c-move")


@pytest.mark.parametrize("title", ["113001", "113037", "113038", "113039"])
async def test_a_rejection_note_is_no_instance_and_is_told(peer: PacsPeer, title: str) -> None:
    note = with_note(peer, title=title)
    study = await found(peer)
    assert note.SOPInstanceUID not in sops(study)
    assert study.instance_count == 6
    assert [one.title for one in study.key_objects] == [title]


async def test_a_manifest_is_neither_an_instance_nor_told(peer: PacsPeer) -> None:
    with_note(peer, title="113030")
    study = await found(peer)
    assert (study.instance_count, study.key_objects) == (6, ())


async def test_a_study_of_which_only_a_rejection_note_is_left_has_no_series(peer: PacsPeer) -> None:
    peer.reject(invented.rejection_note(peer.held(STUDY)))
    study = await found(peer)
    assert study.series == ()
    assert len(study.key_objects[0].references) == 6


async def test_a_note_that_cannot_be_read_stays_an_instance(peer: PacsPeer) -> None:
    note = with_note(peer)
    del note.ConceptNameCodeSequence
    del note.CurrentRequestedProcedureEvidenceSequence
    with structlog.testing.capture_logs() as logs:
        study = await found(peer)
    assert note.SOPInstanceUID in sops(study)
    assert study.key_objects == ()
    assert [line["event"] for line in logs] == ["note_unreadable"]


async def test_a_note_that_the_pacs_does_not_give_is_asked_again_later(peer: PacsPeer) -> None:
    note = with_note(peer)
    peer.faults.gives_nothing = True
    with pytest.raises(NetworkError):
        await found(peer)
    peer.faults.gives_nothing = False
    assert note.SOPInstanceUID in sops(await found(peer))


async def test_another_object_than_the_note_is_for_a_person(peer: PacsPeer) -> None:
    with_note(peer)
    with_note(peer, title="113003")
    peer.faults.other_instance = True
    with pytest.raises(CabinetError):
        await found(peer)


async def test_a_note_that_claims_another_study_is_for_a_person(peer: PacsPeer) -> None:
    note = with_note(peer)
    stranger = invented.key_object(peer.held(OTHER), "113000")
    stranger.SOPInstanceUID = note.SOPInstanceUID
    stranger.file_meta = invented.meta(invented.KO_CLASS, note.SOPInstanceUID, ImplicitVRLittleEndian)
    peer.faults.instead = stranger
    with pytest.raises(CabinetError, match="another study"):
        await found(peer)


# TLS


@pytest.fixture
async def tls_peer(pki: Pki) -> AsyncIterator[PacsPeer]:
    server = pki.server("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.certificate, server.key)
    context.load_verify_locations(pki.authority)
    context.verify_mode = ssl.CERT_REQUIRED
    async with PacsPeer(ssl_context=context) as peer:
        peer.add(*invented.study(STUDY))
        yield peer


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


async def tls_pacs(peer: PacsPeer, pki: Pki, authority: Path) -> DicomPacs:
    ours = pki.server("127.0.0.1")
    settings = config.Pacs(
        host="127.0.0.1",
        port=peer.port,
        ae_title="PACS",
        timeout_s=5,
        tls=config.Tls(certificate=ours.certificate, key=ours.key),
        authority=authority,
    )
    context = await asyncio.to_thread(pacs_context, settings)
    return DicomPacs(settings, Arrivals().arrived, context)


async def test_over_tls_with_both_certificates(tls_peer: PacsPeer, pki: Pki) -> None:
    study = await (await tls_pacs(tls_peer, pki, pki.authority)).find_study(STUDY)
    assert study is not None
    assert study.instance_count == 3


async def test_a_pacs_of_another_authority_is_not_spoken_to(tls_peer: PacsPeer, pki: Pki, tmp_path: Path) -> None:
    other = await asyncio.to_thread(Pki, tmp_path)
    with pytest.raises(NetworkError):
        await (await tls_pacs(tls_peer, pki, other.authority)).find_study(STUDY)
    assert tls_peer.asked == []


async def test_nothing_that_is_asked_or_answered_is_logged(peer: PacsPeer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    await found(peer)
    assert STUDY not in caplog.text
    assert "IPP-INVENTE" not in caplog.text
