"""SECR-02: no secret in the image, its history or its bill of materials."""

from passevue.baseline.remedies import IMAGE_BUG
from passevue.baseline.rule import Effect, Level, Rule, Text, When

RULE = Rule(
    id="SECR-02",
    slug="clean_image",
    level=Level.MUST,
    effect=Effect.GATE,
    when=frozenset({When.BUILD}),
    title=Text("Aucun secret dans le système livré", "No secret in the delivered system"),
    why=Text(
        "Un secret dans l’image est le même dans tous les boîtiers, et lisible par qui la télécharge.",
        "A secret in the image is the same in every box, and anybody’s who downloads it.",
    ),
    expected="the secret scanner finds nothing in the image's tree",
    remedy=IMAGE_BUG,
    source="CRA b, CLA O-12.5.9",
    proof="tests/image/test_supply.py::test_no_private_key_is_in_the_image",
    also=("tests/image/test_clean_image.py::test_no_password_is_in_a_setting_of_the_image",),
)
