"""The PACS client: a study as the PACS of the centre has it, whole.

One question, three far ends: a PACS over DIMSE (`pacs_dicom`), over DICOMweb (`dicomweb`), or the box's own images when
the centre has no PACS. What each makes of key object notes is the same and in `pacs_notes`; what may be believed of an
answer is in `pacs_answers`.

The way of a study over DIMSE: `pacs_association` (socket, deadlines) ← `pacs_pdu`, `pacs_dimse`, `pacs_identifier`
(bytes) → `pacs_query` (levels) → `pacs_answers` (values) → `pacs_retrieve`, `pacs_notes` (notes) → `Study`.
"""

from typing import Protocol

from passevue import config
from passevue.errors import ConfigError
from passevue.intake.dicomweb import DicomWebPacs
from passevue.intake.pacs_dicom import DicomPacs
from passevue.intake.pacs_notes import in_place
from passevue.intake.pacs_retrieve import Arrived
from passevue.intake.pacs_tls import pacs_context
from passevue.intake.study import Study


class Pacs(Protocol):
    """Where studies are. Implementations take any number of calls at once and bound what they do with them."""

    async def find_study(self, study_uid: str) -> Study | None:
        """The study, all its series and instances, its notes fetched and read into `key_objects`; None: nothing there.

        Rejection notes and manifests are no instances of it; what a rejection note rejects may still be.

        Raises:
            NetworkError: away, slow, refuses, leaves: the same question may be answered later.
            CabinetError: the answer makes no sense: a person must look.
        """
        ...


class OwnImages(Pacs, Protocol):
    """The box's own images, as much of them as is needed here."""

    async def open(self, sop_uid: str) -> bytes:
        """The object as a Part 10 file. Raises: KeyError: it is not here."""
        ...


class BoxAsPacs:
    """The box's own images, with notes put where a PACS's are."""

    def __init__(self, images: OwnImages) -> None:
        self._images = images

    async def find_study(self, study_uid: str) -> Study | None:
        study = await self._images.find_study(study_uid)
        return in_place(study, study.key_objects) if study else None


def open_pacs(pacs: config.Pacs | None, images: OwnImages) -> Pacs:
    """The PACS as configured; the box's own images when there is none. Reads files: not for the event loop.

    Raises:
        ConfigError: settings that do not go together, or a certificate or key that cannot be used.
    """
    if pacs is None:
        return BoxAsPacs(images)
    if pacs.retrieve == "wado-rs" and pacs.dicomweb_url is None:
        raise ConfigError(
            "pacs.dicomweb_url",
            "retrieve is wado-rs and there is no address to retrieve from",
            hint="Indiquez l'adresse DICOMweb du PACS, ou choisissez c-get ou c-move.",
        )
    dimse = DicomPacs(pacs, arrived_in(images), pacs_context(pacs) if pacs.tls else None)
    if pacs.dicomweb_url is None:
        return dimse
    https = pacs_context(pacs) if pacs.dicomweb_url.scheme == "https" else None
    return DicomWebPacs(pacs, https, None if pacs.retrieve == "wado-rs" else dimse)


def arrived_in(images: OwnImages) -> Arrived:
    """What `c_move` looks with for what the PACS has sent."""

    async def arrived(sop_uid: str) -> bytes | None:
        try:
            return await images.open(sop_uid)
        except KeyError:
            return None

    return arrived
