import pytest
from hypothesis import given
from hypothesis import strategies as st

from passevue.document.patient import (
    INS_NIA,
    INS_NIR,
    INS_NIR_DEMONSTRATION,
    INS_NIR_TEST,
    Identifier,
    Ins,
    Patient,
    Realm,
    first_given_is,
    ins_is_qualified,
    same_name,
)


@pytest.mark.parametrize("matricule", ["279035121518989", "162018885045327", "248039263001064"])
def test_the_key_of_a_matricule(matricule: str) -> None:
    assert Ins(matricule, INS_NIR_TEST).key_is_right


def test_corsica_counts_as_nineteen_and_eighteen() -> None:
    for letters, digits in (("2A", "19"), ("2B", "18")):
        key = 97 - int(f"25501{digits}004001") % 97
        assert Ins(f"25501{letters}004001{key:02}", INS_NIR).key_is_right


@pytest.mark.parametrize("matricule", ["279035121518988", "2790351215189", "27903512151898900", "27903512151898é", ""])
def test_a_wrong_key_or_length(matricule: str) -> None:
    assert not Ins(matricule, INS_NIR_TEST).key_is_right


def test_the_realm_is_in_the_oid() -> None:
    assert [Ins("1", oid).realm for oid in (INS_NIR, INS_NIA)] == [Realm.PRODUCTION] * 2
    assert [Ins("1", oid).realm for oid in (INS_NIR_TEST, INS_NIR_DEMONSTRATION)] == [Realm.TEST] * 2


def test_issuer_and_cx() -> None:
    ins = Ins("279035121518989", INS_NIR_TEST)
    assert ins.cx == "279035121518989^^^&1.2.250.1.213.1.4.10&ISO^NH"
    assert ins.issuer == "ASIP-SANTE-INS-NIR"
    assert Ins("1", INS_NIA).issuer == "ASIP-SANTE-INS-NIA"


def test_an_ins_is_qualified_only_when_validated() -> None:
    ins = ("279035121518989", INS_NIR_TEST)
    assert ins_is_qualified(ins, "VALI")
    assert not ins_is_qualified(ins, "PROV")
    assert not ins_is_qualified(ins, "")
    assert not ins_is_qualified(None, "VALI")


def test_identifiers_are_compared_with_their_extension_and_uuids_without_case() -> None:
    assert Identifier("D52DE737-001D-4031-B571-0A0ED7C42300").same_as("d52de737-001d-4031-b571-0a0ed7c42300")
    assert Identifier("1.2", "A").same_as("1.2^A")
    assert not Identifier("1.2", "A").same_as("1.2^a")
    assert not Identifier("1.2").same_as("1.2^A")


def test_a_name_is_the_same_without_case_accents_and_hyphens() -> None:
    assert same_name("D'ESSAI  LÉON", "d essai-leon")
    assert same_name("CŒUR", "COEUR")
    assert not same_name("PAT-TROIS", "PAT-QUATRE")


def test_the_first_given_name_may_be_cut_from_a_list() -> None:
    listed = Patient(None, birth_given="JEAN", birth_given_names="JEAN PIERRE LOUIS")
    assert first_given_is(listed, "JEAN-PIERRE")
    assert first_given_is(listed, "Jean")
    assert not first_given_is(listed, "JEA")
    assert not first_given_is(listed, "PIERRE")
    assert not first_given_is(listed, "")
    told = Patient(None, birth_given="JEAN-PIERRE", birth_given_names="JEAN-PIERRE LOUIS")
    assert not first_given_is(told, "JEAN")


@given(st.text(), st.text())
def test_comparing_any_names_never_fails(one: str, other: str) -> None:
    assert same_name(one, one)
    assert same_name(one, other) == same_name(other, one)
