"""One circuit breaker per endpoint: after five failures in a row nobody is sent there but one probe a minute.

It decides only; it knows neither the endpoint nor the clock. `now` is monotonic seconds, so that a jump of the wall
clock neither opens nor closes anything (Q-11).
"""

from dataclasses import dataclass

__all__ = ["Breaker"]


@dataclass(slots=True)
class Breaker:
    """Closed: all may pass. Open: one probe each `probe_every_s`, until a success closes it."""

    threshold: int = 5
    probe_every_s: float = 60.0
    failures: int = 0
    next_probe: float = 0.0
    quiet_until: float = 0.0

    @property
    def open(self) -> bool:
        return self.failures >= self.threshold

    def passes(self, now: float) -> bool:
        """Everyone may go."""
        return not self.open and now >= self.quiet_until

    def probe_due(self, now: float) -> bool:
        """Nobody may go but one, now."""
        return self.open and now >= max(self.next_probe, self.quiet_until)

    def probing(self, now: float) -> None:
        """A probe leaves now: the next one a while later."""
        self.next_probe = now + self.probe_every_s

    def failed(self, now: float, quiet_s: float = 0.0) -> None:
        """`quiet_s`: for how long the endpoint asked to be left alone (Retry-After), bounded by the caller."""
        self.failures += 1
        self.next_probe = now + self.probe_every_s
        self.quiet_until = max(self.quiet_until, now + quiet_s)

    def succeeded(self) -> bool:
        """The endpoint answered. True when this closed the breaker: an outage has ended."""
        was_open = self.open
        self.failures, self.quiet_until = 0, 0.0
        return was_open
