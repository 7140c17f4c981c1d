"""HTTPS with a card's key, away from the main loop: real sockets, a real server that asks for the certificate."""

import asyncio
import ssl
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import aiohttp
import psutil
import pytest
from aiohttp import web

from passevue.card.key_signer import tls_key_of
from passevue.card.tls_thread import TlsThread
from passevue.errors import (
    BoxError,
    CardAbsent,
    CardFault,
    CredentialError,
    NetworkError,
    PinNeeded,
    TrustError,
    Unreadable,
)
from tests.peers.pki import KeyPaths, Pki
from tests.peers.pki_persons import CardKeys, Persons

from .only_signs import OnlySigns


class Far:
    """An HTTPS server that wants a person's certificate."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context
        self.url = ""
        self.seen: list[tuple[str, int]] = []
        self.hold = asyncio.Event()
        self.reached = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        tls = request.transport.get_extra_info("ssl_object")
        self.seen.append((tls.version(), int(tls.getpeercert()["serialNumber"], 16)))
        self.reached.set()
        if request.path == "/hold":
            await self.hold.wait()
        if request.path == "/big":
            return web.Response(body=b"x" * 100_000)
        return web.Response(body=await request.read(), headers={"X-Said": "oui"})


@pytest.fixture
async def far(server_key: KeyPaths, persons: Persons) -> AsyncIterator[Far]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server_key.certificate, server_key.key)
    context.load_verify_locations(persons.authority)
    context.verify_mode = ssl.CERT_REQUIRED
    far = Far(context)
    app = web.Application()
    app.router.add_route("*", "/{any:.*}", far.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    far.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
    yield far
    far.hold.set()
    await runner.cleanup()


@asynccontextmanager
async def connections(card: OnlySigns, authority: Pki, persons: Persons, **options: float) -> AsyncIterator[TlsThread]:
    context = ssl.create_default_context(cafile=str(authority.authority))
    key, operation = tls_key_of(card, asyncio.get_running_loop(), [persons.sub_authority])
    operation._timeout_s = options.get("timeout_s", 20.0)
    async with TlsThread(context, key, operation) as https:
        yield https


@pytest.fixture
async def cps3(card_keys: CardKeys) -> OnlySigns:
    return OnlySigns(card_keys.authentication)


@pytest.fixture
async def cps4(card_keys: CardKeys) -> OnlySigns:
    return OnlySigns(card_keys.authentication, raw_rsa=True)


@contextmanager
def longest_block() -> Iterator[list[float]]:
    """The longest time in which the running loop did nothing, in seconds."""
    loop, found = asyncio.get_running_loop(), [0.0]
    last = time.perf_counter()
    handle: asyncio.TimerHandle

    def beat() -> None:
        nonlocal last, handle
        now = time.perf_counter()
        found[0] = max(found[0], now - last - 0.001)
        last = now
        handle = loop.call_later(0.001, beat)

    handle = loop.call_later(0.001, beat)
    yield found
    handle.cancel()


@pytest.mark.parametrize(("kind", "version"), [("cps3", "TLSv1.2"), ("cps4", "TLSv1.3")])
async def test_a_request_goes_out_with_the_cards_certificate(
    far: Far, organisations: Pki, persons: Persons, cps3: OnlySigns, cps4: OnlySigns, kind: str, version: str
) -> None:
    card = {"cps3": cps3, "cps4": cps4}[kind]
    async with connections(card, organisations, persons) as https:
        answer = await https.request("POST", f"{far.url}/a", body=b"bonjour", headers={"Content-Type": "text/plain"})
        assert (answer.status, answer.body, answer.headers["x-said"]) == (200, b"bonjour", "oui")
        await https.request("POST", f"{far.url}/a", body=b"encore")
    assert far.seen == [(version, card.certificate.serial_number)] * 2
    assert card.signatures == 1, "a connection that is kept open signs once"


async def test_the_main_loop_stands_still_for_no_signature(
    far: Far, organisations: Pki, persons: Persons, cps3: OnlySigns
) -> None:
    cps3.takes_s = 0.6
    async with connections(cps3, organisations, persons) as https:
        with longest_block() as longest:
            await https.request("GET", f"{far.url}/a")
    assert cps3.signatures == 1
    # The bound is 20 ms; the far end's own handshake runs on this loop too, and two cores are shared.
    assert longest[0] < 0.2


async def test_a_card_pulled_in_the_handshake_ends_the_request_at_once(
    far: Far, organisations: Pki, persons: Persons, cps3: OnlySigns
) -> None:
    cps3.takes_s = 15
    async with connections(cps3, organisations, persons) as https:
        asking = asyncio.create_task(https.request("GET", f"{far.url}/a"))
        await cps3.asked.wait()
        cps3.pulled.set()
        with pytest.raises(CardAbsent) as caught:
            await asyncio.wait_for(asking, 5)
    assert caught.value.hint
    assert far.seen == []


@pytest.mark.parametrize("moment", ["handshake", "answer"])
async def test_closing_for_a_removal_cuts_what_is_under_way_with_that_reason(
    far: Far, organisations: Pki, persons: Persons, cps3: OnlySigns, moment: str
) -> None:
    cps3.takes_s = 15 if moment == "handshake" else 0
    async with connections(cps3, organisations, persons) as https:
        asking = asyncio.create_task(https.request("GET", f"{far.url}/hold"))
        await (cps3.asked if moment == "handshake" else far.reached).wait()
        await asyncio.wait_for(https.close(CardAbsent("pulled")), 5)
        with pytest.raises(CardAbsent, match="pulled"):
            await asking
        with pytest.raises(CardAbsent, match="pulled"):
            await https.request("GET", f"{far.url}/a")
    assert not [thread for thread in threading.enumerate() if thread.name == "card-tls"]


async def test_a_cancelled_request_is_gone_at_once_and_the_next_one_works(
    far: Far, organisations: Pki, persons: Persons, cps3: OnlySigns
) -> None:
    cps3.takes_s = 3
    async with connections(cps3, organisations, persons) as https:
        asking = asyncio.create_task(https.request("GET", f"{far.url}/a"))
        await cps3.asked.wait()
        asking.cancel()
        begun = time.perf_counter()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert time.perf_counter() - begun < 2.5
        assert (await https.request("GET", f"{far.url}/a")).status == 200


@pytest.mark.parametrize("failure", [PinNeeded("no code"), CardFault("6F00")])
async def test_why_the_card_does_not_sign_is_what_the_caller_gets(
    far: Far, organisations: Pki, persons: Persons, cps3: OnlySigns, failure: BoxError
) -> None:
    cps3.fails = failure
    async with connections(cps3, organisations, persons) as https:
        with pytest.raises(type(failure)) as caught:
            await https.request("GET", f"{far.url}/a")
        assert caught.value is failure
        cps3.fails = None
        assert (await https.request("GET", f"{far.url}/a")).status == 200


async def test_a_card_that_never_signs_is_given_up(
    far: Far, organisations: Pki, persons: Persons, cps3: OnlySigns
) -> None:
    cps3.takes_s = 60
    async with connections(cps3, organisations, persons, timeout_s=0.3) as https:
        with pytest.raises(CardFault, match="within") as caught:
            await https.request("GET", f"{far.url}/a")
    assert caught.value.hint


async def test_a_swapped_cards_signature_opens_no_connection(
    far: Far, organisations: Pki, persons: Persons, cps3: OnlySigns, card_keys: CardKeys
) -> None:
    cps3.swapped = card_keys.technical.key
    async with connections(cps3, organisations, persons) as https:
        with pytest.raises(TrustError) as caught:
            await https.request("GET", f"{far.url}/a")
    assert "changée" in caught.value.hint
    assert far.seen == []


async def test_a_server_of_another_authority_gets_no_signature(far: Far, persons: Persons, cps3: OnlySigns) -> None:
    context = ssl.create_default_context(cafile=str(persons.authority))
    key, operation = tls_key_of(cps3, asyncio.get_running_loop())
    async with TlsThread(context, key, operation) as https:
        with pytest.raises(TrustError) as caught:
            await https.request("GET", f"{far.url}/a")
    assert caught.value.hint
    assert cps3.signatures == 0


async def test_a_server_that_is_away_is_a_network_error_and_an_endless_answer_is_cut(
    far: Far, organisations: Pki, persons: Persons, cps3: OnlySigns
) -> None:
    async with connections(cps3, organisations, persons) as https:
        with pytest.raises(NetworkError):
            await https.request("GET", "https://127.0.0.1:9/")
        with pytest.raises(Unreadable):
            await https.request("GET", f"{far.url}/big", max_bytes=50_000)
        with pytest.raises(NetworkError):
            await https.request("GET", f"{far.url}/hold", timeout_s=0.2)
        assert (await https.request("GET", f"{far.url}/big")).body == b"x" * 100_000


async def test_any_coroutine_may_use_the_session_on_its_thread(
    far: Far, organisations: Pki, persons: Persons, cps3: OnlySigns
) -> None:
    async def work(session: aiohttp.ClientSession) -> tuple[str, int]:
        async with session.get(f"{far.url}/a") as response:
            return threading.current_thread().name, response.status

    async with connections(cps3, organisations, persons) as https:
        assert await https.run(work) == ("card-tls", 200)


async def test_a_handshake_begun_on_the_main_loop_fails_instead_of_hanging(
    far: Far, organisations: Pki, persons: Persons, cps3: OnlySigns
) -> None:
    context = ssl.create_default_context(cafile=str(organisations.authority))
    key, operation = tls_key_of(cps3, asyncio.get_running_loop())
    async with TlsThread(context, key, operation):
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientError):
                await session.get(f"{far.url}/a", ssl=context)
        failure = key.take_failure()
    assert isinstance(failure, CredentialError)
    assert "main loop" in failure.message


async def test_fifty_sessions_leave_no_thread_and_no_handle(
    far: Far, organisations: Pki, persons: Persons, cps4: OnlySigns
) -> None:
    process = psutil.Process()
    before = 0
    for number in range(50):
        async with connections(cps4, organisations, persons) as https:
            await asyncio.gather(*(https.request("GET", f"{far.url}/a") for _ in range(3)))
        if number == 5:
            await asyncio.sleep(0.05)
            before = process.num_fds()
    await asyncio.sleep(0.1)
    assert not [thread for thread in threading.enumerate() if thread.name == "card-tls"]
    assert process.num_fds() <= before + 4
