"""The published manifests leave one box as an XDM archive and are taken in by another, which goes on with them."""

import asyncio
from pathlib import Path

from passevue.cli.carry import _archived, _published
from passevue.document.patient import Identifier
from passevue.document.xdm import ArchivedKos, Sender, export_xdm, import_xdm
from passevue.queue.states import State
from tests.journeys.test_life_of_a_manifest import FIRST, confidentiality, instances, manifests, published
from tests.peers.cabinet import SITE, Cabinet
from tests.peers.dmp_registry import DEPRECATED
from tests.peers.ris import PAT_TROIS, invented_exam, omi


async def carried(cabinet: Cabinet) -> list[ArchivedKos]:
    """What `passevue xdm export` would write of it."""
    store = cabinet.running.store
    assert store is not None
    return [one async for one in _published(store)]


async def moved(old: Cabinet, folder: Path, archive: list[ArchivedKos]) -> Cabinet:
    """Another box among the same neighbours, with what `passevue xdm import` takes of the archive."""
    await asyncio.to_thread(folder.mkdir)
    (path,) = await asyncio.to_thread(export_xdm, archive, folder, Sender(SITE.id, SITE.name))
    report = await asyncio.to_thread(import_xdm, path, {}, "test")
    await old.stop()
    new = Cabinet(folder / "box", old.pki_folder)
    new.dmp, new.pacs = old.dmp, old.pacs
    await new.start()
    assert new.running.store is not None
    for entry in report.taken:
        assert await new.running.store.archive.add(_archived(entry))
    return new


async def test_images_that_change_later_are_published_under_the_visibility_of_the_first_time(
    cabinet: Cabinet, tmp_path: Path
) -> None:
    exam = invented_exam(7)
    await published(cabinet, exam, flags={"INVISIBLE_PATIENT": "Y"})
    new = await moved(cabinet, tmp_path / "moved", await carried(cabinet))
    try:
        more = new.examine(PAT_TROIS, exam, slices=5)
        async with new.ris() as ris:
            assert (await ris.send(omi(exam, PAT_TROIS))).code == "AA"
        await new.settled(1)
        (manifest,) = manifests(new)
        assert len(manifests(new, DEPRECATED)) == 1
        assert instances(manifest) == {str(ds.SOPInstanceUID) for ds in more}
        assert confidentiality(manifest) == {"N", "INVISIBLE_PATIENT"}
    finally:
        await new.stop()


async def test_what_another_system_wrote_keeps_the_name_of_its_report_and_asks_for_it(
    cabinet: Cabinet, tmp_path: Path
) -> None:
    exam = invented_exam(7)
    await published(cabinet, exam)
    (whole,) = await carried(cabinet)
    root, _, extension = FIRST.partition("^")
    bare = ArchivedKos(**{name: getattr(whole, name) for name in ArchivedKos.__slots__ if name != "record"})
    new = await moved(cabinet, tmp_path / "moved", [bare])
    try:
        (again,) = await carried(new)
        assert again.record == b""
        assert (again.report_id, again.ipp and again.ipp.extension) == (Identifier(root, extension), PAT_TROIS.ipp)
        new.examine(PAT_TROIS, exam, slices=5)
        async with new.ris() as ris:
            await ris.send(omi(exam, PAT_TROIS))
        found = await new.set_aside()
        assert found.by_reason == ((State.SET_ASIDE, "report-unknown", 1),)
    finally:
        await new.stop()
