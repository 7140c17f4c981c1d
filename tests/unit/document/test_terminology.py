"""Our labels are those of the published lists that the samples hold."""

import json
from typing import Any

from passevue.document.terminology import MODALITIES, content_type, modality, visibility_codes
from passevue.intake.ris_values import Visibility
from tests.unit.document.given import SAMPLES

# JDV_ModaliteAcquisition_CISIS, 49 codes (cda-report.md § 6).
CODES = (
    *("AR", "BDUS", "BI", "BMD", "CR", "CT", "DG", "DMS", "DX", "ECG", "EEG", "EMG", "EOG", "EPS", "ES", "GM", "HD"),
    *("IO", "IVOCT", "IVUS", "KER", "LEN", "LS", "MG", "MR", "NM", "OAM", "OCT", "OP", "OPM", "OPT", "OPTBSV"),
    *("OPTENF", "OPV", "OSS", "POS", "PT", "PX", "RESP", "RF", "RG", "RTIMAGE", "SM", "SRF", "TG", "US", "VA", "XA"),
    "XC",
)


def concepts(node: Any) -> dict[str, str]:
    if isinstance(node, list):
        return {code: label for each in node for code, label in concepts(each).items()}
    if not isinstance(node, dict):
        return {}
    own = {node["code"]: node["display"]} if {"code", "display"} <= node.keys() else {}
    return own | {code: label for each in node.values() for code, label in concepts(each).items()}


def test_the_modalities_of_the_value_set() -> None:
    published = concepts(json.loads((SAMPLES / "terminology/ValueSet_AcquisitionModality.json").read_bytes()))
    assert tuple(MODALITIES) == CODES
    assert {code: published[code] for code in CODES} == MODALITIES
    assert modality("MR").system == "1.2.250.1.213.1.1.5.618"


def test_every_patient_class_has_a_content_type() -> None:
    assert [content_type(each).code for each in "IOERN"] == ["03", "07", "07", "19", "97"]
    assert all(content_type(each).label for each in "IOERN")


def test_visible_to_everyone_adds_no_code() -> None:
    assert visibility_codes(Visibility()) == ()
    assert [code.code for code in visibility_codes(Visibility(True, True, True))] == [
        "MASQUE_PS",
        "INVISIBLE_PATIENT",
        "INVISIBLE_REPRESENTANTS_LEGAUX",
    ]
