"""A radiologist validates a report; the national record points at the images."""

import hashlib

import pytest

from passevue.document.report import read_report
from passevue.intake.key_object import read_key_object
from tests.peers.cabinet import Cabinet
from tests.peers.ris import PAT_TROIS, invented_exam


@pytest.mark.parametrize("by", ["oru", "mdm"])
async def test_report_goes_out_with_a_manifest_of_all_its_images(cabinet: Cabinet, by: str) -> None:
    exam = invented_exam(1)
    images = cabinet.examine(PAT_TROIS, exam, slices=3)
    cda = cabinet.cda(PAT_TROIS, exam)
    ack = await cabinet.send(cda, PAT_TROIS, by=by)
    assert ack.code == "AA"
    await cabinet.settled(1)
    (document,) = (one for one in cabinet.dmp.documents.values() if one.mime_type == "application/dicom")
    manifest = read_key_object(document.content)
    assert manifest.StudyInstanceUID == exam.study_uid
    assert {one.SOPInstanceUID for one in manifest.references} == {str(ds.SOPInstanceUID) for ds in images}
    assert [one.sha256 for one in cabinet.dmp.committed] == [hashlib.sha256(document.content).hexdigest()]
    assert document.patient == read_report(cda).patient.ins.cx
