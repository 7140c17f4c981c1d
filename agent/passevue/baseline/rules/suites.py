"""TLS-02: ephemeral key exchange and authenticated encryption only."""

from passevue.baseline.remedies import IMAGE_BUG
from passevue.baseline.rule import Effect, Level, Rule, Text, When

RULE = Rule(
    id="TLS-02",
    slug="suites",
    level=Level.MUST,
    effect=Effect.BLOCK,
    when=frozenset({When.BUILD}),
    title=Text("Les chiffrements faibles sont refusés", "Weak ciphers are refused"),
    why=Text(
        "Ce qui est enregistré aujourd’hui ne doit pas se laisser lire demain, clé volée ou non.",
        "What is recorded today must not be readable tomorrow, whether or not a key is stolen.",
    ),
    expected="TLS 1.3 defaults; TLS 1.2 with ECDHE and AES-GCM or ChaCha20",
    remedy=IMAGE_BUG,
    source="TLS R6–R11",
    proof="tests/unit/baseline/test_rules_tls.py::test_only_forward_secret_authenticated_suites_are_offered",
)
