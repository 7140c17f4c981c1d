"""UPD-06: a slot is marked good by the box after its own checks only; otherwise the other one comes back."""

from passevue.baseline.remedies import IMAGE_BUG
from passevue.baseline.rule import Effect, Level, Rule, Text, When

RULE = Rule(
    id="UPD-06",
    slug="health_gate",
    level=Level.MUST,
    effect=Effect.GATE,
    when=frozenset({When.BUILD}),
    title=Text("Une mise à jour ratée se défait toute seule", "A failed update undoes itself"),
    why=Text(
        "Personne n’est là, la nuit, pour relever un boîtier qui ne démarre plus.",
        "Nobody is there at night to raise a box that no longer starts.",
    ),
    expected="each broken slot of fleet.md § 10 comes back to the other one with its data",
    remedy=IMAGE_BUG,
    source="CRA h, CR 7.4",
    proof="tests/image/test_update.py",
)
