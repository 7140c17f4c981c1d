"""The words of `passevue run`, read without typer: the same answer, or none, and then typer is asked."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passevue.cli.words import DEFAULT_CONFIG, Wanted, read
from passevue.zones.part import Part


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("", Wanted()),
        ("--config a.toml", Wanted(Path("a.toml"))),
        ("--config=a.toml --debug", Wanted(Path("a.toml"), debug=True)),
        ("--part page --part=host --sockets s", Wanted(parts=(Part.PAGE, Part.HOST), sockets=Path("s"))),
        ("--config a --config b", Wanted(Path("b"))),
    ],
)
def test_words_as_units_write_them_are_read(words: str, wanted: Wanted) -> None:
    assert read(words.split(), {}) == wanted


def test_the_environment_names_the_configuration_and_a_word_goes_first() -> None:
    assert read([], {"PASSEVUE_CONFIG": "e.toml"}) == Wanted(Path("e.toml"))
    assert read(["--config", "a.toml"], {"PASSEVUE_CONFIG": "e.toml"}) == Wanted(Path("a.toml"))
    assert read([], {"PASSEVUE_CONFIG": ""}) == Wanted(DEFAULT_CONFIG)


@pytest.mark.parametrize(
    "words",
    ["--help", "-c a.toml", "--part", "--part kitchen", "--config", "--config --debug", "--config=", "--debug=1", "x"],
)
def test_what_is_not_plain_is_left_to_typer(words: str) -> None:
    assert read(words.split(), {}) is None


@given(st.lists(st.sampled_from(["--config", "--part", "--sockets", "--debug", "page", "=", "", "--part=host", "-"])))
def test_any_words_are_read_or_left(words: list[str]) -> None:
    found = read(words, {})
    assert found is None or isinstance(found, Wanted)
