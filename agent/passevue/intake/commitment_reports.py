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
    Name,
    Pending,
    Result,
    next_try,
    result_of,
    write_result,
)
from passevue.intake.dimse import RESPONSE, Operation, Tag
from passevue.intake.images import Images
from passevue.intake.negotiation import EXPLICIT_LITTLE, IMPLICIT_LITTLE, STORAGE_COMMITMENT
from passevue.intake.pacs_association import Address, associated
from passevue.intake.pacs_pdu import Offer

TELL_TIMEOUT_S = 30.0
OLDER_MOST = 10  # results of earlier requests that are told after a new one
GRACE_S = 2.0  # after an association has ended, before ours is opened

log = structlog.get_logger()


@dataclass(slots=True)
class Untold:
    """A result that goes out on an association of ours: when (loop time), and how often that has failed."""

    due: float
    tries: int = 0


class CommitmentReports:
    """Keeps, tells and settles the results of one server."""

    def __init__(self, images: Images, folder: Path, settings: config.Modality) -> None:
        self._images = images
        self._pending = Pending(folder)
        self._settings = settings
        self._addresses = {title.strip(): peer for title, peer in settings.commitment_peers.items()}
        self._untold: dict[Name, Untold] = {}
        self._wake = asyncio.Event()

    # For sessions

    async def keep(self, commitment: Commitment) -> None:
        """Raises: StoreError: it is not on the disk."""
        await asyncio.to_thread(self._pending.put, commitment)

    async def due_to(self, requestor: str, asked_now: Commitment) -> list[Commitment]:
        """What to tell `requestor` on its association: what it just asked, and older results without an address."""
        names = [] if requestor in self._addresses else await asyncio.to_thread(self._pending.names)
        older = [each for each in names if each[0] == requestor and each != asked_now.name][:OLDER_MOST]
        found = [await asyncio.to_thread(self._pending.get, each) for each in older]
        return [*(each for each in found if each), asked_now]

    async def report(self, commitment: Commitment, transfer_syntax: str) -> tuple[int, bytes]:
        """Event type and data set, as things stand now. Raises: StoreError: the index cannot be read."""
        result = await self._result(commitment)
        return result.event_type, write_result(commitment, result, transfer_syntax, self._settings.ae_title.strip())

    async def _result(self, commitment: Commitment) -> Result:
        classes = await self._images.classes({uid for _, uid in commitment.references})
        return result_of(commitment, classes)

    async def confirmed(self, name: Name, status: int) -> None:
        if status:
            log.warning("commitment_result_refused", status=f"{status:04X}", calling_ae=name[0])
        await asyncio.to_thread(self._pending.settle, name)
        self._untold.pop(name, None)

    def untold(self, names: Iterable[Name]) -> None:
        """Their association ended before the requestor confirmed."""
        for each in names:
            self._schedule(each, GRACE_S)

    def _schedule(self, name: Name, delay_s: float) -> None:
        if name[0] not in self._addresses:
            log.info("commitment_waits_for_requestor", calling_ae=name[0])
            return
        self._untold[name] = Untold(asyncio.get_running_loop().time() + delay_s)
        self._wake.set()

    # On its own

    async def run(self) -> None:
        """Tell what waits, until cancelled."""
        for name in await asyncio.to_thread(self._pending.names):
            self._schedule(name, 0)
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
            commitment = await asyncio.to_thread(self._pending.get, name)
            if commitment is None:
                self._untold.pop(name, None)
                continue
            try:
                status = await self._tell(commitment)
            except BoxError as err:
                await self._later(commitment, untold, err)
            else:
                await self.confirmed(name, status)

    async def _later(self, commitment: Commitment, untold: Untold, err: BoxError) -> None:
        """Try again later, and do not try the others of this requestor before that."""
        requestor = commitment.requestor
        if datetime.now(UTC) - datetime.fromtimestamp(commitment.asked_at, UTC) > GIVEN_UP_AFTER:
            log.error("commitment_given_up", calling_ae=requestor)
            await asyncio.to_thread(self._pending.settle, commitment.name)
            self._untold.pop(commitment.name, None)
            return
        untold.tries += 1
        due = asyncio.get_running_loop().time() + next_try(untold.tries).total_seconds()
        for name, each in self._untold.items():
            if name[0] == requestor:
                each.due = max(each.due, due)
        log.warning("commitment_not_told", calling_ae=requestor, tries=untold.tries, error=err.message)

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
        return answer.command.number(Tag.Status) or 0
