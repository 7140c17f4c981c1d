"""How often one may be wrong: five times, then a pause of 15 minutes, doubled each time (ACCT-06). No I/O.

Counted for each address, and for all addresses together with a higher limit, so that a net of machines does not guess
faster than one. The browser at the box itself is outside the common count: the network cannot lock that one out.
A success forgets the address's failures. While a pause lasts nothing is checked, so that the answer tells nothing.
"""

from collections import OrderedDict
from dataclasses import dataclass

LIMIT = 5
LIMIT_OF_ALL = 40
PAUSE_S = 900.0
LONGEST_PAUSE_S = 4 * 3600.0
FORGET_AFTER_S = 24 * 3600.0
MOST_KEPT = 2048
_EVERYBODY = ""


@dataclass(slots=True)
class _Count:
    failures: int = 0
    pauses: int = 0
    paused_until: float = 0.0
    at: float = 0.0


class Attempts:
    """Failures of one kind of sign-in. `now` is monotonic seconds; `shared` is False for the browser at the box."""

    def __init__(self, limit: int = LIMIT, limit_of_all: int = LIMIT_OF_ALL, pause_s: float = PAUSE_S) -> None:
        self._limits = {True: limit, False: limit_of_all}
        self._pause_s = pause_s
        self._counts: OrderedDict[str, _Count] = OrderedDict()

    def wait_s(self, address: str, now: float, *, shared: bool = True) -> float:
        """How long this address waits before anything it gives is looked at; 0: not at all."""
        return max(0.0, *(self._count(key, now).paused_until - now for key in self._keys(address, shared)))

    def failed(self, address: str, now: float, *, shared: bool = True) -> None:
        for key in self._keys(address, shared):
            count = self._count(key, now)
            count.failures += 1
            count.at = now
            if count.failures >= self._limits[key != _EVERYBODY]:
                count.paused_until = now + min(self._pause_s * 2**count.pauses, LONGEST_PAUSE_S)
                count.failures = 0
                count.pauses += 1

    def succeeded(self, address: str, *, counted: bool = False) -> None:
        """`counted`: this try was put to the common count before it was looked at, and is taken off it."""
        self._counts.pop(address, None)
        everybody = self._counts.get(_EVERYBODY)
        if counted and everybody is not None:
            everybody.failures = max(0, everybody.failures - 1)

    def _keys(self, address: str, shared: bool) -> tuple[str, ...]:
        return (address, _EVERYBODY) if shared else (address,)

    def _count(self, key: str, now: float) -> _Count:
        count = self._counts.pop(key, None)
        if count is None or now - count.at > FORGET_AFTER_S:
            count = _Count(at=now)
        self._counts[key] = count
        while len(self._counts) > MOST_KEPT:
            self._drop_one()
        return count

    def _drop_one(self) -> None:
        """The one quiet for longest; an address under a pause, or the common count, only when there is no other."""
        for key, count in self._counts.items():
            if key != _EVERYBODY and not count.pauses:
                del self._counts[key]
                return
        self._counts.popitem(last=False)


class Pace:
    """At most so many in a window, whoever asks right: what rings people's phones. `now` is monotonic seconds."""

    def __init__(self, most: int, window_s: float) -> None:
        self._most = most
        self._window_s = window_s
        self._at: OrderedDict[str, list[float]] = OrderedDict()

    def take(self, key: str, now: float) -> bool:
        recent = [at for at in self._at.pop(key, []) if now - at < self._window_s]
        allowed = len(recent) < self._most
        if allowed:
            recent.append(now)
        if recent:
            self._at[key] = recent
        while len(self._at) > MOST_KEPT:
            self._at.popitem(last=False)
        return allowed
