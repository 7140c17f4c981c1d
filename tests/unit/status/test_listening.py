"""How the pages listen and stop: a connection that is kept open holds nobody up."""

import asyncio
import socket

from aiohttp import web

from passevue.status.door import Door, Limits
from passevue.status.listening import Place, listening

ASK = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"


def application() -> web.Application:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="here")

    app = web.Application()
    app.router.add_get("/", answer)
    return app


async def test_it_stops_while_a_visitor_keeps_a_connection_open() -> None:
    async with asyncio.timeout(30):
        async with listening(application(), Door(Limits()), Place("127.0.0.1", 0)) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(ASK)
            assert (await reader.readuntil(b"here")).startswith(b"HTTP/1.1 200")
        assert await reader.read() == b""
        writer.close()


async def test_what_must_end_first_is_told_before_the_rest_is_waited_for() -> None:
    told = asyncio.Event()
    async with listening(application(), Door(Limits()), Place("127.0.0.1", 0), told.set):
        assert not told.is_set()
    assert told.is_set()


async def test_a_socket_that_listens_already_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.setblocking(False)
        async with listening(application(), Door(Limits()), Place("", 0, sock)) as port:
            assert port == sock.getsockname()[1]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(ASK)
            assert b"here" in await reader.readuntil(b"here")
            writer.close()
