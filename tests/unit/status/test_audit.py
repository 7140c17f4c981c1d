"""An audit record is a DICOM audit message in the ATNA shape, whatever the texts in it."""

import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from passevue.status import audit
from passevue.status.audit import Event, Outcome, to_xml

NOW = datetime(2026, 11, 21, 20, 30, 5, 123456, tzinfo=UTC)
INS = "279035121518989^^^&1.2.250.1.213.1.4.10&ISO^NH"


def _publication(said: str = "") -> Event:
    subjects = (
        audit.patient(INS),
        audit.submission_set("1.2.3.4", {"MessageID": "urn:uuid:1", "kos": "1.2.3.5", "durationMs": "212"}),
    )
    return audit.sent(
        NOW, "ITI-41", "1750000000", "899700000001", "https://dmp.test:8443/repository", subjects, Outcome.SUCCESS, said
    )


def test_a_publication_is_an_export_iti_41_with_patient_and_submission_set() -> None:
    root = etree.fromstring(to_xml(_publication(), "box-1", "cabinet"))
    head = root.find("EventIdentification")
    assert head.attrib == {
        "EventActionCode": "R",
        "EventDateTime": "2026-11-21T20:30:05.123Z",
        "EventOutcomeIndicator": "0",
    }
    assert head.find("EventID").get("csd-code") == "110106"
    assert head.find("EventTypeCode").attrib == {
        "csd-code": "ITI-41",
        "codeSystemName": "IHE Transactions",
        "originalText": "Provide and Register Document Set-b",
    }
    roles = [who.find("RoleIDCode").get("csd-code") for who in root.iter("ActiveParticipant") if len(who)]
    assert roles == ["110153", "110152"]
    (destination,) = [who for who in root.iter("ActiveParticipant") if who.get("NetworkAccessPointID")]
    assert destination.get("NetworkAccessPointID") == "dmp.test"
    assert destination.get("NetworkAccessPointTypeCode") == "1"
    patient, submission = root.iter("ParticipantObjectIdentification")
    assert (patient.get("ParticipantObjectID"), patient.get("ParticipantObjectTypeCodeRole")) == (INS, "1")
    assert submission.get("ParticipantObjectTypeCodeRole") == "20"
    details = {
        node.get("type"): base64.b64decode(node.get("value")) for node in submission.iter("ParticipantObjectDetail")
    }
    assert details == {"MessageID": b"urn:uuid:1", "kos": b"1.2.3.5", "durationMs": b"212"}
    source = root.find("AuditSourceIdentification")
    assert (source.get("AuditSourceID"), source.get("AuditEnterpriseSiteID")) == ("box-1", "cabinet")


def test_the_parts_come_in_the_order_of_the_schema() -> None:
    root = etree.fromstring(to_xml(_publication("refused"), "box-1"))
    assert [node.tag for node in root] == [
        "EventIdentification",
        *["ActiveParticipant"] * 3,
        "AuditSourceIdentification",
        *["ParticipantObjectIdentification"] * 2,
    ]


def test_a_query_keeps_its_text_in_base64() -> None:
    query = b"<query:AdhocQueryRequest/>"
    event = audit.queried(
        NOW, "1", "2", "https://dmp.test", (audit.stored_query("urn:uuid:5c4f", query),), Outcome.MINOR, "timed out"
    )
    root = etree.fromstring(to_xml(event, "box"))
    assert base64.b64decode(root.findtext(".//ParticipantObjectQuery")) == query
    assert root.findtext(".//EventOutcomeDescription") == "timed out"
    assert root.find(".//EventID").get("csd-code") == "110112"


EVENTS = {
    "box_started": (audit.box_started(NOW, "0.1"), "110100", "110120"),
    "box_stopped": (audit.box_stopped(NOW, "0.1"), "110100", "110121"),
    "message_received": (audit.message_received(NOW, "RIS|X", "10.0.0.1", "ORU^R01"), "110107", "ORU^R01"),
    "objects_received": (audit.objects_received(NOW, "CT", "10.0.0.2", {"1.2": 3}), "110104", "C-STORE"),
    "association_refused": (audit.association_refused(NOW, "", "10.0.0.3", "not listed"), "110113", "110126"),
    "input_refused": (audit.input_refused(NOW, "MLLP", "", "10.0.0.4", "too long"), "110113", "bad-input"),
    "status_updated": (audit.sent(NOW, "ITI-57", "1", "2", "https://x", (), Outcome.SERIOUS), "110106", "ITI-57"),
    "person_acted": (audit.person_acted(NOW, "root", "retry", 12), "110100", "queue-retry"),
    "content_purged": (audit.content_purged(NOW, "queue", {"contents": 3}), "110100", "purge"),
}


@pytest.mark.parametrize("name", EVENTS)
def test_each_event_has_its_code(name: str) -> None:
    event, event_id, event_type = EVENTS[name]
    root = etree.fromstring(to_xml(event, "box"))
    assert root.find(".//EventID").get("csd-code") == event_id
    assert root.find(".//EventTypeCode").get("csd-code") == event_type
    assert root.find("ActiveParticipant") is not None


_TEXT = st.text(st.sampled_from("a<>&\"'\0\n\r\t\x0b\ud800\ufffe é^|\u202e"), max_size=30)


@given(sender=_TEXT, peer=_TEXT, said=_TEXT, detail=_TEXT, box=_TEXT)
def test_any_text_makes_one_line_of_xml(sender: str, peer: str, said: str, detail: str, box: str) -> None:
    subject = audit.submission_set(sender, {peer: detail})
    xml = to_xml(audit.message_received(NOW, sender, peer, said, (subject,), Outcome.SERIOUS, said), box)
    assert b"\n" not in xml
    root = etree.fromstring(xml)
    assert root.find("AuditSourceIdentification").get("AuditSourceID") == in_xml(box)
    assert root.findtext("EventIdentification/EventOutcomeDescription", "") == in_xml(said)


def in_xml(text: str) -> str:
    """What XML cannot hold (XML 1.0 § 2.2), and line ends, replaced."""
    return "".join("\ufffd" if c in "\0\n\r\x0b\ud800\ufffe" else c for c in text)
