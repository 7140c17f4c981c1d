"""SERV-07: proved before release, over the native code of the image."""

from passevue.baseline.remedies import IMAGE_BUG
from passevue.baseline.rule import Effect, Level, Rule, Text, When

RULE = Rule(
    id="SERV-07",
    slug="elf_hardening",
    level=Level.SHOULD,
    effect=Effect.GATE,
    when=frozenset({When.BUILD}),
    title=Text("Les programmes compilés sont durcis", "Compiled programs are hardened"),
    why=Text("Un défaut de mémoire doit être difficile à exploiter.", "A memory flaw must be hard to use."),
    expected="PIE, RELRO, BIND_NOW, stack protector, no RWX over the image",
    remedy=IMAGE_BUG,
    source="BP R60(R)",
    proof="tests/image/test_supply.py::test_compiled_programs_are_hardened",
)
