from hypothesis import given
from hypothesis import strategies as st

from passevue.document.identifiers import new_uid, padded_uid, valid_oid, valid_root, valid_uid


def test_a_new_uid_is_valid_and_is_never_made_twice() -> None:
    made = {new_uid() for _ in range(1000)}
    assert len(made) == 1000
    assert all(valid_oid(each) and each.startswith("2.25.") for each in made)


def test_what_is_no_uid() -> None:
    for text in ("", ".", "1", "1.", "1..2", "1.02", "1.2 ", "1.a", "-1.2", "1.2/../3", "1.٣", "1." + "2" * 63):
        assert not valid_uid(text), text
    assert valid_uid("1." + "2" * 62)


def test_an_oid_begins_with_an_arc_that_exists() -> None:
    assert valid_oid("2.25.1")
    assert not valid_oid("3.1")
    assert not valid_oid("10.1")


def test_a_root_may_be_a_uuid() -> None:
    assert valid_root("D52DE737-001D-4031-B571-0A0ED7C42300")
    assert not valid_root("D52DE737-001D-4031-B571")


@given(st.text())
def test_any_text_is_judged(text: str) -> None:
    assert valid_uid(text) in (True, False)


def test_a_uid_with_zeros_in_front_is_known_for_what_it_is() -> None:
    for text in ("1.2.03.4", "01.2", "1.00", "1." + "0" * 61 + "1"):
        assert padded_uid(text), text
        assert not valid_uid(text), text
    for text in ("1.2.3", "1.0.3", "1..03", "1.03.", "03", "", "1.٠3", "1.03\n", "1." + "0" * 62 + "1"):
        assert not padded_uid(text), text
