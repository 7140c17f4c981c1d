"""LOG-02: each event of its list leaves one record, with who, what, when and outcome; and somebody in the box tells it.

The ways through the box ask for their own records where they are walked (tests/journeys); here is the whole list.
"""

import ast
import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from lxml import etree

import passevue
from passevue.intake.received import Stored
from passevue.national.registry import Exchange
from passevue.status import audit, audit_people
from passevue.status.audit import Event, to_xml
from passevue.status.audit_trail import AuditTrail, verify
from passevue.status.neighbours import Neighbours
from passevue.status.roles import Method
from passevue.status.tally import Tally
from passevue.status.witness import Witness
from tests.unit.national.submissions import FACTS

AGENT = Path(passevue.__file__).parent
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
WHO, WHERE = "899700000001", "192.168.10.20"
MAKERS = {audit: AGENT / "status/audit.py", audit_people: AGENT / "status/audit_people.py"}

# The list of the rule. Not among them: images served, peers refused and remote help, which this version does not have;
# a card that is put in tells its reader's state and nobody's act, until somebody signs in with it.
LISTED: dict[str, Event] = {
    "start": audit.box_started(NOW, "0.1"),
    "stop": audit.box_stopped(NOW, "0.1"),
    "sign-in": audit_people.signed_in(NOW, WHO, Method.CARD, WHERE),
    "sign-in refused": audit_people.sign_in_refused(NOW, Method.CARD, WHERE, "wrong code"),
    "sign-out, card out": audit_people.signed_out(NOW, WHO, Method.CARD, "card-out"),
    "account": audit_people.account_changed(NOW, "password", WHERE),
    "somebody looked": audit_people.entry_looked_at(NOW, WHO, 12, WHERE, ()),
    "somebody acted": audit.person_acted(NOW, WHO, "retry", 12, WHERE, "again"),
    "publication, replacement": audit.sent(NOW, "ITI-41", "1", WHO, "https://dmp.example", (), audit.Outcome.SUCCESS),
    "deprecation": audit.sent(NOW, "ITI-57", "1", WHO, "https://dmp.example", (), audit.Outcome.SUCCESS),
    "query": audit.queried(NOW, "1", WHO, "https://dmp.example", (), audit.Outcome.SUCCESS),
    "received": audit.message_received(NOW, "RIS|X", "10.0.0.1", "ORU^R01"),
    "images": audit.objects_received(NOW, "CT", "10.0.0.2", {"1.2": 3}),
    "neighbour refused": audit.association_refused(NOW, "CT", "10.0.0.3", "not listed"),
    "input refused": audit.input_refused(NOW, "MLLP", "RIS|X", "10.0.0.4", "too long"),
    "configuration, keys, update, undone, erase": audit.machine_changed(NOW, "update-undone", "site-admin", "1 to 2"),
    "update, configuration or order refused": audit.machine_changed(
        NOW, "update-refused", "", "order install: TrustError"
    ),
    "baseline": audit.rule_changed(NOW, "LOG-02", "fail", fires=True),
    "purge": audit.content_purged(NOW, "queue", {"contents": 3}),
    "trail": audit.trail_checked(NOW),
}


@pytest.mark.parametrize("name", LISTED)
def test_a_record_says_who_what_when_and_how_it_ended(name: str) -> None:
    root = etree.fromstring(to_xml(LISTED[name], "box-1"))
    head = root.find("EventIdentification")
    assert head.get("EventDateTime") == "2026-11-22T09:00:00.000Z"
    assert head.get("EventOutcomeIndicator") in {"0", "4", "8", "12"}
    assert head.find("EventID").get("csd-code")
    assert head.find("EventTypeCode").get("csd-code")
    assert all(who.get("UserID") for who in root.iter("ActiveParticipant"))
    asked = [who.get("UserIsRequestor") for who in root.iter("ActiveParticipant")]
    assert asked if name in ("start", "stop") else "true" in asked, "somebody asked for it"
    assert root.find("AuditSourceIdentification").get("AuditSourceID") == "box-1"


def events_made() -> dict[str, set[str]]:
    """By module of makers, the public functions that give an event."""
    found: dict[str, set[str]] = {}
    for module, path in MAKERS.items():
        functions = [
            node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)
        ]
        gives = {each.name for each in functions if ast.unparse(each.returns or ast.Constant(None)) == "Event"}
        found[module.__name__.rpartition(".")[2]] = {name for name in gives if not name.startswith("_")}
    return found


def test_each_event_that_can_be_told_is_told_by_somebody_and_is_in_the_list() -> None:
    text = "".join(p.read_text(encoding="utf-8") for p in AGENT.rglob("*.py") if p not in MAKERS.values())
    shown = Path(__file__).read_text(encoding="utf-8")
    for module, names in events_made().items():
        assert len(names) >= 5
        for name in names:
            assert re.search(rf"\b{name}\(", text), f"{module}.{name} is told by nobody"
            assert f"{module}.{name}(" in shown, f"{module}.{name} is not in the list above"


def exchanged(transaction: str, result: str = "ok") -> Callable[[Witness], None]:
    return lambda witness: witness.exchanged(
        Exchange(transaction, "urn:uuid:1", "10B0127189", FACTS, "2.25.1", NOW, 0.1, result)
    )


TOLD: dict[str, Callable[[Witness], None]] = {
    **{name: exchanged(name) for name in ("TD0.2", "TD2.1a", "TD2.1b", "TD3.1b", "TD3.3c")},
    "a try that failed": exchanged("TD2.1a", "NetworkError"),
    "a message refused": lambda witness: witness.message_refused("RIS|X", "10.0.0.1", "AE 207"),
    "an association refused": lambda witness: witness.association_refused("CT", "10.0.0.2", "not listed"),
    "objects": lambda witness: witness.objects_taken(Stored("CT", "10.0.0.2", {"1.2": 3}, 0)),
    "a device": lambda witness: witness.device_refused("not_a_reader"),
    "a rule": lambda witness: witness.rule_changed(NOW, "NET-01", "fail block", fires=True),
    "the machine": lambda witness: witness.machine_changed("update-done", "site-admin", "1 to 2"),
    "a purge": lambda witness: witness.purged("queue", {"contents": 3}),
}


@pytest.mark.parametrize("name", TOLD)
async def test_what_the_parts_tell_leaves_one_record_and_the_chain_whole(tmp_path: Path, name: str) -> None:
    trail = AuditTrail(tmp_path / "audit", "box-1")
    witness = Witness(trail, Neighbours(tmp_path / "status"), Tally(), "https://dmp.example/v2", lambda: NOW)
    writing = asyncio.create_task(trail.run())
    await asyncio.sleep(0)  # it has begun
    TOLD[name](witness)
    writing.cancel()
    await asyncio.wait([writing])  # what waits is still written
    found = await asyncio.to_thread(verify, tmp_path / "audit")
    assert (found.records, found.wrong) == (1, ())
