"""The light look into a data set: what it finds, and what does not add up (N-07, N-09)."""

import contextlib
import random
import struct
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLSLossless

from passevue.errors import Unreadable
from passevue.intake.data_set import look
from tests.peers.invented import data_set_of, file_of, image

WANTED = frozenset((0x00080016, 0x00080018, 0x0020000D, 0x0020000E, 0x00100020, 0x00280008))
EXPLICIT = "1.2.840.10008.1.2.1"


def found(ds: Dataset, *, encapsulated: bool = False) -> dict[int, bytes]:
    return look(data_set_of(ds), ds.file_meta.TransferSyntaxUID, WANTED, encapsulated=encapsulated)


def refused(data: bytes, syntax: str = EXPLICIT, *, encapsulated: bool = False) -> str:
    with pytest.raises(Unreadable) as caught:
        look(data, syntax, WANTED, encapsulated=encapsulated)
    return caught.value.message


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, JPEGLSLossless]
)
def test_wanted_values_are_found_in_every_coding(syntax: str) -> None:
    ds = image("2.25.20", "IPP-9", "ACC", transfer_syntax=syntax, frames=3)
    values = found(ds, encapsulated=syntax == JPEGLSLossless)
    assert values[0x00080018].decode() == ds.SOPInstanceUID
    assert values[0x0020000D] == b"2.25.20"
    assert values[0x00100020] == b"IPP-9"
    assert values[0x00280008] == b"3"


def with_sequences(depth: int, *, undefined: bool) -> Dataset:
    ds = image("2.25.21", "IPP", "ACC")
    inner = Dataset()
    inner.CodeValue = "1"
    for _ in range(depth - 1):
        outer = Dataset()
        outer.ConceptCodeSequence = Sequence([inner])
        if undefined:
            outer["ConceptCodeSequence"].is_undefined_length = True
            inner.is_undefined_length_sequence_item = True
        inner = outer
    ds.ProcedureCodeSequence = Sequence([inner])
    if undefined:
        ds["ProcedureCodeSequence"].is_undefined_length = True
        inner.is_undefined_length_sequence_item = True
    return ds


@pytest.mark.parametrize("undefined", [True, False])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_sequences_are_stepped_over(syntax: str, undefined: bool) -> None:
    ds = with_sequences(5, undefined=undefined)
    ds.file_meta.TransferSyntaxUID = syntax
    assert found(ds)[0x0020000D] == b"2.25.21"


def test_bound_of_the_depth() -> None:
    assert found(with_sequences(32, undefined=True))
    assert "deeper than 32" in refused(data_set_of(with_sequences(33, undefined=True)))


def element(group: int, number: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    size = len(value) if length is None else length
    if vr in (b"OB", b"OW", b"SQ", b"UN", b"UT"):
        return struct.pack("<HH2sxxL", group, number, vr, size) + value
    return struct.pack("<HH2sH", group, number, vr, size) + value


def item(number: int, length: int, value: bytes = b"") -> bytes:
    return struct.pack("<HHL", 0xFFFE, number, length) + value


END = item(0xE0DD, 0)


@pytest.mark.parametrize("count", [-1, 0, 1])
def test_bound_of_the_elements(count: int) -> None:
    data = b"".join(element(0x0010 + at // 60000, at % 60000, b"SH", b"") for at in range(100_000 + count))
    if count > 0:
        assert "elements" in refused(data)
    else:
        assert look(data, EXPLICIT, WANTED, encapsulated=False) is not None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (element(0x0010, 0x0010, b"LO", b"x", length=2), "2 bytes with 1 left"),
        (element(0x7FE1, 0x0010, b"OB", b"xyz", length=0xFFFFFFF0), "bytes with 3 left"),
        (element(0x0010, 0x0010, b"??", b"xx"), "VR"),
        (element(0x0010, 0x0010, b"OB", b"xx")[:9], "VR"),
        (b"\x10\x00\x10", "header cut"),
        (element(0x0002, 0x0010, b"UI", b"1.2\0"), "cannot hold"),
        (element(0x0000, 0x0002, b"UI", b"1.2\0"), "cannot hold"),
        (element(0x0020, 0x000D, b"UI", b"1.2\0") + element(0x0020, 0x000D, b"UI", b"1.3\0"), "twice"),
        (
            element(0x0020, 0x000D, b"UI", b"1.2\0")
            + element(0x0020, 0x0010, b"SH", b"")
            + element(0x0020, 0x000D, b"UI", b"1.3\0"),
            "twice",
        ),
        (element(0x0040, 0xA730, b"SQ", b"", length=0xFFFFFFFF), "header cut"),
        (element(0x0040, 0xA730, b"SQ", element(0x10, 0x10, b"LO", b""), length=0xFFFFFFFF), "else than items"),
        (element(0x0040, 0xA730, b"SQ", item(0xE000, 100, b"x" * 9), length=0xFFFFFFFF), "100 bytes with 9 left"),
        (element(0x0040, 0xA730, b"UT", b"", length=0xFFFFFFFF), "undefined length"),
        (item(0xE000, 0), "cannot hold"),
    ],
)
def test_what_does_not_add_up_is_refused(data: bytes, reason: str) -> None:
    assert reason in refused(data)


def pixels(*parts: bytes) -> bytes:
    return element(0x7FE0, 0x0010, b"OB", b"".join(parts), length=0xFFFFFFFF)


OFFSETS = struct.pack("<LL", 0, 12)


@pytest.mark.parametrize(
    ("data", "encapsulated"),
    [
        (pixels(item(0xE000, 0), item(0xE000, 4, b"abcd"), END), True),
        (pixels(item(0xE000, 8, OFFSETS), item(0xE000, 4, b"abcd"), item(0xE000, 4, b"efgh"), END), True),
        (element(0x7FE0, 0x0010, b"OW", b"abcd"), False),
        (b"", True),
    ],
)
def test_good_pixel_data_is_taken(data: bytes, encapsulated: bool) -> None:
    assert look(data, EXPLICIT, WANTED, encapsulated=encapsulated) == {}


@pytest.mark.parametrize(
    ("data", "encapsulated"),
    [
        (element(0x7FE0, 0x0010, b"OW", b"abcd"), True),  # declared compressed, and is not
        (pixels(item(0xE000, 0), item(0xE000, 4, b"abcd"), END), False),  # and the reverse
        (pixels(item(0xE000, 0), item(0xE000, 4, b"abcd")), True),  # no end
        (pixels(END), True),  # no offset table
        (pixels(item(0xE000, 3, b"abc"), END), True),
        (pixels(item(0xE000, 0xFFFFFFFC), END), True),
        (
            pixels(
                item(0xE000, 8, struct.pack("<LL", 0, 13)), item(0xE000, 4, b"abcd"), item(0xE000, 4, b"e" * 4), END
            ),
            True,
        ),
        (
            pixels(
                item(0xE000, 8, struct.pack("<LL", 12, 0)), item(0xE000, 4, b"abcd"), item(0xE000, 4, b"e" * 4), END
            ),
            True,
        ),
        (pixels(item(0xE000, 4, b"\xff" * 4), item(0xE000, 4, b"abcd"), END), True),
        (pixels(item(0xE000, 0), item(0xE000, 5, b"abcd"), END), True),
        (pixels(item(0xE000, 0), element(0x0010, 0x0010, b"LO", b"x"), END), True),
    ],
)
def test_bad_pixel_data_is_refused(data: bytes, encapsulated: bool) -> None:
    refused(data, encapsulated=encapsulated)


def test_declared_syntax_is_not_the_actual_one() -> None:
    implicit = image("2.25.22", "IPP", "ACC", transfer_syntax=ImplicitVRLittleEndian)
    explicit = image("2.25.22", "IPP", "ACC")
    refused(data_set_of(implicit), EXPLICIT)
    refused(data_set_of(explicit), ImplicitVRLittleEndian)
    refused(data_set_of(explicit), ExplicitVRBigEndian)


def test_a_gigabyte_in_a_small_value_is_a_lie() -> None:
    data = struct.pack("<HHL", 0x0010, 0x0010, 1 << 30) + b"abc"
    assert "with 3 left" in refused(data, ImplicitVRLittleEndian)


def test_a_compressed_icon_is_stepped_over() -> None:
    icon = item(0xE000, 0xFFFFFFFF, pixels(item(0xE000, 0), item(0xE000, 4, b"abcd"), END) + item(0xE00D, 0))
    data = element(0x0088, 0x0200, b"SQ", icon + END, length=0xFFFFFFFF)
    assert look(data, EXPLICIT, WANTED, encapsulated=True) == {}


def test_a_sequence_of_unknown_vr_is_implicit_inside() -> None:
    inside = struct.pack("<HHL", 0x0009, 0x1001, 2) + b"ab"
    value = item(0xE000, len(inside), inside) + END
    data = element(0x0009, 0x1000, b"UN", value, length=0xFFFFFFFF) + element(0x0020, 0x000D, b"UI", b"1.2\0")
    assert look(data, EXPLICIT, WANTED, encapsulated=False) == {0x0020000D: b"1.2"}


def test_odd_values_are_taken_as_they_are() -> None:
    out = BytesIO()
    out.write(element(0x0008, 0x0020, b"DA", b"99999999"))
    out.write(element(0x0010, 0x0010, b"PN", b"=".join([b"A"] * 100) + b" "))
    out.write(element(0x0010, 0x0020, b"LO", b"\x1b$B\x1b(B "))
    assert look(out.getvalue(), EXPLICIT, WANTED, encapsulated=False) == {0x00100020: b"\x1b$B\x1b(B"}


GOOD = [
    (data_set_of(ds), str(ds.file_meta.TransferSyntaxUID))
    for ds in (
        image("2.25.23", "IPP", "ACC", transfer_syntax=syntax, size=4, compressed_bytes=40)
        for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, JPEGLSLossless)
    )
]


@settings(max_examples=400)
@given(seed=st.integers(0, 2**32), changes=st.integers(0, 5))
def test_any_bytes_are_taken_or_refused_with_our_own_error(seed: int, changes: int) -> None:
    chance = random.Random(seed)
    good, syntax = GOOD[chance.randrange(len(GOOD))]
    data = bytearray(good)
    for _ in range(changes):
        data[chance.randrange(len(data))] = chance.choice((0, 0xFF, 0xFE, chance.randrange(256)))
    with contextlib.suppress(Unreadable):
        look(bytes(data), syntax, WANTED, encapsulated=syntax == JPEGLSLossless)
    assert look(good, syntax, WANTED, encapsulated=syntax == JPEGLSLossless)


def test_the_file_of_an_image_is_one() -> None:
    assert file_of(image("2.25.24", "IPP", "ACC"))[128:132] == b"DICM"
