"""Which file of a stick is meant."""

from dataclasses import dataclass

import pytest

from passevue.errors import Refused
from passevue.stick.chosen import Want, chosen

SERIAL = "7F3A-90C1-22BE"


@dataclass(frozen=True)
class Named:
    name: str


def names(want: Want, *there: str) -> dict[str, str]:
    return {field: each.name for field, each in chosen(map(Named, there), want, SERIAL).items()}


def test_the_one_bundle_is_meant_whatever_lies_beside_it() -> None:
    assert names(Want.BUNDLE, "Photos.zip", "Passevue-1.5.0.RAUCB", "box.toml") == {"bundle": "Passevue-1.5.0.RAUCB"}


def test_a_configuration_has_its_signature_beside_it() -> None:
    found = names(Want.CONFIGURATION, "Centre.toml", "centre.TOML.SIG", "autre.sig")
    assert found == {"document": "Centre.toml", "signature": "centre.TOML.SIG"}


def test_of_several_configurations_the_one_of_this_box_is_meant() -> None:
    there = ("0001-0002-0003.toml", "7f3a-90c1-22be.toml", "7F3A-90C1-22BE.toml.sig", "0001-0002-0003.toml.sig")
    found = names(Want.CONFIGURATION, *there)
    assert found == {"document": "7f3a-90c1-22be.toml", "signature": "7F3A-90C1-22BE.toml.sig"}


@pytest.mark.parametrize(
    ("want", "there", "words"),
    [
        (Want.BUNDLE, (), "n’a pas de mise à jour"),
        (Want.BUNDLE, ("a.raucb.part",), "n’a pas de mise à jour"),
        (Want.BUNDLE, ("a.raucb", "b.raucb"), "plusieurs mises à jour"),
        (Want.CONFIGURATION, ("a.toml.sig",), "n’a pas de configuration"),
        (Want.CONFIGURATION, ("a.toml", "b.toml"), f"{SERIAL}.toml"),
        (Want.CONFIGURATION, ("a.toml",), "la signature"),
        (Want.CONFIGURATION, ("a.toml", "a.sig"), "la signature"),
    ],
)
def test_what_nobody_can_know_is_refused_with_what_to_do(want: Want, there: tuple[str, ...], words: str) -> None:
    with pytest.raises(Refused) as told:
        names(want, *there)
    assert words in told.value.hint
