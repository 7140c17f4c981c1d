"""The multipart/related reader: what is taken, what is refused (N-13), and any bytes in bounded time."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passevue.errors import Unreadable
from passevue.national.multipart import (
    MAX_PART_HEADER_BYTES,
    MAX_PARTS,
    Part,
    part_of,
    read_content_type,
    read_related,
    write_related,
)

TYPE = read_content_type('multipart/related; type="application/xop+xml"; boundary="b"; start="<0.1>"')
ROOT = b"--b\r\nContent-Type: application/xop+xml\r\nContent-ID: <0.1>\r\n\r\n<root/>\r\n"


def test_what_is_written_is_read_again() -> None:
    binary = bytes(range(256)) * 3 + b"\r\n--b\r\n"[:4] + b"\r\n"
    parts = [
        Part(("Content-Type: application/xop+xml", "Content-ID: <0.1>"), b"<root/>"),
        Part(("Content-Type: application/octet-stream", "Content-ID: <0.2>"), binary),
        Part(("Content-ID: <0.3>",), b""),
    ]
    related = read_related(TYPE, b"".join(write_related("b", parts)))
    assert related.root == b"<root/>"
    assert related.root_type.media == "application/xop+xml"
    assert dict(related.parts) == {"0.2": binary, "0.3": b""}


def test_lone_line_feeds_a_preamble_and_an_epilogue_are_taken() -> None:
    body = b"preamble\r\n" + ROOT.replace(b"\r\n", b"\n") + b"--b--\nepilogue"
    assert read_related(TYPE, body).root == b"<root/>"


def test_base64_parts_are_decoded_and_the_root_may_come_last() -> None:
    part = b"--b\r\nContent-ID: <0.2>\r\nContent-Transfer-Encoding: BASE64\r\n\r\nS09T\r\n IQ==\r\n"
    related = read_related(TYPE, part + ROOT + b"--b--")
    assert related.parts["0.2"] == b"KOS!"
    assert related.root == b"<root/>"


def test_a_cid_is_decoded_before_it_is_looked_for() -> None:
    assert part_of({"a@b c": b"x"}, "cid:a%40b%20c") == b"x"


@pytest.mark.parametrize("href", ["file:///etc/passwd", "http://h/x", "cid:", "cid:0.9", "", "0.2", "CID:0.2"])
def test_an_href_is_never_followed_elsewhere(href: str) -> None:
    with pytest.raises(Unreadable):
        part_of({"0.2": b"x"}, href)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("other boundary", ROOT.replace(b"--b", b"--c") + b"--c--"),
        ("no closing delimiter", ROOT),
        ("nothing", b""),
        ("closing at once", b"--b--"),
        ("root missing", ROOT.replace(b"0.1", b"0.7") + b"--b--"),
        ("content id twice", ROOT + ROOT + b"--b--"),
        ("header twice", ROOT.replace(b"Content-ID", b"Content-ID: <x>\r\nContent-ID") + b"--b--"),
        ("no blank line", b"--b\r\nContent-ID: <0.1>\r\n--b--"),
        ("header without colon", b"--b\r\nContent-ID\r\n\r\n\r\n--b--"),
        ("unknown encoding", ROOT.replace(b"Content-ID", b"Content-Transfer-Encoding: gzip\r\nContent-ID") + b"--b--"),
        ("not base64", ROOT.replace(b"Content-ID", b"Content-Transfer-Encoding: base64\r\nContent-ID") + b"--b--"),
        ("many parts", ROOT + b"--b\r\nX: y\r\n\r\n\r\n" * 10_000 + b"--b--"),
    ],
)
def test_what_is_not_multipart_related_is_refused(name: str, body: bytes) -> None:
    with pytest.raises(Unreadable):
        read_related(TYPE, body)


@pytest.mark.parametrize(("count", "taken"), [(MAX_PARTS - 1, True), (MAX_PARTS, True), (MAX_PARTS + 1, False)])
def test_the_number_of_parts_is_bounded(count: int, taken: bool) -> None:
    body = ROOT + b"--b\r\nX: y\r\n\r\n\r\n" * (count - 1) + b"--b--"
    if taken:
        read_related(TYPE, body)
    else:
        with pytest.raises(Unreadable):
            read_related(TYPE, body)


@pytest.mark.parametrize(("over", "taken"), [(-1, True), (0, True), (1, False)])
def test_the_headers_of_a_part_are_bounded(over: int, taken: bool) -> None:
    head = b"Content-ID: <0.1>\r\nX: "
    filler = b"y" * (MAX_PART_HEADER_BYTES - len(head) - 4 + over)
    body = b"--b\r\n" + head + filler + b"\r\n\r\n<root/>\r\n--b--"
    if taken:
        assert read_related(TYPE, body).root == b"<root/>"
    else:
        with pytest.raises(Unreadable):
            read_related(TYPE, body)


@pytest.mark.parametrize(
    "header",
    [
        "multipart/related; boundary=a; boundary=b",
        "multipart/related; boundary",
        "multipart/related; =x",
        'multipart/related; boundary="a',
        "multipart/related; " + "x" * 9000,
    ],
)
def test_a_content_type_that_says_two_things_or_nothing_is_refused(header: str) -> None:
    with pytest.raises(Unreadable):
        read_content_type(header)


@pytest.mark.parametrize("boundary", ["", "x" * 71, "a\r\nb", "é", "b "])
def test_a_boundary_that_is_none_is_refused(boundary: str) -> None:
    with pytest.raises(Unreadable):
        read_related(read_content_type(f'multipart/related; boundary="{boundary}"'), ROOT)


pieces = st.sampled_from(
    [b"--b", b"--b--", b"\r\n", b"\n", b"\r", b"Content-ID: <0.1>", b"Content-ID: <0.2>", b": ", b"\r\n\r\n", b"--",
     b"x", b"Content-Transfer-Encoding: base64", b"Content-Type: application/xop+xml; a=b"]
)  # fmt: skip


@given(st.lists(pieces | st.binary(max_size=8), max_size=40).map(b"".join))
def test_any_bytes_are_taken_or_refused_and_the_next_message_is_served(body: bytes) -> None:
    try:
        related = read_related(TYPE, body)
        assert sum(map(len, related.parts.values())) + len(related.root) <= len(body)
    except Unreadable:
        pass
    assert read_related(TYPE, ROOT + b"--b--").root == b"<root/>"


@given(st.text(max_size=60))
def test_any_content_type_is_read_or_refused(text: str) -> None:
    for header in (text, f"multipart/related;{text}", f'multipart/related; boundary="{text}'):
        with contextlib.suppress(Unreadable):
            read_content_type(header)
