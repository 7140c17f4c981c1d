"""Text by its SpecificCharacterSet: the same characters as pydicom, which is the second opinion here."""

import subprocess
import sys
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.charset import convert_encodings, decode_bytes, python_encoding
from pydicom.valuerep import TEXT_VR_DELIMS

from passevue.intake.character_set import codec_of, text_of

NAMES = sorted(python_encoding)


def as_pydicom(value: bytes, names: list[str]) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        text: str = decode_bytes(value, convert_encodings(list(names)), TEXT_VR_DELIMS)
    return text


@pytest.mark.parametrize("name", NAMES)
def test_every_byte_of_every_set_is_what_pydicom_says(name: str) -> None:
    for byte in set(range(256)) - {0x1B}:
        assert text_of(bytes([byte]), [name]) == as_pydicom(bytes([byte]), [name]), byte


@given(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3), st.binary(max_size=40))
def test_any_bytes_in_any_sets_are_what_pydicom_says(names: list[str], value: bytes) -> None:
    assert text_of(value, names) == as_pydicom(value, names)


def test_the_euro_set_that_pydicom_does_not_know_is_read() -> None:
    assert text_of("cœur 5 €".encode("iso8859-15"), ["ISO_IR 203"]) == "cœur 5 €"


def test_the_codec_of_a_set_and_of_none() -> None:
    assert codec_of("ISO_IR 100") == "latin-1"
    assert codec_of("GB18030") == "GB18030"
    assert codec_of("ISO_IR 9999") is None


def test_what_european_equipment_writes_needs_no_library() -> None:
    program = """
import sys
from passevue.intake.character_set import codec_of, text_of
assert text_of("Épaule".encode("latin-1"), ["ISO_IR 100"]) == text_of("Épaule".encode(), ["ISO_IR 192"]) == "Épaule"
assert text_of(b"IRM", [""]) == "IRM" and codec_of("ISO_IR 192") == "utf-8"
sys.exit("pydicom" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0
