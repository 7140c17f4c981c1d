"""Values that name a person: the key of a matricule, the form of an OID."""

import pytest

from passevue.intake.ris_identity import valid_matricule, valid_oid
from tests.peers.ris import (
    invented_person,
)


@pytest.mark.parametrize(
    ("value", "valid"),
    [
        ("279035121518989", True),
        ("274075176079430", True),
        ("279035121518988", False),
        ("27903512151898", False),
        ("2790351215189890", False),
        ("27903512151898X", False),
        ("٢79035121518989", False),
        ("", False),
    ],
)
def test_the_key_of_a_matricule_is_checked(value, valid):
    assert valid_matricule(value) is valid


def test_matricules_of_corsica_are_valid():
    people = [invented_person(number) for number in range(60)]
    assert any("2A" in person.ins for person in people)
    assert any("2B" in person.ins for person in people)
    assert all(valid_matricule(person.ins) for person in people)


@pytest.mark.parametrize(
    ("text", "valid"), [("1.2.3", True), ("1.2.03", False), ("3.1", False), ("1", False), ("1..2", False)]
)
def test_oids_are_told_from_what_is_none(text, valid):
    assert valid_oid(text) is valid
