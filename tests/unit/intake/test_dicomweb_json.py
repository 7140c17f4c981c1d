"""DICOM JSON: as pydicom writes it, and hostile."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset

from passevue.errors import Unreadable
from passevue.intake.dicomweb_json import MAX_DEPTH, MAX_JSON, read_rows


def test_what_pydicom_writes_is_read() -> None:
    ds = Dataset()
    ds.StudyInstanceUID = "1.2.3"
    ds.StudyDescription = "Échographie"
    ds.ReferringPhysicianName = "LÉVÊQUE^Zoé"
    ds.InstanceNumber = 7
    ds.NumberOfFrames = None
    ds.PatientName = "INVENTE^PATIENT"
    assert read_rows(json.dumps([ds.to_json_dict()]).encode()) == [
        {
            "StudyInstanceUID": "1.2.3",
            "StudyDescription": "Échographie",
            "ReferringPhysicianName": "LÉVÊQUE^Zoé",
            "InstanceNumber": "7",
        }
    ]


def test_values_of_any_kind_are_text_or_missing() -> None:
    def attribute(value: object) -> bytes:
        return json.dumps([{"00200013": {"vr": "IS", "Value": [value]}}]).encode()

    assert read_rows(attribute(3.0)) == [{"InstanceNumber": "3"}]
    assert read_rows(attribute("4 ")) == [{"InstanceNumber": "4"}]
    assert read_rows(attribute(10**30)) == [{"InstanceNumber": str(10**30)}]
    for none in (None, True, [], {}, {"Alphabetic": ["x"]}):
        assert read_rows(attribute(none)) == [{}]
    assert read_rows(b'\xef\xbb\xbf[{"0020000d": {"vr": "UI", "Value": ["1.2"], "BulkDataURI": "file:///x"}}]') == [
        {"StudyInstanceUID": "1.2"}
    ]


def test_no_answers_are_no_rows() -> None:
    assert read_rows(b"[]") == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[1]",
        b"[[]]",
        b"<html></html>",
        b'[{"0020000D": []}]',
        b'[{"0020000D": {}, "0020000D": {}}]',
        b'[{"0020000D": {"Value": ["1.2"]}, "0020000d": {"Value": ["1.3"]}}]',
        b'[{"0020000D": {"vr": "UI", "vr": "UI"}}]',
        b"[NaN]",
        b"[Infinity]",
        b"[1e999999, NaN]",
        b'["\xff"]',
        b"[" * 100_000,
        b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
        b'[{"a":' * 50_000,
        b"]" * 10,
        b" " * (MAX_JSON + 1),
    ],
    ids=lambda data: repr(data[:40]),
)
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    with pytest.raises(Unreadable):
        read_rows(data)


def test_brackets_in_text_are_no_depth() -> None:
    description = '[{"\\[' * 100
    data = json.dumps([{"00081030": {"vr": "LO", "Value": [description]}}]).encode()
    assert read_rows(data) == [{"StudyDescription": description}]


def test_as_deep_as_the_bound_is_taken() -> None:
    inner = b"[" * (MAX_DEPTH - 2) + b"]" * (MAX_DEPTH - 2)
    assert read_rows(b'[{"00091001": ' + inner + b"}]") == [{}]


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for body in (data, b'[{"0020000D": {"vr": "UI", "Value": [' + data + b"]}}]"):
        try:
            read_rows(body)
        except Unreadable:
            continue


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["0020000D", "00081030", "Value", "vr", "Alphabetic"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_read_or_refused(value: object) -> None:
    for answer in (value, [value], [{"00081030": value}]):
        try:
            rows = read_rows(json.dumps(answer).encode())
        except Unreadable:
            continue
        assert all(isinstance(text, str) and text for row in rows for text in row.values())
