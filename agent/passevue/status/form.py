"""A posted form, read with bounds: at most 4 KiB, 20 fields, ten seconds, one plain encoding.

Codes and passwords are kept apart as bytes that can be overwritten, and are when the form is left:

    async with posted(request, secrets=("pin",)) as form:
        form.text("reader"); form.secret("pin")

What the socket and the interpreter copied on the way is out of reach; that process has no core file and no swap.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from aiohttp import web

from passevue.status.wiping import wipe

MAX_BYTES = 4 << 10
MAX_FIELDS = 20
WITHIN_S = 10.0
_NAME = re.compile(rb"[a-z_]{1,20}")
_HEX = b"0123456789abcdefABCDEF"


class Form:
    """Fields by name. `text` of an absent field is ""."""

    def __init__(self, texts: dict[str, str], secrets: dict[str, bytearray]) -> None:
        self._texts = texts
        self._secrets = secrets

    def text(self, name: str, longest: int = 200) -> str:
        """Without control characters, cut to what such a field may hold."""
        clean = "".join(c for c in self._texts.get(name, "") if c.isprintable())
        return clean.strip()[:longest]

    def number(self, name: str) -> int | None:
        found = self._texts.get(name, "")
        return int(found) if re.fullmatch(r"[0-9]{1,12}", found) else None

    def secret(self, name: str) -> bytearray:
        """The field's own buffer: whoever takes it may overwrite it."""
        return self._secrets.setdefault(name, bytearray())

    def wipe(self) -> None:
        for each in self._secrets.values():
            wipe(each)


@asynccontextmanager
async def posted(request: web.Request, secrets: Collection[str] = ()) -> AsyncIterator[Form]:
    """The form of `request`, wiped when left.

    Raises:
        HTTPBadRequest, HTTPUnsupportedMediaType, HTTPRequestEntityTooLarge, HTTPRequestTimeout: not a form of ours.
    """
    if request.content_type != "application/x-www-form-urlencoded" or "Content-Encoding" in request.headers:
        raise web.HTTPUnsupportedMediaType(text="A plain form is expected.\n")
    body = await _body(request)
    try:
        form = read_form(body, secrets)
    except ValueError as err:
        raise web.HTTPBadRequest(text="This form cannot be read.\n") from err
    finally:
        wipe(body)
    try:
        yield form
    finally:
        form.wipe()


async def _body(request: web.Request) -> bytearray:
    body = bytearray()
    try:
        async with asyncio.timeout(WITHIN_S):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > MAX_BYTES:
                    wipe(body)
                    raise web.HTTPRequestEntityTooLarge(MAX_BYTES, len(body), text="This form is too long.\n")
    except TimeoutError as err:
        wipe(body)
        raise web.HTTPRequestTimeout(text="This form took too long.\n") from err
    return body


def read_form(body: bytearray, secrets: Collection[str] = ()) -> Form:
    """application/x-www-form-urlencoded (WHATWG URL § 5.1), each name once.

    Raises:
        ValueError: too many fields, a name twice, a name that is none, or text that is not UTF-8.
    """
    texts: dict[str, str] = {}
    hidden: dict[str, bytearray] = {}
    start = fields = 0
    while start < len(body):
        end = body.find(b"&", start)
        end = len(body) if end < 0 else end
        middle = body.find(b"=", start, end)
        middle = end if middle < 0 else middle
        name = bytes(body[start:middle])
        if not _NAME.fullmatch(name) or name.decode() in texts | hidden or (fields := fields + 1) > MAX_FIELDS:
            raise ValueError("not a field")
        value = _unquoted(body, middle + 1, end)
        if name.decode() in secrets:
            hidden[name.decode()] = value
        else:
            texts[name.decode()] = value.decode("utf-8")
        start = end + 1
    return Form(texts, hidden)


def _unquoted(body: bytearray, start: int, end: int) -> bytearray:
    """Percent-decoded into one buffer of its own."""
    value = bytearray(max(end - start, 0))
    size = 0
    while start < end:
        byte = body[start]
        if byte == 0x25 and start + 2 < end and body[start + 1] in _HEX and body[start + 2] in _HEX:
            byte = int(body[start + 1 : start + 3], 16)
            start += 2
        elif byte == 0x2B:
            byte = 0x20
        value[size] = byte
        size += 1
        start += 1
    del value[size:]
    return value
