"""The baseline in a whole box: what it shows on a laptop, and what a box that is not sound lets through."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp

from passevue.baseline.machine import MANIFEST
from passevue.baseline.places import RUNTIME
from passevue.queue.states import State
from passevue.status.audit_trail import verify
from passevue.status.folders import audit_folder
from tests.peers.cabinet import Cabinet
from tests.peers.ris import PAT_TROIS, invented_exam


async def page(cabinet: Cabinet, path: str) -> str:
    async with aiohttp.ClientSession() as session:
        answer = await session.get(f"http://127.0.0.1:{cabinet.running.ports['page']}{path}")
        return await answer.text()


async def report(cabinet: Cabinet, *, all_of_it: bool = False) -> dict[str, Any]:
    """What the engine has left, once it has looked."""
    live = cabinet.system / RUNTIME.lstrip("/")
    path = (live if await asyncio.to_thread(live.exists) else cabinet.folder / "baseline") / "report.json"
    async with asyncio.timeout(30):
        while True:
            if await asyncio.to_thread(path.exists):
                tree: dict[str, Any] = json.loads(await asyncio.to_thread(path.read_text))
                if not all_of_it or not any(rule["observed"] == "not looked at yet" for rule in tree["rules"]):
                    return tree
            await asyncio.sleep(0.05)


async def test_a_laptop_looks_at_what_it_can_and_stops_nothing(cabinet: Cabinet) -> None:
    tree = await report(cabinet, all_of_it=True)
    found = {rule["id"]: rule for rule in tree["rules"]}
    assert found["BOOT-01"]["observed"] == "ce poste n’est pas le boîtier"
    for rule in ("LOG-01", "CERT-01", "CERT-06", "TLS-01"):
        assert found[rule]["status"] == "pass", found[rule]
    assert tree["worst"] in ("none", "warn")
    html = await page(cabinet, "/security?lang=fr")
    assert "Ce poste n’est pas le boîtier" in html
    exam = invented_exam(1)
    cabinet.examine(PAT_TROIS, exam)
    assert (await cabinet.send(cabinet.cda(PAT_TROIS, exam), PAT_TROIS)).code == "AA"
    await cabinet.settled(1)


async def test_a_box_that_is_not_sound_takes_in_shows_why_and_sends_nothing(tmp_path: Path, pki_folder: Path) -> None:
    system = tmp_path / "system"  # an appliance on which nearly nothing can be measured
    manifest = system / MANIFEST.lstrip("/")
    manifest.parent.mkdir(parents=True)
    manifest.write_text(
        '{"schema": 1, "version": "1.4.2", "profile": "development", "built_at": "2026-11-01T00:00:00Z"}'
    )
    (system / RUNTIME.lstrip("/")).mkdir(parents=True)
    (tmp_path / "box/baseline/report.new").mkdir(parents=True)  # its disk takes no report any more
    async with Cabinet(tmp_path / "box", pki_folder, system=system) as cabinet:
        tree = await report(cabinet)
        assert tree["image"] == "1.4.2"
        assert "Le boîtier s’est mis à l’abri" in (await page(cabinet, "/security?lang=fr")).replace("\u202f", " ")
        exam = invented_exam(1)
        cabinet.examine(PAT_TROIS, exam)
        assert (await cabinet.send(cabinet.cda(PAT_TROIS, exam), PAT_TROIS)).code == "AA"
        await asyncio.sleep(2)
        counters = await cabinet.counters()
        assert counters.by_state[State.WAITING] == 1
        assert cabinet.dmp.requests == []
        assert "rien ne part" in await page(cabinet, "/?lang=fr")
        folder = audit_folder(cabinet.config())
        await cabinet.stop()
        assert not (await asyncio.to_thread(verify, folder)).wrong
        trail = await asyncio.to_thread(lambda: "".join(path.read_text() for path in folder.glob("audit-*.log")))
        assert 'csd-code="baseline"' in trail or "Security baseline" in trail
        cabinet.system = Path("/")
        await cabinet.start()
        await cabinet.settled(1)
