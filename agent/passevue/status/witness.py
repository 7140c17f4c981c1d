"""Tells the audit trail and the neighbours' register what the parts saw; joined to them by the box.

The parts know neither. They hand over facts as they happen; here each becomes an audit event (where identities are
lawful) and a neighbour's last word (where they are not). Nothing here waits, as no part may stand still since the trail
is slow, but `traced`: no try with the registry begins while the trail does not write (LOG-01).
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import structlog

from passevue import __version__
from passevue.errors import StoreError, TraceError
from passevue.status import audit
from passevue.status.audit import Event, Outcome
from passevue.status.audit_trail import AuditTrail
from passevue.status.neighbours import Neighbour, Neighbours
from passevue.status.tally import Tally

if TYPE_CHECKING:  # values that go by: whoever hands them over has them
    from passevue.intake.received import Received, Stored
    from passevue.intake.ris_values import RisMessage
    from passevue.national.registry import Exchange

log = structlog.get_logger()

_TRANSACTIONS = {"TD2.1a": "ITI-41", "TD2.1b": "ITI-41", "TD3.3c": "ITI-57"}
_QUERIES = {"TD3.1b": "urn:uuid:5c4f972b-d56b-40ac-a5fc-c8ca9b40b9d4", "TD0.2": "PRPA_IN201307UV02"}
_OUTCOMES = {"ok": "success", "NetworkError": "network", "Failing": "network", "InDoubt": "in-doubt",
             "CredentialError": "held", "TrustError": "held", "Cancelled": "network",
             "Crashed": "network"}  # fmt: skip
_NO_WORD = frozenset({"NetworkError", "InDoubt", "CredentialError", "TrustError", "Cancelled", "Crashed"})
_MAY_PASS = frozenset({"NetworkError", "InDoubt", "Failing", "CredentialError", "Cancelled", "Crashed"})


class Witness:
    """One for each process. `service` is the registry's base address."""

    def __init__(
        self,
        trail: AuditTrail,
        neighbours: Neighbours,
        tally: Tally,
        service: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._trail = trail
        self._neighbours = neighbours
        self._tally = tally
        self._service = service
        self._clock = clock

    def message_taken(self, message: "RisMessage", received: "Received") -> None:
        self._neighbours.heard(Neighbour.RIS, str(message.demand), received.received_at)
        self._tally.received.add(str(message.kind), "AA")
        patients = (audit.patient("{}^^^&{}&ISO^NH".format(*message.ins)),) if message.ins else ()
        self._note(
            audit.message_received(received.received_at, received.sender, received.peer, str(received.kind), patients)
        )

    def message_refused(self, sender: str, peer: str, said: str) -> None:
        """`said` is the acknowledgement, code and text; or why a connection was broken off."""
        now = self._clock()
        answer = said[:2] if said[:2] in ("AE", "AR") else "none"
        self._tally.received.add("report", answer)
        self._neighbours.failed(Neighbour.RIS, f"MLLP {answer}", now)
        self._note(audit.input_refused(now, "MLLP", sender, peer, said))

    def association_refused(self, sender: str, peer: str, said: str) -> None:
        now = self._clock()
        self._neighbours.failed(Neighbour.MODALITY, "A-ASSOCIATE", now)
        self._note(audit.association_refused(now, sender, peer, said))

    def objects_taken(self, stored: "Stored") -> None:
        """One association, told when it has ended."""
        now = self._clock()
        self._neighbours.heard(Neighbour.MODALITY, "C-STORE", now)
        self._tally.received.add("object", "0000H", amount=sum(stored.studies.values()))
        self._tally.received.add("object", "refused", amount=stored.refused)
        outcome = Outcome.MINOR if stored.refused else Outcome.SUCCESS
        said = f"{stored.refused} objects refused" if stored.refused else ""
        self._note(audit.objects_received(now, stored.calling_ae, stored.peer, stored.studies, outcome, said))

    def pacs_asked(self, error: Exception | None) -> None:
        now = self._clock()
        if error is None:
            self._neighbours.heard(Neighbour.PACS, "C-FIND", now)
        else:
            self._neighbours.failed(Neighbour.PACS, type(error).__name__, now)

    def exchanged(self, exchange: "Exchange") -> None:
        """One try with the registry. An answer that refuses is an answer: the registry is there."""
        now = self._clock()
        self._tally.tries.add(exchange.transaction, _OUTCOMES.get(exchange.result, "refused"))
        self._tally.try_seconds.took(exchange.duration_s, exchange.transaction)
        if exchange.result in _NO_WORD:
            self._neighbours.failed(Neighbour.DMP, exchange.result, now)
        else:
            self._neighbours.heard(Neighbour.DMP, exchange.transaction, now)
        self._note(self._of(exchange))

    async def traced(self) -> None:
        """Returns when the trail writes; a record of the check is kept when none was for a while.

        Raises:
            TraceError: it does not.
        """
        if self._trail.sure:
            return
        try:
            await self._trail.record(audit.trail_checked(self._clock()))
        except StoreError as err:
            raise TraceError("the audit trail cannot be written") from err

    def device_refused(self, reason: str) -> None:
        """Something that is not a reader of the list was plugged in (USB-01)."""
        self._note(audit.input_refused(self._clock(), "USB", "", "", reason))

    def rule_changed(self, at: datetime, rule: str, said: str, *, fires: bool) -> None:
        """A rule of the security baseline is in another state now."""
        self._note(audit.rule_changed(at, rule, said, fires=fires))

    def machine_changed(self, what: str, by: str, said: str) -> None:
        """An update, a configuration or an erasure: what happened to the machine, and who asked."""
        self._note(audit.machine_changed(self._clock(), what, by, said))

    def purged(self, what: str, counts: Mapping[str, int]) -> None:
        self._note(audit.content_purged(self._clock(), what, counts))

    async def run(self) -> None:
        """Tells that the box runs, and when it ends."""
        self._note(audit.box_started(self._clock(), __version__))
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self._note(audit.box_stopped(self._clock(), __version__))

    def _of(self, exchange: "Exchange") -> Event:
        outcome = _outcome(exchange)
        facts = exchange.facts
        said = " ".join(filter(None, (exchange.result, exchange.code)))
        details = {"MessageID": exchange.message_id, "duration": f"{exchange.duration_s:.3f} s"}
        patients = (audit.patient(facts.resource_id),) if facts.resource_id else ()
        name = _TRANSACTIONS.get(exchange.transaction)
        if name is not None:
            subjects = (*patients, audit.submission_set(exchange.set_unique_id, details))
            return audit.sent(
                exchange.started_at, name, exchange.structure, facts.name_id, self._service, subjects, outcome, said
            )
        query = audit.stored_query(_QUERIES[exchange.transaction], b"", details)
        return audit.queried(
            exchange.started_at, exchange.structure, facts.name_id, self._service, (*patients, query), outcome, said
        )

    def _note(self, event: Event) -> None:
        try:
            self._trail.note(event)
        except StoreError as err:
            log.error("audit_record_lost", reason=err.message)


def _outcome(exchange: "Exchange") -> Outcome:
    if exchange.result == "ok":
        return Outcome.SUCCESS
    return Outcome.MINOR if exchange.result in _MAY_PASS else Outcome.SERIOUS
