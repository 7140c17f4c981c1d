import asyncio, os, signal
from dataclasses import replace
from typing import Any
import pytest
from passevue.queue.states import State
from tests.journeys.test_life_of_a_manifest import manifests, instances, confidentiality, FIRST, SECOND
from tests.journeys.test_zz_probe import story, reasons, calm
from tests.peers import invented
from tests.peers.cabinet import Cabinet, SITE
from tests.peers.dmp import Fault
from tests.peers.dmp_registry import APPROVED, DELETED, DEPRECATED
from tests.peers.ris import *

async def test_structure_change(tmp_path: Any, pki_folder: Any) -> None:
    c0 = Cabinet(tmp_path / "box", pki_folder)
    k1, k2 = c0.pki.structure(SITE.id), c0.pki.structure("1750999999")
    async with Cabinet(tmp_path / "box", pki_folder) as c:
        await c.stop()
        base = c.config
        def config() -> Any:
            conf = base()
            d = conf.model_dump()
            d["structures"] = [{"id": SITE.id, "name": SITE.name, **k1.as_config()}, {"id": "1750999999", "name": "Autre", **k2.as_config()}]
            return type(conf).model_validate(d)
        c.config = config
        await c.start()
        exam = invented_exam(7)
        c.examine(PAT_TROIS, exam)
        await c.send(c.cda(PAT_TROIS, exam, document_id=FIRST), PAT_TROIS)
        await c.settled(1)
        site2 = replace(SITE, id="1750999999", name="Autre")
        v2 = c.cda(PAT_TROIS, exam, document_id=SECOND, replaces=FIRST, version=2, site=site2)
        await c.send(v2, PAT_TROIS, Ask.REPLACE)
        await calm(c, 2)
        print("STRUCT", story(c), await reasons(c))
        await c.send(v2, PAT_TROIS, Ask.DELETE)
        await calm(c, 3)
        print("STRUCT", story(c), await reasons(c))

async def test_audit_unwritable(cabinet: Cabinet) -> None:
    exam = invented_exam(7)
    cabinet.examine(PAT_TROIS, exam)
    from passevue.status.observer import audit_folder
    folder = audit_folder(cabinet.config())
    await asyncio.sleep(0.3)
    for f in folder.iterdir(): f.unlink()
    folder.rmdir(); folder.write_text("x")
    await cabinet.send(cabinet.cda(PAT_TROIS, exam, document_id=FIRST), PAT_TROIS)
    try:
        await cabinet.settled(1, 6)
    except TimeoutError as e: print(e)
    print("AUDIT", story(cabinet), await reasons(cabinet))
    folder.unlink()

@pytest.mark.parametrize("f", ["TD02"])
async def test_td02_slow(cabinet: Cabinet, f: str) -> None:
    print("FAULTS", [x.name for x in Fault])

async def test_note_before(cabinet: Cabinet) -> None:
    exam = invented_exam(7)
    images = cabinet.examine(PAT_TROIS, exam)
    print(await cabinet.store(invented.rejection_note(images[:1])))
    await cabinet.send(cabinet.cda(PAT_TROIS, exam, document_id=FIRST), PAT_TROIS)
    await calm(cabinet, 2)
    print("NOTE", story(cabinet), await reasons(cabinet), len(instances(manifests(cabinet)[0])))

@pytest.mark.parametrize("family", ["O'CONNOR & FILS <x>", "É" * 70, "Łukasz-Ñ 李", "A^B\\C=D", "D'ARC-DE LA TOUR"])
async def test_names(cabinet: Cabinet, family: str) -> None:
    exam = invented_exam(7)
    p = replace(PAT_TROIS, family=family)
    cabinet.examine(p, exam)
    ack = await cabinet.send(cabinet.cda(p, exam, document_id=FIRST), p)
    await calm(cabinet, 1)
    print("NAME", family[:20], ack.code, ack.text, story(cabinet), await reasons(cabinet))

@pytest.mark.parametrize("over", [{"birth_date": "1950"}, {"birth_date": "195000"}, {"birth_date": "19500000"}, {"sex": "U"}])
async def test_dates(cabinet: Cabinet, over: Any) -> None:
    exam = invented_exam(7)
    p = replace(PAT_TROIS, **over)
    cabinet.examine(p, exam)
    ack = await cabinet.send(cabinet.cda(p, exam, document_id=FIRST), p)
    if ack.code == "AA": await calm(cabinet, 1)
    print("DATE", over, ack.code, ack.text, story(cabinet), await reasons(cabinet))

async def test_spaces(cabinet: Cabinet) -> None:
    exam = invented_exam(7)
    cabinet.examine(PAT_TROIS, replace(exam, accession=f" {exam.accession} "))
    await cabinet.send(cabinet.cda(PAT_TROIS, exam, document_id=FIRST), PAT_TROIS)
    await calm(cabinet, 1)
    print("SPACE", story(cabinet), await reasons(cabinet))

async def test_noorder(cabinet: Cabinet) -> None:
    exam = replace(invented_exam(7), accession="", order="")
    cabinet.examine(PAT_TROIS, exam)
    ack = await cabinet.send(cabinet.cda(PAT_TROIS, exam, document_id=FIRST), PAT_TROIS)
    if ack.code == "AA": await calm(cabinet, 1)
    print("NOORDER", ack.code, ack.text, story(cabinet), await reasons(cabinet))

async def test_term_in_middle(cabinet: Cabinet) -> None:
    exam = invented_exam(7)
    cabinet.examine(PAT_TROIS, exam, slices=3)
    for n in range(6):
        ids = [invented_document_id(7, k) for k in range(1, 9)]
        await cabinet.send(cabinet.cda(PAT_TROIS, exam, document_id=ids[n], **({"replaces": ids[n-1], "version": n+1} if n else {})), PAT_TROIS, Ask.REPLACE if n else Ask.NEW)
        await asyncio.sleep(0.03*n)
        await cabinet.stop(); await cabinet.start()
    await calm(cabinet, 6)
    print("TERM", story(cabinet), len(cabinet.dmp.committed), await reasons(cabinet))

async def test_accession_identity_in_logs(cabinet: Cabinet) -> None: ...
