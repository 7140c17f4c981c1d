"""N-10: what the one XML parser refuses, and what it must take."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passevue.document.xml import (
    MAX_ATTRIBUTES,
    MAX_DEPTH,
    MAX_ELEMENTS,
    _shows_itself_plain,
    check_bounds,
    parse,
)
from passevue.errors import Unreadable
from tests.peers.ris import PAT_TROIS, invented_document_id, invented_exam, report

REFUSED = {
    "dtd": b"<!DOCTYPE a><a/>",
    "external_dtd": b'<!DOCTYPE a SYSTEM "http://127.0.0.1:9/x.dtd"><a/>',
    "external_entity": b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
    "parameter_entity": b'<!DOCTYPE a [<!ENTITY % x SYSTEM "file:///etc/passwd"> %x;]><a/>',
    "billion_laughs": b'<!DOCTYPE a [<!ENTITY b "lol"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;">]><a>&c;</a>',
    "quadratic": b'<!DOCTYPE a [<!ENTITY b "' + b"x" * 1000 + b'">]><a>' + b"&b;" * 1000 + b"</a>",
    "entity_in_attribute": b'<!DOCTYPE a [<!ENTITY b "x">]><a c="&b;"/>',
    "undefined_entity": b"<a>&b;</a>",
    "utf16_dtd": '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE a><a/>'.encode("utf-16"),
    "encoding_that_lies": '<?xml version="1.0" encoding="UTF-8"?><a>é</a>'.encode("latin-1"),
    "unknown_encoding": b'<?xml version="1.0" encoding="x-none"?><a/>',
    "utf7": b'<?xml version="1.0" encoding="UTF-7"?><a/>',
    "two_roots": b"<a/><b/>",
    "undeclared_prefix": b"<b:a/>",
    "not_closed": b"<a>",
    "empty": b"",
    "nul": b"<a>\0</a>",
    "duplicate_attribute": b'<a b="1" b="2"/>',
    "same_attribute_by_namespace": b'<a xmlns:x="u" xmlns:y="u" x:b="1" y:b="2"/>',
    "text_first": b"a<a/>",
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(name: str) -> None:
    with pytest.raises(Unreadable):
        parse(REFUSED[name])


def nested(depth: int) -> bytes:
    return b"<a>" * depth + b"</a>" * depth


def test_depth_is_bounded() -> None:
    assert parse(nested(MAX_DEPTH)).tag == "a"
    with pytest.raises(Unreadable, match="levels"):
        parse(nested(MAX_DEPTH + 1))


def test_attributes_are_bounded() -> None:
    def with_attributes(count: int) -> bytes:
        return b"<a " + b" ".join(b'x%d="1"' % number for number in range(count)) + b"/>"

    assert len(parse(with_attributes(MAX_ATTRIBUTES)).attrib) == MAX_ATTRIBUTES
    with pytest.raises(Unreadable, match="attributes"):
        parse(with_attributes(MAX_ATTRIBUTES + 1))


def test_a_million_attributes_are_refused() -> None:
    with pytest.raises(Unreadable, match="attributes"):
        parse(b"<a " + b" ".join(b'x%d="1"' % number for number in range(1_000_000)) + b"/>")


def test_elements_are_bounded() -> None:
    with pytest.raises(Unreadable, match="elements"):
        parse(b"<a>" + b"<b/>" * MAX_ELEMENTS + b"</a>")


def test_size_is_bounded() -> None:
    document = b"<a>" + b"x" * 93 + b"</a>"
    assert parse(document, max_bytes=100).text == "x" * 93
    with pytest.raises(Unreadable, match="at most 99 bytes"):
        parse(document, max_bytes=99)


def test_a_text_node_of_twenty_million_bytes_is_normal() -> None:
    assert len(parse(b"<a>" + b"A" * 20_000_000 + b"</a>").text) == 20_000_000


def test_a_comment_inside_text_gives_the_full_text() -> None:
    assert parse(b"<a>ad<!-- -->min</a>").text == "admin"
    assert parse(b"<a>ad<?x y?>min</a>").text == "admin"
    assert parse(b"<a>ad<![CDATA[mi]]>n</a>").text == "admin"


def test_processing_instructions_are_tolerated() -> None:
    assert parse(b'<?xml version="1.0"?><?xml-stylesheet href="file:///etc/passwd"?><a/>').tag == "a"


def test_xinclude_is_not_followed() -> None:
    root = parse(b'<a xmlns:i="http://www.w3.org/2001/XInclude"><i:include href="/etc/passwd" parse="text"/></a>')
    assert len(root) == 1
    assert root[0].tag == "{http://www.w3.org/2001/XInclude}include"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1", "iso-8859-15", "windows-1252"])
def test_the_declaration_rules(encoding: str) -> None:
    text = f'<?xml version="1.0" encoding="{encoding}"?><a>é</a>'
    assert parse(text.encode(encoding)).text == "é"


def test_the_message_holds_nothing_of_the_document() -> None:
    with pytest.raises(Unreadable) as caught:
        parse(b"<PAT-TROIS>&DOMINIQUE;</PAT-TROIS>")
    assert "PAT" not in str(caught.value)
    assert "DOMINIQUE" not in str(caught.value)


@given(st.binary(max_size=400) | st.binary(max_size=100).map(lambda middle: b"<a b='" + middle + b"'/>"))
def test_any_bytes_are_taken_or_refused(data: bytes) -> None:
    with contextlib.suppress(Unreadable):
        parse(data)
    assert parse(b"<next/>").tag == "next"


# What shows itself plain needs no expat: no DTD and no bound that expat would refuse gets through. (Names alone differ:
# libxml2 takes those of the fifth edition of XML 1.0, U+FEFF among them.)

HEADS = (
    "", "\ufeff", '<?xml version="1.0"?>', '<?xml version="1.0" encoding="UTF-8"?>\n',
    "<?xml version='1.0'?><?xml-stylesheet href='x'?>", "<?xml-stylesheet href='x'?>", "<?xml ?>",
    "<?xml version='1.0' encoding='iso-8859-15' standalone='yes'?>", '<?xml version="1.1"?>',
    '<?xml version="1.0" encoding="UTF-7"?>', '<?xml version="1.0" encoding="hz-gb-2312"?>', "<?pi?>", " ",
)  # fmt: skip
PIECES = ("<a>", "</a>", "<b c='1'/>", "<!DOCTYPE a>", "<!--x-->", "<![CDATA[<!DOCTYPE a>]]>", "text", "&lt;", "&u;",
          "é", "=" * 300, "<a " + "".join(f"x{n}='' " for n in range(MAX_ATTRIBUTES + 1)) + "/>",
          "<a" + " " * 1300 + ">", "\x01", "<", ">", "<?x y?>", "<!doctype a>")  # fmt: skip


@given(
    st.sampled_from(HEADS),
    st.lists(st.sampled_from(PIECES), max_size=12),
    st.sampled_from(["utf-8", "utf-16", "utf-16-le", "iso-8859-15", "utf-7"]),
)
def test_what_expat_refuses_is_not_let_through_by_its_looks(head: str, pieces: list[str], encoding: str) -> None:
    data = (head + "<r>" + "".join(pieces) + "</r>").encode(encoding, "xmlcharrefreplace")
    try:
        parse(data)
    except Unreadable:
        return
    check_bounds(data, 1 << 20)


def test_a_report_shows_itself_plain() -> None:
    """Else expat would go over each report, on the event loop."""
    data = report(PAT_TROIS, invented_exam(1), document_id=invented_document_id(1))
    assert _shows_itself_plain(data)
    assert not _shows_itself_plain(data.replace(b"<ClinicalDocument", b"<!DOCTYPE a><ClinicalDocument", 1))


@pytest.mark.parametrize("name", [name for name in REFUSED if "entity" in name or "dtd" in name or "laughs" in name])
def test_a_dtd_never_shows_itself_plain(name: str) -> None:
    assert name == "undefined_entity" or not _shows_itself_plain(REFUSED[name])
