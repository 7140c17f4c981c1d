"""People and their situations: the published sample, an invented practice, claims that are not what they should be."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passevue.errors import BoxError, SignInError, TrustError, Unreadable
from passevue.national.psc_claims import choose_situation, read_professional, usable_situations
from tests.peers.psc_people import activity, exercice, people

HERE, THERE = "10B0127189", "10B0000001"
SAMPLE: dict[str, Any] = json.loads((Path(__file__).parents[2] / "samples/psc/userinfo_exemple.json").read_text())
PEOPLE = {one.login: one for one in people(HERE, THERE)}


def test_the_published_sample_is_read() -> None:
    person = read_professional(SAMPLE)
    assert person.id_nat == "ANS20210107161422"
    assert (person.sector, person.palier) == ("SA07", "APPPRIP3")
    assert [len(one.activities) for one in person.exercices] == [5]
    assert person.exercices[0].know_how == "SM54"
    assert person.exercices[0].activities[4].structure_ids == ("300000000079608",)
    assert person.exercices[0].activities[0].structure_ids == ()
    assert usable_situations(person, {HERE}) == ()


def test_a_clear_situation_needs_no_question() -> None:
    person = read_professional(PEOPLE["899700000017"].claims())
    situation = choose_situation(usable_situations(person, {HERE}))
    assert situation is not None
    assert (situation.structure_id, situation.sector, situation.given) == (HERE, "SA07", "Maud")


def test_several_are_chosen_from_and_only_where_the_box_has_certificates() -> None:
    person = read_professional(PEOPLE["899700000025"].claims())
    here = usable_situations(person, {HERE})
    assert [one.sector for one in here] == ["SA07", "SA05"]
    assert choose_situation(here) is None
    both = usable_situations(person, {HERE, THERE})
    assert choose_situation(both, THERE) == both[1]
    assert (here[0].given, here[0].family) == ("Basile", "GENIEVRE")  # no name of exercise: the civil one


@pytest.mark.parametrize("login", ["899700000033", "899700000041"])
def test_who_has_no_situation_here_is_told(login: str) -> None:
    person = read_professional(PEOPLE[login].claims())
    with pytest.raises(SignInError, match="no_situation") as refused:
        choose_situation(usable_situations(person, {HERE}))
    assert "Annuaire" in refused.value.hint


def test_two_professions_are_two_situations() -> None:
    person = read_professional(PEOPLE["899700000058"].claims())
    assert [(one.profession, one.pharmacy_section) for one in usable_situations(person, {HERE})] == [
        ("10", ""),
        ("21", "G"),
    ]


def test_a_place_is_known_by_siret_or_finess_too() -> None:
    claims = PEOPLE["899700000017"].claims()
    place = activity("", "X", numeroSiretSite="12345678900012", numeroFinessSite="750000000")
    claims["SubjectRefPro"]["exercices"] = [exercice("10", "SM44", place)]
    person = read_professional(claims)
    for held in ("312345678900012", "1750000000"):
        (situation,) = usable_situations(person, {held})
        assert situation.structure_id == held


def test_the_only_structure_may_be_named_by_the_person_alone() -> None:
    claims = {**PEOPLE["899700000017"].claims(), "SubjectOrganizationID": HERE}
    claims["SubjectRefPro"] = {"exercices": [exercice("10", "SM44")]}
    (situation,) = usable_situations(read_professional(claims), {HERE})
    assert (situation.structure_id, situation.sector) == (HERE, "SA07")


@pytest.mark.parametrize("missing", [*SAMPLE, "exercices"])
def test_any_claim_but_the_name_of_the_account_may_be_missing(missing: str) -> None:
    claims = json.loads(json.dumps(SAMPLE))
    claims.pop(missing, None)
    claims.get("SubjectRefPro", {}).pop(missing, None)
    if missing == "sub":
        with pytest.raises(Unreadable):
            read_professional(claims)
    else:
        assert read_professional(claims).id_nat == "ANS20210107161422"
    for empty in (None, "", []):
        if missing == "sub" or (
            empty == [] and missing not in ("exercices", "SubjectRole", "otherIds", "SubjectRefPro")
        ):
            continue
        assert read_professional({**SAMPLE, missing: empty}).sub


def test_nobody_and_two_people_are_refused() -> None:
    with pytest.raises(SignInError, match="no_identity"):
        read_professional({"sub": "6f0c", "given_name": "X"})
    with pytest.raises(TrustError, match="two people"):
        read_professional({**SAMPLE, "SubjectNameID": "899700000017"})
    assert read_professional({**SAMPLE, "preferred_username": "ans20210107161422"}).id_nat == "ANS20210107161422"
    assert read_professional({"sub": "f:x:899700000017"}).id_nat == "899700000017"


def test_lists_without_end_are_refused() -> None:
    many = {"exercices": [exercice("10", "SM44")] * 33}
    with pytest.raises(Unreadable):
        read_professional({**SAMPLE, "SubjectRefPro": many})
    with pytest.raises(Unreadable):
        read_professional({**SAMPLE, "SubjectRefPro": {"exercices": [exercice("10", "", *[activity()] * 129)]}})


odd = st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.just([1]) | st.just({"a": 1}) | st.just([{}])


@given(
    st.dictionaries(st.sampled_from([*SAMPLE, "exercices"]), odd), st.dictionaries(st.sampled_from(["exercices"]), odd)
)
def test_any_claims_are_a_person_or_our_own_error(changes: dict[str, Any], reference: dict[str, Any]) -> None:
    with suppress(BoxError):
        person = read_professional({**SAMPLE, "SubjectRefPro": reference, **changes})
        usable_situations(person, {HERE})


def test_people_do_not_print_themselves() -> None:
    person = read_professional(PEOPLE["899700000017"].claims())
    shown = repr(person) + repr(person.exercices) + repr(usable_situations(person, {HERE}))
    assert "CARDAMOME" not in shown
    assert "899700000017" not in shown
