"""Prometheus metrics: the summary as gauges, and what happened as counters. No identity is ever a label.

Names are stable and described in agent/README.md, which a test checks. Only the page is of this: the other processes
count (`tally`), and it tells the counters of all (`zone_words`).
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from passevue.status.neighbours import Health
from passevue.status.tally import Tally
from passevue.status.zone_words import FRESH, REMEMBERED, Family, ZoneWord

if TYPE_CHECKING:
    from passevue.status.summary import Summary

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


class _Everything(Collector):
    """The last summary as gauges, all zones' counters and words."""

    def __init__(self, tally: Tally) -> None:
        self.last: Summary | None = None
        self._tally = tally

    def collect(self) -> Iterator[Metric]:
        if self.last is None:
            return
        words = self._tally.words
        yield from _of_queue(self.last)
        yield from _of_house(self.last)
        yield from _of_neighbours(self.last)
        yield from _of_zones(self.last, words)
        others = [word.families for word in words[1:] if self.last.at - word.at < FRESH]
        yield from _summed((self._tally.families(), *others))

    def describe(self) -> Iterator[Metric]:
        return iter(())


class Metrics:
    """All that is shown: `tally` has what this process counts, and what it heard of the others."""

    def __init__(self, tally: Tally | None = None) -> None:
        self.tally = tally or Tally()
        self._everything = _Everything(self.tally)
        self._shown = CollectorRegistry()
        self._shown.register(self._everything)

    def text(self, summary: "Summary") -> bytes:
        self._everything.last = summary
        return generate_latest(self._shown)


def _summed(said: Sequence[tuple[Family, ...]]) -> Iterator[Metric]:
    """Each family once, with what all processes counted."""
    families: dict[str, Family] = {}
    counted: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for family in (one for each in said for one in each):
        families.setdefault(family.name, family)
        values = counted.setdefault(family.name, {})
        for sample in family.samples:
            key = (sample.name, tuple(sample.labels.items()))
            values[key] = values.get(key, 0.0) + sample.value
    for name, family in families.items():
        metric = Metric(name, family.documentation, family.kind)
        for (sample_name, labels), value in counted[name].items():
            metric.add_sample(sample_name, dict(labels), value)
        yield metric


def _of_zones(summary: "Summary", words: Sequence[ZoneWord]) -> Iterator[Metric]:
    up = GaugeMetricFamily("passevue_zone_up", "Whether a process of the box has said that it lives", labels=["zone"])
    memory = GaugeMetricFamily("passevue_zone_resident_bytes", "Memory of a process of the box", labels=["zone"])
    for word in words:
        age = summary.at - word.at
        if age < REMEMBERED:
            up.add_metric([word.zone], int(age < FRESH))
        if age < FRESH:
            memory.add_metric([word.zone], word.resident_bytes)
    yield up
    yield memory


def _of_queue(summary: "Summary") -> Iterator[Metric]:
    counters = summary.counters
    entries = GaugeMetricFamily("passevue_entries", "Open entries of the queue, by state", labels=["state"])
    for state, count in counters.by_state.items():
        entries.add_metric([state.value], count)
    yield entries
    oldest = summary.oldest or timedelta()
    yield GaugeMetricFamily("passevue_oldest_seconds", "Age of the oldest open entry", value=oldest.total_seconds())
    yield GaugeMetricFamily("passevue_parked", "Entries waiting for more than 72 h, still tried", value=counters.parked)
    yield GaugeMetricFamily(
        "passevue_settled_today", "Entries sent and settled since midnight at the centre", value=counters.settled_today
    )
    yield GaugeMetricFamily(
        "passevue_conflicts", "Things received under a control id that had come with other content",
        value=counters.conflicts,
    )  # fmt: skip


def _of_house(summary: "Summary") -> Iterator[Metric]:
    yield GaugeMetricFamily("passevue_verdict", "0 all is well, 1 worth a look, 2 someone must act", summary.verdict)
    yield InfoMetricFamily("passevue_build", "Version of the box", {"version": summary.version})
    if summary.room is not None:
        yield GaugeMetricFamily(
            "passevue_room_used_ratio", "Share of the queue's volume in use", summary.room.volume.used_share
        )
        yield GaugeMetricFamily(
            "passevue_room_level", "0 normal, 1 warn, 2 images refused, 3 nothing taken in", summary.room.level
        )
    days = GaugeMetricFamily("passevue_certificate_days", "Days until a certificate ends", labels=["setting"])
    for certificate in summary.certificates:
        left = certificate.days_left(summary.at)
        days.add_metric([certificate.setting], float("nan") if left is None else left)
    yield days


def _of_neighbours(summary: "Summary") -> Iterator[Metric]:
    up = GaugeMetricFamily("passevue_neighbour_up", "Whether a neighbour's last word was good", labels=["neighbour"])
    breaker = GaugeMetricFamily("passevue_breaker_open", "Whether nothing is sent to it now", labels=["neighbour"])
    for word in summary.neighbours:
        health = word.health(summary.at)
        if health is not Health.QUIET:
            up.add_metric([word.neighbour.value], 1 if health is Health.OK else 0)
        breaker.add_metric([word.neighbour.value], int(word.breaker_open))
    yield up
    yield breaker
