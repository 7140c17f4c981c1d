"""HAPI HL7v2 as the RIS: it writes the messages with its own structures, sends them over MLLP and reads our ACKs.

It is one Java program (`java/hapi`) that is told by lines what to do and answers in JSON. It also reads any file with
its own parser, as an oracle for ours.

Alone: `python -m tests.interop.jvm hapi` prints the command line of the program; `Ris.java` names its commands.
"""

import asyncio
import codecs
import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

from tests.interop.jvm import Running, or_skip
from tests.peers.pki import Family, Pki
from tests.peers.ris_report import Doctor, Exam, Person, Site

START_WITHIN_S = 60.0
_PASSWORD = "changeit"
_numbers = itertools.count(1)

Ack = Mapping[str, Any]  # fields of an ACK by their names, `MSA-1`; `sent` is the control id of what it answers


class HapiRis:
    """The running program. Its calls take as long as the exchange: they are made on a thread."""

    def __init__(self, running: Running, folder: Path) -> None:
        self._running = running
        self._folder = folder

    async def send(self, port: int, *messages: Mapping[str, str], tls: bool = False) -> list[Ack]:
        """One connection, one message after the other: the ACKs."""
        files = [self._written(facts) for facts in messages]
        acks: list[Ack] = await self._told("send", "127.0.0.1", str(port), "tls" if tls else "plain", *files)
        return acks

    async def flood(self, port: int, connections: int, messages: int, facts: Mapping[str, str]) -> list[Ack]:
        """Connections side by side, each with that many messages; control ids are `C0-0`, `C0-1`…"""
        counts = (str(connections), str(messages))
        acks: list[Ack] = await self._told("flood", "127.0.0.1", str(port), "plain", *counts, self._written(facts))
        return acks

    async def read(self, file: Path, codec: str) -> list[dict[str, Any]]:
        """What HAPI reads in a file whose bytes are in a Python `codec`: `name` and `fields` of each segment.

        A field is a list of repetitions, of components, of subcomponents.
        """
        read: list[dict[str, Any]] = await self._told("parse", codecs.lookup(codec).name, str(file))
        return read

    async def _told(self, *parts: str) -> Any:
        answer = await asyncio.to_thread(self._running.ask, "\t".join(parts))
        assert "error" not in answer, answer
        return answer

    def _written(self, facts: Mapping[str, str]) -> str:
        """A Java properties file, all but ASCII escaped."""
        file = self._folder / f"message-{next(_numbers)}.properties"
        file.write_text("".join(f"{name}={_escaped(value)}\n" for name, value in facts.items()), encoding="ascii")
        return str(file)


@contextmanager
def hapi_ris(folder: Path, pki: Pki) -> Iterator[HapiRis]:
    """The program with a client certificate of `pki`, which it also trusts. Skips the test when it cannot be had."""
    running = Running(or_skip("hapi"), "Ris", folder, _tls_options(folder, pki))
    try:
        assert running.answer(START_WITHIN_S) == {"ready": True}
        yield HapiRis(running, folder)
    finally:
        running.close()


def report_facts(kind: str, cda: Path, patient: Person, *, control: str, **others: str) -> dict[str, str]:
    """What HAPI writes of a new report, as ORU or MDM; `others` go over it (`orc1`, `obx11`, `event`, `charset`…)."""
    doctor, site = Doctor(), Site()
    return {
        "kind": kind,
        "control": control,
        "charset": "UNICODE UTF-8",
        "facility": "CENTRE",
        "payload": str(cda),
        "event": "T02",
        "orc1": "NW",
        "obx11": "F",
        "doctor": doctor.id,
        "doctor_family": doctor.family,
        "doctor_given": doctor.given,
        "site": site.finess,
        "site_name": site.name,
        **_identity(patient),
        **others,
    }


def change_facts(exam: Exam, patient: Person, *, control: str, **others: str) -> dict[str, str]:
    """What HAPI writes of changed images, as OMI."""
    about = {"kind": "OMI", "control": control, "charset": "UNICODE UTF-8", "facility": "CENTRE", "orc1": "NW"}
    return {**about, "accession": exam.accession, "study": exam.study_uid, **_identity(patient), **others}


def _identity(patient: Person) -> dict[str, str]:
    return {
        "ins": patient.ins,
        "ins_oid": patient.ins_oid,
        "ipp": patient.ipp,
        "ipp_root": patient.ipp_root,
        "family": patient.family,
        "given": patient.given,
        "givens": patient.givens,
        "birth": patient.birth_date,
        "sex": patient.sex,
        "place": patient.birth_place,
    }


def _escaped(value: str) -> str:
    return "".join(one if " " <= one <= "~" and one != "\\" else f"\\u{ord(one):04x}" for one in value)


def _tls_options(folder: Path, pki: Pki) -> tuple[str, ...]:
    """The settings of the Java machine: whom it trusts, who it is."""
    trusted = folder / "trusted.p12"
    authorities = x509.load_pem_x509_certificates(pki.authority.read_bytes())
    entries = [pkcs12.PKCS12Certificate(one, f"a{number}".encode()) for number, one in enumerate(authorities)]
    trusted.write_bytes(pkcs12.serialize_java_truststore(entries, BestAvailableEncryption(_PASSWORD.encode())))
    own = pki.p12(pki.leaf(Family.SERV_SSL_SERV, "10B0000001", common_name="ris.example"), _PASSWORD.encode())
    return (
        f"-Djavax.net.ssl.trustStore={trusted}",
        f"-Djavax.net.ssl.trustStorePassword={_PASSWORD}",
        f"-Djavax.net.ssl.keyStore={own}",
        f"-Djavax.net.ssl.keyStorePassword={_PASSWORD}",
        "-Djavax.net.ssl.keyStoreType=PKCS12",
    )
