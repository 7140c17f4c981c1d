"""A PACS over DIMSE: studies by C-FIND, key object notes by C-GET or C-MOVE.

Rules:
- The queries and retrievals of one study share one association; no more than `max_associations` at once, whatever the
  number of lanes.
- Deadlines: `timeout_s` on the connection, the association and each answer; `WHOLE` times that on a study.
- Nothing of what is asked or answered is logged.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator

from passevue import config
from passevue.errors import CabinetError, NetworkError
from passevue.intake.pacs_answers import is_uid
from passevue.intake.pacs_association import HINT_AWAY, Address, Association, associated
from passevue.intake.pacs_notes import KEY_OBJECT_SELECTION, Fetch, with_notes
from passevue.intake.pacs_pdu import Offer
from passevue.intake.pacs_query import STUDY_ROOT_FIND, whole_study
from passevue.intake.pacs_retrieve import STUDY_ROOT_GET, STUDY_ROOT_MOVE, Arrived, c_get, c_move
from passevue.intake.study import Reference, Study

WHOLE = 10  # deadlines of one answer that a whole study may take
IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
_DEFAULT = (IMPLICIT_VR_LITTLE_ENDIAN,)

FIND = Offer(STUDY_ROOT_FIND, _DEFAULT)
RETRIEVE: dict[str, tuple[Offer, ...]] = {
    "c-get": (
        Offer(STUDY_ROOT_GET, _DEFAULT),
        Offer(KEY_OBJECT_SELECTION, (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN), as_scp=True),
    ),
    "c-move": (Offer(STUDY_ROOT_MOVE, _DEFAULT),),
}


@contextlib.asynccontextmanager
async def whole_deadline(whole_s: float) -> AsyncIterator[None]:
    """Bounds the time of a whole study."""
    try:
        async with asyncio.timeout(whole_s):
            yield
    except TimeoutError as err:
        raise NetworkError(f"PACS did not give a study within {whole_s:g} s", hint=HINT_AWAY) from err


class DicomPacs:
    """`Pacs` over DIMSE. `arrived` gives what the box's own acceptor has taken in, for C-MOVE."""

    def __init__(
        self, pacs: config.Pacs, arrived: Arrived, tls: ssl.SSLContext | None = None, *, whole_s: float | None = None
    ) -> None:
        self._pacs = pacs
        self._whole_s = whole_s or WHOLE * pacs.timeout_s
        self._arrived = arrived
        self._address = Address(pacs.host, pacs.port, pacs.ae_title, pacs.our_ae_title, tls)
        self._places = asyncio.Semaphore(pacs.max_associations)

    async def find_study(self, study_uid: str) -> Study | None:
        """The whole study, its notes read; None when the PACS has nothing of it.

        Raises:
            NetworkError: the PACS is away, slow, refuses, or cannot answer now.
            CabinetError: its answers make no sense.
        """
        if not is_uid(study_uid):
            raise CabinetError("the study asked for is not named by a UID")
        async with whole_deadline(self._whole_s), self._associated(FIND) as assoc:
            study = await whole_study(assoc, study_uid)
            return await with_notes(study, self._fetch_on(assoc)) if study else None

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[Fetch]:
        """What fetches notes alone, for as long as the block lasts: `dicomweb.NoteSource`."""
        async with self._associated() as assoc:
            yield self._fetch_on(assoc)

    @contextlib.asynccontextmanager
    async def _associated(self, *offers: Offer) -> AsyncIterator[Association]:
        offers += RETRIEVE[self._pacs.retrieve]
        async with self._places, associated(self._address, offers, self._pacs.timeout_s) as assoc:
            yield assoc

    def _fetch_on(self, assoc: Association) -> Fetch:
        async def fetch(note: Reference) -> bytes:
            if self._pacs.retrieve == "c-move":
                return await c_move(assoc, note, self._pacs.our_ae_title, self._arrived)
            return await c_get(assoc, note)

        return fetch
