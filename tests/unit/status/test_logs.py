"""The log says what happened and never of whom, whatever a caller or a library hands it."""

import io
import json
import logging
import os
import warnings
from pathlib import Path

import pytest
import structlog
from aiohttp import ClientSession, web
from hypothesis import given
from hypothesis import strategies as st

from passevue.errors import NetworkError, Refused
from passevue.status.access_log import AccessLog
from passevue.status.logs import is_journal, only_known_fields, set_up

INS = "2790351215189" + "89"  # of the samples' patient, written so that the guard reads the log, not this file


@pytest.fixture
def lines() -> io.StringIO:
    stream = io.StringIO()
    set_up(stream, {}, level=logging.DEBUG)
    return stream


def test_a_line_is_an_event_and_its_fields(lines: io.StringIO) -> None:
    structlog.get_logger().info("associated", calling_ae="SCANNER 1", peer="192.168.1.31", objects=3, tls=True)
    said = lines.getvalue()
    assert "level=info event=associated" in said
    assert 'calling_ae="SCANNER 1"' in said
    assert "objects=3" in said


def test_an_unknown_field_is_told_by_its_size_only(lines: io.StringIO) -> None:
    structlog.get_logger().info("taken", family="DURAND", content=b"<ClinicalDocument/>", who={"name": "DURAND"})
    assert "DURAND" not in lines.getvalue()
    assert 'family="[str of 6]"' in lines.getvalue()
    assert 'content="[bytes of 19]"' in lines.getvalue()
    assert "who=[dict]" in lines.getvalue()


def test_a_sentence_as_event_is_not_printed(lines: io.StringIO) -> None:
    structlog.get_logger().info("published the report of Mme DURAND")
    assert "DURAND" not in lines.getvalue()
    assert "event=unnamed_event" in lines.getvalue()


def test_an_ins_and_uids_inside_a_known_field_are_blotted_out(lines: io.StringIO) -> None:
    ct = "1.2.840.10008.5.1.4.1.1.2"
    structlog.get_logger().info("refused", error=f"no study 1.2.250.1.213.4.5.2.1.124 for {INS}", sop_class=ct)
    said = lines.getvalue()
    assert INS not in said
    assert "1.2.250.1" not in said
    assert ct in said


def test_addresses_ports_and_versions_are_left_as_they_are(lines: io.StringIO) -> None:
    structlog.get_logger().info("connected", peer="192.168.1.31:45678", version="2.5.1")
    assert "192.168.1.31:45678" in lines.getvalue()


def test_control_characters_cannot_forge_a_line(lines: io.StringIO) -> None:
    structlog.get_logger().info("associated", calling_ae="X\n<3>event=forged \x1b[2J")
    assert lines.getvalue().count("\n") == 1
    assert "\x1b" not in lines.getvalue()


def test_of_a_foreign_exception_only_class_and_place_are_told(lines: io.StringIO) -> None:
    log = structlog.get_logger()
    try:
        {}["DURAND"]
    except KeyError:
        log.exception("part_failed")
    assert "DURAND" not in lines.getvalue()
    assert "error_class=KeyError" in lines.getvalue()
    assert "status/test_logs.py:" in lines.getvalue()


def test_of_our_own_exception_the_message_is_told(lines: io.StringIO) -> None:
    log = structlog.get_logger()
    try:
        try:
            raise OSError("Mme DURAND")
        except OSError as err:
            raise NetworkError("registry did not answer") from err
    except NetworkError:
        log.exception("try_failed")
    log.warning("set_aside", error=Refused("XDSUnknownPatientId", "the registry does not know the patient"))
    said = lines.getvalue()
    assert 'error="registry did not answer"' in said
    assert 'error_class="NetworkError < OSError"' in said
    assert "XDSUnknownPatientId" in said
    assert "DURAND" not in said


def test_a_librarys_line_is_its_pattern_without_its_arguments(lines: io.StringIO) -> None:
    logging.getLogger("some.library").warning("cannot store %s", "DURAND")
    assert 'said="cannot store %s"' in lines.getvalue()
    assert "DURAND" not in lines.getvalue()


def test_libraries_that_print_identifiers_are_silent(lines: io.StringIO) -> None:
    for name in ("pynetdicom", "pynetdicom._handlers", "pydicom", "aiohttp.access"):
        logging.getLogger(name).error("Identifier: %s", "DURAND")
    assert lines.getvalue() == ""


def test_a_library_that_pastes_values_into_its_words_is_cut_before_them(lines: io.StringIO) -> None:
    logging.getLogger("asyncio").error("Task exception was never retrieved\nfuture: <T exception=KeyError('DURAND')>")
    assert 'said="Task exception was never retrieved"' in lines.getvalue()
    assert "DURAND" not in lines.getvalue()


def test_a_warning_is_a_line_too(lines: io.StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("Invalid value for VR PN: DURAND", UserWarning, stacklevel=1)
    assert "library=py.warnings" in lines.getvalue()
    assert "DURAND" not in lines.getvalue()


def test_the_journal_gets_a_priority_and_no_time(tmp_path: Path) -> None:
    with (tmp_path / "journal").open("w") as stream:
        found = os.fstat(stream.fileno())
        environ = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        assert is_journal(stream, environ)
        assert not is_journal(stream, {"JOURNAL_STREAM": "1:2"})
        set_up(stream, environ)
        structlog.get_logger().error("breaker_opened", neighbour="dmp")
        structlog.get_logger().info("started", part="intake")
    assert (tmp_path / "journal").read_text() == (
        "<3>event=breaker_opened neighbour=dmp\n<6>event=started part=intake\n"
    )


async def test_the_access_log_has_the_pattern_and_not_the_address() -> None:
    app = web.Application()
    app.router.add_get("/studies/{uid}", _ok)
    with structlog.testing.capture_logs() as said:
        runner = web.AppRunner(app, access_log_class=AccessLog)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        async with ClientSession() as session:
            await (await session.get(f"http://127.0.0.1:{port}/studies/1.2.3?PatientName=DURAND")).read()
            await (await session.get(f"http://127.0.0.1:{port}/DURAND")).read()
        await runner.cleanup()
    assert [line["route"] for line in said if line["event"] == "http_answered"] == ["/studies/{uid}", "none"]
    assert "DURAND" not in json.dumps(said)


async def _ok(_request: web.Request) -> web.Response:
    return web.Response(text="ok")


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["DURAND", "a\nb", INS]) | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=5,
)


@given(event=_ANYTHING, fields=st.dictionaries(st.sampled_from(["peer", "patient", "error", "x", "count"]), _ANYTHING))
def test_any_fields_make_a_line_without_an_ins(event: object, fields: dict[str, object]) -> None:
    line = only_known_fields(None, "info", {"event": event, "level": "info", **fields})
    text = structlog.processors.LogfmtRenderer(bool_as_flag=False)(None, "info", dict(line))
    assert INS not in text
    assert "\n" not in text
