"""A file by HTTP: whole or not at all, whatever the other end says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passevue.card.clear_get import MAX_HEAD, pieces
from passevue.errors import NetworkError

BODY = bytes(range(256)) * 700


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that says this to whoever asks, and what it was asked."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answer)
            await writer.drain()
        except (OSError, EOFError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked
    finally:
        server.close()


async def whole(url: str) -> bytes:
    async with asyncio.timeout(30):
        return b"".join([piece async for piece in pieces(url)])


def chunks(*parts: bytes) -> bytes:
    return b"".join(b"%x;a=b\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY + b"and more",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(BODY[:70_000], BODY[70_000:]),
        b"HTTP/1.0 200\r\ncontent-encoding: identity\r\n\r\n" + BODY,
    ],
)
async def test_a_body_comes_whole_however_its_length_is_told(answer: bytes) -> None:
    async with answering(answer) as (url, _):
        assert await whole(f"{url}/a.crl") == BODY


async def test_it_asks_for_what_the_address_says_and_gives_nothing_away() -> None:
    async with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as (url, asked):
        assert await whole(f"{url}/CRL/a.crl?b=c#d") == b""
        assert await whole(url) == b""
    assert asked[0].startswith(b"GET /CRL/a.crl?b=c HTTP/1.1\r\nHost: 127.0.0.1:")
    assert asked[1].startswith(b"GET / HTTP/1.1\r\n")
    assert b"Accept-Encoding: identity\r\n" in asked[0]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshortXX0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nshort\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * (4 * MAX_HEAD) + b"\r\n\r\n",
    ],
)
async def test_what_is_not_a_whole_body_is_refused(answer: bytes) -> None:
    async with answering(answer) as (url, _):
        with pytest.raises(NetworkError):
            await whole(url)


@pytest.mark.parametrize(
    "url", ["ftp://127.0.0.1/", "http://127.0.0.1:9/a b", "http://127.0.0.1:9/\r\nX: y", "http://", "http://h:port/"]
)
async def test_what_is_no_address_is_not_asked(url: str) -> None:
    with pytest.raises(NetworkError):
        await whole(url)


async def test_nobody_there_is_told_as_such() -> None:
    async with answering(b"") as (url, _):
        pass
    with pytest.raises(NetworkError):
        await whole(url)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([b"HTTP/1.1 200 OK", b"\r\n", b"Content-Length: 3", b"Transfer-Encoding: chunked", b"3",
                                 b"abc", b"0", b"\xff", b":"]), max_size=12).map(b"".join))  # fmt: skip
def test_any_answer_is_taken_or_refused(answer: bytes) -> None:
    async def ask() -> None:
        async with answering(answer) as (url, _):
            try:
                assert isinstance(await whole(url), bytes)
            except NetworkError:
                return

    asyncio.run(ask())
