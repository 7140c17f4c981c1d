"""SERV-06: proved before release, on the units as they are shipped."""

from passevue.baseline.remedies import IMAGE_BUG
from passevue.baseline.rule import Effect, Level, Rule, Text, When

RULE = Rule(
    id="SERV-06",
    slug="resource_bounds",
    level=Level.MUST,
    effect=Effect.GATE,
    when=frozenset({When.BUILD}),
    title=Text("Chaque service a ses limites", "Each service has its limits"),
    why=Text(
        "Un flot de messages ne doit pas épuiser toute la machine.",
        "A flood of messages must not use up the whole machine.",
    ),
    expected="MemoryMax, TasksMax, LimitNOFILE on each front end; parsers apart from keys",
    remedy=IMAGE_BUG,
    source="CRA h i, CR 7.1 7.2",
    check=None,
    proof="tests/unit/systemd/test_units.py::test_every_service_is_bounded_and_confined",
    also=("tests/unit/systemd/test_units.py::test_a_zone_is_watched_bounded_and_comes_back",),
)
