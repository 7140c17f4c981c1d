"""Freezes what will be sent for one study: KOS, signature, metadata, VIHF facts and the archive's record (Q-03, Q-04).

Values in, one `Submission` out; the only thing done here is signing. Whether it is a publication, a replacement or a
withdrawal is decided in `publication`.
"""

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime

from passevue.document.header import Exam, Report, Structure
from passevue.document.identifiers import new_uid
from passevue.document.kos import KosIdentity, Maker, build_kos
from passevue.document.record import Record
from passevue.document.study import event_modalities
from passevue.document.submission_set import (
    KosEntry,
    SetFacts,
    SignatureEntry,
    publication_metadata,
    withdrawal_metadata,
)
from passevue.intake.ris_values import Participant
from passevue.intake.study import Study
from passevue.national.personal import PersonalSigner, direct_facts
from passevue.national.signature import sign_submission_set
from passevue.national.structures import StructureKeys, Structures
from passevue.national.vihf import facts_of
from passevue.queue.archive import Archived, ArchiveState
from passevue.queue.work import ENTRY_UUID_PLACEHOLDER, Submission, Transaction


@dataclass(frozen=True, slots=True)
class Origin:
    """The box as documents name it: who makes the KOS, OID of the source, digest algorithm of signatures."""

    maker: Maker
    source_id: str
    digest: str


@dataclass(frozen=True, slots=True)
class Case:
    """One study and the report that speaks of it; `record` is what the archive will keep, `archived` what it keeps."""

    report: Report
    exam: Exam
    record: Record
    archived: Archived | None

    @property
    def published(self) -> Archived | None:
        """What the registry holds now, None when it holds nothing of this study."""
        return self.archived if self.archived and self.archived.state is ArchiveState.PUBLISHED else None


def structure_for(report: Report, record: Record, structures: Structures) -> str:
    """StructIdNat whose certificates are used: the signatory's structure, else the one that asked (dmp-xds.md § 1.3).

    One that the box has no certificates for is returned all the same: the entry is held until they are there.
    """
    signatory = report.legal_authenticator.structure if report.legal_authenticator else None
    asked = record.participant.structure_id if record.participant else ""
    named = [one for one in (signatory.id if signatory else "", *_prefixed(asked)) if one]
    return next((one for one in named if one in structures), named[0] if named else structures.default)


def _prefixed(structure_id: str) -> tuple[str, ...]:
    """PRT-8.10 may lack the prefix digit that StructIdNat has: a bare FINESS is 1 + FINESS."""
    return (structure_id, f"1{structure_id}") if structure_id else ()


@dataclass(frozen=True, slots=True)
class Consent:
    """`by` lets entry `number` be published in their own name."""

    number: int
    by: PersonalSigner


async def publication_of(
    case: Case,
    study: Study,
    keys: StructureKeys,
    origin: Origin,
    as_of: datetime,
    now: datetime,
    consent: Consent | None = None,
) -> Submission:
    """The submission that publishes `study`, or replaces what is published of it.

    Args:
        as_of: when the study was asked for: the manifest is of then, and what came since is not in it (`arrivals`).
        consent: whose card signs and who is the author of the set; None: the structure signs.

    Raises:
        Refused: the report or the study lacks what a publication needs.
        CredentialError: the key cannot sign now.
    """
    identity = KosIdentity(
        sop_instance_uid=new_uid(),
        series_instance_uid=case.record.kos_series_uid or new_uid(),
        instance_number=case.record.instance_number + 1,
    )
    kos = await asyncio.to_thread(build_kos, study, case.report, case.exam, origin.maker, identity, as_of)
    set_unique_id, signature_id = new_uid(), new_uid()
    signature = await sign_submission_set(
        keys.sign if consent is None else consent.by.signs,
        set_unique_id,
        [(identity.sop_instance_uid, kos)],
        signature_id,
        now,
        origin.digest,
    )
    metadata = publication_metadata(
        case.report,
        case.exam,
        _set_facts(case, keys, origin, set_unique_id, now, consent),
        KosEntry(
            identity.sop_instance_uid,
            kos,
            as_of,
            case.record.visibility,
            event_modalities(study, case.exam),
            origin.maker.timezone,
        ),
        SignatureEntry(signature_id, signature),
        ENTRY_UUID_PLACEHOLDER if case.published else None,
    )
    record = replace(case.record, kos_series_uid=identity.series_instance_uid, instance_number=identity.instance_number)
    return Submission(
        transaction=Transaction.TD2_1B if case.published else Transaction.TD2_1A,
        set_unique_id=set_unique_id,
        document_unique_id=identity.sop_instance_uid,
        metadata=metadata,
        structure=keys.id,
        vihf=_vihf(case, keys, consent),
        record=record.to_bytes(),
        kos=kos,
        signature=signature,
        replaces_unique_id=case.published.document_unique_id if case.published else None,
    )


def withdrawal_of(case: Case, published: Archived, keys: StructureKeys, origin: Origin, now: datetime) -> Submission:
    """The submission that deletes what is published of the study.

    Raises:
        Refused: the report lacks what a withdrawal needs.
    """
    set_unique_id = new_uid()
    facts = _set_facts(case, keys, origin, set_unique_id, now)
    return Submission(
        transaction=Transaction.TD3_3C,
        set_unique_id=set_unique_id,
        document_unique_id=published.document_unique_id,
        metadata=withdrawal_metadata(case.report, facts, ENTRY_UUID_PLACEHOLDER),
        structure=keys.id,
        vihf=_vihf(case, keys),
        record=case.record.to_bytes(),
        replaces_unique_id=published.document_unique_id,
    )


def _set_facts(
    case: Case, keys: StructureKeys, origin: Origin, unique_id: str, now: datetime, consent: Consent | None = None
) -> SetFacts:
    return SetFacts(
        unique_id=unique_id,
        source_id=origin.source_id,
        submitted_at=now,
        structure=Structure(keys.id, keys.name),
        participant=case.record.participant if consent is None else _participant(consent.by, keys),
        patient_class=case.record.patient_class,
    )


def _participant(by: PersonalSigner, keys: StructureKeys) -> Participant:
    who = by.situation
    return Participant(by.id_nat, who.family, who.given, "IDNPS", keys.id, keys.name, "IDNST")


def _vihf(case: Case, keys: StructureKeys, consent: Consent | None = None) -> bytes:
    facts = facts_of(case.report, keys.id, keys.sector, secret_connection=case.record.secret_connection)
    return (facts if consent is None else direct_facts(facts, consent.by, consent.number)).to_bytes()
