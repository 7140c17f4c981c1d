import asyncio
from dataclasses import replace
from typing import Any
import pytest
from passevue.queue.states import State
from passevue.intake.key_object import read_key_object
from tests.journeys.test_life_of_a_manifest import manifests, instances, confidentiality, FIRST, SECOND
from tests.peers import invented
from tests.peers.cabinet import Cabinet
from tests.peers.dmp_registry import APPROVED, DELETED, DEPRECATED
from tests.peers.ris import *

THIRD = invented_document_id(7, 3)
OTHER = invented_document_id(77, 1)

def story(c: Cabinet) -> list[Any]:
    return [(d.status.rpartition(":")[2], d.structure) for d in c.dmp.documents.values() if d.mime_type == "application/dicom"]

async def reasons(c: Cabinet) -> Any:
    assert c.running.store
    return [(l.number, str(l.action), str(l.state), l.reason) for l in await c.running.store.entries()]

async def calm(c: Cabinet, n: int) -> None:
    await c.until(lambda f: f.settled_today + f.by_state[State.SET_ASIDE] >= n, 15)

async def test_late_original(cabinet: Cabinet) -> None:
    exam = invented_exam(7)
    cabinet.examine(PAT_TROIS, exam)
    await cabinet.send(cabinet.cda(PAT_TROIS, exam, document_id=SECOND, replaces=FIRST, version=2), PAT_TROIS, Ask.REPLACE)
    await cabinet.settled(1)
    await cabinet.send(cabinet.cda(PAT_TROIS, exam, document_id=FIRST), PAT_TROIS)
    await calm(cabinet, 2)
    print("LATE", story(cabinet), await reasons(cabinet))

async def test_delete_not_for_dmp(cabinet: Cabinet) -> None:
    exam = invented_exam(7)
    cabinet.examine(PAT_TROIS, exam)
    cda = cabinet.cda(PAT_TROIS, exam, document_id=FIRST)
    await cabinet.send(cda, PAT_TROIS)
    await cabinet.settled(1)
    await cabinet.send(cda, PAT_TROIS, Ask.DELETE, flags={"DESTDMP": "N"})
    await calm(cabinet, 2)
    print("DELN", story(cabinet), await reasons(cabinet))

async def test_replace_not_for_dmp(cabinet: Cabinet) -> None:
    exam = invented_exam(7)
    cabinet.examine(PAT_TROIS, exam)
    await cabinet.send(cabinet.cda(PAT_TROIS, exam, document_id=FIRST), PAT_TROIS)
    await cabinet.settled(1)
    await cabinet.send(cabinet.cda(PAT_TROIS, exam, document_id=SECOND, replaces=FIRST, version=2), PAT_TROIS, Ask.REPLACE, flags={"DESTDMP": "N"})
    await calm(cabinet, 2)
    print("REPN", story(cabinet), await reasons(cabinet))

async def test_two_reports(cabinet: Cabinet) -> None:
    exam = invented_exam(7)
    cabinet.examine(PAT_TROIS, exam)
    a = cabinet.cda(PAT_TROIS, exam, document_id=FIRST)
    b = cabinet.cda(PAT_TROIS, exam, document_id=OTHER, set_id=invented_document_id(78, 9))
    await cabinet.send(a, PAT_TROIS)
    await cabinet.settled(1)
    await cabinet.send(b, PAT_TROIS)
    await cabinet.settled(2)
    await cabinet.send(b, PAT_TROIS, Ask.DELETE)
    await calm(cabinet, 3)
    print("TWO", story(cabinet), await reasons(cabinet))

async def test_ins_changed(cabinet: Cabinet) -> None:
    exam = invented_exam(7)
    cabinet.examine(PAT_TROIS, exam)
    await cabinet.send(cabinet.cda(PAT_TROIS, exam, document_id=FIRST), PAT_TROIS)
    await cabinet.settled(1)
    other = replace(invented_person(12), ipp=PAT_TROIS.ipp)
    v2 = cabinet.cda(other, exam, document_id=SECOND, replaces=FIRST, version=2)
    await cabinet.send(v2, other, Ask.REPLACE)
    await calm(cabinet, 2)
    print("INS", story(cabinet), await reasons(cabinet))
    await cabinet.send(v2, other, Ask.DELETE)
    await calm(cabinet, 3)
    print("INS", story(cabinet), await reasons(cabinet))

async def test_unqualified_delete(cabinet: Cabinet) -> None:
    exam = invented_exam(7)
    cabinet.examine(PAT_TROIS, exam)
    cda = cabinet.cda(PAT_TROIS, exam, document_id=FIRST)
    await cabinet.send(cda, PAT_TROIS)
    await cabinet.settled(1)
    un = replace(PAT_TROIS, reliability="PROV") if hasattr(PAT_TROIS, "reliability") else None
    print("PERSON", [f for f in vars(PAT_TROIS)] if hasattr(PAT_TROIS, "__dict__") else PAT_TROIS)

async def test_retry_after_deletion_aside(cabinet: Cabinet) -> None:
    exam = invented_exam(7)
    cabinet.examine(PAT_TROIS, exam)
    cabinet.dmp.unknown_patients.add(f"{PAT_TROIS.ins}^^^&{PAT_TROIS.ins_oid}&ISO^NH")
    cda = cabinet.cda(PAT_TROIS, exam, document_id=FIRST)
    await cabinet.send(cda, PAT_TROIS)
    await cabinet.set_aside()
    await cabinet.send(cda, PAT_TROIS, Ask.DELETE)
    await calm(cabinet, 2)
    print("RETRY1", story(cabinet), await reasons(cabinet))
    cabinet.dmp.unknown_patients.clear()
    assert cabinet.running.store
    try:
        await cabinet.running.store.retry(1, by="x")
        await asyncio.sleep(1)
    except Exception as e:
        print("refused", e)
    print("RETRY2", story(cabinet), await reasons(cabinet))

async def test_ten(cabinet: Cabinet) -> None:
    exam = invented_exam(7)
    cabinet.examine(PAT_TROIS, exam)
    ids = [invented_document_id(7, n) for n in range(1, 12)]
    await cabinet.send(cabinet.cda(PAT_TROIS, exam, document_id=ids[0]), PAT_TROIS)
    for n in range(1, 11):
        await cabinet.send(cabinet.cda(PAT_TROIS, exam, document_id=ids[n], replaces=ids[n-1], version=n+1), PAT_TROIS, Ask.REPLACE)
        if n == 5:
            await cabinet.send(cabinet.cda(PAT_TROIS, exam, document_id=ids[n], replaces=ids[n-1], version=n+1), PAT_TROIS, Ask.DELETE)
    await calm(cabinet, 12)
    print("TEN", story(cabinet), await reasons(cabinet))
