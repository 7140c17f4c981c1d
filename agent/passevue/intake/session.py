"""One association from its request to its end: what is answered to each message.

The order of things is the peer's; one message is served at a time (no asynchronous operations were negotiated). However
it ends, one log line says who it was, how much came and how it went, without naming a patient or an object.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog

from passevue import config
from passevue.errors import StoreError, Unreadable
from passevue.intake import association, dimse, negotiation
from passevue.intake.association import AbortReason, AssociationRequest, Context, ContextResult, PduError, Rejection
from passevue.intake.commitment import (
    MAX_DATA_SET_BYTES,
    REQUEST_ACTION,
    WELL_KNOWN_INSTANCE,
    Commitment,
    Name,
    read_request,
)
from passevue.intake.commitment_reports import CommitmentReports
from passevue.intake.dimse import RESPONSE, Command, Operation, Status, Tag
from passevue.intake.received import Stored, Told, nobody
from passevue.intake.storage import Sender, StorageDesk
from passevue.intake.upper_layer import Aborted, CommandReceived, DataEnd, DataFragment, ReleaseRequested, Requested
from passevue.intake.wire import Lost, Silent, Wire

OFFERED_PDU_BYTES = 128 << 10  # what dcmtk can send at most; longer PDUs gain nothing

log = structlog.get_logger()


@dataclass(slots=True)
class Tally:
    """What an association did."""

    outcome: str = "lost"
    stored: int = 0
    studies: Counter[str] = field(default_factory=Counter)  # objects taken, by study
    refused: int = 0
    echoes: int = 0
    commitments: int = 0
    contexts: int = 0
    started_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Witness:
    """Who hears, for the audit trail, what was stored and what was refused."""

    stored: Callable[[Stored], None] = lambda _: None
    refused: Told = nobody


@dataclass(frozen=True, slots=True)
class Desks:
    """Who serves what, shared by the sessions of one server."""

    storage: StorageDesk
    reports: CommitmentReports
    busy: Callable[[Sender], Rejection | None]  # no association now, for the whole box or this caller
    established: Callable[[Sender], None]
    settings: config.Modality
    told: Witness


@dataclass(slots=True)
class Session:
    """Serves one connection."""

    wire: Wire
    peer: str
    desks: Desks
    tally: Tally = field(default_factory=Tally)
    sender: Sender = field(default=Sender("", ""))
    peer_max_length: int = 0
    awaited: dict[int, Name] = field(default_factory=dict)  # message id -> commitment told, not yet confirmed
    last_message_id: int = 0

    async def run(self) -> None:
        """Until the association has ended; never raises for what the peer does."""
        last_word = b""
        try:
            last_word = await self._converse()
        except PduError as err:
            self.tally.outcome = "aborted by us"
            log.warning("dicom_protocol_error", peer=self.peer, reason=err.message)
            self.desks.told.refused(self.sender.ae_title, self.peer, f"A-ABORT {err.message}")
            last_word = association.write_abort(err.reason)
        except Unreadable as err:  # an object passed its bound
            self.tally.outcome = "aborted by us"
            log.warning("dicom_bound_passed", peer=self.peer, reason=err.message)
            self.desks.told.refused(self.sender.ae_title, self.peer, f"A-ABORT {err.message}")
            last_word = association.write_abort(AbortReason.NOT_SPECIFIED, source=0)
        except StoreError as err:  # while an object was moving to its file: there is no status to answer yet
            self.tally.outcome = "aborted by us"
            log.error("object_not_stored", peer=self.peer, reason=err.message)
            last_word = association.write_abort(AbortReason.NOT_SPECIFIED, source=0)
        except Silent as err:
            self.tally.outcome = "silent"
            log.info("dicom_silent", peer=self.peer, reason=err.message)
            last_word = association.write_abort(AbortReason.NOT_SPECIFIED)
        except Lost:
            self.tally.outcome = "lost"
        finally:
            self.desks.reports.untold(self.awaited.values())
            self._say()
        await self.wire.finish(last_word)

    def _say(self) -> None:
        if self.tally.stored or self.tally.refused:
            studies = {uid: count for uid, count in self.tally.studies.items() if uid and count}
            self.desks.told.stored(Stored(self.sender.ae_title, self.peer, studies, self.tally.refused))
        log.info(
            "association_ended",
            outcome=self.tally.outcome,
            calling_ae=self.sender.ae_title,
            peer=self.peer,
            stored=self.tally.stored,
            refused=self.tally.refused,
            echoes=self.tally.echoes,
            commitments=self.tally.commitments,
            bytes=self.wire.bytes_in,
        )

    async def _converse(self) -> bytes:
        event = await self.wire.next()
        if not isinstance(event, Requested):
            self.tally.outcome = "aborted by the peer"
            return b""
        rejection = self._rejection(event.request)
        if rejection is not None:
            self.tally.outcome = "rejected"
            log.warning(
                "association_rejected",
                peer=self.peer,
                result=rejection.result,
                source=rejection.source,
                reason=rejection.reason,
            )
            said = f"A-ASSOCIATE-RJ result {rejection.result} source {rejection.source} reason {rejection.reason}"
            self.desks.told.refused(event.request.calling_ae, self.peer, said)
            return association.write_reject(rejection)
        await self._accept(event.request)
        return await self._serve()

    def _rejection(self, request: AssociationRequest) -> Rejection | None:
        refusal = negotiation.refusal(request, self.desks.settings, self.peer)
        if refusal is not None:
            return refusal
        self.sender = Sender(request.calling_ae, self.peer)
        return self.desks.busy(self.sender)

    async def _accept(self, request: AssociationRequest) -> None:
        contexts = tuple(negotiation.answer(each) for each in request.contexts)
        self.peer_max_length = request.max_length
        self.tally.contexts = sum(each.result is ContextResult.ACCEPTED for each in contexts)
        self.desks.established(self.sender)
        self.wire.layer.accepted(contexts)
        offered = min(OFFERED_PDU_BYTES, self.desks.settings.max_pdu_bytes)
        await self.wire.write(association.write_accept(request, contexts, offered, negotiation.roles(request)))

    async def _serve(self) -> bytes:
        while True:
            match await self.wire.next():
                case CommandReceived(context, command):
                    await self._message(context, command)
                case ReleaseRequested():
                    self.tally.outcome = "released"
                    return association.RELEASE_RP
                case Aborted():
                    self.tally.outcome = "aborted by the peer"
                    return b""

    async def _message(self, context: Context, command: Command) -> None:
        if command.field == Operation.C_STORE_RQ:
            await self._store(context, command)
        elif command.field == Operation.C_ECHO_RQ:
            await self._drain(command)
            self.tally.echoes += 1
            right = context.abstract_syntax == negotiation.VERIFICATION
            await self._respond(context, command, Status.SUCCESS if right else Status.SOP_CLASS_NOT_SUPPORTED)
        elif command.field == Operation.N_ACTION_RQ:
            await self._action(context, command)
        elif command.field == Operation.N_EVENT_REPORT_RQ | RESPONSE:
            await self._drain(command)
            await self._told(command)
        elif command.field == Operation.C_CANCEL_RQ or command.field & RESPONSE:
            await self._drain(command)  # nothing of ours can be cancelled, nothing else was asked
        else:
            await self._drain(command)
            await self._respond(context, command, Status.UNRECOGNISED_OPERATION)

    async def _respond(self, context: Context, command: Command, status: int) -> None:
        await self.wire.write(dimse.p_data(context.id, dimse.response(command, status)))

    # C-STORE

    async def _store(self, context: Context, command: Command) -> None:
        begun = self.desks.storage.receive(command, context, self.sender)
        if isinstance(begun, Status):
            await self._drain(command)
            status = begun
        else:
            identity, incoming = begun
            async with incoming:
                while True:
                    match await self.wire.next():
                        case DataFragment(data):
                            if incoming.fragment(data):
                                await incoming.spill()
                        case DataEnd():
                            break
                        case _:
                            raise Lost("association ended inside an object")
                status, study_uid = await self.desks.storage.take_in(identity, incoming, self.sender)
                self.tally.studies[study_uid] += status is Status.SUCCESS
        if status is Status.SUCCESS:
            self.tally.stored += 1
        else:
            self.tally.refused += 1
        await self._respond(context, command, status)

    async def _drain(self, command: Command) -> None:
        """Let the data set of a message that is refused go by, within the bound of an object."""
        await self._gather(command, 0)

    async def _gather(self, command: Command, most: int) -> bytes | None:
        """The data set, None when it is longer than `most`."""
        gathered, length = bytearray(), 0
        while command.has_data_set:
            match await self.wire.next():
                case DataFragment(data):
                    length += len(data)
                    if length <= most:
                        gathered += data
                    elif length > self.desks.settings.max_object_bytes:
                        raise Unreadable("data set longer than any object may be")
                case DataEnd():
                    break
                case _:
                    raise Lost("association ended inside a data set")
        return bytes(gathered) if length <= most else None

    # Storage commitment

    async def _action(self, context: Context, command: Command) -> None:
        data_set = await self._gather(command, MAX_DATA_SET_BYTES)
        status, commitment = await self._commitment(context, command, data_set)
        await self._respond(context, command, status)
        if commitment is None:
            return
        self.tally.commitments += 1
        for each in await self.desks.reports.due_to(self.sender.ae_title, commitment):
            await self._tell(context, each)

    async def _commitment(
        self, context: Context, command: Command, data_set: bytes | None
    ) -> tuple[Status, Commitment | None]:
        if context.abstract_syntax != negotiation.STORAGE_COMMITMENT:
            return Status.UNRECOGNISED_OPERATION, None
        if command.uid(Tag.RequestedSOPInstanceUID) != WELL_KNOWN_INSTANCE:
            return Status.NO_SUCH_INSTANCE, None
        if command.number(Tag.ActionTypeID) != REQUEST_ACTION:
            return Status.NO_SUCH_ACTION, None
        try:
            commitment = read_request(data_set or b"", context.transfer_syntax, self.sender.ae_title, datetime.now(UTC))
            await self.desks.reports.keep(commitment)
        except Unreadable as err:
            log.warning("commitment_refused", peer=self.peer, reason=err.message)
            return Status.INVALID_ARGUMENT, None
        except StoreError as err:
            log.error("commitment_not_kept", peer=self.peer, reason=err.message)
            return Status.PROCESSING_FAILURE, None
        return Status.SUCCESS, commitment

    async def _tell(self, context: Context, commitment: Commitment) -> None:
        """N-EVENT-REPORT on this association; the answer comes among the other messages."""
        self.last_message_id = self.last_message_id % 0xFFFF + 1
        event_type, data_set = await self.desks.reports.report(commitment, context.transfer_syntax)
        message = dimse.event_report(
            self.last_message_id, negotiation.STORAGE_COMMITMENT, WELL_KNOWN_INSTANCE, event_type
        )
        self.awaited[self.last_message_id] = commitment.name
        await self.wire.write(dimse.p_data(context.id, message, data_set, max_length=self.peer_max_length))

    async def _told(self, command: Command) -> None:
        name = self.awaited.pop(command.message_id, None)
        if name is not None:
            await self.desks.reports.confirmed(name, command.number(Tag.Status) or 0)
