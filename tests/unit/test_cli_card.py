"""`passevue card`: what a device says of itself does nothing to the terminal."""

import pytest

from passevue.card.reader import ReaderIn
from passevue.cli import card


def test_a_readers_name_cannot_act_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    card._tell_event(ReaderIn("Lecteur \x1b]0;pris\x07\x1b[2J[bold]\r"), as_json=False)
    said = capsys.readouterr().out
    assert said.isprintable() or said.rstrip("\n").isprintable()
    assert "[bold]" in said
