"""The MLLP listener over real sockets: bounds, faults of the far side, TLS, stopping (N-01, F-11, F-13, F-14)."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_network

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from passevue import config
from passevue.errors import ConfigError
from passevue.intake.mllp import LARGE_AT_ONCE, MllpServer
from passevue.intake.mllp_connection import LARGE
from passevue.intake.mllp_frames import MAX_JUNK
from passevue.intake.received import Receipt, Received
from passevue.intake.ris import RisDesk, RisMessage
from tests.peers.pki import Pki
from tests.peers.ris import (
    PAT_TROIS,
    Envelope,
    Ris,
    burst,
    framed,
    invented_document_id,
    invented_exam,
    omi,
    oru,
    report,
)

CDA = report(PAT_TROIS, invented_exam(101), document_id=invented_document_id(101), pdf_bytes=700)
SMALL = oru(CDA, PAT_TROIS, envelope=Envelope(control_id="1"))


class Keeper:
    """Keeps in a list; waits at a gate when there is one."""

    def __init__(self) -> None:
        self.kept: list[Received] = []
        self.gate: asyncio.Event | None = None
        self.at_once = self.most_at_once = 0

    async def __call__(self, message: RisMessage, received: Received) -> Receipt:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.gate is not None:
                await self.gate.wait()
            self.kept.append(received)
        finally:
            self.at_once -= 1
        return Receipt(len(self.kept))

    @property
    def control_ids(self) -> list[str]:
        return [received.control_id for received in self.kept]


def section(**values: object) -> config.Ris:
    """A `[ris]` section listening on a free port, which a configuration file cannot ask for."""
    return config.Ris(**values).model_copy(update={"port": 0})


@asynccontextmanager
async def serving(keeper: Keeper, **values: object) -> AsyncIterator[MllpServer]:
    server = MllpServer(section(**values), RisDesk(keeper))
    async with running(server):
        yield server


@asynccontextmanager
async def running(server: MllpServer) -> AsyncIterator[None]:
    task = asyncio.create_task(server.run())
    async with asyncio.timeout(5):
        await server.started()
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert server.connections == 0


def ris_of(server: MllpServer, **more: object) -> Ris:
    return Ris("127.0.0.1", server.port, timeout_s=10, **more)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for is in the box
            await asyncio.sleep(0.01)


async def is_closed(ris: Ris) -> bool:
    reader, _ = await ris.open()
    async with asyncio.timeout(10):
        try:
            return await reader.read(1) == b""
        except ConnectionError:
            return True


async def serves(server: MllpServer) -> bool:
    async with ris_of(server) as ris:
        return (await ris.send(SMALL)).code == "AA"


# Ways through


async def test_a_report_of_real_size_is_answered_on_its_connection():
    keeper = Keeper()
    raw = oru(report(PAT_TROIS, invented_exam(1), document_id="1.2.3"), PAT_TROIS)
    async with serving(keeper) as server, ris_of(server) as ris:
        assert (await ris.send(raw)).code == "AA"
    assert [received.content for received in keeper.kept] == [raw]
    assert keeper.kept[0].peer == "127.0.0.1"


async def test_messages_in_one_segment_are_answered_in_their_order():
    keeper = Keeper()
    messages = [omi(invented_exam(n), PAT_TROIS, envelope=Envelope(control_id=str(n))) for n in range(200)]
    async with serving(keeper) as server, ris_of(server) as ris:
        acks = await ris.together(messages)
    assert [ack.control_id for ack in acks] == [str(n) for n in range(200)] == keeper.control_ids


async def test_messages_of_one_connection_are_handled_one_after_the_other_and_connections_side_by_side():
    keeper = Keeper()
    keeper.gate = asyncio.Event()
    async with serving(keeper) as server, ris_of(server) as one, ris_of(server) as two:
        for ris in (one, two):
            await ris.raw(framed(SMALL) * 3)
        await until(lambda: keeper.at_once == 2)
        await asyncio.sleep(0.05)
        assert keeper.at_once == 2
        keeper.gate.set()
        assert [(await ris.ack()).code for ris in (one, two) for _ in range(3)] == ["AA"] * 6
    assert keeper.most_at_once == 2


async def test_a_burst_of_a_hundred_over_eight_connections_is_answered_whole():
    keeper = Keeper()
    messages = [oru(CDA, PAT_TROIS, envelope=Envelope(control_id=str(n))) for n in range(100)]
    async with serving(keeper) as server:
        rises = [ris_of(server) for _ in range(8)]
        acks = await burst(rises, messages)
        for ris in rises:
            await ris.close()
    assert [(ack.code, ack.control_id) for ack in acks] == [("AA", str(n)) for n in range(100)]
    assert sorted(keeper.control_ids) == sorted(str(n) for n in range(100))


async def test_a_sender_that_wants_no_ack_gets_none_and_the_next_one_is_answered():
    silent = oru(CDA, PAT_TROIS, envelope=Envelope(control_id="s", accept_ack="NE"))
    keeper = Keeper()
    async with serving(keeper) as server, ris_of(server) as ris:
        await ris.raw(framed(silent))
        assert (await ris.send(SMALL)).control_id == "1"
    assert keeper.control_ids == ["s", "1"]


async def test_a_sender_may_close_its_side_and_still_read_its_ack():
    async with serving(Keeper()) as server, ris_of(server) as ris:
        await ris.raw(framed(SMALL))
        (_, writer) = await ris.open()
        writer.write_eof()
        assert (await ris.ack()).code == "AA"
        assert await is_closed(ris)


# Faults of the far side


async def test_a_message_cut_at_any_byte_is_not_taken():
    keeper = Keeper()
    frame = framed(omi(invented_exam(1), PAT_TROIS))
    async with serving(keeper) as server:
        for cut in range(len(frame)):
            await ris_of(server).cut(frame[1:-2], cut)
        assert await serves(server)
    assert keeper.control_ids == ["1"]


async def test_a_message_that_comes_byte_by_byte_is_taken():
    async with serving(Keeper()) as server, ris_of(server) as ris:
        assert (await ris.stall(omi(invented_exam(1), PAT_TROIS))).code == "AA"


async def test_a_sender_gone_before_its_ack_has_its_message_taken_once():
    keeper = Keeper()
    async with serving(keeper) as server:
        ris = ris_of(server)
        await ris.leave(SMALL)
        await until(lambda: len(keeper.kept) == 1)
        assert await serves(server)
        assert ris.ledger.acknowledged == []
    assert len(keeper.kept) == 2  # folding them is the store's: test_mllp_store.py


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"\x0b\x0b" + framed(SMALL), None),
        (b"junk\r\n" + framed(SMALL), None),
        (framed(SMALL.replace(b"PAT-TROIS", b"PAT\x0bTROIS")), 102),
        (framed(SMALL.replace(b"PAT-TROIS", b"PAT\x1cTROIS")), 102),
        (framed(SMALL.replace(b"PAT-TROIS", b"PAT\x00TROIS")), 102),
        (framed(SMALL.replace(b"PAT-TROIS", b"PAT\xe9TROIS")), 102),
        (framed(b"\xef\xbb\xbf" + SMALL), None),
        (b"\x0b" + SMALL + b"\x1c\n", None),
        (b"\x0b" + SMALL + b"\x1c" + framed(SMALL), None),
    ],
)
async def test_what_is_not_quite_mllp_is_taken_or_answered_and_the_next_is_served(data, error):
    async with serving(Keeper()) as server, ris_of(server) as ris:
        await ris.raw(data)
        assert (await ris.ack()).error == error
        assert (await ris.send(SMALL)).code == "AA"


@pytest.mark.parametrize("content", [b"", b"hello", b"M\0S\0H\0|\0", b"GET / HTTP/1.1\r\n"])
async def test_a_frame_without_msh_ends_the_connection_and_the_next_one_is_served(content):
    async with serving(Keeper()) as server:
        async with ris_of(server) as ris:
            await ris.raw(framed(content))
            assert await is_closed(ris)
        assert await serves(server)


async def test_a_far_side_that_does_not_speak_mllp_is_cut():
    async with serving(Keeper()) as server:
        async with ris_of(server) as ris:
            await ris.raw(b"G" * (MAX_JUNK + 1))
            assert await is_closed(ris)
        assert await serves(server)


# Bounds


@pytest.mark.parametrize(("more", "error"), [(-1, None), (0, None), (1, 199), (500_000, 199)])
async def test_a_message_over_the_bound_is_answered_and_the_next_is_served(more, error):
    bound = 1 << 16
    raw = SMALL + b"ZZZ|" + b"x" * (bound + more - len(SMALL) - 4)
    assert len(raw) == bound + more
    async with serving(Keeper(), max_message_bytes=bound) as server, ris_of(server) as ris:
        assert (await ris.send(raw)).error == error
        assert (await ris.send(SMALL)).code == "AA"


async def test_silence_inside_a_message_ends_the_connection():
    async with serving(Keeper(), idle_timeout_s=0.1) as server, ris_of(server) as ris:
        await ris.raw(framed(SMALL)[:-2])
        with capture_logs() as lines:
            assert await is_closed(ris)
        assert [line["reason"] for line in lines] == ["silent inside a message"]


async def test_an_end_block_without_cr_and_nothing_after_it_is_a_message_that_never_ends():
    keeper = Keeper()
    async with serving(keeper, idle_timeout_s=0.1) as server, ris_of(server) as ris:
        await ris.raw(framed(SMALL)[:-1])
        assert await is_closed(ris)
    assert keeper.kept == []


async def test_a_message_that_drips_is_cut_when_its_time_is_over():
    async with serving(Keeper(), idle_timeout_s=10, message_timeout_s=0.3) as server, ris_of(server) as ris:
        with capture_logs() as lines, pytest.raises((EOFError, OSError)):
            await ris.stall(SMALL, piece=1, pause_s=0.02)
        assert [line["reason"] for line in lines] == ["message not whole in time"]
        assert await serves(server)


async def test_silence_between_messages_ends_the_connection_later():
    async with serving(Keeper(), idle_timeout_s=0.05, keep_open_s=0.4) as server, ris_of(server) as ris:
        await asyncio.sleep(0.2)
        assert (await ris.send(SMALL)).code == "AA"
        assert await is_closed(ris)


async def test_a_slow_store_is_not_the_senders_silence():
    keeper = Keeper()
    keeper.gate = asyncio.Event()
    async with serving(keeper, idle_timeout_s=0.05, message_timeout_s=0.1) as server, ris_of(server) as ris:
        await ris.raw(framed(SMALL) + framed(SMALL)[:100])
        await asyncio.sleep(0.3)
        keeper.gate.set()
        assert (await ris.ack()).code == "AA"


@pytest.mark.parametrize(("most", "each"), [(3, 20), (64, 3)])
async def test_connections_are_bounded_in_all_and_by_peer(most, each):
    async with serving(Keeper(), max_connections=most, max_connections_per_peer=each) as server:
        taken = [ris_of(server) for _ in range(3)]
        for ris in taken:
            assert (await ris.send(SMALL)).code == "AA"
        async with ris_of(server) as one_more:
            assert await is_closed(one_more)
        await taken.pop().close()
        await until(lambda: server.connections == 2)
        assert await serves(server)
        for ris in taken:
            assert (await ris.send(SMALL)).code == "AA"
            await ris.close()


async def test_only_the_networks_of_the_senders_may_connect():
    async with serving(Keeper(), senders=(ip_network("192.0.2.0/24"), ip_network("::1/128"))) as server:
        with capture_logs() as lines:
            async with ris_of(server) as ris:
                assert await is_closed(ris)
        assert [line["reason"] for line in lines] == ["not among ris.senders"]


async def flood(writer: asyncio.StreamWriter, data: bytes) -> None:
    async with asyncio.timeout(30):
        while True:
            writer.write(data)
            await writer.drain()


async def test_a_sender_that_never_reads_its_acks_is_cut_with_little_held():
    keeper = Keeper()
    bad = framed(b"MSH|^~\\&|" + b"A" * 200 + b"|B|C|D|2026||ADT^A01|1|P|2.5\r")
    async with serving(keeper, idle_timeout_s=0.3) as server, ris_of(server) as ris:
        _, writer = await ris.open()
        with capture_logs(), pytest.raises(ConnectionError):
            await flood(writer, bad * 500)
        await until(lambda: server.connections == 0)
        assert await serves(server)


async def test_large_messages_wait_for_their_place_and_all_come_through():
    keeper = Keeper()
    raw = SMALL + b"ZZZ|" + b"x" * (3 * LARGE)
    keeper.gate = asyncio.Event()
    async with serving(keeper) as server:
        rises = [ris_of(server) for _ in range(6)]
        sending = [asyncio.ensure_future(ris.send(raw)) for ris in rises]
        await until(lambda: keeper.at_once == LARGE_AT_ONCE)
        await asyncio.sleep(0.1)
        assert keeper.at_once == LARGE_AT_ONCE
        small = asyncio.ensure_future(serves(server))
        await until(lambda: keeper.at_once == LARGE_AT_ONCE + 1)
        await rises[5].close()  # gone while it waits: nobody waits behind it
        keeper.gate.set()
        assert await small
        answers = await asyncio.gather(*sending, return_exceptions=True)
        assert [getattr(answer, "code", "") for answer in answers[:5]] == ["AA"] * 5
        for ris in rises:
            await ris.close()
        await until(lambda: server.connections == 0)
        async with ris_of(server) as ris:
            assert (await ris.send(raw)).code == "AA"


# Stopping


async def test_stopping_answers_what_is_being_answered_and_takes_nothing_more():
    keeper = Keeper()
    keeper.gate = asyncio.Event()
    server = MllpServer(section(), RisDesk(keeper))
    task = asyncio.create_task(server.run())
    await server.started()
    async with ris_of(server) as busy, ris_of(server) as idle, ris_of(server) as half:
        await busy.raw(framed(SMALL) + framed(SMALL))
        await half.raw(framed(SMALL)[:50])
        await until(lambda: keeper.at_once == 1)
        task.cancel()
        await asyncio.sleep(0.05)
        assert await is_closed(idle)
        assert await is_closed(half)
        with pytest.raises(OSError):
            await ris_of(server).send(SMALL)
        keeper.gate.set()
        assert (await busy.ack()).code == "AA"
        assert await is_closed(busy)
    await asyncio.wait([task])
    assert task.cancelled()
    assert len(keeper.kept) == 1


async def test_a_listener_starts_again_after_it_stopped():
    server = MllpServer(section(), RisDesk(Keeper()))
    for _ in range(2):
        async with running(server):
            assert await serves(server)


async def test_a_fault_of_the_desk_costs_one_connection():
    class Broken:
        async def answer(self, raw: bytes, peer: str) -> bytes | None:
            raise RuntimeError("a fault of ours")

        def too_long(self, head: bytes, most: int, peer: str) -> bytes | None:
            return None

        def broken_off(self, peer: str, reason: str) -> None: ...

    server = MllpServer(section(), Broken())
    async with running(server):
        for _ in range(2):
            async with ris_of(server) as ris:
                await ris.raw(framed(SMALL))
                assert await is_closed(ris)


# TLS


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


def our_tls(pki: Pki, *, ask: bool) -> config.Tls:
    paths = pki.server("box.test", ["127.0.0.1"])
    return config.Tls(certificate=paths.certificate, key=paths.key, client_authority=pki.authority if ask else None)


def their_tls(pki: Pki, *, certificate: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(pki.authority))
    context.check_hostname = False
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if certificate:
        paths = pki.server("ris.test")
        context.load_cert_chain(paths.certificate, paths.key)
    return context


@pytest.fixture
def tls_server(pki: Pki) -> MllpServer:
    return MllpServer(section(tls=our_tls(pki, ask=False)), RisDesk(Keeper()))


@pytest.fixture
def strict_server(pki: Pki) -> MllpServer:
    return MllpServer(section(tls=our_tls(pki, ask=True)), RisDesk(Keeper()))


@pytest.fixture
def plain_client(pki: Pki) -> ssl.SSLContext:
    return their_tls(pki, certificate=False)


@pytest.fixture
def known_client(pki: Pki) -> ssl.SSLContext:
    return their_tls(pki, certificate=True)


async def test_reports_come_over_tls(tls_server, plain_client):
    raw = oru(report(PAT_TROIS, invented_exam(1), document_id="1.2.3"), PAT_TROIS)
    async with running(tls_server), ris_of(tls_server, tls=plain_client) as ris:
        assert (await ris.send(raw)).code == "AA"
        assert [ack.code for ack in await ris.together([raw, SMALL])] == ["AA", "AA"]
        _, writer = await ris.open()
        assert writer.get_extra_info("ssl_object").version() in {"TLSv1.2", "TLSv1.3"}


async def test_plain_bytes_at_a_tls_listener_get_no_answer(tls_server, plain_client):
    async with running(tls_server):
        async with ris_of(tls_server) as ris:
            await ris.raw(framed(SMALL))
            with pytest.raises((EOFError, OSError, TimeoutError)):
                await ris.ack()
        async with ris_of(tls_server, tls=plain_client) as ris:
            assert (await ris.send(SMALL)).code == "AA"


async def test_old_tls_is_refused(tls_server, plain_client):
    plain_client.set_ciphers("ALL:@SECLEVEL=0")
    plain_client.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        plain_client.maximum_version = ssl.TLSVersion.TLSv1_1
    async with running(tls_server):
        with pytest.raises(OSError):
            await ris_of(tls_server, tls=plain_client).send(SMALL)


async def test_a_neighbour_without_certificate_is_refused_when_one_is_asked_for(
    strict_server, plain_client, known_client
):
    async with running(strict_server):
        with pytest.raises((OSError, EOFError)):
            await ris_of(strict_server, tls=plain_client).send(SMALL)
        async with ris_of(strict_server, tls=known_client) as ris:
            assert (await ris.send(SMALL)).code == "AA"


def test_a_listener_without_its_files_is_refused_with_the_key(pki, tmp_path):
    paths = pki.server("box.test")
    missing = tmp_path / "none.pem"
    other = pki.server("other.test")
    for key, tls in (
        ("tls.certificate", config.Tls(certificate=missing, key=paths.key)),
        ("tls.key", config.Tls(certificate=paths.certificate, key=missing)),
        ("tls.certificate", config.Tls(certificate=paths.certificate, key=other.key)),
        (
            "tls.client_authority",
            config.Tls(certificate=paths.certificate, key=paths.key, client_authority=missing),
        ),
    ):
        with pytest.raises(ConfigError) as caught:
            MllpServer(section(tls=tls), RisDesk(Keeper()))
        assert caught.value.key == key


# uvloop, where the box has it


def on_uvloop(test: Callable[[], Awaitable[None]]) -> None:
    uvloop.run(test())  # type: ignore[arg-type]


def test_the_listener_works_the_same_on_uvloop(tls_server, plain_client):
    async def story() -> None:
        await test_messages_in_one_segment_are_answered_in_their_order()
        await test_stopping_answers_what_is_being_answered_and_takes_nothing_more()
        await test_large_messages_wait_for_their_place_and_all_come_through()
        await test_only_the_networks_of_the_senders_may_connect()
        await test_reports_come_over_tls(tls_server, plain_client)

    on_uvloop(story)


# Any bytes

_piece = st.one_of(
    st.binary(max_size=200),
    st.sampled_from([b"\x0b", b"\x1c", b"\r", b"\x1c\r", b"MSH", b"MSH|^~\\&|", framed(b"MSH|^~\\&|"), framed(SMALL)]),
    st.integers(0, len(SMALL)).map(lambda cut: framed(SMALL)[:cut]),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(_piece, max_size=5), min_size=1, max_size=4))
def test_after_any_bytes_on_the_port_the_next_good_message_is_served(connections):
    async def story() -> None:
        keeper = Keeper()
        async with serving(keeper, idle_timeout_s=5, max_message_bytes=1 << 16) as server:
            for pieces in connections:
                ris = ris_of(server)
                try:
                    for piece in pieces:
                        await ris.raw(piece)
                except OSError:
                    pass  # cut by the box, as it may
                await ris.close()
            before = len(keeper.kept)
            assert await serves(server)
            assert len(keeper.kept) >= before + 1

    asyncio.run(story())
