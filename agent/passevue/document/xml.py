"""The one XML parser of the box: every document from outside comes through `parse`.

Rules (reliability.md § 8, N-10): no DTD at all, so no entities and no amplification; nothing is fetched; XInclude is
not known; size, depth, attributes and elements are bounded. Processing instructions and comments are dropped, and text
that a comment cuts in two is one text. A huge text node is normal: the PDF of a report is one of some hundred kB.

Facts: lxml learns of a DTD only after it has read it, and its amplification guard is off once huge text nodes are
allowed. So something goes over the bytes first. Of nearly every report the bytes alone show that there is no DTD and
that no bound can be passed (`_shows_itself_plain`, 50 µs where a message has 325 kB, as `find` looks at words); of
the others expat finds out (400 µs), which stops at the first `<!DOCTYPE`. Depth alone is looked at afterwards: libxml2
itself stops at 2,048 levels.
"""

import re
from xml.parsers import expat

from lxml import etree

from passevue.errors import Unreadable

MAX_BYTES = 32 << 20
MAX_DEPTH = 64
MAX_ATTRIBUTES = 256  # of one element
MAX_ELEMENTS = 200_000  # a level 3 report has some thousands
_LONG_TAG = 5 * MAX_ATTRIBUTES  # bytes: a shorter one has no room for more than as many of ` a=""`
# No declaration is UTF-8. In these encodings `<`, `=` and DOCTYPE are the bytes of ASCII and nothing else is.
_DECLARATION = re.compile(
    rb"""(?:\xef\xbb\xbf)?(?:<\?xml\s+version\s*=\s*["']1\.0["']"""
    rb"""(?:\s+encoding\s*=\s*["'](?i:utf-8|us-ascii|iso-8859-1|iso-8859-15|windows-1252)["'])?"""
    rb"""(?:\s+standalone\s*=\s*["'](?:yes|no)["'])?\s*\?>\s*)?<(?!\?xml\s|\x00)"""
)
_TOO_DEEP = etree.XPath(f"boolean(/{'/*' * (MAX_DEPTH + 1)})")


class _Gate:
    """Expat handlers that count, and refuse."""

    def __init__(self) -> None:
        self.depth = 0
        self.elements = 0

    def start(self, _name: str, attributes: list[str]) -> None:
        self.depth += 1
        self.elements += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable(f"XML: expected at most {MAX_DEPTH} levels")
        if len(attributes) > 2 * MAX_ATTRIBUTES:
            raise Unreadable(f"XML: expected at most {MAX_ATTRIBUTES} attributes on an element")
        if self.elements > MAX_ELEMENTS:
            raise Unreadable(f"XML: expected at most {MAX_ELEMENTS} elements")

    def end(self, _name: str) -> None:
        self.depth -= 1

    def doctype(self, *_args: object) -> None:
        raise Unreadable("XML: a DTD is never taken")


def check_bounds(data: bytes, max_bytes: int) -> None:
    """What `parse` refuses, namespaces aside: for the one reader that mends them (`xdm_metadata`).

    Raises:
        Unreadable: not well-formed, holds a DTD, or passes a bound.
    """
    if len(data) > max_bytes:
        raise Unreadable(f"XML: expected at most {max_bytes} bytes, got {len(data)}")
    gate = _Gate()
    reader = expat.ParserCreate()
    reader.ordered_attributes = True
    reader.StartElementHandler = gate.start
    reader.EndElementHandler = gate.end
    reader.StartDoctypeDeclHandler = gate.doctype
    try:
        reader.Parse(data, True)
    except expat.ExpatError as err:
        raise Unreadable(f"XML: not well-formed at line {err.lineno}") from err
    except (LookupError, ValueError) as err:  # an encoding that Python does not know, or of several bytes
        raise Unreadable("XML: unknown encoding") from err


def parse(data: bytes, *, max_bytes: int = MAX_BYTES) -> etree._Element:
    """The root element of the document in `data`.

    Raises:
        Unreadable: not well-formed, holds a DTD, or passes a bound.
    """
    plain = len(data) <= max_bytes and _shows_itself_plain(data)
    if not plain:
        check_bounds(data, max_bytes)
    reader = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=True,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(data, reader)
    except etree.XMLSyntaxError as err:
        raise Unreadable(f"XML: not well-formed at line {err.lineno}") from err
    except (LookupError, ValueError) as err:
        raise Unreadable("XML: unknown encoding") from err
    if root.getroottree().docinfo.internalDTD is not None:
        raise Unreadable("XML: a DTD is never taken")
    if plain and _TOO_DEEP(root):
        raise Unreadable(f"XML: expected at most {MAX_DEPTH} levels")
    return root


def _shows_itself_plain(data: bytes) -> bool:
    """Whether there is surely no DTD, and no bound passed but that of depth. False says nothing."""
    if _DECLARATION.match(data) is None:
        return False
    start, elements = data.find(b"<"), 0
    while start >= 0:
        end = data.find(b"<", start + 1)  # what lies between is one tag, and the text behind it
        elements += 1
        if elements > MAX_ELEMENTS or data.startswith(b"<!DOCTYPE", start):
            return False
        if (end if end >= 0 else len(data)) - start > _LONG_TAG and _has_many_equals(data, start, end):
            return False
        start = end
    return True


def _has_many_equals(data: bytes, start: int, end: int) -> bool:
    """More than attributes may be; text has few."""
    for _ in range(MAX_ATTRIBUTES + 1):
        start = data.find(b"=", start + 1, end if end >= 0 else len(data))
        if start < 0:
            return False
    return True
