"""The HL7 v2 parser: separators, line ends, charsets, escapes, bounds; `hl7` (python-hl7) as an oracle."""

import time
from pathlib import Path

import hl7 as oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from passevue.errors import Hl7Error, Unreadable
from passevue.intake.hl7 import (
    MAX_COMPONENTS,
    MAX_FIELDS,
    MAX_REPETITIONS,
    MAX_SEGMENTS,
    MAX_TEXT_BYTES,
    STANDARD,
    escaped,
    parse,
    read_msh,
    unescape,
)

SAMPLES = Path(__file__).parents[2] / "samples" / "hl7v2"
HEAD = b"MSH|^~\\&|A|B|C|D|20261121||ORU^R01^ORU_R01|1|P|2.5|||||FRA|UNICODE UTF-8"


def of_charset(charset: str, text: bytes) -> bytes:
    return HEAD.replace(b"UNICODE UTF-8", charset.encode()) + b"\rPID|||" + text + b"\r"


def refused(raw: bytes) -> Hl7Error:
    with pytest.raises(Hl7Error) as caught:
        parse(raw)
    return caught.value


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n", b"\r\r", b"\n\n", b"\r\n\r\n"])
def test_segments_end_with_cr_lf_or_both(end):
    message = parse(HEAD + end + b"PID|||id" + end + b"PV1|1|I" + end)
    assert message.names == ("MSH", "PID", "PV1")
    assert message.only("PID").text(3) == "id"


def test_the_last_segment_needs_no_end():
    assert parse(HEAD + b"\rPID|||id").only("PID").text(3) == "id"


def test_line_ends_may_differ_inside_one_message():
    assert parse(HEAD + b"\rPID|||id\nPV1|1|I\r\nORC|NW").names == ("MSH", "PID", "PV1", "ORC")


def test_a_line_that_is_no_segment_goes_on_with_the_one_before():
    """As `patient1.hl7` breaks OBX-3, and as encoders wrap base64."""
    message = parse(HEAD + b"\nOBX|4|CE|CODE^Text \n||N|\nOBX|1|ED|||^^^^AAAA\nBBBB\nCC==||||||F|\n")
    first, second = message.all("OBX")
    assert first.text(5) == "N"
    assert second.components(5)[4] == b"AAAABBBBCC=="
    assert second.text(11) == "F"


def test_segments_of_unknown_name_are_kept_aside_unread():
    message = parse(HEAD + b"\rZZZ|x|y\rPID|||id\rZ9A\r")
    assert message.names == ("MSH", "ZZZ", "PID", "Z9A")


@pytest.mark.parametrize("before", [b"\xef\xbb\xbf", b"\r\n\r\n", b"\n\n", b"  "])
def test_a_byte_order_mark_and_empty_lines_before_msh_are_forgiven(before):
    assert parse(before + HEAD + b"\rPID|||id").only("PID").text(3) == "id"
    assert read_msh(before + HEAD).text(10) == "1"


@pytest.mark.parametrize(
    "raw", [b"", b"MS", b"PID|||id", b"FHS|^~\\&|", b"M\0S\0H\0|\0", b"\xff\xfeM\0S\0H\0", b"\0" * 100, b"msh|^~\\&|"]
)
def test_without_msh_there_is_nothing_to_answer(raw):
    with pytest.raises(Unreadable):
        parse(raw)
    with pytest.raises(Unreadable):
        read_msh(raw)


def test_separators_are_those_that_msh_announces():
    raw = b"MSH$*%!@$A$B$C$D$20261121$$ORU*R01$1$P$2.5\rPID$$$a*b@c%d*e$x!S!y"
    pid = parse(raw).only("PID")
    assert [pid.text(3, 1), pid.text(3, 2, 1), pid.text(3, 2, 2)] == ["a", "b", "c"]
    assert pid.repetitions(3) == [b"a*b@c", b"d*e"]
    assert pid.text(4) == "x*y"


def test_the_truncation_sign_of_2_7_is_taken():
    assert parse(HEAD.replace(b"^~\\&", b"^~\\&#")).msh.text(10) == "1"


@pytest.mark.parametrize(
    "signs",
    [b"|||||", b"|^^\\&", b"|^", b"||~\\&", b"|^~\\|", b"\x01^~\\&", b"|^~\\\x02", b"A^~\\&", b"|^~\\ ", b"|a~\\&"],
)
def test_odd_separators_are_refused_with_the_place(signs):
    error = refused(b"MSH" + signs + b"|A|B|C|D|20261121||ORU^R01|1|P|2.5")
    assert (error.code, error.location) == (102, "MSH^1^2")


@pytest.mark.parametrize(
    ("charset", "text", "read"),
    [
        ("UNICODE UTF-8", "é€œ".encode(), "é€œ"),
        ("8859/15", "é€œ".encode("iso8859-15"), "é€œ"),
        ("8859/1", "é".encode("latin-1"), "é"),
        ("", "é".encode(), "é"),
        ("UTF-8", "é".encode(), "é"),
        ("8859/1", "é’".encode(), "é’"),  # says Latin-1 and is UTF-8, as patient1.hl7
        ("8859/15~UNICODE UTF-8", "é".encode("iso8859-15"), "é"),  # the first repetition is the message's own
    ],
)
def test_text_is_read_in_the_charset_of_msh_18(charset, text, read):
    assert parse(of_charset(charset, text)).only("PID").text(3) == read


@pytest.mark.parametrize("charset", ["UNICODE UTF-8", ""])
def test_latin_1_said_to_be_utf_8_is_refused_and_not_guessed(charset):
    error = refused(of_charset(charset, "é".encode("latin-1")))
    assert (error.code, error.location) == (102, "MSH^1^18")


def test_a_charset_that_is_not_ours_is_refused():
    error = refused(of_charset("UNICODE UTF-16", b"x"))
    assert (error.code, error.location) == (103, "MSH^1^18")


@pytest.mark.parametrize("byte", [b"\0", b"\x0b", b"\x1c"])
def test_bytes_of_the_frame_and_nul_are_refused_inside(byte):
    assert refused(HEAD + b"\rPID|||i" + byte + b"d").code == 102


@pytest.mark.parametrize(
    "text", [b"a\x07b", b"a\\X0D\\b", b"a\\X0D0A\\b", b"a\\.br\\PV1", b"a\\X00\\b", b"a\\X1C\\b", b"\xc2\x85x"]
)
def test_control_characters_in_text_that_is_read_are_refused(text):
    pid = parse(HEAD + b"\rPID|||" + text).only("PID")
    with pytest.raises(Hl7Error) as caught:
        pid.text(3)
    assert (caught.value.code, caught.value.location) == (102, "PID^1^3")


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (r"\F\\S\\T\\R\\E\ ".strip(), "|^&~\\"),
        (r"a\H\b\N\c", "abc"),
        (r"\XC3A9\ ".strip(), "é"),
        (r"\Xzz\ ".strip(), r"\Xzz\ ".strip()),
        (r"\Zxx\ ".strip(), r"\Zxx\ ".strip()),
        (r"C:\temp", r"C:\temp"),
        ("\\", "\\"),
        (r"\\F\ ".strip(), r"\| ".strip()),
        ("plain", "plain"),
    ],
)
def test_escapes_are_read_once_and_unknown_ones_left(text, read):
    assert unescape(text) == read


def test_an_escape_bomb_only_shrinks():
    bomb = r"\X0D0A\ ".strip() * 20_000
    started = time.perf_counter()
    assert len(unescape(bomb)) <= len(bomb)
    assert time.perf_counter() - started < 5


@given(st.text())
def test_what_is_escaped_reads_back_and_holds_no_separator(text):
    safe = escaped(text)
    assert not set(safe) & set("|^&~\r\n\x0b\x1c")
    assert unescape(safe) == "".join(" " if ord(c) < 32 or 127 <= ord(c) < 160 else c for c in text)


@pytest.mark.parametrize(
    ("count", "taken"), [(MAX_SEGMENTS - 1, True), (MAX_SEGMENTS, True), (MAX_SEGMENTS + 1, False)]
)
@pytest.mark.parametrize("end", [b"\r", b"\r\n"])
def test_segments_are_bounded(count, taken, end):
    raw = HEAD + end + (b"NTE|1" + end) * (count - 1)
    if taken:
        assert len(parse(raw).segments) == count
    else:
        assert refused(raw).code == 199


@pytest.mark.parametrize(("count", "taken"), [(MAX_FIELDS - 1, True), (MAX_FIELDS, True), (MAX_FIELDS + 1, False)])
@pytest.mark.parametrize("padding", [b"", b"x" * (40 << 10)])
def test_fields_are_bounded(count, taken, padding):
    raw = HEAD + b"\rPID" + b"|" * count + b"end" + padding
    if taken:
        assert parse(raw).only("PID").field(count) == b"end" + padding
    else:
        assert refused(raw).code == 199


@pytest.mark.parametrize(
    ("count", "taken"), [(MAX_REPETITIONS - 1, True), (MAX_REPETITIONS, True), (MAX_REPETITIONS + 1, False)]
)
def test_repetitions_are_bounded(count, taken):
    pid = parse(HEAD + b"\rPID|||" + b"~".join([b"x"] * count)).only("PID")
    if taken:
        assert len(pid.repetitions(3)) == count
        assert pid.text(3) == "x"
    else:
        with pytest.raises(Hl7Error):
            pid.repetitions(3)
        with pytest.raises(Hl7Error):
            pid.text(3)


@pytest.mark.parametrize("sign", [b"^", b"&"])
@pytest.mark.parametrize(
    ("count", "taken"), [(MAX_COMPONENTS - 1, True), (MAX_COMPONENTS, True), (MAX_COMPONENTS + 1, False)]
)
def test_components_and_subcomponents_are_bounded(sign, count, taken):
    pid = parse(HEAD + b"\rPID|||" + sign.join([b"x"] * count)).only("PID")
    if taken:
        assert pid.text(3) == "x"
    else:
        with pytest.raises(Hl7Error):
            pid.text(3)


@pytest.mark.parametrize(("size", "taken"), [(MAX_TEXT_BYTES, True), (MAX_TEXT_BYTES + 1, False)])
def test_text_is_bounded(size, taken):
    pid = parse(HEAD + b"\rPID|||" + b"x" * size).only("PID")
    if taken:
        assert len(pid.text(3)) == size
    else:
        with pytest.raises(Hl7Error):
            pid.text(3)


@pytest.mark.parametrize("filler", [b"\r", b"\n", b"\r\n", b"PID\r", b"x\r"])
def test_a_million_empty_lines_cost_no_memory_and_little_time(filler):
    started = time.perf_counter()
    with pytest.raises(Hl7Error):
        parse(HEAD + b"\r" + filler * 1_000_000)
    assert time.perf_counter() - started < 5


def test_fields_beyond_the_end_are_empty():
    pid = parse(HEAD + b"\rPID").only("PID")
    assert (pid.field(3), pid.text(3), pid.repetitions(3), pid.text(5, 7, 2)) == (b"", "", [], "")


def test_fields_of_msh_are_numbered_as_the_standard_does():
    msh = parse(HEAD).msh
    assert (msh.field(1), msh.field(2), msh.text(3), msh.text(9, 2), msh.text(12)) == (
        b"|",
        b"^~\\&",
        "A",
        "R01",
        "2.5",
    )


def test_one_segment_means_one():
    message = parse(HEAD + b"\rPID|1\rPID|2")
    with pytest.raises(Hl7Error) as caught:
        message.only("PID")
    assert (caught.value.code, caught.value.location) == (198, "PID^2")
    with pytest.raises(Hl7Error) as caught:
        message.only("PV1")
    assert (caught.value.code, caught.value.location) == (100, "PV1")


def test_the_header_is_read_whatever_follows_it():
    assert read_msh(HEAD + b"\r\0\x1c\x0b|||").text(10) == "1"
    assert read_msh(b"MSH|^|A|B|C|D|20261121||ORU^R01|77|P|2.5").field(10) == b"77"


@pytest.mark.parametrize("name", [path.name for path in sorted(SAMPLES.iterdir()) if path.suffix in {".hl7", ".er7"}])
def test_samples_read_as_python_hl7_reads_them(name):
    raw = (SAMPLES / name).read_bytes()
    text = raw.decode("utf-8").strip().replace("\r\n", "\r").replace("\n", "\r").replace("\r||N|", "||N|")
    theirs, ours = oracle.parse(text), parse(raw)
    assert len(theirs) == len(ours.segments)
    for their, our in zip(theirs, ours.segments, strict=True):
        assert str(their).encode() == our.raw


_leaf = st.text(
    st.characters(codec="utf-8", exclude_characters="|^~\\&\r\n\x0b\x1c\0", categories=("L", "N", "P", "Zs"))
)
_field = st.recursive(
    _leaf, lambda inner: st.one_of(st.lists(inner, min_size=1, max_size=3).map("^".join)), max_leaves=6
)


@given(st.lists(st.tuples(st.sampled_from(["PID", "OBX", "ZZ1"]), st.lists(_field, max_size=8)), max_size=6))
def test_python_hl7_agrees_on_every_leaf(rows):
    text = HEAD.decode() + "".join(f"\r{name}|" + "|".join(fields) for name, fields in rows)
    theirs, ours = oracle.parse(text), parse(text.encode())
    for their, our in zip(theirs, ours.segments, strict=True):
        for number in range(3, len(their)):
            for component in (1, 2, 3):
                expected = _theirs(their, number, component)
                assert our.text(number, component) == expected.strip()


def _theirs(segment: oracle.Segment, number: int, component: int) -> str:
    try:
        return segment.extract_field(segment_num=1, field_num=number, repeat_num=1, component_num=component) or ""
    except (IndexError, LookupError):
        return ""


@given(st.binary(max_size=400))
def test_any_bytes_after_msh_are_read_or_refused_with_our_error(data):
    for raw in (data, b"MSH" + data, HEAD + b"\r" + data):
        try:
            message = parse(raw)
            for segment in message.segments:
                for number in range(1, 30):
                    segment.text(number, 2)
        except (Hl7Error, Unreadable):
            continue
    assert parse(HEAD).separators == STANDARD
