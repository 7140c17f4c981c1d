"""Our KOS in the hands of two DICOM toolkits that we did not write: dcmtk's dsrdump and dicom3tools' dciodvfy."""

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from passevue.intake.study import Instance
from tests.unit.document.given import KO, note, report, series, study
from tests.unit.document.test_kos import built, with_patient

pytestmark = [
    pytest.mark.skipif(shutil.which(tool) is None, reason=f"{package} is not installed: no {tool}")
    for tool, package in (("dsrdump", "dcmtk"), ("dciodvfy", "dicom3tools"))
]


def noted() -> bytes:
    notes = replace(series(9, 1, KO, "KO"), instances=(Instance("1.2.3.9.1", KO, 1),))
    key_image = note("113000", "1.2.3.1.2", title_meaning="Of Interest", description="Nodule à revoir")
    return built(study(series(1), notes, key_objects=(key_image,)))


def mixed() -> bytes:
    classes = {
        "ECG": "1.2.840.10008.5.1.4.1.1.9.1.1",
        "SR": "1.2.840.10008.5.1.4.1.1.88.33",
        "PR": "1.2.840.10008.5.1.4.1.1.11.1",
        "SEG": "1.2.840.10008.5.1.4.1.1.66.4",
    }
    others = (series(number, 2, uid, modality) for number, (modality, uid) in enumerate(classes.items(), 5))
    return built(study(series(1), *others))


KINDS: dict[str, Callable[[], bytes]] = {
    "images": built,
    "key image notes": noted,
    "waveforms, reports, states": mixed,
    "no order": lambda: built(exam=replace(report().exams[0], order=None)),
    "partial birth date, no used name": lambda: built(
        told=with_patient(birth_date="1979", used_family="", used_given="", sex="U")
    ),
    "UTF-8": lambda: built(told=with_patient(birth_family="ŁUKASZ")),
    "three thousand instances": lambda: built(study(*(series(number, 300) for number in range(1, 11)))),
}


@pytest.fixture(params=list(KINDS))
def kos(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "kos.dcm"
    path.write_bytes(KINDS[request.param]())
    return path


def told(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, timeout=60, check=True)
    return (done.stdout + done.stderr).decode("utf-8", "replace")


def test_dicom3tools_finds_no_error(kos: Path) -> None:
    """What it warns of is a Standard Extended object, on purpose (kos.md § 6)."""
    lines = told("dciodvfy", kos).splitlines()
    assert [line for line in lines if line.startswith("Error")] == []
    assert "KeyObjectSelectionDocument" in lines
    warnings = {line for line in lines if line.startswith("Warning")}
    extended = re.compile(
        r"Warning - (Attribute is not present in standard DICOM IOD|Dicom dataset contains attributes not present"
        r"|Missing attribute or value that would be needed to build DICOMDIR)"
    )
    assert [line for line in warnings if not extended.match(line)] == []


def test_dcmtk_reads_the_whole_document(kos: Path) -> None:
    """It warns of the ContentTemplateSequence that the ANS leaves out (kos.md § 2), and of what itself cannot check."""
    lines = told("dsrdump", "+Pu", "+Pl", kos).splitlines()
    assert "Key Object Selection Document" in lines
    assert [line for line in lines if line.startswith(("E:", "F:"))] == []
    known = ("emplate", "does not support this Specific Character Set")
    assert [line for line in lines if line.startswith("W:") and not any(words in line for words in known)] == []
    items = [line for line in lines if line.startswith("  <contains")]
    assert [line for line in items if line.startswith("  <contains TEXT")] == items[-1:]


def test_dcmtk_sees_each_instance_once(tmp_path: Path) -> None:
    path = tmp_path / "kos.dcm"
    path.write_bytes(mixed())
    dump = told("dsrdump", "+Pu", path)
    kinds = re.findall(r"<contains (IMAGE|WAVEFORM|COMPOSITE):=\([^,]+,\"(1\.2\.3\.\d+\.\d+)\"\)>", dump)
    assert len(kinds) == len(set(kinds)) == 11
    assert {kind for kind, uid in kinds if uid.startswith("1.2.3.5.")} == {"WAVEFORM"}
    assert {kind for kind, uid in kinds if uid.startswith(("1.2.3.6.", "1.2.3.7."))} == {"COMPOSITE"}
    assert {kind for kind, uid in kinds if uid.startswith(("1.2.3.1.", "1.2.3.8."))} == {"IMAGE"}
