"""The study that foreign PACS are given by dcmtk's storescu: three series and a key image note, with accents."""

import asyncio
import shutil
from pathlib import Path

from passevue import config
from passevue.intake.study import Reference, Study
from tests.peers import invented

STUDY = "2.25.314159"
PATIENT, ACCESSION = "IPP-INVENTE-7", "ACC-INVENTE-7"


def write_study(folder: Path) -> Reference:
    """The files of the study in `folder`; where its note is."""
    folder.mkdir(exist_ok=True)
    images = invented.study(STUDY, PATIENT, ACCESSION, slices=4, series=3)
    note = invented.key_image_note(images[:2], "Lésion à revoir")
    note.StudyDescription = images[0].StudyDescription  # one study, one description: PACS give any instance's
    for number, ds in enumerate([*images, note]):
        (folder / f"{number}.dcm").write_bytes(invented.file_of(ds))
    return Reference(STUDY, str(note.SeriesInstanceUID), str(note.SOPClassUID), str(note.SOPInstanceUID))


def missing() -> str:
    """Why dcmtk's storescu cannot be used; empty when it can."""
    return "" if shutil.which("storescu") else "dcmtk is not installed (Debian package dcmtk)"


async def store(folder: Path, ae_title: str, port: int) -> None:
    process = await asyncio.create_subprocess_exec(
        "storescu", "-aec", ae_title, "127.0.0.1", str(port), "+sd", str(folder),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode(errors="replace")


def assert_whole(study: Study | None, note: Reference) -> None:
    """`study` is the one that was stored."""
    assert study is not None
    assert (study.PatientID, study.AccessionNumber, study.StudyID) == (PATIENT, ACCESSION, "1")
    assert study.StudyDescription == "CT inventé"
    assert (str(study.StudyDate), str(study.StudyTime)) == ("2026-11-20", "09:15:00")
    images = [one for one in study.series if one.Modality == "CT"]
    assert sorted((one.SeriesNumber, one.SeriesDescription, len(one.instances)) for one in images) == [
        (number, f"Série {number}", 4) for number in (1, 2, 3)
    ]
    assert {one.SOPClassUID for series in images for one in series.instances} == {invented.CLASSES["CT"]}
    assert {one.InstanceNumber for series in images for one in series.instances} == {1, 2, 3, 4}
    assert study.instance_count == 13
    [key_object] = study.key_objects
    assert (key_object.SOPInstanceUID, key_object.title) == (note.SOPInstanceUID, "113000")
    assert key_object.description == "Lésion à revoir"
    assert len(key_object.references) == 2


class NoImages:
    """The box has taken in nothing yet, save what is put in `files`."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    async def find_study(self, study_uid: str) -> Study | None:
        return None

    async def open(self, sop_uid: str) -> bytes:
        return self.files[sop_uid]


def settings_of(port: int, ae_title: str, **changes: object) -> config.Pacs:
    return config.Pacs.model_validate(
        {"host": "127.0.0.1", "port": port, "ae_title": ae_title, "timeout_s": 20, **changes}
    )
