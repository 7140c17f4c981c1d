"""The centre of the demonstration: neighbours in this process, the box as the program that people run."""

import asyncio
import contextlib
import os
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

import aiohttp

from tests.demo.people import People
from tests.peers import invented
from tests.peers.dmp import DmpPeer
from tests.peers.pacs import PacsPeer
from tests.peers.pki import Pki
from tests.peers.ports import free_port
from tests.peers.ris import Ack, Ask, Ris, Site, invented_document_id, invented_exam, invented_person, mdm, report
from tests.peers.ris_report import Doctor

SITE = Site()
PAGE_PORT = 8080


class Centre:
    """Open it, send reports, look at `dmp`, close it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config_file = folder / "passevue.toml"
        self.pki = Pki(folder / "pki")
        self.pacs = PacsPeer()
        self._ris_port, self._dicom_port = free_port(), free_port()
        self.page = f"http://127.0.0.1:{page_port()}/"
        self.people = People(folder, self.pki, SITE, self.page)
        self.dmp = DmpPeer(self.pki, persons=self.people.persons)
        self._box: asyncio.subprocess.Process | None = None

    async def open(self) -> None:
        """Raises: RuntimeError: the box did not start."""
        await self.open_neighbours()
        with (self.folder / "box.log").open("wb") as log:
            self._box = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "passevue", "run", "--config", str(self.config_file),
                stdout=log, stderr=log, env={**os.environ, **self.people.environment},
            )  # fmt: skip
        await self._ready()

    async def open_neighbours(self) -> None:
        """All but the box: its configuration is written, and the revocation lists are there as if fetched before."""
        shutil.copytree(self.pki.lists, self.folder / "data/crl/test", dirs_exist_ok=True)
        await self.pacs.__aenter__()
        await self.dmp.start()
        await self.people.open()
        self.config_file.write_text(self._config(), encoding="utf-8")

    async def close(self) -> None:
        if self._box is not None and self._box.returncode is None:
            self._box.terminate()
            await self._box.wait()
        await self.people.close()
        await self.dmp.stop()
        await self.pacs.__aexit__(None, None, None)

    async def waiting(self) -> int:
        """Entries that have not gone out yet, as the box itself says it."""
        await asyncio.sleep(1.1)  # it draws its summary once a second
        return sum((await self._summary())["queue"]["by_state"].values())

    async def _summary(self) -> dict[str, Any]:
        """What `passevue status --json` prints."""
        async with aiohttp.ClientSession() as session, session.get(self.page + "status.json") as answer:
            found: dict[str, Any] = await answer.json()
            return found

    async def send(self, number: int, ask: Ask = Ask.NEW, by: Doctor | None = None) -> Ack:
        """The report of examination `number`, validated by `by` or its author: images, then the message."""
        patient, exam = invented_person(number), invented_exam(number)
        images = invented.study(exam.study_uid, patient_id=patient.ipp, accession=exam.accession, slices=24)
        self.pacs.add(*images)
        version = 2 if ask is Ask.REPLACE else 1
        cda = report(
            patient,
            exam,
            document_id=invented_document_id(number, version),
            version=version,
            replaces=invented_document_id(number, 1) if ask is Ask.REPLACE else "",
            authenticator=by,
        )
        async with Ris("127.0.0.1", self._ris_port) as ris:
            return await ris.send(mdm(cda, patient, ask))

    async def refused(self, number: int, by: Doctor) -> int:
        """A report of `by` that the DMP does not take, as the patient has no record there yet; number of its entry."""
        patient = invented_person(number)
        record = f"{patient.ins}^^^&{patient.ins_oid}&ISO^NH"
        self.dmp.unknown_patients.add(record)
        await self.send(number, by=by)
        for _ in range(100):
            if troubles := (await self._summary())["troubles"]:
                self.dmp.unknown_patients.remove(record)
                return int(troubles[0]["number"])
            await asyncio.sleep(0.1)
        raise TimeoutError("the report was not set aside")

    async def _ready(self) -> None:
        assert self._box is not None
        async with aiohttp.ClientSession() as session:
            for _ in range(200):
                if self._box.returncode is not None:
                    raise RuntimeError(f"the box left with {self._box.returncode}")
                try:
                    async with session.get(self.page + "ready") as answer:
                        if answer.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.1)
        raise RuntimeError("the box is not ready after 20 s")

    def _config(self) -> str:
        keys = self.pki.structure(SITE.id)
        return f"""# The box of the demonstration: made anew each time.
[box]
name = "Centre de démonstration"
data_dir = "{(self.folder / "data").resolve()}"
oid = "1.2.250.1.999.1.1.8121"
realm = "test"
retrieve_url = "https://db.demonstration.example/wado"

[registry]
url = "{self.dmp.url}"
authority = "{self.pki.authority.resolve()}"
lps_homologation = "DEMONSTRATION"

[[structures]]
id = "{SITE.id}"
name = "{SITE.name}"
auth_certificate = "{keys.auth_certificate.resolve()}"
auth_key = "{keys.auth_key.resolve()}"
sign_certificate = "{keys.sign_certificate.resolve()}"
sign_key = "{keys.sign_key.resolve()}"

[ris]
port = {self._ris_port}

[modality]
port = {self._dicom_port}

[pacs]
host = "127.0.0.1"
port = {self.pacs.port}
ae_title = "PACS"

[page]
port = {self.page.rstrip("/").rpartition(":")[2]}
{self.people.sections}"""


def page_port() -> int:
    """The usual one if nobody has it, else any."""
    with socket.socket() as sock, contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", PAGE_PORT))
        return PAGE_PORT
    return free_port()
