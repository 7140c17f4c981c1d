"""The desk: what is answered, byte for byte, and what is kept before it is (hl7v2.md § 6, reliability §§ 4, 5)."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from passevue.errors import Ack, Hl7Error, NoRoom, StoreError, Unreadable
from passevue.intake.ack import answer_code
from passevue.intake.received import Kind, Receipt, Received
from passevue.intake.ris import RisDesk, RisMessage
from tests.peers.ris import PAT_TROIS, Envelope, invented_document_id, invented_exam, mdm, omi, oru, read_ack, report

SAMPLES = Path(__file__).parents[2] / "samples" / "hl7v2"
NOW = datetime(2026, 11, 21, 9, 30, 5, tzinfo=UTC)
CDA = report(PAT_TROIS, invented_exam(101), document_id=invented_document_id(101), pdf_bytes=700)
CONTROL_ID = re.compile(rb"[0-9a-f]{20}")


class Keeper:
    """Keeps in a list what it is given, or fails as told."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.kept: list[tuple[RisMessage, Received]] = []

    async def __call__(self, message: RisMessage, received: Received) -> Receipt:
        if self.error is not None:
            raise self.error
        self.kept.append((message, received))
        return Receipt(len(self.kept))


def desk(keeper: Keeper, **more: object) -> RisDesk:
    return RisDesk(keeper, clock=lambda: NOW, **more)


async def answered(raw: bytes, error: Exception | None = None, **more: object) -> bytes:
    ack = await desk(Keeper(error), **more).answer(raw, "192.0.2.7")
    assert ack is not None
    return CONTROL_ID.sub(b"OWN", ack, count=1)


async def test_a_taken_report_is_answered_aa_to_the_byte():
    raw = oru(CDA, PAT_TROIS, envelope=Envelope(control_id="12345", charset="8859/15"))
    assert await answered(raw) == (
        b"MSH|^~\\&|DRIMBOX|CENTRE-ESSAI|RIS-ESSAI|CENTRE-ESSAI|20261121093005+0000||ACK^R01^ACK|OWN|P|2.5|||||FRA|8859/15\r"
        b"MSA|AA|12345\r"
    )


@pytest.mark.parametrize(
    ("raw", "kind", "version"),
    [
        (oru(CDA, PAT_TROIS), "ACK^R01^ACK", "2.5"),
        (mdm(CDA, PAT_TROIS), "ACK^T02^ACK", "2.6"),
        (omi(invented_exam(1), PAT_TROIS), "ACK^O23^ACK", "2.5.1"),
    ],
)
async def test_the_ack_has_the_event_and_version_of_its_message(raw, kind, version):
    ack = read_ack(await answered(raw))
    assert (ack.code, ack.kind, ack.version, ack.charset) == ("AA", kind, version, "UNICODE UTF-8")


async def test_an_unsupported_version_is_answered_as_the_volet_shows():
    ours = await answered(oru(CDA, PAT_TROIS, envelope=Envelope(version="2.3.1", control_id="12345")))
    theirs = read_ack((SAMPLES / "ack-AE-unsupported-version.hl7").read_bytes())
    ack = read_ack(ours)
    assert (ack.code, ack.control_id, ack.error, ack.location) == (
        theirs.code,
        theirs.control_id,
        theirs.error,
        theirs.location,
    )
    assert ours.endswith(
        b"\rMSA|AE|12345\r"
        b"ERR||MSH^1^12|203^Unsupported version id^messageErrorCondition|E|||Expected ORU in 2.5 instead got '2.3.1'\r"
    )


async def test_an_incoherent_message_is_answered_207_with_application_code_other():
    ack = await answered(oru(CDA, PAT_TROIS, obx_11="C", envelope=Envelope(control_id="1")))
    assert ack.endswith(
        b"MSA|AE|1\rERR||ORC^1^1|207^Application internal error^messageErrorCondition|E|906^Autre||"
        b"Expected signals that agree instead got ORC-1 NW, OBX-11 C\r"
    )


async def test_what_is_kept_is_what_came_with_who_sent_it_and_when():
    keeper = Keeper()
    raw = oru(CDA, PAT_TROIS, envelope=Envelope(control_id="12345"))
    await desk(keeper).answer(raw, "192.0.2.7")
    ((message, received),) = keeper.kept
    assert received == Received(Kind.REPORT, raw, "RIS-ESSAI|CENTRE-ESSAI", "192.0.2.7", "12345", NOW)
    assert message.cda == CDA


@pytest.mark.parametrize(
    ("error", "code", "number"),
    [
        (NoRoom("95 % full"), "AR", 207),
        (StoreError("fsync: EIO"), "AR", 207),
        (RuntimeError("a fault of ours"), "AR", 207),
        (Hl7Error(103, "not a report", location="OBX^1^5"), "AE", 103),
        (Hl7Error(207, "queue closed", ack=Ack.AR), "AR", 207),
        (Unreadable("not XML"), "AE", 102),
    ],
)
async def test_nothing_is_acknowledged_that_is_not_kept(error, code, number):
    ack = read_ack(await answered(oru(CDA, PAT_TROIS), error))
    assert (ack.code, ack.error) == (code, number)


async def test_a_full_store_is_told_in_its_own_words():
    assert b"no room" in await answered(oru(CDA, PAT_TROIS), NoRoom("x"))


async def test_a_fault_of_ours_is_logged_once_without_its_text():
    with capture_logs() as lines:
        await answered(oru(CDA, PAT_TROIS), RuntimeError("SECRET"))
    (line,) = lines
    assert (line["event"], line["log_level"], line["error"]) == ("ris_message_failed", "error", "RuntimeError")
    assert line["at"].startswith("test_ris.py:")
    assert "SECRET" not in str(line)


async def test_log_lines_name_the_number_and_nobody():
    with capture_logs() as lines:
        await answered(oru(CDA, PAT_TROIS))
        await answered(oru(CDA, PAT_TROIS, obx_11="D"))
    assert [line["event"] for line in lines] == ["ris_message_taken", "ris_message_refused"]
    assert lines[0]["number"] == 1
    assert "PAT" not in str(lines)
    assert "2790351" not in str(lines)


@pytest.mark.parametrize("raw", [b"", b"hello", b"\0\0\0", b"FHS|^~\\&|a"])
async def test_without_msh_there_is_no_answer(raw):
    keeper = Keeper()
    assert await desk(keeper).answer(raw, "192.0.2.7") is None
    assert keeper.kept == []


async def test_an_acknowledgement_is_never_acknowledged():
    assert await desk(Keeper()).answer((SAMPLES / "ack-AA-ORU.hl7").read_bytes(), "192.0.2.7") == b""


@pytest.mark.parametrize(
    "raw", [b"MSH|^|A|B|C|D|2026||ORU^R01|9|P|2.5", b"MSH||||||||||||", b"MSH|^~\\&", b"MSHxxxxxxxxxx"]
)
async def test_odd_headers_are_answered_ae(raw):
    assert read_ack(await answered(raw)).code == "AE"


async def test_what_is_echoed_cannot_make_segments():
    raw = b"MSH|^~\\&|A\\X0D\\MSA\\F\\AA|B|C\\.br\\D|E|2026||ORU^R01|9\\X0D\\X|P|2.5\r"
    ack = await answered(raw)
    assert [line[:3] for line in ack.split(b"\r")] == [b"MSH", b"MSA", b"ERR", b""]
    odd = await answered(b"MSH#*%!@#A\r#B|MSA#C#D#2026##ORU*R01#9\x85|AA#P#2.5".replace(b"\r", b"\x0c"))
    assert [line[:3] for line in odd.split(b"\r")] == [b"MSH", b"MSA", b"ERR", b""]


async def test_a_control_id_comes_back_as_it_came():
    for control_id in ("A&B", "A^B", "x\\T\\y", "é", "{{idMessage}}", "x" * 199):
        ack = read_ack(await answered(oru(CDA, PAT_TROIS, envelope=Envelope(control_id=control_id, charset="8859/15"))))
        assert (ack.code, ack.control_id) == ("AA", control_id)


async def test_a_message_over_the_bound_is_answered_from_its_head():
    ack = desk(Keeper()).too_long(oru(CDA, PAT_TROIS, envelope=Envelope(control_id="5"))[:4000], 4000, "192.0.2.7")
    assert ack is not None
    answer = read_ack(ack)
    assert (answer.code, answer.error, answer.control_id) == ("AE", 199, "5")
    assert desk(Keeper()).too_long(b"x" * 4000, 4000, "192.0.2.7") is None


# Senders


@pytest.mark.parametrize(
    ("applications", "code"),
    [
        ((), "AA"),
        (("RIS-ESSAI",), "AA"),
        (("RIS-ESSAI|CENTRE-ESSAI",), "AA"),
        (("AUTRE", "RIS-ESSAI"), "AA"),
        (("AUTRE",), "AR"),
        (("RIS-ESSAI|AUTRE",), "AR"),
        (("RIS",), "AR"),
    ],
)
async def test_only_senders_on_the_list_are_taken(applications, code):
    keeper = Keeper()
    ack = await desk(keeper, applications=applications).answer(oru(CDA, PAT_TROIS), "192.0.2.7")
    assert ack is not None
    assert read_ack(ack).code == code
    assert len(keeper.kept) == (code == "AA")


async def test_a_stranger_is_answered_ar_as_not_authorised():
    ack = read_ack(await answered(oru(CDA, PAT_TROIS), applications=("AUTRE",)))
    assert (ack.code, ack.error, ack.location, ack.application_error) == ("AR", 199, "MSH^1^3", 901)


# Enhanced mode (HL7 v2.5 § 2.9.3)


@pytest.mark.parametrize(
    ("msh_15", "msh_16", "good", "bad", "refused"),
    [
        ("", "", "AA", "AE", "AR"),
        ("AL", "", "CA", "CE", "CR"),
        ("AL", "NE", "CA", "CE", "CR"),
        ("AL", "AL", "CA", "CE", "CR"),
        ("ER", "", "", "CE", "CR"),
        ("SU", "", "CA", "", ""),
        ("NE", "", "", "", ""),
        ("NE", "NE", "", "", ""),
        ("NE", "AL", "AA", "AE", "AR"),
        ("", "AL", "AA", "AE", "AR"),
        ("", "ER", "", "AE", "AR"),
        ("NE", "SU", "AA", "", ""),
        ("XX", "", "AA", "AE", "AR"),
    ],
)
def test_the_sender_says_which_answers_it_wants(msh_15, msh_16, good, bad, refused):
    assert [answer_code(msh_15, msh_16, ack) for ack in (Ack.AA, Ack.AE, Ack.AR)] == [good, bad, refused]


async def test_enhanced_mode_is_answered_with_commit_codes():
    envelope = Envelope(accept_ack="AL", application_ack="NE")
    assert read_ack(await answered(oru(CDA, PAT_TROIS, envelope=envelope))).code == "CA"
    assert read_ack(await answered(oru(CDA, PAT_TROIS, obx_11="D", envelope=envelope))).code == "CE"
    assert read_ack(await answered(oru(CDA, PAT_TROIS, envelope=envelope), NoRoom("x"))).code == "CR"


async def test_a_sender_that_wants_no_answer_gets_none_and_is_kept_all_the_same():
    keeper = Keeper()
    raw = oru(CDA, PAT_TROIS, envelope=Envelope(accept_ack="NE"))
    assert await desk(keeper).answer(raw, "192.0.2.7") == b""
    assert len(keeper.kept) == 1
