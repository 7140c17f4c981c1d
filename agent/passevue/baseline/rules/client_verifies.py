"""TLS-03: no server is spoken to that cannot prove who it is."""

from passevue.baseline.remedies import IMAGE_BUG
from passevue.baseline.rule import Effect, Level, Rule, Text, When

RULE = Rule(
    id="TLS-03",
    slug="client_verifies",
    level=Level.MUST,
    effect=Effect.BLOCK,
    when=frozenset({When.BUILD}),
    title=Text("Un service qui ne prouve pas son identité est refusé", "A service that cannot prove itself is refused"),
    why=Text(
        "Un faux DMP recevrait sinon les documents des patients.",
        "A false DMP would otherwise receive the patients’ documents.",
    ),
    expected="refused: self-signed, wrong name, expired, not yet valid, wrong EKU, another endpoint's CA, SHA-1",
    remedy=IMAGE_BUG,
    source="TLS R5 R8 R24 R27–R29 R37",
    proof="tests/unit/baseline/test_rules_tls.py::test_a_server_that_cannot_prove_itself_is_refused",
)
