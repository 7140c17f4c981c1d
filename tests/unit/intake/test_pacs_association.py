"""The association against a far side that sends whatever bytes the test says."""

import asyncio
import contextlib
import ssl
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from passevue import config
from passevue.errors import CabinetError, NetworkError
from passevue.intake import pacs_pdu, pacs_query
from passevue.intake.association import PDU_HEADER, RELEASE_RP, PduType
from passevue.intake.pacs_association import MAX_COMMAND, MAX_IDENTIFIER, MAX_PDU, Address, associated
from passevue.intake.pacs_dicom import FIND, RETRIEVE, DicomPacs
from passevue.intake.pacs_identifier import write_identifier
from passevue.intake.pacs_tls import pacs_context
from passevue.intake.study import Study
from tests.unit.intake.test_pacs_pdu import ExplicitVRLittleEndian, ImplicitVRLittleEndian

STUDY = "1.2.3"
Script = Callable[[int], Iterable[bytes]]


def item(kind: int, content: bytes) -> bytes:
    return bytes((kind, 0)) + len(content).to_bytes(2, "big") + content


def accept() -> bytes:
    """A-ASSOCIATE-AC: the query in context 1, C-GET in 3, notes in 5."""
    contexts = b"".join(
        item(0x21, bytes((number, 0, 0, 0)) + item(0x40, syntax.encode()))
        for number, syntax in ((1, ImplicitVRLittleEndian), (3, ImplicitVRLittleEndian), (5, ExplicitVRLittleEndian))
    )
    body = bytes(68) + contexts + item(0x50, item(0x51, bytes(4)))
    return PDU_HEADER.pack(PduType.ASSOCIATE_AC, len(body)) + body


def fragment(context_id: int, data: bytes, *, is_command: bool = False) -> bytes:
    """One P-DATA-TF with one value, the last."""
    value = bytes((context_id, 2 | is_command)) + data
    return PDU_HEADER.pack(PduType.DATA_TF, len(value) + 4) + len(value).to_bytes(4, "big") + value


def command(*, field: int = 0x8020, message_id: int = 1, status: int = 0, data: bool = False) -> bytes:
    elements = (
        b"\0\0\x00\x01\x02\0\0\0"
        + field.to_bytes(2, "little")
        + b"\0\0\x20\x01\x02\0\0\0"
        + message_id.to_bytes(2, "little")
        + b"\0\0\x00\x08\x02\0\0\0"
        + (b"\x01\0" if data else b"\x01\x01")
        + b"\0\0\x00\x09\x02\0\0\0"
        + status.to_bytes(2, "little")
    )
    return fragment(1, elements, is_command=True)


def pending(message_id: int, **keys: str) -> bytes:
    data = fragment(1, write_identifier(keys))
    return command(message_id=message_id, status=0xFF00, data=True) + data


def good(message_id: int) -> Iterable[bytes]:
    """A study of one series of one image."""
    keys = {"StudyInstanceUID": STUDY}
    if message_id >= 2:
        keys["SeriesInstanceUID"] = "1.2.3.1"
    if message_id == 3:
        keys |= {"SOPInstanceUID": "1.2.3.1.1", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}
    return [pending(message_id, **keys), command(message_id=message_id)]


class Scripted:
    """Accepts the association, or sends `opening`; then answers request n with what `script(n)` gives."""

    def __init__(self) -> None:
        self.script: Script = good
        self.opening: bytes | None = None
        self.stays = False  # says no more, and does not hang up
        self.port = 0
        self.aborted = asyncio.Event()
        self.writers: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        try:
            await self.answer(reader, writer)
        finally:
            self.writers.discard(writer)
            writer.close()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests = 0
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                kind, length = PDU_HEADER.unpack(await reader.readexactly(6))
                body = await reader.readexactly(length)
                if kind == PduType.ASSOCIATE_RQ:
                    writer.write(self.opening if self.opening is not None else accept())
                elif kind == PduType.RELEASE_RQ:
                    writer.write(RELEASE_RP)
                elif kind == PduType.ABORT:
                    self.aborted.set()
                elif list(pacs_pdu.read_fragments(body))[-1].is_command is False:
                    requests += 1
                    for piece in self.script(requests):
                        writer.write(piece)
                        await writer.drain()
                    if self.script is not good and not self.stays:
                        break


@pytest.fixture
async def far() -> AsyncIterator[Scripted]:
    async with scripted() as far:
        yield far


@contextlib.asynccontextmanager
async def scripted() -> AsyncIterator[Scripted]:
    far = Scripted()
    server = await asyncio.start_server(far.serve, "127.0.0.1", 0)
    far.port = server.sockets[0].getsockname()[1]
    try:
        yield far
    finally:
        server.close()
        for writer in far.writers:
            writer.transport.abort()
        await server.wait_closed()


async def nothing_arrives(_: str) -> bytes | None:
    return None


def pacs_of(far: Scripted, timeout_s: float = 2) -> DicomPacs:
    return DicomPacs(
        config.Pacs(host="127.0.0.1", port=far.port, ae_title="PACS", timeout_s=timeout_s), nothing_arrives
    )


async def find(far: Scripted, timeout_s: float = 2) -> Study | None:
    return await pacs_of(far, timeout_s).find_study(STUDY)


async def still_served(far: Scripted) -> bool:
    far.script, far.opening = good, None
    study = await find(far)
    return study is not None and study.instance_count == 1


async def test_good_answers_byte_by_byte(far: Scripted) -> None:
    far.script = lambda number: (bytes((byte,)) for piece in good(number) for byte in piece)
    far.stays = True
    study = await find(far)
    assert study is not None
    assert study.instance_count == 1


async def test_a_pdu_of_which_the_header_lies_is_never_waited_for(far: Scripted) -> None:
    for length in (MAX_PDU + 1, 0xFFFFFFFF):
        far.script = lambda _, length=length: [PDU_HEADER.pack(PduType.DATA_TF, length)]  # type: ignore[misc]
        far.stays = True
        with pytest.raises(CabinetError, match="PDU of"):
            await find(far)
    assert await still_served(far)


async def test_messages_past_their_bounds_are_cut(far: Scripted) -> None:
    def endless(size: int, *, is_command: bool) -> Script:
        head = [] if is_command else [command(status=0xFF00, data=True)]
        control = 1 if is_command else 0
        piece = bytes(60_000)
        pdu = PDU_HEADER.pack(PduType.DATA_TF, len(piece) + 6)
        pdu += (len(piece) + 2).to_bytes(4, "big") + bytes((1, control)) + piece
        return lambda _: [*head, *[pdu] * (size // len(piece) + 1)]

    for bound, is_command in ((MAX_COMMAND, True), (MAX_IDENTIFIER, False)):
        far.script = endless(bound, is_command=is_command)
        with pytest.raises(CabinetError, match="longer than"):
            await find(far)
    assert await still_served(far)


@pytest.mark.parametrize(
    "answer",
    [
        command(message_id=2),
        command(field=0x8010),
        command(field=0x0001),
        command(status=0xFF00),
        command(status=0xFF00, data=True) + command(),
        command(status=0xFF00, data=True) + fragment(3, b""),
        command(status=0xFF00, data=True) + fragment(1, b"\x08"),
        fragment(1, b"", is_command=True),
        fragment(1, b"\x08"),
        PDU_HEADER.pack(PduType.DATA_TF, 4) + b"\xff" * 4,
        pending(1, SeriesInstanceUID="1.2"),
        pending(1, StudyInstanceUID="../.."),
    ],
    ids=[
        "answers another request",
        "answers another command",
        "a request",
        "pending without data",
        "a command where data is due",
        "data on another context",
        "no identifier",
        "empty command",
        "data first",
        "fragment that lies",
        "no unique key",
        "no uid",
    ],
)
async def test_what_makes_no_sense_is_for_a_person(far: Scripted, answer: bytes) -> None:
    far.script = lambda _: [answer, command()]
    with pytest.raises(CabinetError):
        await find(far)
    assert await still_served(far)


@pytest.mark.parametrize("answer", [b"", b"\x04", pacs_pdu.ABORT_REQUEST, pacs_pdu.RELEASE_REQUEST, pending(1)[:-1]])
async def test_a_pacs_that_leaves_is_asked_again_later(far: Scripted, answer: bytes) -> None:
    far.script = lambda _: [answer]
    with pytest.raises(NetworkError):
        await find(far)
    assert await still_served(far)


async def test_an_opening_that_is_none(far: Scripted) -> None:
    far.opening = b"HTTP/1.1 400 Bad Request\r\n\r\n"
    with pytest.raises(CabinetError):
        await find(far)
    for silence in (b"", accept()[:-1]):
        far.opening = silence
        with pytest.raises(NetworkError):
            await find(far, timeout_s=0.1)
    rejection = PDU_HEADER.pack(PduType.ASSOCIATE_RJ, 4)
    far.opening = rejection + b"\0\x01\x01\x03"
    with pytest.raises(NetworkError, match="calling AE title not recognized"):
        await find(far)
    assert await still_served(far)


async def test_a_pacs_that_takes_no_query_says_so(far: Scripted) -> None:
    far.opening = accept().replace(b"\x21\0\0\x19\x01\0\0", b"\x21\0\0\x19\x01\0\x03")
    with pytest.raises(NetworkError, match="does not take"):
        await find(far)


async def test_silence_after_a_request_is_bounded_and_the_association_is_aborted(far: Scripted) -> None:
    far.script, far.stays = lambda _: [], True
    with pytest.raises(NetworkError, match="within"):
        await find(far, timeout_s=0.1)
    await asyncio.wait_for(far.aborted.wait(), 2)


async def test_more_rows_than_the_bound_end_the_query(far: Scripted) -> None:
    row = pending(1, StudyInstanceUID=STUDY, PatientID="P" * 60)

    def flood(_: int) -> Iterable[bytes]:
        while True:
            yield row * 200

    far.script = flood
    address = Address("127.0.0.1", far.port, "PACS", "BOX")
    with pytest.raises(CabinetError, match="more than 1000"):
        async with associated(address, (FIND, *RETRIEVE["c-get"]), 5) as assoc:
            await pacs_query.find(assoc, "STUDY", {"StudyInstanceUID": STUDY}, (), max_rows=1_000)


async def test_3000_instances_take_little_memory(far: Scripted) -> None:
    def large(number: int) -> Iterable[bytes]:
        if number < 3:
            return good(number)
        uids = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "SeriesInstanceUID": "1.2.3.1", "StudyInstanceUID": STUDY}
        rows = [
            pending(3, SOPInstanceUID=f"2.25.3297354561231231231231231231{each}", InstanceNumber=str(each), **uids)
            for each in range(3_000)
        ]
        return [*rows, command(message_id=3)]

    far.script, far.stays = large, True
    tracemalloc.start()
    try:
        study = await find(far, timeout_s=60)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert study is not None
    assert study.instance_count == 3_000
    assert most < 20 << 20


async def test_a_pacs_without_tls_where_tls_is_asked_for_is_not_spoken_to(far: Scripted, tmp_path: Path) -> None:
    settings = config.Pacs(host="127.0.0.1", port=far.port, ae_title="PACS", timeout_s=2)
    context = await asyncio.to_thread(pacs_context, settings)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    with pytest.raises(NetworkError):
        await DicomPacs(settings, nothing_arrives, context).find_study(STUDY)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noise=st.binary(max_size=120), where=st.integers(0, 3), at=st.integers(0, 200))
async def test_any_bytes_are_taken_or_refused_and_the_next_study_is_found(noise: bytes, where: int, at: int) -> None:
    async with scripted() as far:
        spoiled = pending(1, StudyInstanceUID=STUDY)
        openings = {0: noise, 1: accept()[:at] + noise + accept()[at + len(noise) :]}
        far.opening = openings.get(where)
        answers = {2: noise, 3: spoiled[:at] + noise + spoiled[at + len(noise) :]}
        if where in answers:
            far.script = lambda _: [answers[where], command()]
        with contextlib.suppress(NetworkError, CabinetError):
            await find(far, timeout_s=0.05)
        assert await still_served(far)
