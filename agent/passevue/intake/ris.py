"""The desk of the RIS: one message in, one acknowledgement out, and nothing acknowledged that is not kept.

`AA` is made only after `accept` has returned, that is after the entry is committed and synced (Q-01). Whatever fails on
our side answers `AR` 207, so that the RIS sends again; whatever is wrong in the message answers `AE` with its place.
The desk knows HL7; it knows neither sockets nor the queue. Identities never reach its logs.

    desk = RisDesk(accept, applications=config.ris.applications)
    ack = await desk.answer(raw, peer="192.0.2.7")
"""

from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime

import structlog

from passevue.errors import Ack, Hl7Error, NoRoom, StoreError, Unreadable
from passevue.intake.ack import Outcome, acknowledgement, echo
from passevue.intake.hl7 import Segment, read_msh
from passevue.intake.received import Receipt, Received, Told, nobody
from passevue.intake.ris_rules import read_ris_message, sender_of
from passevue.intake.ris_values import Demand, Participant, RisMessage, Visibility

__all__ = ["Accept", "Demand", "Participant", "RisDesk", "RisMessage", "Visibility", "read_ris_message"]

log = structlog.get_logger()

Accept = Callable[[RisMessage, Received], Awaitable[Receipt]]
"""Keeps the message, and returns once it is on the disk.

Raises: Hl7Error, answered as it says; StoreError, answered `AR` 207.
"""


class RisDesk:
    """Answers messages, any number at once."""

    def __init__(
        self,
        accept: Accept,
        *,
        applications: Collection[str] = (),
        refused: Told = nobody,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._accept = accept
        self._refused = refused
        self._applications = frozenset(applications)
        self._clock = clock

    async def answer(self, raw: bytes, peer: str) -> bytes | None:
        """The ACK to `raw`. Empty when the sender asks for none (MSH-15, MSH-16); None when there is no MSH to answer.

        Never raises, cancellation apart: an error of ours is logged once and answered `AR` 207.
        """
        try:
            msh = read_msh(raw)
        except Unreadable as err:
            log.warning("ris_message_unanswerable", peer=peer, bytes=len(raw), reason=err.message)
            self._refused("", peer, err.message)
            return None
        if echo(msh, 9).startswith("ACK"):
            return b""  # an acknowledgement is never acknowledged (HL7 v2.5 § 2.9.2): two ends would never stop
        outcome = await self._outcome(msh, raw, peer)
        if outcome.error is not None:
            self._tell(msh, peer, outcome.error)
        return acknowledgement(msh, outcome, self._clock())

    def too_long(self, head: bytes, most: int, peer: str) -> bytes | None:
        """The ACK to a message that passed the bound of `most` bytes, of which `head` was kept."""
        try:
            msh = read_msh(head)
        except Unreadable:
            return None
        error = Hl7Error(199, f"Expected a message of at most {most} bytes instead got more")
        _log_refusal(error, peer)
        self._tell(msh, peer, error)
        return acknowledgement(msh, Outcome(error), self._clock())

    def broken_off(self, peer: str, reason: str) -> None:
        """A connection was not taken, or closed by the listener for what came on it."""
        self._refused("", peer, reason)

    def _tell(self, msh: Segment, peer: str, error: Hl7Error) -> None:
        self._refused(sender_of(msh), peer, f"{error.ack} {error.code} {error.message}")

    async def _outcome(self, msh: Segment, raw: bytes, peer: str) -> Outcome:
        try:
            self._check_sender(msh)
            await self._take_in(raw, peer)
        except Hl7Error as err:
            _log_refusal(err, peer)
            return Outcome(err)
        except Unreadable as err:
            error = Hl7Error(102, err.message)
            _log_refusal(error, peer)
            return Outcome(error)
        except StoreError as err:
            log.error("ris_message_not_kept", peer=peer, error=type(err).__name__, reason=err.message)
            return Outcome(Hl7Error(207, "no room" if isinstance(err, NoRoom) else "not kept", ack=Ack.AR))
        except Exception as err:  # the box's own fault must not cost the RIS its connection, nor the message
            log.error("ris_message_failed", peer=peer, error=type(err).__name__, at=_place(err))
            return Outcome(Hl7Error(207, "internal error", ack=Ack.AR))
        return Outcome()

    async def _take_in(self, raw: bytes, peer: str) -> None:
        message = read_ris_message(raw)
        received = Received(
            kind=message.kind,
            content=raw,
            sender=message.sender,
            peer=peer,
            control_id=message.control_id,
            received_at=self._clock(),
        )
        receipt = await self._accept(message, received)
        log.info(
            "ris_message_taken",
            peer=peer,
            number=receipt.number,
            demand=str(message.demand),
            bytes=len(raw),
            duplicate=receipt.duplicate,
            conflict=receipt.conflict,
        )

    def _check_sender(self, msh: Segment) -> None:
        """MSH-3, or MSH-3|MSH-4, must be on the list when there is one."""
        if not self._applications:
            return
        application = echo(msh, 3)
        known = {application, application.partition("^")[0], sender_of(msh)}
        if self._applications.isdisjoint(known):
            raise Hl7Error(199, "Sender not allowed", ack=Ack.AR, location="MSH^1^3", application_code=901)


def _log_refusal(error: Hl7Error, peer: str) -> None:
    log.warning(
        "ris_message_refused",
        peer=peer,
        ack=str(error.ack),
        code=error.code,
        location=error.location,
        reason=error.message,
    )


def _place(err: BaseException) -> str:
    """File and line where `err` rose: its text may hold an identity, its place does not."""
    trace = err.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"
