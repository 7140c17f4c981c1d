"""What the box publishes is taken, found, given back, replaced and withdrawn through an XDS.b that others wrote.

The box's part is its own from the report to the wire: CDA read, KOS built, set signed, metadata written, `Registry`
over mutual TLS. The far end is IPF's (`ipf.py`), which checks every request and answer by IHE's rules.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from pathlib import Path

import aiohttp
import pytest

from passevue import config
from passevue.document.header import Exam, Report, Structure
from passevue.document.identifiers import new_uid
from passevue.document.kos import KosIdentity, Maker, build_kos
from passevue.document.report import read_report
from passevue.document.study import event_modalities
from passevue.document.submission_set import (
    KosEntry,
    SetFacts,
    SignatureEntry,
    publication_metadata,
    withdrawal_metadata,
)
from passevue.errors import BoxError, InDoubt, Refused
from passevue.intake.ris_values import Participant, Visibility
from passevue.intake.study import Instance, Series, Study
from passevue.national import soap, xds
from passevue.national.outcome import SUCCESS, StaleTarget
from passevue.national.registry import Registry
from passevue.national.signature import sign_submission_set
from passevue.national.structures import Structures
from passevue.national.vihf import Lps, VihfFacts, build_vihf, facts_of
from passevue.queue.work import ENTRY_UUID_PLACEHOLDER, Submission, Transaction
from tests.interop.ipf import DIALECT, Edge, edge, xds_server
from tests.peers import ris_report
from tests.peers.pki import Pki
from tests.peers.trusted import servers_of

pytestmark = pytest.mark.timeout(600)  # the first run fetches IPF's packages
STRUCTURE = ris_report.Site().id
BOX = "1.2.250.1.999.1.1.5367"
ZONE = "Europe/Paris"
CT = "1.2.840.10008.5.1.4.1.1.2"
REPOSITORY = "1.2.250.1.213.4.1.1.1.2"
UNIQUE_ID = "urn:uuid:2e82c1f6-a085-4c72-9da3-8640a32e42ab"
SAMPLES = Path(__file__).parents[1] / "samples"
RETRIEVE = "urn:ihe:iti:2007:RetrieveDocumentSet"
VISIBLE = Visibility()
FIND_DOCUMENTS = "urn:uuid:14d4debf-8f97-4251-9a74-a90016b0af0d"
FIND_BY_REFERENCE = "urn:uuid:12941a89-e02e-4be5-967c-ce4bfc8fe492"
SUBMISSION_SET = "urn:uuid:e8e3cb2c-e39c-46b9-99e4-c12f57260b83"


@pytest.fixture(scope="module")
def ipf_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with xds_server(tmp_path_factory.mktemp("ipf")) as port:
        yield port


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def structures(pki: Pki) -> Structures:
    paths = pki.structure(STRUCTURE)
    read = Structures([config.Structure(**paths.as_config())], servers_of(pki), "test")
    read.load()
    return read


@pytest.fixture
async def dmp(ipf_port: int, pki: Pki) -> AsyncIterator[Edge]:
    async with edge(ipf_port, pki) as opened:
        yield opened


@pytest.fixture
async def registry(dmp: Edge, structures: Structures, pki: Pki) -> AsyncIterator[Registry]:
    settings = config.Registry(url=dmp.url, authority=pki.authority, lps_homologation="ESSAI-0001")
    async with Registry(settings, structures, BOX) as opened:
        yield opened


_numbers = iter(range(1, 1000))


@dataclass(frozen=True)
class Case:
    """One examination, as the box knows it after the report and the PACS."""

    report: Report
    exam: Exam
    study: Study

    @property
    def vihf(self) -> VihfFacts:
        return facts_of(self.report, STRUCTURE, "SA08")


def a_case(patient: ris_report.Person | None = None) -> Case:
    number = next(_numbers)
    patient = patient or ris_report.invented_person(number)
    exam = ris_report.invented_exam(number)
    cda = ris_report.report(patient, exam, document_id=ris_report.invented_document_id(number), pdf_bytes=600)
    report = read_report(cda)
    instances = tuple(Instance(f"{exam.study_uid}.1.{one}", CT, one) for one in range(1, 6))
    series = Series(f"{exam.study_uid}.1", "CT", 1, "Série", instances)
    study = Study(
        exam.study_uid,
        date(2026, 11, 20),
        time(10, 25),
        AccessionNumber=exam.accession,
        PatientID=patient.ipp,
        series=(series,),
    )
    return Case(report, report.exams[0], study)


async def a_publication(
    case: Case, structures: Structures, *, replaces: str | None = None, visibility: Visibility = VISIBLE
) -> Submission:
    """What `Work.build` freezes, from the box's own parts."""
    now = datetime.now(UTC).replace(microsecond=0)
    signer = structures.get(STRUCTURE).sign
    identity = KosIdentity(new_uid(), new_uid())
    maker = Maker("Passevue", "https://box.example", ZONE)
    kos = await asyncio.to_thread(build_kos, case.study, case.report, case.exam, maker, identity, now)
    set_id, signature_id = new_uid(), new_uid()
    signature = await sign_submission_set(signer, set_id, [(identity.sop_instance_uid, kos)], signature_id, now, "sha1")
    metadata = publication_metadata(
        case.report,
        case.exam,
        set_facts(set_id, now),
        KosEntry(identity.sop_instance_uid, kos, now, visibility, event_modalities(case.study, case.exam), ZONE),
        SignatureEntry(signature_id, signature),
        None if replaces is None else ENTRY_UUID_PLACEHOLDER,
    )
    return Submission(
        transaction=Transaction.TD2_1A if replaces is None else Transaction.TD2_1B,
        set_unique_id=set_id,
        document_unique_id=identity.sop_instance_uid,
        metadata=metadata,
        structure=STRUCTURE,
        vihf=case.vihf.to_bytes(),
        record=b"",
        kos=kos,
        signature=signature,
        replaces_unique_id=replaces,
    )


def set_facts(set_id: str, now: datetime) -> SetFacts:
    participant = Participant("801234560801", "BIDEAULT", "Jacques", "RPPS", STRUCTURE[1:], "Centre d'Essai", "FINEG")
    return SetFacts(set_id, BOX, now, Structure(STRUCTURE, "CENTRE D'ESSAI & FILS"), participant, "O")


async def ask(dmp: Edge, structures: Structures, case: Case, service: str, action: str, body: bytes) -> soap.Message:
    """A request that the box does not make by itself (FindDocuments, retrieve), written and read by its own SOAP."""
    keys = structures.get(STRUCTURE)
    now, message_id = datetime.now(UTC), soap.new_message_id()
    assertion = await build_vihf(case.vihf, keys.sign, now, "sha1", Lps("Passevue", "0.1", "ESSAI-0001"))
    request = soap.write_request(action, f"{dmp.url}/{service}", assertion, body, message_id)
    headers = {"Content-Type": request.content_type, "Accept": "application/soap+xml, multipart/related"}
    connector = aiohttp.TCPConnector(ssl=keys.ssl_context)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.post(f"{dmp.url}/{service}", data=b"".join(request.chunks), headers=headers) as answer,
    ):
        message = soap.read_message(answer.headers["Content-Type"], await answer.read())
    assert message.relates_to == message_id
    assert message.fault is None
    return message


def stored_query(query: str, **parameters: str) -> bytes:
    """ITI-18; the `$XDS…` names without their sign."""
    slots = "".join(
        f'<rim:Slot name="${name}"><rim:ValueList><rim:Value>{value}</rim:Value></rim:ValueList></rim:Slot>'
        for name, value in parameters.items()
    )
    return (
        f'<query:AdhocQueryRequest xmlns:query="{xds.QUERY}" xmlns:rim="{xds.RIM}">'
        '<query:ResponseOption returnComposedObjects="true" returnType="LeafClass"/>'
        f'<rim:AdhocQuery id="{query}">{slots}</rim:AdhocQuery></query:AdhocQueryRequest>'
    ).encode()


def unique_ids(message: soap.Message) -> list[str]:
    """uniqueId of every DocumentEntry of an answer."""
    assert message.payload is not None
    assert message.payload.get("status") == SUCCESS
    path = f".//{{{xds.RIM}}}ExtrinsicObject/{{{xds.RIM}}}ExternalIdentifier[@identificationScheme='{UNIQUE_ID}']"
    return sorted(one.get("value") for one in message.payload.iterfind(path))


async def retrieve(dmp: Edge, structures: Structures, case: Case, unique_id: str, repository: str) -> bytes:
    body = (
        f'<xdsb:RetrieveDocumentSetRequest xmlns:xdsb="{xds.XDSB}"><xdsb:DocumentRequest>'
        f"<xdsb:RepositoryUniqueId>{repository}</xdsb:RepositoryUniqueId>"
        f"<xdsb:DocumentUniqueId>{unique_id}</xdsb:DocumentUniqueId>"
        "</xdsb:DocumentRequest></xdsb:RetrieveDocumentSetRequest>"
    ).encode()
    message = await ask(dmp, structures, case, "repository", RETRIEVE, body)
    assert message.payload is not None
    (document,) = message.payload.iterfind(f".//{{{xds.XDSB}}}Document")
    return soap.content_of(document, message.parts)


async def test_a_publication_is_taken_found_and_given_back_byte_for_byte(
    dmp: Edge, registry: Registry, structures: Structures
) -> None:
    case = a_case()
    submission = await a_publication(case, structures)

    answer = await registry.publish(submission)
    by_reference = await registry.find(submission.document_unique_id, STRUCTURE, case.vihf)
    found = await registry.find(submission.document_unique_id, STRUCTURE, case.vihf, xds.ReturnType.LEAF_CLASS)

    assert answer.status == SUCCESS
    assert answer.warnings == ()
    assert by_reference is not None
    assert found is not None
    assert by_reference.entry_uuid == found.entry_uuid
    assert found.status is xds.EntryStatus.APPROVED
    assert found.hash == hashlib.sha1(submission.kos).hexdigest()
    assert found.size == len(submission.kos)
    given_back = await retrieve(dmp, structures, case, submission.document_unique_id, found.repository_unique_id)
    assert given_back == submission.kos


async def test_the_signature_is_kept_byte_for_byte_beside_its_kos(
    dmp: Edge, registry: Registry, structures: Structures
) -> None:
    case = a_case()
    submission = await a_publication(case, structures)
    await registry.publish(submission)

    query = stored_query(SUBMISSION_SET, XDSSubmissionSetUniqueId=f"'{submission.set_unique_id}'")
    members = unique_ids(await ask(dmp, structures, case, "registry", xds.STORED_QUERY, query))
    (signature,) = set(members) - {submission.document_unique_id}

    assert len(members) == 2
    assert f'Id="{signature}"'.encode() in submission.signature
    assert await retrieve(dmp, structures, case, signature, REPOSITORY) == submission.signature


async def test_what_was_published_answers_the_searches_of_a_consommatrice(
    dmp: Edge, registry: Registry, structures: Structures
) -> None:
    case, other = a_case(), a_case()
    submission = await a_publication(case, structures)
    await registry.publish(submission)
    await registry.publish(await a_publication(other, structures))
    about = {
        "XDSDocumentEntryPatientId": f"'{case.vihf.resource_id.replace('&', '&amp;')}'",
        "XDSDocumentEntryStatus": f"('{xds.EntryStatus.APPROVED}')",
    }
    accession = case.exam.accession
    assert accession is not None
    asked = {
        "by type": {"XDSDocumentEntryTypeCode": "('IMG-KOS^^1.2.250.1.213.1.1.4.12')"},
        "by format": {"XDSDocumentEntryFormatCode": "('1.2.840.10008.5.1.4.1.1.88.59^^1.2.840.10008.2.6.1')"},
        "by modality": {"XDSDocumentEntryEventCodeList": "('CT^^1.2.250.1.213.1.1.5.618')"},
    }

    for how, criteria in asked.items():
        query = stored_query(FIND_DOCUMENTS, **about, **criteria)
        message = await ask(dmp, structures, case, "registry", xds.STORED_QUERY, query)
        assert unique_ids(message) == [submission.document_unique_id], how
    nothing = stored_query(FIND_DOCUMENTS, **about, XDSDocumentEntryEventCodeList="('MR^^1.2.250.1.213.1.1.5.618')")
    assert unique_ids(await ask(dmp, structures, case, "registry", xds.STORED_QUERY, nothing)) == []
    number = f"{accession.extension}^^^&amp;{accession.root}&amp;ISO^urn:ihe:iti:xds:2013:accession"
    query = stored_query(FIND_BY_REFERENCE, **about, XDSDocumentEntryReferenceIdList=f"('{number}')")
    found = unique_ids(await ask(dmp, structures, case, "registry", xds.STORED_QUERY, query))
    assert submission.document_unique_id in found
    assert len(found) == 2  # the signature carries the same references (dmp-xds.md § 5.4)


async def test_accents_signs_and_visibility_come_back_as_they_left(
    dmp: Edge, registry: Registry, structures: Structures
) -> None:
    person = ris_report.Person("279035121518989", "D'ÉPREUVE & FILS", "ZOÉ", "ZOÉ", "19790328", "F", "51215")
    case = a_case(person)
    submission = await a_publication(case, structures, visibility=Visibility(True, True, True))
    await registry.publish(submission)

    query = stored_query(xds.GET_DOCUMENTS, XDSDocumentEntryUniqueId=f"('{submission.document_unique_id}')")
    message = await ask(dmp, structures, case, "registry", xds.STORED_QUERY, query)

    assert message.payload is not None
    (entry,) = message.payload.iter(f"{{{xds.RIM}}}ExtrinsicObject")
    values = [one.text for one in entry.iter(f"{{{xds.RIM}}}Value")]
    codes = [one.get("nodeRepresentation") for one in entry.iter(f"{{{xds.RIM}}}Classification")]
    labels = [one.get("value") for one in entry.iter(f"{{{xds.RIM}}}LocalizedString")]
    assert "PID-5|D'ÉPREUVE \\T\\ FILS^ZOÉ^^^^^L" in values
    assert {"N", "MASQUE_PS", "INVISIBLE_PATIENT", "INVISIBLE_REPRESENTANTS_LEGAUX"} <= set(codes)
    assert "tête et/ou cou" in labels


async def test_a_replacement_deprecates_what_it_replaces(registry: Registry, structures: Structures) -> None:
    case = a_case()
    first = await a_publication(case, structures)
    await registry.publish(first)
    target = await registry.find(first.document_unique_id, STRUCTURE, case.vihf)
    assert target is not None
    second = await a_publication(case, structures, replaces=first.document_unique_id)

    await registry.publish(second, target.entry_uuid)

    old = await registry.find(first.document_unique_id, STRUCTURE, case.vihf, xds.ReturnType.LEAF_CLASS)
    new = await registry.find(second.document_unique_id, STRUCTURE, case.vihf, xds.ReturnType.LEAF_CLASS)
    assert old is not None
    assert new is not None
    assert (old.status, new.status) == (xds.EntryStatus.DEPRECATED, xds.EntryStatus.APPROVED)
    third = await a_publication(case, structures, replaces=first.document_unique_id)
    with pytest.raises(StaleTarget):
        await registry.publish(third, target.entry_uuid)
    assert await registry.find(third.document_unique_id, STRUCTURE, case.vihf) is None


async def test_the_same_set_sent_again_is_in_doubt_and_the_look_up_settles_it(
    registry: Registry, structures: Structures
) -> None:
    case = a_case()
    submission = await a_publication(case, structures)
    await registry.publish(submission)

    with pytest.raises(InDoubt):
        await registry.publish(submission)

    found = await registry.find(submission.document_unique_id, STRUCTURE, case.vihf, xds.ReturnType.LEAF_CLASS)
    assert found is not None
    assert found.hash == hashlib.sha1(submission.kos).hexdigest()
    assert found.others == ()


async def test_a_withdrawal_takes_the_document_out_of_what_is_found(
    dmp: Edge, registry: Registry, structures: Structures
) -> None:
    case = a_case()
    submission = await a_publication(case, structures)
    await registry.publish(submission)
    target = await registry.find(submission.document_unique_id, STRUCTURE, case.vihf)
    assert target is not None
    metadata = withdrawal_metadata(case.report, set_facts(new_uid(), datetime.now(UTC)), ENTRY_UUID_PLACEHOLDER)
    withdrawal = replace(submission, transaction=Transaction.TD3_3C, metadata=metadata, kos=b"", signature=b"")

    dmp.dialect = tuple(one for one in DIALECT if one.name != "Deleted")
    with pytest.raises(BoxError):
        await registry.withdraw(withdrawal, target.entry_uuid)
    assert b"must specify an new document status" in dmp.answers[-1]
    dmp.dialect = DIALECT
    answer = await registry.withdraw(withdrawal, target.entry_uuid)

    assert answer.status == SUCCESS
    query = stored_query(
        FIND_DOCUMENTS,
        XDSDocumentEntryPatientId=f"'{case.vihf.resource_id.replace('&', '&amp;')}'",
        XDSDocumentEntryStatus=f"('{xds.EntryStatus.APPROVED}')",
        XDSDocumentEntryTypeCode="('IMG-KOS^^1.2.250.1.213.1.1.4.12')",
    )
    assert unique_ids(await ask(dmp, structures, case, "registry", xds.STORED_QUERY, query)) == []


async def test_bytes_that_are_not_those_announced_are_refused(registry: Registry, structures: Structures) -> None:
    case = a_case()
    submission = await a_publication(case, structures)

    with pytest.raises(Refused):
        await registry.publish(replace(submission, kos=submission.kos[:-1] + b"\x01"))

    assert await registry.find(submission.document_unique_id, STRUCTURE, case.vihf) is None


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("XON.7", b"An organization should not specify data other than its ID and name"),
        ("CX.5", b"Only the ID number and the assigning authority can be defined for a CX value"),
        ("authorSpecialty", b"Only the ID number and the assigning authority can be defined for a CX value"),
    ],
)
async def test_what_ihe_refuses_in_a_publication_is_the_dialect_of_the_dmp_and_nothing_else(
    form: str, said: bytes, dmp: Edge, registry: Registry, structures: Structures
) -> None:
    """Each form alone is refused, as the DMP wants it; with all of them in IHE's way the same set is taken."""
    dmp.dialect = tuple(one for one in DIALECT if one.name != form)
    submission = await a_publication(a_case(), structures)

    with pytest.raises(Refused):
        await registry.publish(submission)
    assert said in dmp.answers[-1]

    dmp.dialect = DIALECT
    assert (await registry.publish(submission)).status == SUCCESS


async def test_the_sample_of_the_ans_needs_the_same_dialect(dmp: Edge, registry: Registry) -> None:
    """So the dialect is the ANS's, not ours: its own published metadata, documents included, sent as ours are."""
    case = a_case()
    sample = (SAMPLES / "xds" / "publication.xml").read_bytes()
    request = re.search(rb"<ns3:SubmitObjectsRequest.*?</ns3:SubmitObjectsRequest>", sample, re.DOTALL)
    assert request is not None
    spaces = f'xmlns="{xds.RIM}" xmlns:ns3="{xds.LCM}"'.encode()
    submission = Submission(
        transaction=Transaction.TD2_1A,
        set_unique_id=new_uid(),
        document_unique_id="1.3.2.751468943.3.1234.56838.231114144457.1.1.1",
        metadata=request[0].replace(b"<ns3:SubmitObjectsRequest", b"<ns3:SubmitObjectsRequest " + spaces, 1),
        structure=STRUCTURE,
        vihf=case.vihf.to_bytes(),
        record=b"",
        kos=(SAMPLES / "kos" / "ko.dcm").read_bytes(),
        signature=(SAMPLES / "xds" / "signature_xades_lot.xml").read_bytes(),
    )
    dmp.dialect = ()
    with pytest.raises(Refused):
        await registry.publish(submission)

    dmp.dialect = DIALECT
    assert (await registry.publish(submission)).status == SUCCESS
    assert await registry.find(submission.document_unique_id, STRUCTURE, case.vihf) is not None
