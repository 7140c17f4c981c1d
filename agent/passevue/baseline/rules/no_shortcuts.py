"""TLS-05: no compression, no early data, no renegotiation."""

from passevue.baseline.remedies import IMAGE_BUG
from passevue.baseline.rule import Effect, Level, Rule, Text, When

RULE = Rule(
    id="TLS-05",
    slug="no_shortcuts",
    level=Level.MUST,
    effect=Effect.WARN,
    when=frozenset({When.BUILD}),
    title=Text("Les raccourcis dangereux de TLS sont fermés", "TLS’s dangerous shortcuts are closed"),
    why=Text(
        "Compression, données anticipées et renégociation ont chacune servi à des attaques.",
        "Compression, early data and renegotiation have each served attacks.",
    ),
    expected="no compression, 0-RTT or renegotiation; tickets of 24 h at most",
    remedy=IMAGE_BUG,
    source="TLS R19–R23",
    proof="tests/unit/baseline/test_rules_tls.py::test_no_shortcut_is_offered",
)
