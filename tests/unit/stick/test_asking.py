"""The page's end of the socket, against a reader that a stick has taken over: whatever it says is our own error."""

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from passevue.errors import BoxError, Refused, Unreadable, ZoneAway
from passevue.stick import wire
from passevue.stick.asking import asked
from passevue.stick.chosen import Want
from passevue.stick.wire import Kind

FILE = wire.frame(Kind.FILE, {"field": "bundle", "size": 4})


@asynccontextmanager
async def saying(path: Path, said: bytes) -> AsyncIterator[list[bytes]]:
    """Somebody at the socket who says that, whatever he is asked."""
    heard: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readline())
        writer.write(said)
        writer.close()

    async with await asyncio.start_unix_server(answer, str(path)):
        yield heard


async def taken(path: Path) -> list[tuple[str, bytes]]:
    found = []
    async with asked(path, Want.BUNDLE, "S") as answer:
        while (file := await answer.next()) is not None:
            content = b"".join([piece async for piece in answer.pieces()])
            assert len(content) == file.size
            found.append((file.field, content))
    return found


async def test_files_come_whole_and_in_order(tmp_path: Path) -> None:
    empty = wire.frame(Kind.FILE, {"field": "signature", "size": 0})
    said = FILE + wire.frame(Kind.DATA, b"ab") + wire.frame(Kind.DATA, b"cd") + empty + wire.frame(Kind.DONE)
    async with saying(tmp_path / "s", said) as heard:
        assert await taken(tmp_path / "s") == [("bundle", b"abcd"), ("signature", b"")]
    assert wire.read_asking(heard[0]) == (Want.BUNDLE, "S")


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\x01",
        FILE,
        FILE + wire.frame(Kind.DATA, b"abcde"),
        FILE + wire.frame(Kind.DATA, b""),
        FILE + wire.frame(Kind.DONE),
        FILE + FILE,
        wire.frame(Kind.DATA, b"ab"),
        b"\x09\0\0\0\0",
        struct.pack(">BI", Kind.DATA, 1 << 31),
        struct.pack(">BI", Kind.FILE, 1 << 20),
        *(wire.frame(Kind.FILE, each) for each in (b"", b"[]", b"[" * 4000, b"\xff", b'{"field": 1, "size": 1}')),
        *(wire.frame(Kind.FILE, {"field": "bundle", "size": each}) for each in (-1, True, "9", None, 1.5)),
        wire.frame(Kind.TROUBLE, b"[]"),
    ],
)
async def test_what_is_not_the_protocol_is_our_own_error(tmp_path: Path, said: bytes) -> None:
    async with saying(tmp_path / "s", said):
        with pytest.raises(Unreadable):
            await taken(tmp_path / "s")


async def test_its_words_are_one_short_printable_line(tmp_path: Path) -> None:
    said = wire.frame(Kind.TROUBLE, {"code": "x" * 900, "hint": "Retirez\n\x1b[31mla clé " + "z" * 900})
    async with saying(tmp_path / "s", said):
        with pytest.raises(Refused) as told:
            await taken(tmp_path / "s")
    assert len(told.value.code) == 40
    assert told.value.hint.startswith("Retirez[31mla clé z")
    assert len(told.value.hint) == wire.MOST_HINT


async def test_nobody_there_is_told_as_that(tmp_path: Path) -> None:
    with pytest.raises(ZoneAway) as told:
        await taken(tmp_path / "s")
    assert "recommencez" in told.value.hint


@pytest.mark.parametrize(
    "line", [b"", b"\n", b"[]\n", b"{}\n", json.dumps({"want": "keys", "serial": "S"}).encode(), b"{" * 300]
)
def test_a_question_that_is_none_is_refused(line: bytes) -> None:
    with pytest.raises(BoxError):
        wire.read_asking(line)
