"""Telling commitment results until the requestor has confirmed: on its association, else on one of ours.

A session says which results are `untold` when its association ends; those, and what a restart finds on the disk, go out
to the address that `[modality] commitment_peers` names for the AE title. Without an address they wait for the requestor
to ask again, and are then told on that association. After 30 days a result is given up, and the log says so.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from passevue import config
from passevue.errors import BoxError, CabinetError, NetworkError
from passevue.intake import dimse
from passevue.intake.commitment import (
    GIVEN_UP_AFTER,
    WELL_KNOWN_INSTANCE,
    Commitment,
    Pending,
    Result,
    next_try,
    result_of,
    write_result,
)
from passevue.intake.dimse import RESPONSE, Operation
from passevue.intake.images import Images
from passevue.intake.negotiation import EXPLICIT_LITTLE, IMPLICIT_LITTLE, STORAGE_COMMITMENT
from passevue.intake.pacs_association import Address, associated
from passevue.intake.pacs_pdu import Offer

TELL_TIMEOUT_S = 30.0
GRACE_S = 2.0  # after an association has ended, before ours is opened

log = structlog.get_logger()


@dataclass(slots=True)
class Untold:
    """A result that goes out on an association of ours."""

    commitment: Commitment
    due: float  # loop time
    tries: int = 0


class CommitmentReports:
    """Keeps, tells and settles the results of one server."""

    def __init__(self, images: Images, folder: Path, settings: config.Modality) -> None:
        self._images = images
        self._pending = Pending(folder)
        self._settings = settings
        self._addresses = {title.strip(): peer for title, peer in settings.commitment_peers.items()}
        self._untold: dict[tuple[str, str], Untold] = {}
        self._wake = asyncio.Event()

    # For sessions

    async def keep(self, commitment: Commitment) -> None:
        """Raises: StoreError: it is not on the disk."""
        await asyncio.to_thread(self._pending.put, commitment)

    async def due_to(self, requestor: str, asked_now: Commitment) -> list[Commitment]:
        """What to tell `requestor` on its association: what it just asked, and older results without an address."""
        older = [] if requestor in self._addresses else await asyncio.to_thread(self._pending.all)
        waiting = [each for each in older if each.requestor == requestor]
        return [each for each in waiting if each.transaction_uid != asked_now.transaction_uid] + [asked_now]

    async def report(self, commitment: Commitment, transfer_syntax: str) -> tuple[int, bytes]:
        """Event type and data set, as things stand now. Raises: StoreError: the index cannot be read."""
        result = await self._result(commitment)
        return result.event_type, write_result(commitment, result, transfer_syntax, self._settings.ae_title.strip())

    async def _result(self, commitment: Commitment) -> Result:
        classes = await self._images.classes({uid for _, uid in commitment.references})
        return result_of(commitment, classes)

    async def confirmed(self, commitment: Commitment, status: int) -> None:
        if status:
            log.warning("commitment_result_refused", status=f"{status:04X}", calling_ae=commitment.requestor)
        await asyncio.to_thread(self._pending.settle, commitment)
        self._untold.pop(key(commitment), None)

    def untold(self, commitments: Iterable[Commitment]) -> None:
        """Their association ended before the requestor confirmed."""
        for each in commitments:
            self._schedule(each, GRACE_S)

    def _schedule(self, commitment: Commitment, delay_s: float) -> None:
        if commitment.requestor not in self._addresses:
            log.info("commitment_waits_for_requestor", calling_ae=commitment.requestor)
            return
        due = asyncio.get_running_loop().time() + delay_s
        self._untold[key(commitment)] = Untold(commitment, due)
        self._wake.set()

    # On its own

    async def run(self) -> None:
        """Tell what waits, until cancelled."""
        for commitment in await asyncio.to_thread(self._pending.all):
            self._schedule(commitment, 0)
        while True:
            await self._tell_due()
            self._wake.clear()
            try:
                async with asyncio.timeout(self._patience()):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _patience(self) -> float | None:
        if not self._untold:
            return None
        return max(0.0, min(each.due for each in self._untold.values()) - asyncio.get_running_loop().time())

    async def _tell_due(self) -> None:
        loop = asyncio.get_running_loop()
        for name, untold in list(self._untold.items()):
            if untold.due > loop.time() or self._untold.get(name) is not untold:
                continue
            try:
                status = await self._tell(untold.commitment)
            except BoxError as err:
                await self._later(untold, err)
            else:
                await self.confirmed(untold.commitment, status)

    async def _later(self, untold: Untold, err: BoxError) -> None:
        commitment = untold.commitment
        if datetime.now(UTC) - datetime.fromtimestamp(commitment.asked_at, UTC) > GIVEN_UP_AFTER:
            log.error("commitment_given_up", calling_ae=commitment.requestor)
            await asyncio.to_thread(self._pending.settle, commitment)
            self._untold.pop(key(commitment), None)
            return
        untold.tries += 1
        untold.due = asyncio.get_running_loop().time() + next_try(untold.tries).total_seconds()
        log.warning("commitment_not_told", calling_ae=commitment.requestor, tries=untold.tries, error=err.message)

    async def _tell(self, commitment: Commitment) -> int:
        """Status that the requestor answers. Raises: NetworkError, CabinetError, StoreError: it was not told."""
        host, _, port = self._addresses[commitment.requestor].rpartition(":")
        if not port.isdecimal():
            raise CabinetError("address of the commitment peer is not host:port")
        address = Address(host.strip("[]"), int(port), commitment.requestor, self._settings.ae_title.strip())
        offer = Offer(STORAGE_COMMITMENT, (IMPLICIT_LITTLE, EXPLICIT_LITTLE), as_scp=True)
        async with associated(address, [offer], TELL_TIMEOUT_S) as assoc:
            context_id, transfer_syntax = assoc.context(STORAGE_COMMITMENT)
            event_type, data_set = await self.report(commitment, transfer_syntax)
            message_id = assoc.next_message_id()
            message = dimse.event_report(message_id, STORAGE_COMMITMENT, WELL_KNOWN_INSTANCE, event_type)
            await assoc.send(context_id, message, data_set)
            answer = await assoc.receive()
        if answer.command.field != Operation.N_EVENT_REPORT_RQ | RESPONSE:
            raise NetworkError("requestor of a commitment answers something else than our report")
        return int(answer.command.status)


def key(commitment: Commitment) -> tuple[str, str]:
    return commitment.requestor, commitment.transaction_uid
