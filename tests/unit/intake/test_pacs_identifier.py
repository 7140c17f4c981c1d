"""Identifiers: written as pydicom reads them, read as pydicom writes them, and any other bytes refused."""

import struct
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

from passevue.errors import Unreadable
from passevue.intake.pacs_identifier import MAX_DEPTH, MAX_ELEMENTS, read_identifier, write_identifier


def implicit(ds: Dataset) -> bytes:
    out = DicomBytesIO()
    out.is_implicit_VR = out.is_little_endian = True
    write_dataset(out, ds)
    return out.getvalue()


def element(tag: int, value: bytes, length: int | None = None) -> bytes:
    return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(value) if length is None else length) + value


def test_what_is_written_is_what_pydicom_reads() -> None:
    keys = {"StudyInstanceUID": "1.2.3", "QueryRetrieveLevel": "SERIES", "Modality": "", "SeriesInstanceUID": ""}
    ds = read_dataset(BytesIO(write_identifier(keys)), is_implicit_VR=True, is_little_endian=True)
    assert {each.keyword: each.value or "" for each in ds} == keys
    assert [each.tag for each in ds] == sorted(each.tag for each in ds)


@pytest.mark.parametrize("charset", ["ISO_IR 100", "ISO_IR 192", ["", "ISO 2022 IR 100"]])
def test_text_is_read_in_the_charset_of_the_pacs(charset: str | list[str]) -> None:
    ds = Dataset()
    ds.SpecificCharacterSet = charset
    ds.StudyDescription = "Échographie à contrôler"
    ds.ReferringPhysicianName = "LÉVÊQUE^Zoé"
    assert read_identifier(implicit(ds)) == {
        "StudyDescription": "Échographie à contrôler",
        "ReferringPhysicianName": "LÉVÊQUE^Zoé",
    }


def test_text_without_a_charset_is_read_as_utf_8_else_as_latin_1() -> None:
    for encoding in ("utf-8", "latin-1"):
        assert read_identifier(element(0x00081030, "Épaule ".encode(encoding))) == {"StudyDescription": "Épaule"}


def test_text_that_breaks_its_declared_charset_is_still_text() -> None:
    data = element(0x00080005, b"ISO_IR 192") + element(0x00081030, "Épaule ".encode("latin-1"))
    assert read_identifier(data) == {"StudyDescription": "Épaule"}


def test_an_unknown_charset_and_broken_escapes_are_no_error() -> None:
    data = element(0x00080005, b"NONSENSE") + element(0x00081030, "É ".encode())
    assert read_identifier(data) == {"StudyDescription": "É"}
    data = element(0x00080005, b"\\ISO 2022 IR 87") + element(0x00081030, b"\x1b$B\xff\x1b")
    assert isinstance(read_identifier(data)["StudyDescription"], str)


def test_keys_that_are_not_ours_and_sequences_are_stepped_over() -> None:
    ds = Dataset()
    ds.PatientName = "INVENTE^PATIENT"
    ds.StudyInstanceUID = "1.2.3"
    inner = Dataset()
    inner.StudyInstanceUID = "9.9.9"
    ds.ReferencedStudySequence = [inner, inner]
    for undefined in (False, True):
        ds["ReferencedStudySequence"].is_undefined_length = undefined
        inner.is_undefined_length_sequence_item = undefined
        assert read_identifier(implicit(ds)) == {"StudyInstanceUID": "1.2.3"}


@pytest.mark.parametrize(
    "data",
    [
        b"\x08",
        element(0x00081030, b"ab", length=3),
        element(0x00081030, b"", length=0xFFFFFFFE),
        element(0x00081030, b"ab") * 2,
        element(0xFFFEE00D, b""),
        element(0x00081115, b"", length=0xFFFFFFFF),
        element(0x00081115, b"", length=0xFFFFFFFF) * (MAX_DEPTH + 2),
        element(0x00090001, b"") * (MAX_ELEMENTS + 1),
    ],
    ids=["cut", "overrun", "lie", "twice", "end without begin", "no end", "deep", "many"],
)
def test_what_is_no_identifier_is_refused(data: bytes) -> None:
    with pytest.raises(Unreadable):
        read_identifier(data)


def test_as_many_elements_as_the_bound_are_taken() -> None:
    assert read_identifier(element(0x00090001, b"") * MAX_ELEMENTS) == {}


@given(st.binary(max_size=2_000))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        keys = read_identifier(data)
    except Unreadable:
        return
    assert all(isinstance(value, str) for value in keys.values())


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0x00080005, 0x00081030, 0x00080090, 0x0020000D, 0xFFFEE000]), st.binary(max_size=40)
        ),
        max_size=6,
    )
)
def test_any_text_in_any_charset_is_read_or_refused(elements: list[tuple[int, bytes]]) -> None:
    try:
        read_identifier(b"".join(element(tag, value) for tag, value in elements))
    except Unreadable:
        return
