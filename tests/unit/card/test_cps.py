"""Which card it is: ATR, serial number, interrupted updates; what certificates and data objects say."""

from contextlib import suppress
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from passevue.card import cps_data
from passevue.card.cps import (
    CardType,
    Category,
    Generation,
    candidates,
    card_number,
    historical_bytes,
    unknown_card,
    update_state,
)
from passevue.errors import CardError, CardFault, UnknownCard
from tests.peers.card_profile import ATR, CPS4_OTHER_ATRS, Kind, Profile
from tests.peers.pki_persons import CardKeys

SAMPLES = Path(__file__).parents[2] / "samples"


@pytest.mark.parametrize(
    ("atr", "first"),
    [
        (ATR[Kind.CPS3], Generation.CPS3),
        ("3BAC00402A00122500648000031100900 0".replace(" ", ""), Generation.CPS3),
        (ATR[Kind.CPS2TER], Generation.CPS3),  # passes the run: refused later, by its serial number
        (ATR[Kind.CPS3_CONTACTLESS], Generation.CPS3_CONTACTLESS),
        (ATR[Kind.CPS4], Generation.CPS4),
        *[(each, Generation.CPS4) for each in CPS4_OTHER_ATRS],
    ],
)
def test_the_atr_says_which_card_to_try_first(atr: str, first: Generation) -> None:
    assert candidates(bytes.fromhex(atr))[0] is first


@pytest.mark.parametrize(
    "atr",
    [
        ATR[Kind.FOREIGN],
        "",
        "3B",
        "3BFF",
        "3BF0FFFFFFFFFFFFFFFF",
        "FF" * 33,
        "3B" + "00" * 40,
        "3B00001225006480",  # the run, outside the historical bytes
        "3BAC00402A0012250064800003",  # cut short
    ],
)
def test_an_atr_of_something_else_or_of_nothing_is_an_unknown_card(atr: str) -> None:
    with pytest.raises(UnknownCard) as caught:
        candidates(bytes.fromhex(atr))
    assert "CPS" in caught.value.hint


def test_a_cps2ter_is_refused_with_words_of_its_own() -> None:
    assert "2ter" in unknown_card(bytes.fromhex(ATR[Kind.CPS2TER])).hint
    assert "2ter" not in unknown_card(bytes.fromhex(ATR[Kind.CPS3])).hint


@settings(deadline=None)
@given(st.binary(max_size=40))
def test_any_atr_is_taken_or_unknown(atr: bytes) -> None:
    historical_bytes(atr)
    with suppress(UnknownCard):
        assert candidates(atr)


def test_the_card_number_is_proved_by_issuer_and_check_digit() -> None:
    good = Profile().serial_number
    assert card_number(good) == "99213845"
    wrong = [
        good[:-1],
        b"\x5a\x09" + good[2:],
        good[:2] + b"\x81" + good[3:],
        good[:-2] + bytes([good[-2] ^ 0x10]) + good[-1:],
    ]
    for serial in (*wrong, b"", bytes(12), b"\xff" * 12):
        with pytest.raises(UnknownCard):
            card_number(serial)


@pytest.mark.parametrize(
    ("content", "broken", "at"),
    [
        (None, False, ""),
        (bytes.fromhex("EC128107202603010830008207 20260301083112".replace(" ", "")), False, "20260301083112"),
        (b"", True, ""),
        (bytes.fromhex("EC0B8107202603010830008200"), True, ""),
        (bytes.fromhex("EC098107202603010830 00".replace(" ", "")), True, ""),
        (bytes.fromhex("EC1281072026030108300082072026139908311 2".replace(" ", "")), True, ""),
        (bytes(20), True, ""),
        (b"\xec\x7f", True, ""),
        (bytes.fromhex("ED128107202603010830008207 20260301083112".replace(" ", "")), True, ""),
    ],
)
def test_an_update_that_broke_off_shows(content: bytes | None, broken: bool, at: str) -> None:
    assert update_state(content) == (broken, at)


def test_the_holder_is_read_from_the_certificate(card_keys: CardKeys) -> None:
    certificate = cps_data.read_certificate(card_keys.authentication.der + b"\x00\x00padding")
    person = cps_data.holder(certificate)
    assert person is not None
    assert (person.id_nat, person.name, person.given) == ("899700367909", "RADIOLOGUE", "CAMILLE")
    assert (person.title, person.profession, person.specialities) == ("Médecin", "10", ("SM44",))
    assert cps_data.category(certificate) is Category.TEST
    assert cps_data.card_type(certificate) is CardType.CPS


def test_a_real_certificate_of_a_staff_card_is_read() -> None:
    pem = (SAMPLES / "igc" / "feuille_cpe_auth_test_expiree.pem").read_bytes()
    certificate = x509.load_pem_x509_certificate(pem)
    person = cps_data.holder(certificate)
    assert person is not None
    assert "/" in person.id_nat
    assert person.structure_id
    assert not person.profession
    assert cps_data.category(certificate) is Category.TEST
    assert cps_data.card_type(certificate) is CardType.CPE


def test_know_how_falls_back_on_the_data_object(card_keys: CardKeys) -> None:
    assert cps_data._know_how_of(b"\xe4\x06\x82\x04SM26\x00\xff") == ("SM26",)
    assert cps_data._know_how_of(b"\xe4\x06\x82\x04????") == ()
    assert cps_data._know_how_of(None) == ()


def test_situations_are_read_leniently() -> None:
    content = bytes.fromhex("EE0F") + b"\x84\x02AB" + b"\x85\x0231" + b"\x90\x01x" + b"\x86\x02SA"
    found = cps_data.situation(3, content)
    assert found is not None
    assert (found.number, found.structure_name, found.structure_id, found.sector) == (3, "AB", "31", "SA")
    for hole in (None, b"", bytes(64), b"\xff" * 8, b"\xee\x00"):
        assert cps_data.situation(1, hole) is None
    with pytest.raises(CardFault):
        cps_data.situation(1, b"\xee\x7f")


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_certificate_or_our_own_error(content: bytes) -> None:
    with suppress(CardError):
        cps_data.read_certificate(content)


@settings(deadline=None)
@given(st.integers(0, 1400), st.binary(min_size=1, max_size=8))
def test_a_damaged_certificate_is_read_or_our_own_error(card_keys: CardKeys, at: int, put: bytes) -> None:
    good = card_keys.authentication.der
    at %= len(good)
    with suppress(CardError):
        certificate = cps_data.read_certificate(good[:at] + put + good[at + len(put) :])
        cps_data.holder(certificate), cps_data.category(certificate), cps_data.card_type(certificate)


def test_values_of_a_card_show_nobody(card_keys: CardKeys) -> None:
    person = cps_data.holder(card_keys.authentication.certificate)
    assert "RADIOLOGUE" not in repr(person)
    assert "CABINET" not in repr(cps_data.situation(1, b"\xee\x09\x84\x07CABINET"))
