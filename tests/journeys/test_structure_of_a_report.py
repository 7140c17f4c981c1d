"""A report whose signatory moves to another structure between two versions (dmp-xds.md §§ 1.2, 1.3)."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.peers.cabinet import Cabinet
from tests.peers.dmp_registry import APPROVED, DELETED
from tests.peers.ris import PAT_TROIS, Ask, Site, invented_document_id, invented_exam

FIRST, SECOND = invented_document_id(7, 1), invented_document_id(7, 2)
MOVED = Site("1750805558", "Centre d'imagerie des Lilas")


@pytest.fixture
async def cabinet(tmp_path: Path, pki_folder: Path) -> AsyncIterator[Cabinet]:
    async with Cabinet(tmp_path / "box", pki_folder, other_sites=(MOVED,)) as cabinet:
        yield cabinet


async def test_the_manifest_of_another_structure_is_not_replaced_and_a_person_is_told_how_to_go_on(
    cabinet: Cabinet,
) -> None:
    exam = invented_exam(7)
    cabinet.examine(PAT_TROIS, exam)
    await cabinet.send(cabinet.cda(PAT_TROIS, exam, document_id=FIRST), PAT_TROIS)
    await cabinet.settled(1)
    moved = cabinet.cda(PAT_TROIS, exam, document_id=SECOND, replaces=FIRST, version=2, site=MOVED)
    await cabinet.send(moved, PAT_TROIS, Ask.REPLACE, by="mdm", site=MOVED)
    found = await cabinet.set_aside()
    assert {reason for _, reason, _ in found.by_reason} == {"structure-changed"}
    store = cabinet.running.store
    assert store is not None
    line = (await store.entries())[0]
    assert "La structure du compte rendu a changé" in line.hint

    # What the hint says: the deletion goes in the name of who published, the report in that of who signs now.
    await cabinet.send(moved, PAT_TROIS, Ask.DELETE, by="mdm", site=MOVED)
    await cabinet.settled(2)
    await cabinet.send(moved, PAT_TROIS, Ask.REPLACE, by="mdm", site=MOVED)
    await cabinet.settled(3)
    stand = {
        one.structure: one.status for one in cabinet.dmp.documents.values() if one.mime_type == "application/dicom"
    }
    assert stand == {"1750803447": DELETED, MOVED.id: APPROVED}


async def test_a_refusal_for_another_reason_keeps_its_own_words(cabinet: Cabinet) -> None:
    exam = invented_exam(7)
    cabinet.examine(PAT_TROIS, exam)
    await cabinet.send(cabinet.cda(PAT_TROIS, exam, document_id=FIRST), PAT_TROIS)
    await cabinet.settled(1)
    (manifest,) = [one for one in cabinet.dmp.documents.values() if one.mime_type == "application/dicom"]
    manifest.structure = "1999999999"  # the registry thinks otherwise than the box
    again = cabinet.cda(PAT_TROIS, exam, document_id=SECOND, replaces=FIRST, version=2)
    await cabinet.send(again, PAT_TROIS, Ask.REPLACE, by="mdm")
    found = await cabinet.set_aside()
    assert {reason for _, reason, _ in found.by_reason} == {"AccessNotAuthorised"}
