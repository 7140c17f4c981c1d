"""One file by HTTP, piece by piece: how revocation lists come, of which nothing is believed but the signature (TLS-06).

    async for piece in pieces("http://crl.example/a.crl"):
        …

Rules:
- 200 or nothing: no redirect, no proxy, no compression, no cookie; one request a connection.
- A body is as long as its length says, or its chunks, or its connection; one that is cut short is no body.
- Head and lines are bounded here, the body and the time by whoever asks.

Why not aiohttp: it is 7 MiB in a process that asks for nothing else (`zones.loading`).
"""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from passevue.errors import NetworkError

PIECE = 1 << 16
MAX_HEAD = 16 << 10  # a server's usual bound
_ADDRESS = re.compile(r"https?://[!-~]+")
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: [^\r\n]*)?")


async def pieces(url: str) -> AsyncGenerator[bytes]:
    """The body, in pieces of at most 64 KiB.

    Raises:
        NetworkError: nothing came, something else than 200, or not the whole.
    """
    with _told():
        reader, writer = await _asked(url)
    try:
        with _told():
            head = await _head(reader)
        length, chunked = head.get(b"content-length"), head.get(b"transfer-encoding", b"").lower() == b"chunked"
        async for piece in _chunks(reader) if chunked else _plain(reader, length):
            yield piece
    finally:
        writer.transport.abort()


async def _asked(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if not _ADDRESS.fullmatch(url):
        raise ValueError("not an address")
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    reader, writer = await asyncio.open_connection(
        parts.hostname, parts.port or (443 if secure else 80), ssl=secure or None, limit=MAX_HEAD
    )
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host = parts.netloc.rpartition("@")[2]
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\nAccept-Encoding: identity\r\n"
        "User-Agent: Passevue\r\nConnection: close\r\n\r\n".encode("ascii")
    )
    return reader, writer


async def _head(reader: asyncio.StreamReader) -> dict[bytes, bytes]:
    """The fields of an answer that is 200."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n"))[:-4].split(b"\r\n")
    status = _STATUS.fullmatch(first)
    if status is None:
        raise ValueError("not HTTP")
    if status[1] != b"200":
        raise NetworkError(f"expected 200, got {status[1].decode()}")
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
    if fields.get(b"content-encoding", b"identity").lower() != b"identity":
        raise ValueError("compressed")
    return fields


async def _plain(reader: asyncio.StreamReader, length: bytes | None) -> AsyncIterator[bytes]:
    with _told():
        left = None if length is None else _number(length, 10)
    while left is None or left > 0:
        with _told():
            piece = await reader.read(PIECE if left is None else min(PIECE, left))
            if not piece and left is not None:
                raise ValueError("cut short")
        if not piece:
            return
        left = None if left is None else left - len(piece)
        yield piece


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while True:
        with _told():
            left = _number((await reader.readuntil(b"\r\n")).partition(b";")[0].strip(), 16)
        if not left:
            return
        while left > 0:
            with _told():
                piece = await reader.readexactly(min(PIECE, left))
            left -= len(piece)
            yield piece
        with _told():
            if await reader.readexactly(2) != b"\r\n":
                raise ValueError("a chunk without end")


def _number(text: bytes, base: int) -> int:
    if not re.fullmatch(rb"[0-9A-Fa-f]{1,12}", text):
        raise ValueError("not a length")
    return int(text, base)


@contextmanager
def _told() -> Iterator[None]:
    """What goes wrong on the way, as ours."""
    try:
        yield
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as err:
        raise NetworkError(f"it did not come: {type(err).__name__}") from err
