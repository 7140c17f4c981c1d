"""What one process of the box counts for `/metrics`. No identity is ever a label.

    tally = Tally()
    tally.received.add("report", "AA")
    tally.try_seconds.took(0.2, "ITI-41")

Plain sums, told as `Family` in Prometheus's forms: every process counts, and the page alone shows (`metrics`). Counted
and told on the loop's thread.
"""

from bisect import bisect_left
from itertools import accumulate

from passevue.status.zone_words import Family, Sample, ZoneWord

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Counter:
    """Sums by the values of its labels."""

    def __init__(self, name: str, documentation: str, labels: tuple[str, ...]) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = labels
        self._sums: dict[tuple[str, ...], float] = {}

    def add(self, *values: str, amount: float = 1) -> None:
        """One value for each label."""
        assert len(values) == len(self._labels)  # noqa: S101 - ours call it
        self._sums[values] = self._sums.get(values, 0.0) + amount

    def family(self) -> Family:
        samples = (
            Sample(f"{self._name}_total", dict(zip(self._labels, values, strict=True)), total)
            for values, total in self._sums.items()
        )
        return Family(self._name, "counter", self._documentation, tuple(samples))


class Histogram:
    """How often something took how long, by the value of one label."""

    def __init__(self, name: str, documentation: str, label: str, bounds: tuple[float, ...] = SECONDS) -> None:
        self._name = name
        self._documentation = documentation
        self._label = label
        self._bounds = bounds
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def took(self, seconds: float, value: str) -> None:
        counts = self._counts.setdefault(value, [0] * (len(self._bounds) + 1))
        counts[bisect_left(self._bounds, seconds)] += 1
        self._sums[value] = self._sums.get(value, 0.0) + seconds

    def family(self) -> Family:
        samples: list[Sample] = []
        for value, counts in self._counts.items():
            label = {self._label: value}
            edges = (*map(str, self._bounds), "+Inf")
            buckets = zip(edges, accumulate(counts), strict=True)
            samples += (Sample(f"{self._name}_bucket", label | {"le": edge}, up_to) for edge, up_to in buckets)
            samples.append(Sample(f"{self._name}_count", label, sum(counts)))
            samples.append(Sample(f"{self._name}_sum", label, self._sums[value]))
        return Family(self._name, "histogram", self._documentation, tuple(samples))


class Tally:
    """The counters of one process. They are raised by the box as its parts report."""

    def __init__(self) -> None:
        self.words: tuple[ZoneWord, ...] = ()
        self.received = Counter(
            "passevue_received",
            "Messages and objects answered, by kind and by the answer given (AA, AE, AR, 0000H, A700H…)",
            ("kind", "answer"),
        )
        self.tries = Counter(
            "passevue_tries",
            "Requests to the registry, by transaction and outcome (success, network, in-doubt, refused, held)",
            ("transaction", "outcome"),
        )
        self.try_seconds = Histogram("passevue_try_seconds", "Time of a request to the registry", "transaction")

    def families(self) -> tuple[Family, ...]:
        """What this process has counted."""
        return (self.received.family(), self.tries.family(), self.try_seconds.family())

    def hear(self, words: tuple[ZoneWord, ...]) -> None:
        """The last words of all zones, this process's own first."""
        self.words = words
