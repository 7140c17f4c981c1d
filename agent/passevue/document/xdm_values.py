"""What an XDM archive carries, and what an import found: values."""

from dataclasses import dataclass

from passevue.document.patient import Identifier, Ins


@dataclass(frozen=True, slots=True)
class ArchivedKos:
    """One KOS of the archive.

    Attributes:
        report_id: id of the report (CDA) that it was published with; None when a plain IHE XDM does not say.
        ins: of the patient. `ipp`: local identifier, None when unknown.
        entry_uuid: entryUUID that the DMP gave, without `urn:uuid:`; empty when unknown.
        signature: empty when there is none.
        record: what a box of ours knows of the report (`document.record`); empty when another system wrote the archive.
    """

    study_uid: str
    kos: bytes
    metadata: bytes
    signature: bytes
    report_id: Identifier | None
    ins: Ins
    ipp: Identifier | None = None
    entry_uuid: str = ""
    record: bytes = b""


@dataclass(frozen=True, slots=True)
class Finding:
    """Why one set was not taken, or what is odd about one that was: `reason` is a stable code."""

    folder: str
    reason: str


@dataclass(frozen=True, slots=True)
class XdmReport:
    """What an import gave: entries to archive, sets left aside as an equal or newer one is there, sets refused."""

    taken: tuple[ArchivedKos, ...] = ()
    skipped: tuple[Finding, ...] = ()
    refused: tuple[Finding, ...] = ()
    warnings: tuple[Finding, ...] = ()
