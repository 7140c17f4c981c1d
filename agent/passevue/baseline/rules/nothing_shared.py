"""ACCT-02: proved before release: two boxes are made of one image, switched on, and compared file by file."""

from passevue.baseline.remedies import REPROVISION
from passevue.baseline.rule import Effect, Level, Rule, Text, When

RULE = Rule(
    id="ACCT-02",
    slug="nothing_shared",
    level=Level.MUST,
    effect=Effect.GATE,
    when=frozenset({When.BUILD}),
    title=Text("Deux boîtiers n’ont aucun secret en commun", "Two boxes have no secret in common"),
    why=Text("Ouvrir un boîtier ne doit pas en ouvrir un autre.", "Opening one box must not open another."),
    expected="two provisioned boxes share no secret, host key, machine-id or TLS key",
    remedy=REPROVISION,
    source="BP R51(R), HYG 12, ETSI 5.1, CRA b",
    check=None,
    proof="tests/image/test_nothing_shared.py",
)
