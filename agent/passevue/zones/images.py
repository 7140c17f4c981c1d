"""The box's own images for the zone that publishes: two questions to the one that keeps them.

A box without a PACS is its own, and its images are the intake's alone: its index runs behind what was acknowledged, is
made anew after a crash, and segments go when retention says so. So national does not read them; it asks. What intake
answers is what it would answer itself, at that moment.

    serve = images_for_national(images)              # intake: for `Meeting.open_door(Place.IMAGES, …)`
    far = FarImages(meeting)                         # national: an `intake.pacs.OwnImages`; `far.line` is a part

While intake is away every question is a `ZoneAway`: a PACS that does not answer, asked again.
"""

import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from passevue.errors import StoreError, ZoneAway
from passevue.intake.images import Images
from passevue.intake.study import Study
from passevue.zones.link import Asked, Bounds, Link, WithData
from passevue.zones.meeting import Line, Meeting, Place
from passevue.zones.part import Part

MOST_OBJECT_BYTES = 16 << 20  # key objects are kilobytes; nothing else is asked for
BOUNDS = Bounds(max_json=64 << 20, max_data=MOST_OBJECT_BYTES, timeout_s=60.0)  # 64 MiB: some 400,000 instances


@dataclass(frozen=True, slots=True)
class FindStudy:
    study_uid: str


@dataclass(frozen=True, slots=True)
class StudyFound:
    study: Study | None


@dataclass(frozen=True, slots=True)
class OpenObject:
    sop_uid: str


@dataclass(frozen=True, slots=True)
class ObjectOpened:
    """The object goes along as data, where it is `there`."""

    there: bool


def images_for_national(images: Images) -> Callable[[socket.socket], Awaitable[None]]:
    """What serves one connection of national."""

    async def find_study(question: FindStudy, _data: bytearray) -> StudyFound:
        return StudyFound(await images.find_study(question.study_uid))

    async def open_object(question: OpenObject, _data: bytearray) -> WithData:
        stored = await images.find(question.sop_uid)
        if stored is None:
            return WithData(ObjectOpened(False), b"")
        if stored.length > MOST_OBJECT_BYTES:
            raise StoreError(f"object of {stored.length} bytes is not handed on whole")
        return WithData(ObjectOpened(True), await images.read(stored))

    async def serve(sock: socket.socket) -> None:
        await Link(sock, BOUNDS, asked=[Asked(FindStudy, find_study), Asked(OpenObject, open_object)]).run()

    return serve


class FarImages:
    """The images of another process: an `intake.pacs.OwnImages`."""

    def __init__(self, meeting: Meeting) -> None:
        self.line = Line(meeting, Place.IMAGES, Part.INTAKE, lambda sock, spoke: Link(sock, BOUNDS, on_first=spoke))

    async def find_study(self, study_uid: str) -> Study | None:
        """As `Images.find_study`. Raises also: ZoneAway."""
        found, _ = await self._link.ask(FindStudy(study_uid), gives=StudyFound)
        return found.study

    async def open(self, sop_uid: str) -> bytes:
        """As `Images.open`, for objects of at most `MOST_OBJECT_BYTES`. Raises also: ZoneAway."""
        found, content = await self._link.ask(OpenObject(sop_uid), gives=ObjectOpened)
        if not found.there:
            raise KeyError(sop_uid)
        return bytes(content)

    @property
    def _link(self) -> Link:
        link = self.line.link
        if link is None:
            raise ZoneAway("the zone that keeps the images is away")
        return link
