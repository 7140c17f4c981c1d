"""Clocks that a test sets, for what asks "what time is it?" by calling."""

from datetime import UTC, datetime, timedelta


class StoppedClock:
    """Stands at `now`, at first the real time, until a test moves it."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


class ShiftedClock:
    """The real time, and `ahead`, what a test adds to it."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def pass_by(self, **much: float) -> None:
        self.ahead += timedelta(**much)
