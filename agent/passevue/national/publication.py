"""The way of one entry: what it asks, what the PACS has, what the registry holds, and so what is sent (kos.md § 8).

This is the queue's `Work`. Rules:
- a study that the archive holds as published is replaced, any other is published as new;
- the report decides who speaks; when only the images changed, the archived report does (dmp-xds.md § 1.3);
- nothing left in the study, or its report deleted: the manifest is withdrawn;
- the entryUUID of what is replaced or withdrawn is looked up at the try, as the registry gives a new one each time.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from passevue.document.header import Exam
from passevue.document.kos import same_content
from passevue.document.record import Record, record_of
from passevue.document.request import Action, Request, publishable, read_request, same_exam
from passevue.document.study import check, without
from passevue.errors import Hl7Error, Refused, StudyAbsent, Unreadable
from passevue.intake.key_object import is_rejection, read_key_object
from passevue.intake.pacs import Pacs
from passevue.intake.received import Kind
from passevue.intake.ris import Demand, read_ris_message
from passevue.intake.study import Study
from passevue.national.outcome import StaleTarget
from passevue.national.registry import Registry
from passevue.national.structures import Structures
from passevue.national.submission import Case, Origin, publication_of, structure_for, withdrawal_of
from passevue.national.vihf import VihfFacts
from passevue.queue.archive import Archived
from passevue.queue.work import Answer, Entry, Nothing, Submission, Transaction


class Archive(Protocol):
    """Where what was published is kept; `queue.store.Archive` is one."""

    async def get(self, study_uid: str) -> Archived | None: ...


class Publication:
    """`queue.work.Work` on a PACS, an archive and a registry. `clock` gives an aware now."""

    def __init__(
        self,
        pacs: Pacs,
        archive: Archive,
        registry: Registry,
        structures: Structures,
        origin: Origin,
        realm: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._pacs = pacs
        self._archive = archive
        self._registry = registry
        self._structures = structures
        self._origin = origin
        self._realm = realm
        self._clock = clock

    # What an entry becomes

    async def build(self, entry: Entry) -> Submission | Nothing:
        archived = await self._archive.get(entry.study_uid)
        if entry.action is Action.REFRESH:
            return await self._refresh(entry, archived)
        request = self._request(entry)
        if not request.message.for_dmp:
            return Nothing("not-for-dmp")
        publishable(request)
        if entry.action is Action.WITHDRAW:
            return self._withdraw(request, entry.study_uid, archived)
        return await self._publish(request, entry.study_uid, archived)

    def _request(self, entry: Entry) -> Request:
        try:
            return read_request(read_ris_message(entry.content), self._realm)
        except Hl7Error as err:  # taken in by an older version of the box, whose rules differed
            raise Refused(f"hl7-{err.code}", err.message, hint="Ce message n'est plus accepté : renvoyez-le.") from err

    async def _publish(self, request: Request, study_uid: str, archived: Archived | None) -> Submission | Nothing:
        known = _record(archived)
        message = request.message
        record = record_of(
            message.cda,
            patient_class=message.patient_class,
            participant=message.participant,
            visibility=message.visibility,
            secret_connection=message.secret_connection,
            kos_series_uid=known.kos_series_uid,
            instance_number=known.instance_number,
            rejected=known.rejected,
        )
        case = _case(record, study_uid, archived)
        study = await self._study(study_uid, record)
        if study is None or study.instance_count == 0:
            raise StudyAbsent(
                "the PACS does not have the study yet",
                hint="Le PACS n'a pas encore les images de cet examen : le boîtier redemande de lui-même.",
            )
        return await self._submission(case, study, known)

    async def _refresh(self, entry: Entry, archived: Archived | None) -> Submission | Nothing:
        known = _record(archived)
        record = known.with_rejected(_rejected(entry))
        if not record.header:
            if archived is not None and archived.kos and not known.instance_number:
                raise Refused(
                    "report-unknown",
                    "the archive holds a manifest without its report",
                    hint="Le compte rendu de cet examen, repris d'une archive, n'est pas connu : renvoyez-le du RIS.",
                )
            return Nothing("no-report-stands", record.to_bytes() if record != known else b"")
        case = _case(record, entry.study_uid, archived)
        if entry.kind == Kind.EXAM_CHANGED:
            same_exam(self._request(entry).message, case.report)
        study = await self._study(entry.study_uid, record)
        if study is not None and study.instance_count:
            return await self._submission(case, study, known)
        if case.published is None:
            return Nothing("nothing-left", record.to_bytes())
        return self._withdrawal(case, case.published)

    async def _study(self, study_uid: str, record: Record) -> Study | None:
        study = await self._pacs.find_study(study_uid)
        return None if study is None else without(study, record.rejected)

    async def _submission(self, case: Case, study: Study, known: Record) -> Submission | Nothing:
        case = replace(case, exam=check(study, case.exam, case.report))
        keys = self._structures.get(structure_for(case.report, case.record, self._structures))
        made = await publication_of(case, study, keys, self._origin, self._clock())
        if case.published is not None and _says_the_same(case, known) and same_content(case.published.kos, made.kos):
            return Nothing("unchanged", case.record.to_bytes() if case.record != known else b"")
        return made

    def _withdraw(self, request: Request, study_uid: str, archived: Archived | None) -> Submission | Nothing:
        """The report was deleted, or its new version leaves the study out. What stands on another report stays."""
        known = _record(archived)
        case = _case(_record_for_withdrawal(request, known), study_uid, archived)
        if case.published is None and request.message.demand is not Demand.DELETE:
            return Nothing("never-published")  # left out of a new version before anything of it was published
        if archived is None or (case.published is None and not archived.document_unique_id):
            raise Refused(
                "never-published",
                "asked to withdraw a report that this box never published",
                hint="Le RIS demande de retirer un compte rendu que ce boîtier n'a jamais publié.",
            )
        if case.published is None:
            return Nothing("already-withdrawn")
        if not _same_report(request, known):
            return Nothing("another-report-stands")
        return self._withdrawal(replace(case, record=replace(case.record, header=b"")), case.published)

    def _withdrawal(self, case: Case, published: Archived) -> Submission:
        keys = self._structures.get(structure_for(case.report, case.record, self._structures))
        return withdrawal_of(case, published, keys, self._origin, self._clock())

    # What is said to the registry

    async def send(self, submission: Submission) -> Answer:
        if submission.transaction is Transaction.TD2_1A:
            return await self._publish_first(submission)
        try:
            return await self._change(submission)
        except StaleTarget:  # the registry moved on between look-up and request: once more (dmp-xds.md § 10, class F)
            return await self._change(submission)

    async def look_up(self, submission: Submission) -> Answer | None:
        found = await self._find(submission, submission.document_unique_id)
        if submission.transaction is Transaction.TD3_3C:
            return Answer("gone") if found is None else None
        return None if found is None else Answer("found", entry_uuid=found)

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
        target = await self._find(submission, submission.replaces_unique_id or "")
        if submission.transaction is Transaction.TD3_3C:
            if target is None:  # removed already, by the patient or another software: closed, no error (§ 6)
                return Answer("gone")
            return await self._registry.withdraw(submission, target)
        if target is None:
            raise Refused(
                "replaced-not-found",
                "the DMP does not know the document to replace",
                hint="Le document à remplacer n'est plus dans le DMP : une personne doit décider de le republier.",
            )
        return await self._registry.publish(submission, target)

    async def _find(self, submission: Submission, unique_id: str) -> str | None:
        facts = VihfFacts.from_bytes(submission.vihf)
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


def _record_for_withdrawal(request: Request, known: Record) -> Record:
    """Who speaks for the deletion is the message's own report, as it is whole (hl7v2.md § 4)."""
    message = request.message
    return record_of(
        message.cda,
        patient_class=message.patient_class,
        participant=message.participant,
        visibility=message.visibility,
        secret_connection=message.secret_connection,
        kos_series_uid=known.kos_series_uid,
        instance_number=known.instance_number,
        rejected=known.rejected,
    )


def _same_report(request: Request, known: Record) -> bool:
    """Whether the archived manifest stands on the report that the request speaks of, in any of its versions."""
    standing, asked = known.report, request.report
    if standing is None or asked is None:
        return True  # an imported manifest: its report is not known, and only one can be meant
    if standing.set_id is not None and asked.set_id is not None:
        return standing.set_id == asked.set_id
    return standing.id in (asked.id, asked.replaced_id) or standing.replaced_id == asked.id


def _rejected(entry: Entry) -> tuple[str, ...]:
    """SOP Instance UIDs of this study that the received note takes out; none for an OMI or a key image note."""
    if entry.kind != Kind.KEY_OBJECT:
        return ()
    try:
        note = read_key_object(entry.content)
    except Unreadable as err:
        raise Refused("note-unreadable", err.message) from err
    if not is_rejection(note.title):
        return ()
    return tuple(one.SOPInstanceUID for one in note.references if one.StudyInstanceUID == entry.study_uid)
