"""multipart/related, bytes first: what a DMP answer with attachments is made of (RFC 2387, MTOM/XOP; dmp-xds.md § 4).

Rules: nothing is followed, nothing is parsed twice; a part is bytes found by its Content-ID. The closing delimiter must
be there, so a cut answer is never taken for a short one. Time and memory grow with the length of the body only.

Facts: CXF writes boundaries such as `uuid:…`, and the ANS's published files have lost CRs: LF alone is taken. `cid:` in
an href is percent-encoded, Content-ID is not (dmp-xds.md § 4).
"""

import binascii
import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from passevue.errors import Unreadable

MAX_PARTS = 100  # our answers carry no document, or those of one study
MAX_PART_HEADER_BYTES = 8 << 10
MAX_CONTENT_TYPE = 8 << 10

_PARAMETER = re.compile(r';[ \t]*([\w!#$%&\'*+.^`|~-]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^;"\s]*))[ \t]*', re.ASCII)
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]", re.ASCII)
_IDENTITY_ENCODINGS = {"", "binary", "8bit", "7bit"}


@dataclass(frozen=True, slots=True)
class ContentType:
    """A Content-Type header: `media` and the names of `parameters` are in lower case."""

    media: str
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Related:
    """A multipart/related message: its root and, by Content-ID without brackets, its other parts."""

    root_type: ContentType
    root: bytes
    parts: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Part:
    """One part to send: `headers` are whole lines without line ends."""

    headers: Sequence[str]
    content: bytes


def read_content_type(header: str) -> ContentType:
    """Raises: Unreadable when it is not one, or names a parameter twice."""
    if len(header) > MAX_CONTENT_TYPE:
        raise Unreadable("Content-Type: too long")
    media, _, _ = header.partition(";")
    parameters: dict[str, str] = {}
    position = len(media)
    while position < len(header):
        found = _PARAMETER.match(header, position)
        if found is None:
            raise Unreadable("Content-Type: expected parameters as name=value")
        name = found[1].lower()
        if name in parameters:
            raise Unreadable("Content-Type: a parameter is given twice")
        quoted = found[2]
        parameters[name] = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else found[3]
        position = found.end()
    return ContentType(media.strip().lower(), parameters)


def read_related(content_type: ContentType, body: bytes) -> Related:
    """The parts of `body`.

    Raises:
        Unreadable: no or wrong boundary, no closing delimiter, no root, a Content-ID twice, a part that is not what
            its headers say, or a bound is passed.
    """
    boundary = content_type.parameters.get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise Unreadable("multipart: expected a boundary of 1 to 70 characters")
    parts = [_read_part(raw) for raw in _cut(boundary.encode("ascii"), body)]
    start = content_type.parameters.get("start", "").strip("<>")
    position = _root_position([identifier for _, identifier, _ in parts], start)
    others: dict[str, bytes] = {}
    for at, (_, identifier, content) in enumerate(parts):
        if at != position and identifier:
            others[identifier] = content
    return Related(parts[position][0], parts[position][2], others)


def _cut(boundary: bytes, body: bytes) -> list[bytes]:
    delimiter = re.compile(rb"(?:\A|\r?\n)--" + re.escape(boundary) + rb"(--)?[ \t]*(?:\r?\n|\Z)")
    pieces: list[bytes] = []
    start = -1
    position = 0
    while found := delimiter.search(body, position):
        if start >= 0:
            pieces.append(body[start : found.start()])
        if len(pieces) > MAX_PARTS:
            raise Unreadable(f"multipart: expected at most {MAX_PARTS} parts")
        if found[1]:
            return pieces
        start = found.end()
        # The line end before the next delimiter may be the one that ends this one: an empty part.
        position = max(found.end() - 1, found.start() + 1)
    raise Unreadable("multipart: no closing delimiter")


def _read_part(raw: bytes) -> tuple[ContentType, str, bytes]:
    """Content type, Content-ID without brackets, decoded content."""
    head, content = _split_head(raw)
    fields: dict[str, str] = {}
    for line in head:
        name, colon, value = line.partition(":")
        key = name.strip().lower()
        if not colon or key in fields:
            raise Unreadable("multipart: expected one header a line, none twice")
        fields[key] = value.strip()
    encoding = fields.get("content-transfer-encoding", "").lower()
    if encoding == "base64":
        content = _base64(content)
    elif encoding not in _IDENTITY_ENCODINGS:
        raise Unreadable("multipart: unknown Content-Transfer-Encoding")
    kind = read_content_type(fields.get("content-type", "application/octet-stream"))
    return kind, fields.get("content-id", "").removeprefix("<").removesuffix(">"), content


def _split_head(raw: bytes) -> tuple[list[str], bytes]:
    if raw.startswith((b"\r\n", b"\n")):
        return [], raw.split(b"\n", 1)[1]
    found = re.compile(rb"\r?\n\r?\n").search(raw, 0, MAX_PART_HEADER_BYTES)
    if found is None:
        raise Unreadable(f"multipart: part headers do not end within {MAX_PART_HEADER_BYTES} bytes")
    text = raw[: found.start()].decode("latin-1")
    return re.sub(r"\r?\n[ \t]+", " ", text).replace("\r", "").split("\n"), raw[found.end() :]


def _base64(content: bytes) -> bytes:
    try:
        return b64decode(re.sub(rb"\s+", b"", content), validate=True)
    except binascii.Error as err:
        raise Unreadable("multipart: a part is not base64") from err


def _root_position(identifiers: Sequence[str], start: str) -> int:
    known = [identifier for identifier in identifiers if identifier]
    if len(set(known)) != len(known):
        raise Unreadable("multipart: a Content-ID is given twice")
    if not identifiers:
        raise Unreadable("multipart: no part")
    if not start:
        return 0
    if start not in identifiers:
        raise Unreadable("multipart: the root part named by start is missing")
    return identifiers.index(start)


def part_of(parts: Mapping[str, bytes], href: str) -> bytes:
    """The part that an `xop:Include` names.

    Raises:
        Unreadable: `href` is not `cid:` (never fetched), or names no part.
    """
    if not href.startswith("cid:"):
        raise Unreadable("XOP: expected an href to a part of this message")
    try:
        return parts[unquote(href.removeprefix("cid:"))]
    except KeyError as err:
        raise Unreadable("XOP: an href names no part of this message") from err


def write_related(boundary: str, parts: Sequence[Part]) -> tuple[bytes, ...]:
    """The body as chunks in order; contents are not copied. The last chunk is the closing delimiter."""
    chunks: list[bytes] = []
    for part in parts:
        chunks.append("\r\n".join((f"--{boundary}", *part.headers, "", "")).encode())
        chunks.append(part.content)
        chunks.append(b"\r\n")
    chunks.append(f"--{boundary}--\r\n".encode())
    return tuple(chunks)
