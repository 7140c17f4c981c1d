"""The PACS over DICOMweb, against a real one, good and bad."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset

from passevue import config
from passevue.errors import CabinetError, ConfigError, NetworkError
from passevue.intake.dicomweb import DicomWebPacs
from passevue.intake.pacs import BoxAsPacs, open_pacs
from passevue.intake.pacs_dicom import DicomPacs
from passevue.intake.study import KeyObject, Study
from tests.peers import invented
from tests.peers.pacs import PacsPeer

STUDY = "2.25.1001"
OTHER = "2.25.1002"


@pytest.fixture
async def peer() -> AsyncIterator[PacsPeer]:
    async with PacsPeer() as peer:
        peer.add(*invented.study(STUDY, slices=3, series=2), *invented.study(OTHER, slices=1))
        yield peer


def settings_of(peer: PacsPeer, **changes: Any) -> config.Pacs:
    return config.Pacs(
        **{
            "host": "127.0.0.1",
            "port": peer.port,
            "ae_title": peer.ae_title,
            "dicomweb_url": peer.url,
            "retrieve": "wado-rs",
            "timeout_s": 5,
            **changes,
        }
    )


async def found(peer: PacsPeer, **changes: Any) -> Study:
    study = await DicomWebPacs(settings_of(peer, **changes)).find_study(STUDY)
    assert study is not None
    return study


def with_note(peer: PacsPeer, *, title: str = "113000") -> Dataset:
    note = invented.key_object(peer.held(STUDY)[:2], title, text="Lésion à revoir")
    peer.add(note)
    return note


class NoImages:
    """The box has taken in nothing."""

    async def find_study(self, study_uid: str) -> Study | None:
        return None

    async def open(self, sop_uid: str) -> bytes:
        raise KeyError(sop_uid)


async def test_qido_and_c_find_give_the_same_study(peer: PacsPeer) -> None:
    with_note(peer)
    by_query = await open_pacs(settings_of(peer, dicomweb_url=None, retrieve="c-get"), NoImages()).find_study(STUDY)
    assert await found(peer) == by_query
    assert "WADO-RS" in peer.asked
    assert "C-GET" in peer.asked


async def test_notes_come_by_c_get_where_that_is_configured(peer: PacsPeer) -> None:
    note = with_note(peer)
    study = await open_pacs(settings_of(peer, retrieve="c-get"), NoImages()).find_study(STUDY)
    assert study is not None
    assert [one.SOPInstanceUID for one in study.key_objects] == [note.SOPInstanceUID]
    assert "C-GET" in peer.asked
    assert "WADO-RS" not in peer.asked


async def test_a_study_that_the_pacs_does_not_have_is_nothing(peer: PacsPeer) -> None:
    assert await DicomWebPacs(settings_of(peer)).find_study("2.25.404") is None


async def test_what_is_no_uid_is_not_asked(peer: PacsPeer) -> None:
    for uid in ("", "*", "1.2/../1.3", "1.2?limit=1"):
        with pytest.raises(CabinetError):
            await DicomWebPacs(settings_of(peer)).find_study(uid)
    assert peer.asked == []


async def test_a_server_that_gives_short_pages_is_asked_until_it_gives_no_more(peer: PacsPeer) -> None:
    whole = await found(peer)
    peer.page_limit = 1
    assert await found(peer) == whole


async def test_strangers_duplicates_and_missing_keys(peer: PacsPeer) -> None:
    good = await found(peer)
    peer.faults.duplicate = peer.faults.shuffle = True
    peer.faults.wrong_study = OTHER
    study = await found(peer)
    assert {one.SeriesInstanceUID for one in study.series} == {one.SeriesInstanceUID for one in good.series}
    assert study.instance_count == good.instance_count
    peer.faults.duplicate = peer.faults.shuffle = False
    peer.faults.wrong_study = ""
    peer.faults.empty = True
    assert (await found(peer)).StudyDescription == ""


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"refuse": True}, NetworkError),
        ({"status": 0xA700}, NetworkError),
        ({"html": True}, CabinetError),
        ({"redirect": "http://127.0.0.1:1/elsewhere"}, CabinetError),
        ({"cut_after": 10}, NetworkError),
        ({"second_patient": "IPP-INVENTE-2"}, CabinetError),
    ],
)
async def test_a_server_that_does_wrong(peer: PacsPeer, fault: dict[str, Any], error: type[Exception]) -> None:
    for name, value in fault.items():
        setattr(peer.faults, name, value)
    with pytest.raises(error):
        await found(peer)


async def test_a_server_that_says_when_to_come_back_is_heard(peer: PacsPeer) -> None:
    peer.faults.refuse = True
    with pytest.raises(NetworkError) as caught:
        await found(peer)
    assert caught.value.retry_after_s == 7


async def test_a_server_that_answers_after_the_deadline_is_not_waited_for(peer: PacsPeer) -> None:
    peer.faults.delay_s = 4
    began = time.monotonic()
    with pytest.raises(NetworkError):
        await found(peer, timeout_s=0.1)
    assert time.monotonic() - began < 3.5


async def test_a_server_that_is_away_and_a_wrong_address_are_asked_again_later(peer: PacsPeer) -> None:
    for url in ("http://127.0.0.1:1/dicom-web", peer.url + "/nowhere"):
        with pytest.raises(NetworkError) as caught:
            await found(peer, dicomweb_url=url)
        assert caught.value.hint


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"endless": True}, CabinetError),
        ({"no_boundary_end": True}, CabinetError),
        ({"other_instance": True}, CabinetError),
        ({"abort_after": 0}, NetworkError),
        ({"gives_nothing": True}, NetworkError),
    ],
)
async def test_a_note_that_comes_wrong(peer: PacsPeer, fault: dict[str, Any], error: type[Exception]) -> None:
    with_note(peer)
    with_note(peer, title="113003")
    for name, value in fault.items():
        setattr(peer.faults, name, value)
    with pytest.raises(error):
        await found(peer)


async def test_notes_are_put_where_they_belong(peer: PacsPeer) -> None:
    note = with_note(peer)
    with_note(peer, title="113001")
    with_note(peer, title="113030")
    study = await found(peer)
    assert study.instance_count == 7
    assert {one.title for one in study.key_objects} == {"113000", "113001"}
    assert note.SOPInstanceUID in [one.SOPInstanceUID for series in study.series for one in series.instances]


# Answers that no peer of ours gives


@contextlib.asynccontextmanager
async def answering(**response: Any) -> AsyncIterator[config.Pacs]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(**response)

    app = web.Application()
    app.router.add_get("/{any:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        yield config.Pacs(host="127.0.0.1", ae_title="PACS", dicomweb_url=url, retrieve="wado-rs", timeout_s=2)  # type: ignore[arg-type]
    finally:
        await runner.cleanup()


async def test_a_compressed_answer_is_not_opened() -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/dicom+json"}
    async with answering(body=b"\x1f\x8b" + bytes(100), headers=headers) as pacs:
        with pytest.raises(CabinetError, match="compress"):
            await DicomWebPacs(pacs).find_study(STUDY)


async def test_an_answer_past_the_bound_is_cut() -> None:
    async with answering(body=b"[" + b" " * (65 << 20), content_type="application/dicom+json") as pacs:
        with pytest.raises(CabinetError, match="more than"):
            await DicomWebPacs(pacs).find_study(STUDY)


@pytest.mark.parametrize(
    ("status", "error"), [(400, CabinetError), (401, NetworkError), (404, NetworkError), (429, NetworkError)]
)
async def test_the_status_says_whether_to_ask_again(status: int, error: type[Exception]) -> None:
    async with answering(status=status) as pacs:
        with pytest.raises(error):
            await DicomWebPacs(pacs).find_study(STUDY)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=100))
async def test_any_body_is_taken_or_refused(data: bytes) -> None:
    async with answering(body=data, content_type="application/dicom+json") as pacs:
        with contextlib.suppress(CabinetError, NetworkError):
            assert await DicomWebPacs(pacs).find_study(STUDY) is None


# Which PACS


async def test_the_settings_choose_the_pacs(peer: PacsPeer) -> None:
    assert isinstance(open_pacs(None, NoImages()), BoxAsPacs)
    assert isinstance(open_pacs(settings_of(peer), NoImages()), DicomWebPacs)
    assert isinstance(open_pacs(settings_of(peer, dicomweb_url=None, retrieve="c-move"), NoImages()), DicomPacs)
    with pytest.raises(ConfigError, match="dicomweb_url"):
        open_pacs(settings_of(peer, dicomweb_url=None), NoImages())


async def test_the_box_is_a_pacs_of_which_rejection_notes_and_manifests_are_no_images() -> None:
    class OwnImages(NoImages):
        async def find_study(self, study_uid: str) -> Study | None:
            return await asyncio.to_thread(_own_study, study_uid)

    study = await open_pacs(None, OwnImages()).find_study(STUDY)
    assert study is not None
    assert [one.SOPInstanceUID for series in study.series for one in series.instances] == ["1.1", "1.2"]
    assert [one.title for one in study.key_objects] == ["113000", "113001"]


def _own_study(study_uid: str) -> Study:
    from passevue.intake.study import Instance, Series

    notes = {"1.2": "113000", "1.3": "113001", "1.4": "113030"}
    instances = [Instance("1.1", invented.CLASSES["CT"]), *[Instance(uid, invented.KO_CLASS) for uid in notes]]
    return Study(
        study_uid,
        series=(Series("1.9", instances=tuple(instances)),),
        key_objects=tuple(KeyObject(study_uid, "1.9", uid, title) for uid, title in notes.items()),
    )
