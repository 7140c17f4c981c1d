"""What an entry becomes, with a PACS and an archive of a few lines: the ways with all neighbours are journeys."""

import asyncio
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from passevue import config
from passevue.document.kos import Maker
from passevue.document.kos_header import read_kos_header
from passevue.document.request import Action
from passevue.intake.received import Kind
from passevue.intake.study import Instance, Series, Study
from passevue.national.arrivals import made_before
from passevue.national.publication import Publication
from passevue.national.registry import Registry
from passevue.national.structures import Structures
from passevue.national.submission import Origin
from passevue.queue.archive import Archived, ArchiveState
from passevue.queue.work import Entry, Submission
from tests.peers.cabinet import SITE
from tests.peers.pki import Pki
from tests.peers.ris import PAT_TROIS, invented_document_id, invented_exam, report
from tests.peers.ris_message import oru
from tests.peers.trusted import servers_of

EXAM = invented_exam(1)
CT = "1.2.840.10008.5.1.4.1.1.2"


class Slow:
    """A PACS that takes its time to describe a study; one more image comes meanwhile."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.came_at = now

    async def find_study(self, study_uid: str) -> Study | None:
        images = (Instance("1.2.3.1", CT, 1),)
        study = Study(study_uid, PatientID=PAT_TROIS.ipp, AccessionNumber=EXAM.accession,
                      series=(Series("1.2.3", "CT", 1, "", images),))  # fmt: skip
        self.came_at = self.now + timedelta(seconds=0.5)
        self.now += timedelta(seconds=3)
        return study


class Empty:
    """An archive of nothing."""

    async def get(self, study_uid: str) -> Archived | None:
        return None

    async def published_at(self, unique_id: str) -> datetime | None:
        return None


def keys_of(pki: Pki) -> Structures:
    keys = Structures([config.Structure(**pki.structure(SITE.id).as_config())], servers_of(pki), "test")
    keys.load()
    return keys


async def test_a_manifest_is_dated_by_what_it_shows(pki: Pki, registry: Registry) -> None:
    """An image that comes while the study is being looked up is not in it, and must be seen to be missing."""
    keys = await asyncio.to_thread(keys_of, pki)
    slow = Slow(datetime.now(UTC))
    origin = Origin(Maker("Passevue", "https://box.example/wado", "Europe/Paris"), "1.2.250.1.999.1", "sha256")
    work = Publication(slow, Empty(), registry, keys, origin, "test", lambda: slow.now)
    message = oru(report(PAT_TROIS, EXAM, document_id=invented_document_id(1)), PAT_TROIS)
    made = await work.build(Entry(1, Action.PUBLISH, EXAM.study_uid, Kind.REPORT, message, slow.now, 0))
    assert isinstance(made, Submission)
    assert read_kos_header(made.kos).study_uid == EXAM.study_uid
    stands = Archived(EXAM.study_uid, ArchiveState.PUBLISHED, made.record, slow.now, kos=made.kos)
    assert made_before(stands, slow.came_at, ZoneInfo("Europe/Paris"))
