"""How many lanes wake per second after an outage: at most four, so that a far side that is back is not run over."""

from dataclasses import dataclass

__all__ = ["Pace"]


@dataclass(slots=True)
class Pace:
    """A bucket of tokens: `per_second` flow in, at most `burst` are kept. `now` is monotonic seconds."""

    per_second: float = 4.0
    burst: int = 4
    tokens: float = 4.0
    counted_at: float = 0.0

    def available(self, now: float) -> int:
        """Whole tokens there now."""
        flown = max(0.0, now - self.counted_at) * self.per_second
        self.tokens, self.counted_at = min(float(self.burst), self.tokens + flown), now
        return int(self.tokens)

    def spend(self, count: int) -> None:
        self.tokens = max(0.0, self.tokens - count)
