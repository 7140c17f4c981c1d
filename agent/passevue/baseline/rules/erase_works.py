"""STOR-08: proved before release: after an erase there is no key slot left and the TPM unseals nothing."""

from passevue.baseline.remedies import REPROVISION
from passevue.baseline.rule import Effect, Level, Rule, Text, When

RULE = Rule(
    id="STOR-08",
    slug="erase_works",
    level=Level.MUST,
    effect=Effect.GATE,
    when=frozenset({When.BUILD}),
    title=Text("« Effacer » ne laisse rien", "“Erase” leaves nothing"),
    why=Text(
        "Un boîtier rendu ou jeté ne doit rien garder de la clé de ses données.",
        "A box that is given back or thrown away must keep nothing of its data’s key.",
    ),
    expected="after erase: no key slot, no TPM object, factory state",
    remedy=REPROVISION,
    source="CRA b m, CLA O-12.2.4.3",
    proof="tests/image/test_erase.py",
    check=None,
)
