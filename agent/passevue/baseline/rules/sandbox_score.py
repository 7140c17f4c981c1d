"""SERV-03: proved before release, unit by unit, with systemd's own measure."""

from passevue.baseline.remedies import IMAGE_BUG
from passevue.baseline.rule import Effect, Level, Rule, Text, When

RULE = Rule(
    id="SERV-03",
    slug="sandbox_score",
    level=Level.MUST,
    effect=Effect.GATE,
    when=frozenset({When.BUILD}),
    title=Text("Chaque service est à l’étroit", "Each service is in a tight place"),
    why=Text(
        "Un service trompé ne doit presque rien pouvoir faire.",
        "A service that was fooled must be able to do next to nothing.",
    ),
    expected="systemd-analyze security <= 1.5 for each unit of ours, without exception",
    remedy=IMAGE_BUG,
    source="BP R63–R65(R)",
    check=None,
    proof="tests/unit/systemd/test_exposure.py::test_exposure_does_not_rise",
)
