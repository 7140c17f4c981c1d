"""A RIS: makes invented reports, sends them by MLLP, waits for each ACK and keeps a ledger of what was acknowledged.

    async with Ris("127.0.0.1", 2575) as ris:
        cda = report(PAT_TROIS, invented_exam(1), document_id=invented_document_id(1))
        ack = await ris.send(oru(cda, PAT_TROIS))
        assert ack.code == "AA"

By hand (`--help` tells the rest):

    python -m tests.peers.ris --to 127.0.0.1:2575 --count 10 --kind mdm
    python -m tests.peers.ris --to 127.0.0.1:2575 --fault cut --at 1000

One `Ris` is one connection; several together are several connections, and may share a ledger. The faults are methods:
`cut`, `stall`, `together`, `leave`. It knows nothing of the box: framing and reading of the ACK are its own.
"""

import argparse
import asyncio
import hashlib
import json
import ssl
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from tests.peers.ris_message import Ask, Details, Envelope, mdm, omi, oru
from tests.peers.ris_report import (
    IPP_ROOT,
    PAT_TROIS,
    REAL_PDF_BYTES,
    Doctor,
    Exam,
    Person,
    Site,
    invented_document_id,
    invented_exam,
    invented_person,
    report,
    with_key,
)

__all__ = [
    "IPP_ROOT",
    "PAT_TROIS",
    "REAL_PDF_BYTES",
    "Ack",
    "Ask",
    "Details",
    "Doctor",
    "Envelope",
    "Exam",
    "Ledger",
    "Line",
    "Person",
    "Ris",
    "Site",
    "framed",
    "invented_document_id",
    "invented_exam",
    "invented_person",
    "mdm",
    "omi",
    "oru",
    "read_ack",
    "report",
    "with_key",
]

SB, EB = b"\x0b", b"\x1c\r"


@dataclass(frozen=True)
class Ack:
    """What came back: MSA-1, MSA-2, and of the first ERR its location, table 0357 code, text and table 0533 code."""

    code: str
    control_id: str
    error: int | None = None
    text: str = ""
    location: str = ""
    application_error: int | None = None
    kind: str = ""  # MSH-9
    version: str = ""  # MSH-12
    charset: str = ""  # MSH-18
    raw: bytes = field(default=b"", repr=False)


def read_ack(raw: bytes) -> Ack:
    """The ACK in `raw`, a message without its frame."""
    rows = {line[:3]: line.split("|") for line in raw.decode("latin-1").split("\r") if line}

    def at(segment: str, number: int) -> str:
        row = rows.get(segment, [])
        return row[number] if number < len(row) else ""

    err = at("ERR", 3).split("^")
    application = at("ERR", 5).split("^")[0]
    return Ack(
        code=at("MSA", 1),
        control_id=at("MSA", 2),
        error=int(err[0]) if err[0] else None,
        text=err[1] if len(err) > 1 else "",
        location=at("ERR", 2),
        application_error=int(application) if application else None,
        kind=at("MSH", 8),
        version=at("MSH", 11),
        charset=at("MSH", 17),
        raw=raw,
    )


@dataclass(frozen=True)
class Line:
    """One message that was sent, and how it was answered; `ack` is empty when no answer was read."""

    control_id: str
    sha256: str
    ack: str
    error: int | None = None


class Ledger:
    """What was sent and what was acknowledged; with a path, also a file of JSON lines that outlives the process."""

    def __init__(self, path: Path | None = None) -> None:
        self.lines: list[Line] = []
        self._path = path

    def write(self, message: bytes, ack: Ack | None) -> None:
        line = Line(
            control_id=control_id_of(message),
            sha256=hashlib.sha256(message).hexdigest(),
            ack=ack.code if ack else "",
            error=ack.error if ack else None,
        )
        self.lines.append(line)
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(line)) + "\n")

    @property
    def acknowledged(self) -> list[Line]:
        return [line for line in self.lines if line.ack in {"AA", "CA"}]


def control_id_of(message: bytes) -> str:
    fields = message.split(message[3:4], 10)
    return fields[9].decode("latin-1") if len(fields) > 9 else ""


def framed(message: bytes) -> bytes:
    return SB + message + EB


class Ris:
    """One connection to an MLLP listener. Opens when first needed, and again after a fault."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
        timeout_s: float = 30,
        ledger: Ledger | None = None,
    ) -> None:
        self.host, self.port, self.timeout_s = host, port, timeout_s
        self.ledger = Ledger() if ledger is None else ledger
        self._tls, self._server_name = tls, server_name
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> "Ris":
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            name = (self._server_name or self.host) if self._tls else None
            async with asyncio.timeout(self.timeout_s):
                self._streams = await asyncio.open_connection(
                    self.host, self.port, ssl=self._tls, server_hostname=name, limit=1 << 20
                )
        return self._streams

    async def close(self) -> None:
        if self._streams is not None:
            writer = self._streams[1]
            self._streams = None
            writer.close()
            try:
                await writer.wait_closed()
            except (OSError, ssl.SSLError):
                return  # the far side was quicker

    async def send(self, message: bytes) -> Ack:
        """Send `message`, wait for its ACK, write both down.

        Raises:
            OSError, EOFError, TimeoutError: no answer; the ledger says so.
        """
        return (await self.together([message]))[0]

    async def together(self, messages: Sequence[bytes]) -> list[Ack]:
        """Fault: all `messages` in one piece, without waiting for the ACK of one before sending the next."""
        acks: list[Ack] = []
        try:
            await self.raw(b"".join(map(framed, messages)))
            for _ in messages:
                acks.append(await self.ack())
        except (OSError, EOFError, TimeoutError):
            await self.close()
            raise
        finally:
            for number, message in enumerate(messages):
                self.ledger.write(message, acks[number] if number < len(acks) else None)
        return acks

    async def raw(self, data: bytes) -> None:
        """Any bytes, as they are."""
        _, writer = await self.open()
        writer.write(data)
        async with asyncio.timeout(self.timeout_s):
            await writer.drain()

    async def ack(self) -> Ack:
        """The next ACK that comes."""
        reader, _ = await self.open()
        async with asyncio.timeout(self.timeout_s):
            frame = await reader.readuntil(EB)
        if not frame.startswith(SB):
            raise ValueError(f"Expected a start block, instead got {frame[:1]!r}")
        return read_ack(frame[1:-2])

    async def cut(self, message: bytes, at: int) -> None:
        """Fault: the first `at` bytes of the frame, then the connection is dropped."""
        await self.raw(framed(message)[:at])
        self.ledger.write(message, None)
        await self.close()

    async def stall(self, message: bytes, *, piece: int = 1, pause_s: float = 0.0) -> Ack:
        """Fault: `piece` bytes at a time, `pause_s` between them."""
        frame = framed(message)
        for start in range(0, len(frame), piece):
            await self.raw(frame[start : start + piece])
            await asyncio.sleep(pause_s)
        ack = await self.ack()
        self.ledger.write(message, ack)
        return ack

    async def leave(self, message: bytes) -> None:
        """Fault: the whole message, then gone before the ACK is read (F-13)."""
        await self.raw(framed(message))
        self.ledger.write(message, None)
        await self.close()

    async def resend(self, message: bytes, times: int) -> list[Ack]:
        """Fault: the same message again and again (F-11)."""
        return [await self.send(message) for _ in range(times)]


async def burst(rises: Sequence[Ris], messages: Sequence[bytes]) -> list[Ack]:
    """`messages` over several connections at once, each waiting for its ACKs; the answers in order of `messages`."""
    acks: dict[int, Ack] = {}

    async def work(ris: Ris, first: int) -> None:
        for number in range(first, len(messages), len(rises)):
            acks[number] = await ris.send(messages[number])

    async with asyncio.TaskGroup() as group:
        for first, ris in enumerate(rises):
            group.create_task(work(ris, first))
    return [acks[number] for number in range(len(messages))]


# By hand


def made(options: argparse.Namespace, number: int) -> bytes:
    """Message `number` of a run by hand: its patient, exam and document have the same number."""
    patient = PAT_TROIS if options.patient == 0 else invented_person(options.patient + number)
    exam = Exam(options.study, options.accession, options.order) if options.study else invented_exam(number)
    details = Details(flags=dict(flag.split("=") for flag in options.flag))
    envelope = Envelope(control_id=options.control_id, charset=options.charset)
    if options.kind == "omi":
        orc_1 = "CA" if options.ask == "delete" else "NW"
        return omi(exam, patient, orc_1=orc_1, envelope=envelope, details=details)
    cda = report(
        patient,
        exam,
        document_id=invented_document_id(number, options.version),
        version=options.version,
        replaces=invented_document_id(number, options.version - 1) if options.version > 1 else "",
        pdf_bytes=options.pdf_bytes,
    )
    build: Callable[..., bytes] = mdm if options.kind == "mdm" else oru
    return build(cda, patient, Ask(options.ask), envelope=envelope, details=details)


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(prog="python -m tests.peers.ris", description=(__doc__ or "").split("\n")[0])
    arguments.add_argument("--to", default="127.0.0.1:2575", metavar="HOST:PORT")
    arguments.add_argument("--kind", choices=("oru", "mdm", "omi"), default="oru")
    arguments.add_argument("--ask", choices=[*Ask], default=Ask.NEW, help="what the message asks for")
    arguments.add_argument("--count", type=int, default=1, help="how many messages, numbered from --first")
    arguments.add_argument("--first", type=int, default=101, help="number of the first exam and document")
    arguments.add_argument("--connections", type=int, default=1)
    arguments.add_argument(
        "--version", type=int, default=1, help="version of the report: above 1 it names the one before"
    )
    arguments.add_argument("--patient", type=int, default=0, help="0: PAT-TROIS; else the first invented patient")
    arguments.add_argument("--study", default="", help="StudyInstanceUID instead of an invented one")
    arguments.add_argument("--accession", default="ACN101")
    arguments.add_argument("--order", default="OPN101")
    arguments.add_argument("--flag", action="append", default=[], metavar="CODE=Y|N", help="e.g. INVISIBLE_PATIENT=Y")
    arguments.add_argument("--control-id", default="", help="the same MSH-10 for all; default: a new one each")
    arguments.add_argument("--charset", default="UNICODE UTF-8", help="MSH-18")
    arguments.add_argument("--pdf-bytes", type=int, default=REAL_PDF_BYTES)
    arguments.add_argument("--tls-authority", type=Path, help="PEM of the box's authority: speak TLS")
    arguments.add_argument("--tls-certificate", type=Path, help="PEM of our own certificate and key")
    arguments.add_argument("--ledger", type=Path, help="file of JSON lines")
    arguments.add_argument("--fault", choices=("cut", "stall", "together", "leave", "resend"))
    arguments.add_argument("--at", type=int, default=1000, help="cut: after so many bytes; resend: so many times")
    arguments.add_argument("--pause-s", type=float, default=0.01, help="stall: between two pieces of 4 kB")
    arguments.add_argument("--print", action="store_true", help="print the messages instead of sending them")
    return arguments


def _tls_of(options: argparse.Namespace) -> ssl.SSLContext | None:
    if options.tls_authority is None:
        return None
    context = ssl.create_default_context(cafile=str(options.tls_authority))
    if options.tls_certificate is not None:
        context.load_cert_chain(options.tls_certificate)
    return context


async def _with_fault(ris: Ris, options: argparse.Namespace, messages: list[bytes]) -> list[Ack]:
    match options.fault:
        case "cut":
            for message in messages:
                await ris.cut(message, options.at)
            return []
        case "leave":
            for message in messages:
                await ris.leave(message)
            return []
        case "stall":
            return [await ris.stall(message, piece=4096, pause_s=options.pause_s) for message in messages]
        case "resend":
            return [ack for message in messages for ack in await ris.resend(message, options.at)]
        case _:
            return await ris.together(messages)


async def by_hand(options: argparse.Namespace) -> int:
    messages = [made(options, options.first + number) for number in range(options.count)]
    if options.print:
        sys.stdout.buffer.write(b"".join(messages).replace(b"\r", b"\n"))
        return 0
    host, _, port = options.to.rpartition(":")
    ledger, tls = Ledger(options.ledger), _tls_of(options)
    rises = [Ris(host, int(port), tls=tls, ledger=ledger) for _ in range(max(1, options.connections))]
    try:
        acks = await (_with_fault(rises[0], options, messages) if options.fault else burst(rises, messages))
    except (OSError, EOFError, TimeoutError, ExceptionGroup) as err:
        print(f"no answer: {err!r}", file=sys.stderr)
        return 2
    finally:
        for ris in rises:
            await ris.close()
    for ack in acks:
        print(replace(ack, raw=b""))
    return 0 if all(ack.code in {"AA", "CA"} for ack in acks) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(by_hand(parser().parse_args())))
