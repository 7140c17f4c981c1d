"""What instances of each storage class are to a key object, held beside pydicom's dictionary of UIDs."""

import pytest
from pydicom.uid import UID_dictionary

from passevue.document.sop_classes import value_type

# Storage classes that hold pixels although their name does not say Image (PS3.4 table B.5-1).
PIXELS = ("Segmentation Storage", "Parametric Map Storage", "Thickness Map Storage", "Topography Map Storage")


@pytest.mark.parametrize(
    ("sop_class", "kind"),
    [
        ("1.2.840.10008.5.1.4.1.1.2", "IMAGE"),
        ("1.2.840.10008.5.1.4.1.1.1.2.1", "IMAGE"),  # Digital Mammography X-Ray - For Processing
        ("1.2.840.10008.5.1.4.1.1.66.4", "IMAGE"),  # Segmentation
        ("1.2.840.10008.5.1.4.1.1.77.1.4.1", "IMAGE"),  # Video Photographic
        ("1.2.840.10008.5.1.4.1.1.9.1.1", "WAVEFORM"),  # 12-lead ECG
        ("1.2.840.10008.5.1.4.1.1.88.59", "COMPOSITE"),
        ("1.2.840.10008.5.1.4.1.1.88.33", "COMPOSITE"),  # Comprehensive SR
        ("1.2.840.10008.5.1.4.1.1.11.1", "COMPOSITE"),  # presentation state
        ("1.2.840.10008.5.1.4.1.1.66.5", "COMPOSITE"),  # Surface Segmentation
        ("1.2.840.10008.5.1.4.1.1.104.1", "COMPOSITE"),  # Encapsulated PDF
        ("1.2.840.10008.5.1.4.1.1.66", "COMPOSITE"),  # Raw Data
        ("1.2.3.4", "COMPOSITE"),  # private
    ],
)
def test_the_value_type_of_a_class(sop_class: str, kind: str) -> None:
    assert value_type(sop_class) == kind


def test_every_class_that_pydicom_knows_is_what_its_name_says() -> None:
    classes = {uid: name for uid, (name, kind, *_) in UID_dictionary.items() if kind == "SOP Class"}
    assert len(classes) > 250
    for uid, name in classes.items():
        pixels = name.endswith(PIXELS) and not name.startswith("Surface")
        kind = (
            "WAVEFORM" if "Waveform Storage" in name else "IMAGE" if "Image Storage" in name or pixels else "COMPOSITE"
        )
        assert value_type(uid) == kind, name
