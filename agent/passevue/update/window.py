"""The hours in which the box may restart: days and times of the centre's own clock, summer time included (fleet.md §
6).

A window belongs to the day on which it opens: "Sunday 22:00–05:00" ends on Monday morning. Facts: an hour that a
clock change skips or repeats is in the window like any other, for what is compared is the wall clock.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(frozen=True, slots=True)
class Window:
    """Opens on each of `days` (0 is Monday) at `start`, shuts at `end`, on the next day when that is not later."""

    days: frozenset[int]
    start: time
    end: time
    zone: ZoneInfo

    @classmethod
    def of(cls, days: Collection[str], start: time, end: time, zone: ZoneInfo) -> "Window":
        return cls(frozenset(DAYS.index(day) for day in days), start, end, zone)

    def is_open(self, now: datetime) -> bool:
        return self.opened(now) is not None

    def opened(self, now: datetime) -> datetime | None:
        """When the window that is open at `now` opened, as local wall clock; None when it is shut."""
        local = now.astimezone(self.zone).replace(tzinfo=None)
        for days_ago in (0, 1):
            day = local.date() - timedelta(days=days_ago)
            if day.weekday() not in self.days:
                continue
            begin = datetime.combine(day, self.start)
            end = datetime.combine(day if self.end > self.start else day + timedelta(days=1), self.end)
            if begin <= local < end:
                return begin
        return None
