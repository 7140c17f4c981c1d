"""The counters of a process, beside prometheus_client's own: the same samples from the same events."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client import Counter as Theirs
from prometheus_client import Histogram as TheirHistogram

from passevue.status.tally import SECONDS, Counter, Histogram, Tally
from passevue.status.zone_words import Family, Sample

LABELS = st.sampled_from(["ITI-41", "ITI-18", "é"])


def by_theirs(registry: CollectorRegistry) -> Family:
    (metric,) = registry.collect()
    samples = (
        Sample(one.name, dict(one.labels), one.value) for one in metric.samples if not one.name.endswith("_created")
    )
    return Family(metric.name, metric.type, metric.documentation, tuple(samples))


def in_any_order(family: Family) -> tuple[str, str, str, list[tuple[str, list[tuple[str, str]], float]]]:
    samples: Iterable[Sample] = family.samples
    told = sorted((one.name, sorted(one.labels.items()), round(one.value, 6)) for one in samples)
    return family.name, family.kind, family.documentation, told


@given(st.lists(st.tuples(LABELS, LABELS, st.integers(0, 5))))
def test_a_counter_tells_what_theirs_tells(events: list[tuple[str, str, int]]) -> None:
    registry = CollectorRegistry()
    theirs = Theirs("passevue_x", "what", ("one", "two"), registry=registry)
    ours = Counter("passevue_x", "what", ("one", "two"))
    for one, two, amount in events:
        theirs.labels(one, two).inc(amount)
        ours.add(one, two, amount=amount)
    assert in_any_order(ours.family()) == in_any_order(by_theirs(registry))


@given(st.lists(st.tuples(LABELS, st.one_of(st.floats(0, 100), st.sampled_from(SECONDS)))))
def test_a_histogram_tells_what_theirs_tells(events: list[tuple[str, float]]) -> None:
    registry = CollectorRegistry()
    theirs = TheirHistogram("passevue_x", "what", ("one",), buckets=SECONDS, registry=registry)
    ours = Histogram("passevue_x", "what", "one")
    for one, seconds in events:
        theirs.labels(one).observe(seconds)
        ours.took(seconds, one)
    assert in_any_order(ours.family()) == in_any_order(by_theirs(registry))


def test_a_tally_begins_with_nothing_and_keeps_what_it_heard() -> None:
    tally = Tally()
    assert [family.samples for family in tally.families()] == [(), (), ()]
    assert tally.words == ()
