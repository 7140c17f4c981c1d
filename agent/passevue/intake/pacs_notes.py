"""The key object notes of a study: which instances are notes, and what each makes of the study (kos.md §§ 9, 10).

A query does not give the content of a note, so each is fetched whole. Then:

- a key image note stays an instance of its series, and is read into `Study.key_objects`;
- a rejection note is no longer an instance, and is read into `Study.key_objects`: what it rejects may still be in the
  PACS's answers, and `document.study` takes it out;
- a manifest (113030) is no longer an instance, nor a key object: it is ours, or another box's, sent back;
- a KO document with any other title stays an instance, and is in `key_objects` for whoever wants its references;
- a note that cannot be read stays an instance, and a warning is logged;
- a note of another study than asked for is an error: a PACS that mixes studies is not to be believed.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import replace

import structlog

from passevue.errors import CabinetError, DicomError, Unreadable
from passevue.intake.key_object import is_manifest, is_rejection, read_aside
from passevue.intake.study import KeyObject, Reference, Series, Study

KEY_OBJECT_SELECTION = "1.2.840.10008.5.1.4.1.1.88.59"
MAX_NOTE = 32 << 20  # reliability § 8
MAX_NOTES = 1_000  # of one study; real ones have a handful

Fetch = Callable[[Reference], Awaitable[bytes]]
log = structlog.get_logger()


def notes_of(study: Study) -> tuple[Reference, ...]:
    """The instances of `study` that are key object notes.

    Raises:
        CabinetError: more than `MAX_NOTES`.
    """
    notes = tuple(_notes(study))
    if len(notes) > MAX_NOTES:
        raise CabinetError(f"PACS answers more than {MAX_NOTES} key object notes for one study")
    return notes


def _notes(study: Study) -> Iterator[Reference]:
    for series in study.series:
        for instance in series.instances:
            if instance.SOPClassUID == KEY_OBJECT_SELECTION:
                yield Reference(
                    StudyInstanceUID=study.StudyInstanceUID,
                    SeriesInstanceUID=series.SeriesInstanceUID,
                    SOPClassUID=instance.SOPClassUID,
                    SOPInstanceUID=instance.SOPInstanceUID,
                )


async def with_notes(study: Study, fetch: Fetch) -> Study:
    """`study` with its notes fetched by `fetch`, read and put where they belong.

    Raises:
        NetworkError, CabinetError: as `fetch` does.
        CabinetError: a note is not the one asked for.
    """
    key_objects: list[KeyObject] = []
    for note in notes_of(study):
        key_object = await _read(await fetch(note))
        if key_object is None:
            continue
        if (key_object.StudyInstanceUID, key_object.SOPInstanceUID) != (note.StudyInstanceUID, note.SOPInstanceUID):
            raise CabinetError("PACS gives a note of another study, or another note, than asked for")
        key_objects.append(key_object)
    return in_place(study, key_objects)


def in_place(study: Study, key_objects: Iterable[KeyObject]) -> Study:
    """`study` with its notes where they belong, as told above."""
    notes = tuple(key_objects)
    dropped = {note.SOPInstanceUID for note in notes if is_manifest(note.title) or is_rejection(note.title)}
    return replace(
        study,
        series=tuple(_without(study.series, dropped)),
        key_objects=tuple(note for note in notes if not is_manifest(note.title)),
    )


async def _read(file: bytes) -> KeyObject | None:
    try:
        return await read_aside(file)
    except (Unreadable, DicomError) as err:
        log.warning("note_unreadable", bytes=len(file), reason=err.message)
        return None


def _without(series: tuple[Series, ...], sop_uids: set[str]) -> Iterator[Series]:
    for one in series:
        left = tuple(instance for instance in one.instances if instance.SOPInstanceUID not in sop_uids)
        if left:
            yield replace(one, instances=left)
