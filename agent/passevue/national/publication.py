"""The way of one entry: what it asks, what the PACS has, what the registry holds, and so what is sent (kos.md § 8).

This is the queue's `Work`. Rules:
- a study that the archive holds as published is replaced, any other is published as new;
- the report decides who speaks; when only the images changed, the archived report does (dmp-xds.md § 1.3);
- nothing left in the study, or its last report deleted: the manifest is withdrawn, in the name of the patient and the
  structure that it was published for: nobody else may, and a look-up in another name would find nothing;
- a deletion is carried out whatever else its message lacks: what was published must not outlive its report;
- the entryUUID of what is replaced or withdrawn is looked up at the try, as the registry gives a new one each time; a
  registry may show a document a while after it took it: what was published just now and is not found is asked again;
- images rejected for the patient's safety leave at once (kos.md § 10, 113037): while the PACS is away, by what stands;
- a document that the patient has archived is withdrawn as such: INDIRECTE mode is not told the status (dmp-xds.md
  § 1.2), so a refusal of `Approved` is answered with `Archived` (§ 6).
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

from passevue.document.header import Exam, Report
from passevue.document.kos import same_content
from passevue.document.kos_header import read_kos_header
from passevue.document.kos_study import standing_study
from passevue.document.record import Record, record_of
from passevue.document.request import Action, Request, publishable, read_request, same_exam
from passevue.document.standing import is_older, less, same_report, taking_over
from passevue.document.study import check, without
from passevue.errors import CabinetError, Hl7Error, NetworkError, Refused, StudyAbsent, Unreadable
from passevue.intake.key_object import is_rejection, read_aside
from passevue.intake.pacs import Pacs
from passevue.intake.received import Kind
from passevue.intake.ris import Demand, read_ris_message
from passevue.intake.study import KeyObject, Study
from passevue.national.outcome import StaleTarget
from passevue.national.personal import InPerson, may_sign
from passevue.national.registry import Registry
from passevue.national.structures import Structures
from passevue.national.submission import Case, Consent, Origin, publication_of, structure_for, withdrawal_of
from passevue.national.vihf import Mode, VihfFacts
from passevue.national.xds import EntryStatus
from passevue.queue.archive import Archived, ArchiveState
from passevue.queue.work import Answer, Entry, Nothing, Submission, Transaction

SAFETY = "113037"  # Rejected for Patient Safety Reasons
SHOWN_AFTER_S = 120.0  # as long as the queue waits before it looks up again


class Archive(Protocol):
    """Where what was published is kept; `queue.store.Archive` is one."""

    async def get(self, study_uid: str) -> Archived | None: ...

    async def published_at(self, unique_id: str) -> datetime | None: ...


class Publication:
    """`queue.work.Work` on a PACS, an archive and a registry.

    Args:
        clock: aware now.
        shown_after_s: how long a registry may take to show what it took.
    """

    def __init__(
        self,
        pacs: Pacs,
        archive: Archive,
        registry: Registry,
        structures: Structures,
        origin: Origin,
        realm: str,
        clock: Callable[[], datetime],
        in_person: InPerson | None = None,
        shown_after_s: float = SHOWN_AFTER_S,
    ) -> None:
        self._pacs = pacs
        self._archive = archive
        self._registry = registry
        self._structures = structures
        self._origin = origin
        self._realm = realm
        self._clock = clock
        self._in_person = in_person or InPerson()
        self._shown_after_s = shown_after_s

    # What an entry becomes

    async def build(self, entry: Entry) -> Submission | Nothing:
        made = await self._build(entry)
        if isinstance(made, Nothing):
            self._in_person.settle(entry.number)
        return made

    async def _build(self, entry: Entry) -> Submission | Nothing:
        archived = await self._archive.get(entry.study_uid)
        if entry.action is Action.REFRESH:
            return await self._refresh(entry, archived)
        request = self._request(entry)
        if request.message.demand is not Demand.DELETE:
            if not request.message.for_dmp:
                return _not_for_dmp(request, archived)
            publishable(request)
        if entry.action is Action.WITHDRAW:
            return await self._withdraw(request, entry.study_uid, archived)
        return await self._publish(request, entry, archived)

    def _request(self, entry: Entry) -> Request:
        try:
            return read_request(read_ris_message(entry.content), self._realm)
        except Hl7Error as err:  # taken in by an older version of the box, whose rules differed
            raise Refused(f"hl7-{err.code}", err.message, hint="Ce message n'est plus accepté : renvoyez-le.") from err

    async def _publish(self, request: Request, entry: Entry, archived: Archived | None) -> Submission | Nothing:
        known = _record(archived)
        record = _asked(request, request.message.cda, known)
        case = _case(record, entry.study_uid, archived)
        consent = self._consent(entry.number, case.report)
        if is_older(case.report, known):
            return Nothing("older-version")
        case = replace(case, record=taking_over(record, case.report, known))
        if case.published is not None:
            _check_same_patient(case.report, known)
        as_of = self._clock()
        study = await self._study(entry.study_uid, record)
        if study is None or study.instance_count == 0:
            raise StudyAbsent(
                "the PACS does not have the study yet",
                hint="Le PACS n'a pas encore les images de cet examen : le boîtier redemande de lui-même.",
            )
        return await self._submission(case, study, known, as_of, consent)

    def _consent(self, number: int, report: Report) -> Consent | None:
        """In whose own name this publication goes, None in the structure's."""
        by = self._in_person.wanted(number)
        if by is None:
            return None
        if not may_sign(report, by.id_nat):
            raise Refused(
                "not-your-report",
                "the report names another signatory",
                hint="Ce compte rendu est signé par quelqu'un d'autre : seul son signataire le publie en son nom.",
            )
        return Consent(number, by)

    async def _refresh(self, entry: Entry, archived: Archived | None) -> Submission | Nothing:
        known = _record(archived)
        note = await _note(entry)
        record = known.with_rejected(_rejected(note, entry.study_uid))
        if not record.header:
            if archived is not None and archived.state is ArchiveState.PUBLISHED:
                raise Refused(
                    "report-unknown",
                    "the archive holds a manifest without its report",
                    hint="Le compte rendu de cet examen, repris d'une archive, n'est pas connu : renvoyez-le du RIS.",
                )
            return Nothing("no-report-stands", record.to_bytes() if record != known else b"")
        case = _case(record, entry.study_uid, archived)
        if entry.kind == Kind.EXAM_CHANGED:
            others = [report for each in record.others if (report := each.report) is not None]
            same_exam(self._request(entry).message, case.report, others)
        return await self._again(case, known, at_once=note is not None and note.title == SAFETY)

    async def _again(self, case: Case, known: Record, *, at_once: bool = False) -> Submission | Nothing:
        """The manifest as the archived report and the PACS have it now; `at_once`: without the PACS, if it is away or
        what it says cannot be published.
        """
        record, as_of = case.record, self._clock()
        try:
            study = await self._study(case.exam.study_uid, record)
            if at_once and study is not None and study.instance_count:
                check(study, case.exam, case.report)
        except (NetworkError, CabinetError, Refused):
            standing = await self._standing(case) if at_once else None
            if standing is None:
                raise
            study = without(standing, record.rejected)
        if study is not None and study.instance_count:
            return await self._submission(case, study, known, as_of)
        if case.published is None:
            return Nothing("nothing-left", record.to_bytes())
        return self._withdrawal(case, case.published)

    async def _study(self, study_uid: str, record: Record) -> Study | None:
        study = await self._pacs.find_study(study_uid)
        return None if study is None else without(study, record.rejected)

    async def _standing(self, case: Case) -> Study | None:
        """The study as the registry has it; None: it has nothing, or nothing that this box can tell the like of."""
        if case.published is None:
            return None
        kos, maker, now = case.published.kos, self._origin.maker, self._clock()
        return await asyncio.to_thread(standing_study, kos, case.report, case.exam, maker, now)

    async def _submission(
        self, case: Case, study: Study, known: Record, as_of: datetime, consent: Consent | None = None
    ) -> Submission | Nothing:
        case = replace(case, exam=check(study, case.exam, case.report))
        keys = self._structures.get(self._structure(case, known))
        if consent is not None and consent.by.situation.structure_id != keys.id:
            raise Refused(
                "other-situation",
                "the person acts for another structure than the report's",
                hint="Ce compte rendu est d'une autre structure que votre situation d'exercice : changez-en.",
            )
        made = await publication_of(case, study, keys, self._origin, as_of, self._clock(), consent)
        if case.published is not None and _says_the_same(case, known) and same_content(case.published.kos, made.kos):
            return Nothing("unchanged", case.record.to_bytes() if case.record != known else b"")
        return made

    def _structure(self, case: Case, known: Record) -> str:
        """When only the images changed, the one that published."""
        if case.published is not None and case.published.structure and case.record.header == known.header:
            return case.published.structure
        return structure_for(case.report, case.record, self._structures)

    async def _withdraw(self, request: Request, study_uid: str, archived: Archived | None) -> Submission | Nothing:
        """The report was deleted, or its new version leaves the study out. What stands on another report stays."""
        known = _record(archived)
        new = request.message.demand is not Demand.DELETE
        if new and request.report is not None and is_older(request.report, known):
            return Nothing("older-version")  # it leaves out what a later version has named since
        left = less(known, request.report)
        remembered = left.to_bytes() if left != known else b""
        if archived is None or archived.state is not ArchiveState.PUBLISHED:
            return _nothing_published(request, archived, remembered)
        if known.header and left.header == known.header:
            return Nothing("another-report-stands", remembered)
        if left.header:
            return await self._again(_case(left, study_uid, archived), known)
        # Who asks is in the message; whose document it is, in what was published. An import has no report of its own.
        spoken = _asked(request, known.header or request.message.cda, known)
        case = _case(spoken, study_uid, archived)
        return self._withdrawal(replace(case, record=replace(spoken, header=b"")), archived)

    def _withdrawal(self, case: Case, published: Archived) -> Submission:
        structure = published.structure or structure_for(case.report, case.record, self._structures)
        return withdrawal_of(case, published, self._structures.get(structure), self._origin, self._clock())

    # What is said to the registry

    async def send(self, submission: Submission) -> Answer:
        answer = await self._send(submission)
        self._settled(submission)
        return answer

    async def _send(self, submission: Submission) -> Answer:
        if submission.transaction is Transaction.TD2_1A:
            return await self._publish_first(submission)
        try:
            return await self._change(submission)
        except StaleTarget:  # the registry moved on between look-up and request: once more (dmp-xds.md § 10, class F)
            return await self._change(submission)

    async def look_up(self, submission: Submission) -> Answer | None:
        # In the structure's name, which has the right to it: what became of a try must not wait for a card.
        facts = replace(VihfFacts.from_bytes(submission.vihf), mode=Mode.INDIRECTE)
        found = await self._find(submission, submission.document_unique_id, facts)
        if submission.transaction is Transaction.TD3_3C:
            return Answer("gone") if found is None else None
        if found is None:
            return None
        self._settled(submission)
        return Answer("found", entry_uuid=found)

    def _settled(self, submission: Submission) -> None:
        number = VihfFacts.from_bytes(submission.vihf).consent
        if number is not None:
            self._in_person.settle(number)

    async def _publish_first(self, submission: Submission) -> Answer:
        facts = VihfFacts.from_bytes(submission.vihf)
        status = await self._registry.patient_status(submission.structure, facts)
        if not status.exists or not status.active:
            raise Refused(
                "no-dmp" if not status.exists else "dmp-closed",
                "the patient has no open DMP",
                hint="Ce patient n'a pas de dossier ouvert dans Mon espace santé : rien n'est publié.",
            )
        return await self._registry.publish(submission)

    async def _change(self, submission: Submission) -> Answer:
        """TD2.1b or TD3.3c on the current entryUUID of what is replaced or withdrawn."""
        unique_id = submission.replaces_unique_id or ""
        target = await self._find(submission, unique_id)
        if target is None and await self._is_fresh(unique_id):
            raise NetworkError("the registry does not show yet what it took just now")
        if submission.transaction is Transaction.TD3_3C:
            if target is None:  # removed already, by the patient or another software: closed, no error (§ 6)
                return Answer("gone")
            return await self._delete(submission, target)
        if target is None:
            raise Refused(
                "replaced-not-found",
                "the DMP does not know the document to replace",
                hint="Le document à remplacer n'est plus dans le DMP. Pour le publier de nouveau, envoyez du RIS la "
                "suppression du compte rendu, puis le compte rendu.",
            )
        try:
            return await self._registry.publish(submission, target)
        except Refused as err:
            if err.code == "AccessNotAuthorised" and await self._is_anothers(submission):
                raise _of_another_structure() from err
            raise

    async def _is_fresh(self, unique_id: str) -> bool:
        """Whether it was published just now, before a restart too. A clock set by years makes nothing fresh."""
        published_at = await self._archive.published_at(unique_id)
        return published_at is not None and abs(self._clock() - published_at) < timedelta(seconds=self._shown_after_s)

    async def _delete(self, submission: Submission, target: str) -> Answer:
        try:
            return await self._registry.withdraw(submission, target)
        except Refused as err:
            if err.code != "XDSMetadataUpdateError":
                raise
        return await self._registry.withdraw(submission, target, EntryStatus.ARCHIVED)

    async def _is_anothers(self, submission: Submission) -> bool:
        """Whether what is replaced was published for another structure than the one that replaces it."""
        header = await asyncio.to_thread(read_kos_header, submission.kos)
        archived = await self._archive.get(header.study_uid)
        if archived is None or archived.document_unique_id != submission.replaces_unique_id:
            return False
        return bool(archived.structure) and archived.structure != submission.structure

    async def _find(self, submission: Submission, unique_id: str, facts: VihfFacts | None = None) -> str | None:
        facts = facts or VihfFacts.from_bytes(submission.vihf)
        found = await self._registry.find(unique_id, submission.structure, facts)
        return None if found is None else found.entry_uuid


def _record(archived: Archived | None) -> Record:
    return Record.from_bytes(archived.record if archived else b"")


def _case(record: Record, study_uid: str, archived: Archived | None) -> Case:
    report = record.report
    if report is None:
        raise Refused("report-unknown", "expected the report that speaks of the study")
    return Case(report, report.exam_of(study_uid) or Exam(study_uid), record, archived)


def _says_the_same(case: Case, known: Record) -> bool:
    """The same report under the same visibility: sent again by the RIS, or only its images were looked at again."""
    return replace(case.record, rejected=known.rejected) == known


def _asked(request: Request, cda: bytes, known: Record) -> Record:
    """What the message asks, spoken for by the report in `cda`; what belongs to the study is as it was."""
    message = request.message
    return record_of(
        cda,
        patient_class=message.patient_class,
        participant=message.participant,
        visibility=message.visibility,
        secret_connection=message.secret_connection,
        kos_series_uid=known.kos_series_uid,
        instance_number=known.instance_number,
        rejected=known.rejected,
    )


def _not_for_dmp(request: Request, archived: Archived | None) -> Nothing:
    """DESTDMP is N: nothing goes out. What an earlier version published would stay, outdated: a person decides."""
    standing = _record(archived).report
    published = archived is not None and archived.state is ArchiveState.PUBLISHED
    if published and standing is not None and request.report is not None and same_report(request.report, standing):
        raise Refused(
            "published-not-for-dmp",
            "a version of the report is published, and the new one is not for the DMP",
            hint="Une version de ce compte rendu est publiée, et la nouvelle n'est pas destinée au DMP : envoyez du "
            "RIS la suppression du compte rendu, ou renvoyez-le en le destinant au DMP.",
        )
    return Nothing("not-for-dmp")


def _nothing_published(request: Request, archived: Archived | None, record: bytes) -> Nothing:
    """A deletion that has nothing to withdraw; the report is forgotten, so that new images do not publish it again."""
    if archived is not None and archived.document_unique_id:
        return Nothing("already-withdrawn", record)
    if request.message.demand is not Demand.DELETE:
        return Nothing("never-published")  # left out of a new version before anything of it was published
    if not request.message.for_dmp:
        return Nothing("not-for-dmp")
    raise Refused(
        "never-published",
        "asked to withdraw a report that this box never published",
        hint="Le RIS demande de retirer un compte rendu que ce boîtier n'a jamais publié.",
    )


def _check_same_patient(report: Report, known: Record) -> None:
    """The registry replaces no document of one patient by one of another (XDSPatientIdDoesNotMatch).

    A NIA that has become a NIR is the same person under another INS. What the DMP then does with what stands under the
    old one, and who may still speak of it, no public text says: a person decides, as for any other INS.

    Raises:
        Refused: `patient-changed`.
    """
    standing = known.report
    if standing is not None and standing.patient.ins != report.patient.ins:
        raise Refused(
            "patient-changed",
            "what is published of the study is under another INS",
            hint="L'INS a changé depuis la publication, et le DMP ne remplace pas un document d'un dossier à l'autre : "
            "envoyez du RIS la suppression du compte rendu, puis le compte rendu corrigé.",
        )


def _of_another_structure() -> Refused:
    return Refused(
        "structure-changed",
        "the DMP lets no structure replace what another one published",
        hint="La structure du compte rendu a changé depuis la publication, et le DMP ne laisse pas une structure "
        "remplacer le document d'une autre : envoyez du RIS la suppression du compte rendu, puis le compte rendu.",
    )


async def _note(entry: Entry) -> KeyObject | None:
    """The note that was received; None: it was an OMI, or images that came."""
    if entry.kind != Kind.KEY_OBJECT:
        return None
    try:
        return await read_aside(entry.content)
    except Unreadable as err:
        raise Refused("note-unreadable", err.message) from err


def _rejected(note: KeyObject | None, study_uid: str) -> tuple[str, ...]:
    """SOP Instance UIDs of this study that the note takes out; none by a key image note."""
    if note is None or not is_rejection(note.title):
        return ()
    return tuple(one.SOPInstanceUID for one in note.references if one.StudyInstanceUID == study_uid)
