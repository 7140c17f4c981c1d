"""Published studies that have grown are looked at again; what is not published costs the archive next to nothing."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from passevue.document.kos import KosIdentity, build_kos
from passevue.document.request import Action, Task
from passevue.intake.received import Kind, Receipt, Received
from passevue.intake.retention import Holding
from passevue.national.arrivals import Arrivals, made_before
from passevue.queue.archive import Archived, ArchiveState
from tests.unit.document.given import MAKER, exam, report, study

PARIS = ZoneInfo("Europe/Paris")
QUIET = timedelta(seconds=20)
MADE = datetime(2026, 7, 14, 12, 0, tzinfo=UTC)
KOS = build_kos(study(), report(), exam(), MAKER, KosIdentity("2.25.1", "2.25.2"), MADE)


def archived(state: ArchiveState = ArchiveState.PUBLISHED, kos: bytes = KOS) -> Archived:
    return Archived("1.2.3", state, b"", MADE, kos=kos)


class Box:
    """What the part looks at: images, archive, queue and clock, as values."""

    def __init__(self, last: datetime, stands: Archived | None) -> None:
        self.held = [Holding("1.2.3", 1, last)]
        self.stands = stands
        self.now = last
        self.asked = 0
        self.put_tasks: list[Task] = []
        self.put_received: list[Received] = []
        self.arrivals = Arrivals(self, self, self, PARIS, QUIET, lambda: self.now)

    async def holdings(self) -> list[Holding]:
        return self.held

    async def get(self, study_uid: str) -> Archived | None:
        self.asked += 1
        return self.stands

    async def put(self, received: Received, tasks: Sequence[Task]) -> Receipt:
        self.put_tasks += tasks
        self.put_received.append(received)
        return Receipt(1)

    async def look_after(self, seconds: float) -> int:
        self.now += timedelta(seconds=seconds)
        return await self.arrivals.look()


async def test_a_study_that_grew_after_its_manifest_is_looked_at_again_once_it_is_quiet() -> None:
    box = Box(MADE + timedelta(seconds=5), archived())
    assert await box.look_after(19) == 0
    assert await box.look_after(1) == 1
    assert box.put_tasks == [Task(Action.REFRESH, "1.2.3")]
    assert box.put_received[0].kind is Kind.IMAGES
    assert [await box.look_after(5) for _ in range(3)] == [0, 0, 0]
    assert box.asked == 1


async def test_a_study_whose_manifest_is_younger_is_left_alone() -> None:
    box = Box(MADE - timedelta(seconds=5), archived())
    assert [await box.look_after(20) for _ in range(3)] == [0, 0, 0]
    assert box.asked == 1


async def test_what_is_not_published_is_asked_for_once_a_minute_and_found_when_it_is() -> None:
    box = Box(MADE + timedelta(seconds=5), None)
    for _ in range(12):
        assert await box.look_after(20) == 0
    assert box.asked == 4
    box.stands = archived()
    assert [await box.look_after(20) for _ in range(3)].count(1) == 1


async def test_new_images_of_what_is_not_published_are_asked_for_at_once() -> None:
    box = Box(MADE, archived(ArchiveState.WITHDRAWN))
    await box.look_after(20)
    box.held = [Holding("1.2.3", 2, box.now)]
    await box.look_after(20)
    assert box.asked == 2


async def test_a_clock_set_back_delays_nothing_for_long() -> None:
    box = Box(MADE - timedelta(days=2), None)
    await box.look_after(86_400)
    box.now -= timedelta(hours=12)
    await box.look_after(0)
    assert box.asked == 2


async def test_a_study_that_has_left_is_forgotten() -> None:
    box = Box(MADE + timedelta(seconds=5), None)
    await box.look_after(20)
    box.held = []
    await box.look_after(5)
    assert not box.arrivals._unpublished


def test_a_manifest_that_does_not_say_when_it_was_made_is_taken_as_older() -> None:
    assert made_before(archived(kos=b""), MADE, PARIS)
    assert made_before(archived(), MADE, PARIS)
    assert not made_before(archived(), MADE - timedelta(seconds=1), PARIS)
