"""A modality of ours: sends invented studies, notes and commitment requests, well or badly.

`Modality` speaks through pynetdicom, so that what the box understands is not only our own idea of DICOM. `RawModality`
writes bytes, for everything a well-bred library would not do: it can stop, stall or cut anywhere.

By hand:
    python -m tests.peers.modality --to 127.0.0.1:11112 --slices 20 --commit
    python -m tests.peers.modality --to 127.0.0.1:11112 --fault cut --at 5
"""

import argparse
import asyncio
import logging
import ssl
import struct
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from pydicom.dataset import Dataset
from pydicom.uid import JPEGLSLossless
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.pdu import A_ASSOCIATE_RJ, P_DATA_TF
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification

from tests.peers import invented
from tests.peers.invented import (
    data_set_of,
    file_of,
    image,
    jpegls_study,
    key_image_note,
    manifest,
    rejection_note,
    study,
    uid_of,
)

__all__ = [
    "CommitmentResult",
    "Fault",
    "Modality",
    "RawModality",
    "Refused",
    "data_set_of",
    "file_of",
    "image",
    "jpegls_study",
    "key_image_note",
    "manifest",
    "rejection_note",
    "study",
    "uid_of",
]

COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"
NATIVE = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"]

logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)


class Refused(Exception):
    """No association: `rejection` is (result, source, reason), None when it was aborted or never answered."""

    def __init__(self, rejection: tuple[int, int, int] | None) -> None:
        super().__init__(f"association refused: {rejection}")
        self.rejection = rejection


@dataclass
class CommitmentResult:
    """What N-EVENT-REPORTs have said, by transaction UID."""

    event_type: int
    stored: list[str] = field(default_factory=list)
    failed: dict[str, int] = field(default_factory=dict)
    same_association: bool = True


class Modality:
    """A well-bred modality. Blocking: from asyncio, call through `asyncio.to_thread`."""

    def __init__(
        self,
        host: str,
        port: int,
        ae: str = "MODALITE",
        called: str = "PASSEVUE",
        *,
        tls: ssl.SSLContext | None = None,
        max_pdu: int = 131072,
    ) -> None:
        self.host, self.port, self.called, self.tls, self.max_pdu = host, port, called, tls, max_pdu
        self.ae = AE(ae_title=ae)
        self.ae.acse_timeout = self.ae.dimse_timeout = self.ae.network_timeout = 30
        self.reports: dict[str, CommitmentResult] = {}
        self._unanswered: dict[str, CommitmentResult] = {}
        self._reported = threading.Condition()

    @contextmanager
    def association(self, contexts: Sequence[tuple[str, Sequence[str]]]) -> Iterator[Association]:
        """Open, and released at the end. Raises: Refused."""
        requested = [pc(abstract, transfer) for abstract, transfer in contexts]
        rejections: list[tuple[int, int, int]] = []

        def came(event: Any) -> None:
            if isinstance(event.pdu, A_ASSOCIATE_RJ):
                rejections.append((event.pdu.result, event.pdu.source, event.pdu.reason_diagnostic))

        assoc = self.ae.associate(
            self.host,
            self.port,
            contexts=requested,
            ae_title=self.called,
            max_pdu=self.max_pdu,
            tls_args=(self.tls, self.host) if self.tls else None,
            evt_handlers=[
                (evt.EVT_N_EVENT_REPORT, self._report, [True]),
                (evt.EVT_PDU_SENT, self._answered),
                (evt.EVT_PDU_RECV, came),
            ],
        )
        if not assoc.is_established:
            raise Refused(rejections[0] if rejections else None)
        try:
            yield assoc
        finally:
            if assoc.is_established:
                assoc.release()

    def echo(self) -> int:
        with self.association([(Verification, NATIVE)]) as assoc:
            return int(assoc.send_c_echo().Status)

    def store(self, datasets: Sequence[Dataset]) -> list[int | None]:
        """Statuses, None for an object that was not answered."""
        with self.association(contexts_for(datasets)) as assoc:
            return [self._send(assoc, ds) for ds in datasets]

    def _send(self, assoc: Association, ds: Dataset) -> int | None:
        if not assoc.is_established:
            return None
        ready(assoc)
        status = assoc.send_c_store(ds)
        return int(status.Status) if "Status" in status else None

    def commit(
        self,
        datasets: Sequence[Dataset],
        *,
        transaction_uid: str | None = None,
        wait_s: float = 10,
        leave: bool = False,
    ) -> tuple[int, CommitmentResult | None]:
        """Ask for commitment: status of the N-ACTION, and what was reported within `wait_s` on this association.

        `leave`: release at once and do not wait: the report then has to come on another association (`listening`).
        """
        request = Dataset()
        request.TransactionUID = transaction_uid or invented.uid_of("transaction", uuid.uuid4())
        request.ReferencedSOPSequence = [invented.reference(ds) for ds in datasets]
        with self.association([(StorageCommitmentPushModel, NATIVE[:2])]) as assoc:
            status, _ = assoc.send_n_action(request, 1, StorageCommitmentPushModel, COMMITMENT_INSTANCE)
            if "Status" not in status:
                raise Refused(None)
            if leave or status.Status:
                return int(status.Status), None
            return int(status.Status), self.report(request.TransactionUID, wait_s)

    def report(self, transaction_uid: str, wait_s: float = 10) -> CommitmentResult | None:
        """The report of a transaction, however it comes."""
        with self._reported:
            self._reported.wait_for(lambda: transaction_uid in self.reports, wait_s)
            return self.reports.get(transaction_uid)

    @contextmanager
    def listening(self, port: int = 0, status: int = 0) -> Iterator[int]:
        """Take reports on a port of ours, answered with `status`; the port."""
        ae = AE(ae_title=self.ae.ae_title)
        ae.add_supported_context(StorageCommitmentPushModel, NATIVE, scu_role=False, scp_role=True)
        server = ae.start_server(
            ("127.0.0.1", port),
            block=False,
            evt_handlers=[
                (evt.EVT_N_EVENT_REPORT, self._report, [False, status]),
                (evt.EVT_PDU_SENT, self._answered),
            ],
        )
        try:
            yield server.socket.getsockname()[1]
        finally:
            server.shutdown()

    def _report(self, event: Any, same_association: bool, status: int = 0) -> tuple[int, None]:
        said = event.event_information
        result = CommitmentResult(event.event_type, same_association=same_association)
        for item in said.get("ReferencedSOPSequence", []):
            result.stored.append(str(item.ReferencedSOPInstanceUID))
        for item in said.get("FailedSOPSequence", []):
            result.failed[str(item.ReferencedSOPInstanceUID)] = int(item.FailureReason)
        self._unanswered[str(said.TransactionUID)] = result
        return status, None

    def _answered(self, event: Any) -> None:
        """A report counts once it is answered: releasing before that is what pynetdicom does not survive."""
        if self._unanswered and isinstance(event.pdu, P_DATA_TF):
            with self._reported:
                self.reports.update(self._unanswered)
                self._unanswered.clear()
                self._reported.notify_all()


def ready(assoc: Association) -> None:
    """Wait until pynetdicom's reactor has woken from the last request.

    When the next one starts before that, the reactor takes itself for paused, wakes, and eats the response: it happens
    with an acceptor that answers at once on a busy machine, and the request then waits for its whole timeout.
    """
    while assoc._is_paused and assoc.is_established:
        time.sleep(0.0005)


def pc(abstract: str, transfer: Sequence[str]) -> Any:
    from pynetdicom.presentation import build_context

    return build_context(abstract, list(transfer))


def contexts_for(datasets: Sequence[Dataset]) -> list[tuple[str, list[str]]]:
    """One context for each pair of SOP class and transfer syntax."""
    pairs = dict.fromkeys((str(ds.SOPClassUID), str(ds.file_meta.TransferSyntaxUID)) for ds in datasets)
    return [(sop_class, [syntax]) for sop_class, syntax in pairs]


class Fault(StrEnum):
    """What `RawModality` does when it has sent PDU number `at` of an object (the command is number 0)."""

    CUT = "cut"  # closes in the middle of that PDU
    RESET = "reset"  # the same, with a TCP reset
    ABORT = "abort"  # A-ABORT after that PDU
    STALL = "stall"  # nothing more, for ever
    RELEASE = "release"  # A-RELEASE-RQ in the middle of the object


class RawModality:
    """Bytes by hand, on asyncio."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, host: str, port: int, tls: ssl.SSLContext | None = None) -> Self:
        return cls(*await asyncio.open_connection(host, port, ssl=tls))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def pdu(self, timeout_s: float = 10) -> tuple[int, bytes]:
        """The next PDU: type and body; type 0 when the box has closed."""
        try:
            async with asyncio.timeout(timeout_s):
                kind, length = struct.unpack(">BxL", await self.reader.readexactly(6))
                return kind, await self.reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            return 0, b""

    async def associate(
        self,
        contexts: Sequence[tuple[str, Sequence[str]]],
        *,
        ae: str = "MODALITE",
        called: str = "PASSEVUE",
        user_information: bytes = b"",
    ) -> tuple[int, bytes]:
        """Ask; the PDU that answers."""
        await self.send(associate_rq(contexts, ae=ae, called=called, user_information=user_information))
        return await self.pdu()

    async def status(self, timeout_s: float = 10) -> int | None:
        """Status of the next response; None when the box has aborted or closed."""
        kind, body = await self.pdu(timeout_s)
        if kind != 4:
            return None
        at = body.index(struct.pack("<HHL", 0, 0x0900, 2))
        return int(struct.unpack_from("<H", body, at + 8)[0])

    async def store(
        self, ds: Dataset, *, context_id: int = 1, pdu_bytes: int = 16384, fault: Fault | None = None, at: int = 0
    ) -> int | None:
        """Send one object; its status. With a fault: None."""
        for number, pdu in enumerate(store_pdus(ds, context_id=context_id, pdu_bytes=pdu_bytes)):
            if fault in (Fault.CUT, Fault.RESET) and number == at:
                await self.send(pdu[: len(pdu) // 2])
                if fault is Fault.RESET:
                    self.writer.transport.abort()
                self.writer.close()
                return None
            await self.send(pdu)
            if number == at and fault is Fault.ABORT:
                await self.send(b"\x07\x00\x00\x00\x00\x04\x00\x00\x00\x00")
                return None
            if number == at and fault is Fault.RELEASE:
                await self.send(RELEASE_RQ)
                return await self.status()
            if number == at and fault is Fault.STALL:
                return None
        return await self.status(30)


RELEASE_RQ = b"\x05\x00\x00\x00\x00\x04\x00\x00\x00\x00"


def item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(value)) + value


def associate_rq(
    contexts: Sequence[tuple[str, Sequence[str]]],
    *,
    ae: str = "MODALITE",
    called: str = "PASSEVUE",
    user_information: bytes = b"",
    version: int = 1,
    application_context: str = "1.2.840.10008.3.1.1.1",
    first_id: int = 1,
) -> bytes:
    body = struct.pack(">H2x16s16s32x", version, called.encode().ljust(16), ae.encode().ljust(16))
    body += item(0x10, application_context.encode())
    for number, (abstract, transfer) in enumerate(contexts):
        value = bytes([(first_id + 2 * number) & 0xFF, 0, 0, 0]) + item(0x30, abstract.encode())
        body += item(0x20, value + b"".join(item(0x40, each.encode()) for each in transfer))
    body += item(0x50, item(0x51, struct.pack(">L", 16384)) + item(0x52, b"2.25.1") + user_information)
    return struct.pack(">BxL", 1, len(body)) + body


def command_set(elements: dict[int, bytes]) -> bytes:
    body = b"".join(struct.pack("<HHL", 0, number, len(value)) + value for number, value in sorted(elements.items()))
    return struct.pack("<HHLL", 0, 0, 4, len(body)) + body


def padded(uid: str) -> bytes:
    return uid.encode() + b"\0" * (len(uid) % 2)


def p_data(context_id: int, flags: int, data: bytes) -> bytes:
    return struct.pack(">BxLLBB", 4, len(data) + 6, len(data) + 2, context_id, flags) + data


def c_store_rq(sop_class: str, sop_instance: str, message_id: int = 1) -> bytes:
    return command_set(
        {
            0x0002: padded(sop_class),
            0x0100: b"\x01\x00",
            0x0110: struct.pack("<H", message_id),
            0x0700: b"\x00\x00",
            0x0800: b"\x01\x00",
            0x1000: padded(sop_instance),
        }
    )


def c_echo_rq(message_id: int = 1) -> bytes:
    return command_set(
        {
            0x0002: padded("1.2.840.10008.1.1"),
            0x0100: b"\x30\x00",
            0x0110: struct.pack("<H", message_id),
            0x0800: b"\x01\x01",
        }
    )


def store_pdus(
    ds: Dataset,
    *,
    context_id: int = 1,
    pdu_bytes: int = 16384,
    data: bytes | None = None,
    sop_class: str | None = None,
    sop_instance: str | None = None,
) -> list[bytes]:
    """The PDUs of one C-STORE; `data`, `sop_class`, `sop_instance` to say something else than the object."""
    data = data_set_of(ds) if data is None else data
    command = c_store_rq(sop_class or str(ds.SOPClassUID), sop_instance or str(ds.SOPInstanceUID))
    size = pdu_bytes - 6
    pieces = [data[at : at + size] for at in range(0, len(data), size)] or [b""]
    last = len(pieces) - 1
    return [
        p_data(context_id, 3, command),
        *(p_data(context_id, 2 if number == last else 0, piece) for number, piece in enumerate(pieces)),
    ]


async def misbehave(host: str, port: int, ae: str, called: str, ds: Dataset, fault: Fault, at: int) -> None:
    async with await RawModality.connect(host, port) as raw:
        kind, _ = await raw.associate(contexts_for([ds]), ae=ae, called=called)
        print(f"association answered with PDU type {kind}")
        status = await raw.store(ds, fault=fault, at=at)
        print(f"{fault}: {status}")
        if fault is Fault.STALL:
            print(f"stalled; the box said {await raw.pdu(3600)}")


def main() -> None:
    parser = argparse.ArgumentParser(description="A modality that sends an invented study.")
    parser.add_argument("--to", default="127.0.0.1:11112", help="host:port of the box")
    parser.add_argument("--ae", default="MODALITE")
    parser.add_argument("--called", default="PASSEVUE")
    parser.add_argument("--study", default="", help="StudyInstanceUID; invented when left out")
    parser.add_argument("--patient-id", default="IPP-INVENTE-1")
    parser.add_argument("--accession", default="ACC-INVENTE-1")
    parser.add_argument("--modality", default="CT", choices=sorted(invented.CLASSES))
    parser.add_argument("--slices", type=int, default=3)
    parser.add_argument("--series", type=int, default=1)
    parser.add_argument("--jpegls", action="store_true", help="compressed images of 120 kB")
    parser.add_argument("--note", action="store_true", help="a key image note on the first image too")
    parser.add_argument("--reject", metavar="TITLE", help="a rejection note on the first image, e.g. 113001")
    parser.add_argument("--commit", action="store_true", help="ask for storage commitment")
    parser.add_argument("--fault", choices=list(Fault), help="go wrong while sending the first object")
    parser.add_argument("--at", type=int, default=1, help="PDU at which it goes wrong")
    asked = parser.parse_args()
    host, _, port = asked.to.rpartition(":")
    study_uid = asked.study or uid_of("study", uuid.uuid4())
    shape: dict[str, Any] = {"transfer_syntax": JPEGLSLossless, "compressed_bytes": 120_000} if asked.jpegls else {}
    images = study(
        study_uid,
        asked.patient_id,
        asked.accession,
        slices=asked.slices,
        series=asked.series,
        modality=asked.modality,
        **shape,
    )
    if asked.fault:
        asyncio.run(misbehave(host, int(port), asked.ae, asked.called, images[0], Fault(asked.fault), asked.at))
        return
    objects = list(images)
    if asked.note:
        objects.append(key_image_note(images[:1], "Image clé inventée"))
    if asked.reject:
        objects.append(rejection_note(images[:1], title=asked.reject))
    modality = Modality(host, int(port), asked.ae, asked.called)
    began = time.monotonic()
    statuses = modality.store(objects)
    print(f"study {study_uid}: {len(objects)} objects in {time.monotonic() - began:.2f} s")
    print("statuses:", {f"{status:04X}H" if status is not None else "none" for status in statuses})
    if asked.commit:
        print("commitment:", modality.commit(images))


if __name__ == "__main__":
    main()
