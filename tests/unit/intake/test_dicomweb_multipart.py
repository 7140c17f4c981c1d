"""multipart/related: whole, byte by byte, hostile."""

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passevue.errors import Unreadable
from passevue.intake import dicomweb_multipart
from passevue.intake.dicomweb_multipart import Multipart, PartBegins, PartData, PartEnds, boundary_of

BODY = (
    b"--b0\r\nContent-Type: application/dicom\r\nContent-Location: x\r\n\r\nfirst\r\n--b0 \t\r\n\r\n\r\n--b\r\n"
    b"\r\n--b0\r\ncontent-type:text/plain; a=b\r\n\r\n\r\n--b0--\r\nepilogue"
)
PARTS = [
    ({"content-type": "application/dicom", "content-location": "x"}, b"first"),
    ({}, b"\r\n--b\r\n"),
    ({"content-type": "text/plain; a=b"}, b""),
]


def read(
    pieces: Iterable[bytes], *, max_part: int = 1 << 20, max_parts: int = 10
) -> list[tuple[dict[str, str], bytes]]:
    parser = Multipart("b0", max_part=max_part, max_parts=max_parts)
    parts: list[tuple[dict[str, str], bytes]] = []
    inside = False
    for piece in pieces:
        for event in parser.feed(piece):
            match event:
                case PartBegins(headers):
                    assert not inside
                    parts.append((headers, b""))
                    inside = True
                case PartData(data):
                    assert inside
                    assert data
                    parts[-1] = (parts[-1][0], parts[-1][1] + data)
                case PartEnds():
                    assert inside
                    inside = False
    parser.close()
    assert not inside
    return parts


def test_parts_come_out_whole_however_they_come_in() -> None:
    for size in (1, 2, 3, 5, 7, 20, len(BODY)):
        assert read(BODY[at : at + size] for at in range(0, len(BODY), size)) == PARTS


def test_a_preamble_is_passed_over() -> None:
    assert read([b"This is a multipart message\r\n\r\n" + BODY]) == PARTS


def test_a_part_without_content_and_without_its_blank_line_is_empty() -> None:
    assert read([b"--b0\r\nA: b\r\n\r\n--b0--"]) == [({"a": "b"}, b"")]


def test_content_that_holds_the_boundary_is_content() -> None:
    content = b"x--b0--\r\n b0 --b0\n--b0\r-\r\n-"
    assert read([b"--b0\r\n\r\n" + content + b"\r\n--b0--"]) == [({}, content)]


def test_a_part_as_long_as_its_bound_is_taken_and_no_longer_one() -> None:
    def body(size: int) -> list[bytes]:
        return [b"--b0\r\n\r\n", bytes(size), b"\r\n--b0--"]

    assert read(body(1000), max_part=1000) == [({}, bytes(1000))]
    with pytest.raises(Unreadable):
        read(body(1001), max_part=1000)


def test_an_endless_part_is_cut_and_never_held() -> None:
    parser = Multipart("b0", max_part=20 << 20)
    list(parser.feed(b"--b0\r\n\r\n"))
    for _ in range(20):
        [data] = parser.feed(bytes(1 << 20))
        assert isinstance(data, PartData)
        assert (1 << 20) - 16 < len(data.data) < (1 << 20) + 16
    with pytest.raises(Unreadable):
        list(parser.feed(bytes(1 << 20)))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--b0",
        b"--b0\r\n\r\nfirst",
        b"--b0\r\n\r\nfirst\r\n--b0",
        b"--b0\r\n\r\nfirst\r\n--b0-",
        b"--b0\r\n\r\nfirst--b0--",
        b"--b0\n\nfirst\n--b0--",
        b"--b0\r\nno colon\r\n\r\n\r\n--b0--",
        b"--b0\r\nA: 1\r\na: 2\r\n\r\n\r\n--b0--",
        b"--b0\r\nA: 1\r\n folded\r\n\r\n\r\n--b0--",
        b"--b0\r\nA: 1\0\r\n\r\n\r\n--b0--",
        b"--b0junk\r\n\r\n\r\n--b0--",
        b"--b0" + b" " * 1000 + b"\r\n\r\n\r\n--b0--",
        b"--b0\r\nA: " + b"b" * dicomweb_multipart.MAX_PART_HEADER + b"\r\n\r\n\r\n--b0--",
        b"x" * (dicomweb_multipart.MAX_PREAMBLE + 1),
        b"<html><body>Please sign in</body></html>",
        b"--b0\r\n\r\n" * 2 + b"\r\n--b0" * 11 + b"--",
    ],
)
def test_what_is_no_multipart_is_refused_at_once_or_at_its_end(body: bytes) -> None:
    with pytest.raises(Unreadable):
        read([body])
    with pytest.raises(Unreadable):
        read(bytes((byte,)) for byte in body)


def test_more_parts_than_the_bound_are_refused() -> None:
    body = b"--b0\r\n\r\n\r\n" * 10 + b"--b0--"
    assert len(read([body], max_parts=10)) == 10
    with pytest.raises(Unreadable):
        read([body], max_parts=9)


def test_the_boundary_comes_from_the_content_type() -> None:
    assert boundary_of('multipart/related; type="application/dicom"; boundary=b0') == "b0"
    assert boundary_of('Multipart/Related;boundary="a b=c";type=x') == "a b=c"


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/html",
        "multipart/mixed; boundary=b0",
        "multipart/related",
        "multipart/related; boundary=",
        'multipart/related; boundary=""',
        "multipart/related; boundary=a; boundary=b",
        "multipart/related; boundary=" + "b" * 71,
        'multipart/related; boundary="b\r\n"',
        'multipart/related; boundary="é"',
        'multipart/related; type="; boundary=b0"',
    ],
)
def test_a_content_type_without_a_usable_boundary_is_refused(content_type: str) -> None:
    with pytest.raises(Unreadable):
        boundary_of(content_type)


@given(st.binary(max_size=500), st.integers(1, 50))
def test_any_bytes_are_read_or_refused(data: bytes, size: int) -> None:
    for body in (data, b"--b0\r\n" + data, b"--b0\r\n\r\n" + data + b"\r\n--b0--"):
        try:
            read(body[at : at + size] for at in range(0, len(body), size))
        except Unreadable:
            continue


@settings(max_examples=200)
@given(
    st.lists(st.binary(max_size=60).filter(lambda data: b"\r\n--b0" not in b"\r\n" + data), max_size=5),
    st.integers(1, 30),
)
def test_any_content_comes_out_as_it_was(contents: list[bytes], size: int) -> None:
    body = b"".join(b"--b0\r\nA: b\r\n\r\n" + content + b"\r\n" for content in contents) + b"--b0--\r\n"
    assert [data for _, data in read(body[at : at + size] for at in range(0, len(body), size))] == contents


@given(st.text(max_size=80))
def test_any_content_type_is_read_or_refused(text: str) -> None:
    for content_type in (text, f"multipart/related; boundary={text}", f'multipart/related; boundary="{text}"'):
        try:
            assert boundary_of(content_type).isascii()
        except Unreadable:
            continue
