"""What the queue keeps of a document's way, and what it asks of the part that does the work: values and one seam.

An *entry* is one thing to do for one examination (one StudyInstanceUID): publish, withdraw or refresh its manifest.
One received message makes one entry per study it names. The queue decides when; `Work` does it. The identifiers that
are seen outside are in `Submission`: made once, when it is built, and stored before anything is sent (Q-03, Q-04).
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from passevue.document.request import Action


class Transaction(StrEnum):
    """The DMP transaction that a submission is (dmp-xds.md § 1.1)."""

    TD2_1A = "TD2.1a"  # publication
    TD2_1B = "TD2.1b"  # replacement
    TD3_3C = "TD3.3c"  # withdrawal


@dataclass(frozen=True, slots=True)
class Submission:
    """What goes to the registry for one entry, frozen before the first try.

    Attributes:
        transaction: which DMP transaction.
        set_unique_id: XDSSubmissionSet.uniqueId.
        document_unique_id: uniqueId of the KOS, its SOPInstanceUID; for a withdrawal that of the KOS withdrawn.
        kos: the KOS file; empty for a withdrawal.
        metadata: `lcm:SubmitObjectsRequest`, bytes of UTF-8 XML. Where it needs the entryUUID of another entry it says
            `replaces_placeholder`, filled at the try (the registry gives a new one at each publication).
        signature: the XAdES of the set; empty for a withdrawal.
        replaces_unique_id: uniqueId of the KOS that is replaced or withdrawn, None for a first publication.
        structure: StructIdNat whose certificates sign and connect.
        vihf: what the VIHF of each try is made from, as JSON bytes (`national.vihf`): made new at each try.
        record: what the archive keeps about the study once this is settled, as JSON bytes (`document.record`).
    """

    transaction: Transaction
    set_unique_id: str
    document_unique_id: str
    metadata: bytes
    structure: str
    vihf: bytes
    record: bytes
    kos: bytes = b""
    signature: bytes = b""
    replaces_unique_id: str | None = None


ENTRY_UUID_PLACEHOLDER = "urn:uuid:00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True)
class Nothing:
    """Built, and there is nothing to send: `reason` is a stable code (`not-for-dmp`, `unchanged`, `never-published`).

    `record` is what the archive must remember all the same (instances rejected before the first publication).
    """

    reason: str
    record: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """Proof that the registry took it: its answer's status and MessageID, the entryUUID where it is known."""

    status: str
    message_id: str = ""
    entry_uuid: str | None = None
    warnings: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the queue as the work sees it.

    `content` is the received bytes; `kind` tells their language; `tries` counts started sendings.
    """

    number: int
    action: Action
    study_uid: str
    kind: str
    content: bytes
    received_at: datetime
    tries: int


class Work(Protocol):
    """The way of one entry, done by `national.publication`. Each call may be cancelled; each may be called again.

    Raises (all three):
        NetworkError: not now; the same again later.
        CredentialError: a person or certificate is missing; the entry is held.
        Refused, TrustError: never like this; set aside.
    """

    async def build(self, entry: Entry) -> Submission | Nothing:
        """Ask the PACS, check, make the KOS and freeze what will be sent. Sends nothing.

        Raises also: CabinetError when what the cabinet holds does not agree.
        """
        ...

    async def send(self, submission: Submission) -> Answer:
        """One try on the wire, with a new VIHF and MessageID.

        Raises also: InDoubt when the request left whole and no answer was understood.
        """
        ...

    async def look_up(self, submission: Submission) -> Answer | None:
        """Has this very submission reached the registry? None: it has not.

        Raises also: Refused when the registry holds the same uniqueId with another hash.
        """
        ...
