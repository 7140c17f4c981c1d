"""The guards of conftest.py bite."""

import logging
from pathlib import Path

import pytest
import structlog
from blockbuster import BlockingError

from passevue.config import load
from tests.conftest import LogGuard


def test_an_identity_in_a_field_is_seen(no_identity_in_logs: LogGuard) -> None:
    structlog.get_logger().info("taken", patient="Pat-Trois")
    assert len(no_identity_in_logs.wrong) == 1
    no_identity_in_logs.wrong.clear()


@pytest.mark.parametrize(
    "text", ["RADIOLOGUE", "Camille", "899700367909", "99213845", "Bideault", "899700000017", "CARDAMOME", "Côme"]
)
def test_who_holds_a_card_or_a_phone_is_seen(no_identity_in_logs: LogGuard, text: str) -> None:
    structlog.get_logger().info("signed_in", what=f"x {text}.")
    assert len(no_identity_in_logs.wrong) == 1
    no_identity_in_logs.wrong.clear()


def test_an_identity_is_seen_even_while_a_test_captures_logs(no_identity_in_logs: LogGuard) -> None:
    with structlog.testing.capture_logs():
        structlog.get_logger().info("taken", ins="2 79 03 5121518989".replace(" ", "") + "89")
        structlog.get_logger().bind(who="DOMINIQUE").info("taken")
    assert len(no_identity_in_logs.wrong) == 2
    no_identity_in_logs.wrong.clear()


def test_an_identity_in_a_traceback_is_seen(no_identity_in_logs: LogGuard) -> None:
    try:
        raise ValueError("IPP101")
    except ValueError:
        structlog.get_logger().exception("failed")
        logging.getLogger("some.library").exception("failed")
    assert len(no_identity_in_logs.wrong) == 2
    no_identity_in_logs.wrong.clear()


def test_a_badly_formatted_line_is_seen() -> None:
    with pytest.raises(TypeError):
        logging.getLogger("some.library").warning("%d", "not a number")


def test_uids_and_counts_are_not_taken_for_identities() -> None:
    structlog.get_logger().info("stored", sop_class="1.2.840.10008.5.1.4.1.1.2", bytes=12345, took_ms=3.25)


async def test_reading_a_file_on_the_loop_is_refused(tmp_path: Path) -> None:
    (tmp_path / "passevue.toml").write_text("")
    with pytest.raises(BlockingError):
        load(tmp_path / "passevue.toml")
