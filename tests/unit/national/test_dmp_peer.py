"""The DMP peer refuses what the DMP refuses: were it lenient, every test against it would prove less."""

import asyncio
import ssl
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree

from passevue import config
from passevue.card.pem_signer import read_pem
from passevue.card.signer import Signer
from passevue.errors import Refused
from passevue.national import xds
from passevue.national.registry import Registry
from passevue.national.soap import Attachment, Request, new_message_id, read_message, write_mtom_request, write_request
from passevue.national.structures import Structures
from passevue.national.vihf import Lps, VihfFacts, build_vihf
from passevue.queue.work import Submission
from tests.peers.dmp import DmpPeer
from tests.peers.pki import Family, Pki
from tests.peers.trusted import servers_of
from tests.unit.national.submissions import FACTS, STRUCTURE, publication, withdrawal

LPS = Lps("Passevue", "0.1", "PVU-000000-test")
Settings = Callable[..., config.Registry]


async def post(dmp: DmpPeer, structures: Structures, service: str, request: Request) -> tuple[int, bytes, str]:
    connector = aiohttp.TCPConnector(ssl=structures.get(STRUCTURE).ssl_context)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.post(
            f"{dmp.url}/{service}", data=b"".join(request.chunks), headers={"Content-Type": request.content_type}
        ) as answer,
    ):
        return answer.status, await answer.read(), answer.headers["Content-Type"]


async def query(dmp: DmpPeer, structures: Structures, assertion: bytes, message_id: str = "") -> str:
    """Sub-code of the fault, `ok`, or `refused` before that."""
    body = xds.get_documents("1.2.3", xds.ReturnType.OBJECT_REF)
    request = write_request(xds.STORED_QUERY, dmp.url, assertion, body, message_id or new_message_id())
    status, content, content_type = await post(dmp, structures, "registry", request)
    if status == 400:
        return "refused"
    fault = read_message(content_type, content).fault
    return fault.subcode if fault else "ok"


@pytest.fixture
async def assertion(signer: Signer) -> bytes:
    return await build_vihf(FACTS, signer, datetime.now(UTC), "sha256", LPS)


async def test_a_good_assertion_is_taken_once(dmp: DmpPeer, structures: Structures, assertion: bytes) -> None:
    assert await query(dmp, structures, assertion) == "ok"
    assert await query(dmp, structures, assertion) == "DMPInvalidVihf"  # N-12: replayed


async def test_a_message_id_is_taken_once(dmp: DmpPeer, structures: Structures, signer: Signer) -> None:
    message_id = new_message_id()
    for wanted in ("ok", "InvalidAddressingHeader"):
        fresh = await build_vihf(FACTS, signer, datetime.now(UTC), "sha1", LPS)
        assert await query(dmp, structures, fresh, message_id) == wanted


@pytest.mark.parametrize("minutes", [-6, 6])
async def test_an_old_or_future_assertion_is_refused(
    dmp: DmpPeer, structures: Structures, signer: Signer, minutes: int
) -> None:
    stale = await build_vihf(FACTS, signer, datetime.now(UTC) + timedelta(minutes=minutes), "sha1", LPS)
    assert await query(dmp, structures, stale) == "DMPInvalidVihf"


async def test_an_assertion_signed_with_the_tls_certificate_is_refused(
    dmp: DmpPeer, structures: Structures, pki: Pki
) -> None:
    keys = pki.structure(STRUCTURE)
    wrong = read_pem(keys.auth_certificate.read_bytes(), keys.auth_key.read_bytes())
    signed = await build_vihf(FACTS, wrong, datetime.now(UTC), "sha1", LPS)
    assert await query(dmp, structures, signed) == "DMPInvalidCertificate"


async def test_an_assertion_of_another_structure_or_authority_is_refused(
    dmp: DmpPeer, structures: Structures, pki: Pki, signer: Signer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    leaf = pki.leaf(Family.ORG_SIGN, "1888888888")
    other = read_pem(leaf.certificate.read_bytes(), leaf.key.read_bytes())
    facts = replace(FACTS, structure_id="1888888888")
    for whose, what in ((other, FACTS), (other, facts), (signer, facts)):
        signed = await build_vihf(what, whose, datetime.now(UTC), "sha1", LPS)
        assert await query(dmp, structures, signed) == "DMPAuthentication"
    foreign = Pki(tmp_path_factory.mktemp("foreign")).leaf(Family.ORG_SIGN, STRUCTURE)
    stranger = read_pem(foreign.certificate.read_bytes(), foreign.key.read_bytes())
    assert await query(dmp, structures, await build_vihf(FACTS, stranger, datetime.now(UTC), "sha1", LPS)) == (
        "DMPInvalidSignature"
    )


async def test_a_doctor_without_specialty_is_refused(dmp: DmpPeer, structures: Structures, signer: Signer) -> None:
    bare = replace(FACTS, roles=FACTS.roles[:1])
    assert await query(dmp, structures, await build_vihf(bare, signer, datetime.now(UTC), "sha1", LPS)) == "DMPRole"


# Signature wrapping (N-11): a forged assertion, and the good one somewhere else

DS = "{http://www.w3.org/2000/09/xmldsig#}"
SAML = "{urn:oasis:names:tc:SAML:2.0:assertion}"


def forge(good: bytes, *, same_id: bool, keep_signature: bool = True) -> etree._Element:
    forged = etree.fromstring(good)
    if not same_id:
        forged.set("ID", f"_{uuid.uuid4()}")
    forged.find(f"{SAML}Subject/{SAML}NameID").text = "800000000000"
    if not keep_signature:
        forged.remove(forged.find(f"{DS}Signature"))
    return forged


def wrapped(good: bytes, where: str) -> bytes:
    original = etree.fromstring(good)
    if where == "sibling":
        return etree.tostring(forge(good, same_id=False, keep_signature=False)) + good
    forged = forge(good, same_id=where == "same id")
    signature = forged.find(f"{DS}Signature")
    if where == "object":
        etree.SubElement(signature, f"{DS}Object").append(original)
    elif where == "extension":
        forged.append(original)
    elif where == "advice":
        etree.SubElement(forged, f"{SAML}Advice").append(original)
    elif where == "signature around":
        bare = etree.fromstring(good)
        bare.remove(bare.find(f"{DS}Signature"))
        signature.append(bare)
    elif where == "no reference":
        signature.find(f"{DS}SignedInfo").remove(signature.find(f"{DS}SignedInfo/{DS}Reference"))
    elif where == "empty uri":
        signature.find(f"{DS}SignedInfo/{DS}Reference").set("URI", "")
    elif where == "hmac":
        method = signature.find(f"{DS}SignedInfo/{DS}SignatureMethod")
        method.set("Algorithm", "http://www.w3.org/2000/09/xmldsig#hmac-sha1")
    elif where == "xslt":
        transforms = signature.find(f"{DS}SignedInfo/{DS}Reference/{DS}Transforms")
        etree.SubElement(transforms, f"{DS}Transform", Algorithm="http://www.w3.org/TR/1999/REC-xslt-19991116")
    return etree.tostring(forged)


@pytest.mark.parametrize(
    "where",
    ["same id", "new id", "sibling", "object", "extension", "advice", "signature around", "no reference", "empty uri",
     "hmac", "xslt"],
)  # fmt: skip
async def test_a_wrapped_signature_is_refused(
    dmp: DmpPeer, structures: Structures, assertion: bytes, where: str
) -> None:
    assert await query(dmp, structures, wrapped(assertion, where)) in ("DMPInvalidSignature", "refused")
    assert await query(dmp, structures, assertion) == "ok"


async def test_a_comment_inside_an_id_does_not_shorten_it(dmp: DmpPeer, structures: Structures, signer: Signer) -> None:
    """Canonicalisation drops the comment, so the signature holds: the whole text must be what is read."""
    good = await build_vihf(FACTS, signer, datetime.now(UTC), "sha1", LPS)
    assert await query(dmp, structures, good.replace(b">10B0127189<", b">10B01<!-- x -->27189<")) == "ok"


# Submissions


def metadata(old: bytes, new: bytes) -> Callable[[Submission], Submission]:
    return lambda one: replace(one, metadata=one.metadata.replace(old, new))


async def refused(registry: Registry, submission: Submission) -> str:
    with pytest.raises(Refused) as raised:
        await registry.publish(submission)
    return raised.value.code


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda one: replace(one, kos=one.kos + b"x"), "XDSRepositoryMetadataError"),
        (lambda one: replace(one, signature=one.signature[:-1]), "XDSRepositoryMetadataError"),
        (metadata(b'"DocumentKOS"', b'"Document02"'), "XDSMissingDocument"),
        (metadata(b"languageCode", b"languageKode"), "XDSRegistryMetadataError"),
        (metadata(b"41a5887f", b"41a5887e"), "XDSRegistryMetadataError"),
        (metadata(b"7189</Value>", b"7180</Value>"), "AuthorInstitution"),
        (metadata(b"162018885045327^", b"162018885045328^"), "XDSPatientIdDoesNotMatch"),
    ],
)
async def test_a_submission_that_does_not_hold_together_is_refused(
    registry: Registry,
    dmp: DmpPeer,
    signer: Signer,
    change: Callable[[Submission], Submission],
    code: str,
) -> None:
    submission = change(await publication(signer))
    assert await refused(registry, submission) == code
    assert not dmp.documents


async def test_a_signature_of_another_set_is_refused(registry: Registry, dmp: DmpPeer, signer: Signer) -> None:
    one, other = await publication(signer), await publication(signer)
    assert await refused(registry, replace(one, signature=other.signature)) == "XDSRepositoryMetadataError"


async def test_the_same_id_with_other_bytes_is_refused(registry: Registry, dmp: DmpPeer, signer: Signer) -> None:
    first, second = await publication(signer), await publication(signer)
    await registry.publish(first)
    old, new = second.document_unique_id.encode(), first.document_unique_id.encode()
    clash = replace(second, metadata=second.metadata.replace(old, new))
    assert await refused(registry, clash) == "XDSNonIdenticalHash"


async def test_another_structures_document_is_neither_replaced_nor_withdrawn(
    dmp: DmpPeer, pki: Pki, registry: Registry, settings: Settings, signer: Signer
) -> None:
    published = await publication(signer)
    await registry.publish(published)
    entry_uuid = dmp.documents[published.document_unique_id].entry_uuid
    other_id = "1888888888"
    held = Structures([config.Structure(**pki.structure(other_id).as_config())], servers_of(pki), "test")
    await _load(held)
    facts: VihfFacts = replace(FACTS, structure_id=other_id)
    async with Registry(settings(dmp.url), held, "1.2.250.1.999.1") as other:
        theirs = await publication(held.get(other_id).sign, replaces=published.document_unique_id, facts=facts)
        with pytest.raises(Refused, match="AccessNotAuthorised"):
            await other.publish(theirs, entry_uuid)
        with pytest.raises(Refused, match="AccessNotAuthorised"):
            await other.withdraw(withdrawal(theirs), entry_uuid)
    assert list(dmp.visible) == [published.document_unique_id]


async def _load(structures: Structures) -> None:
    await asyncio.to_thread(structures.load)


async def test_a_request_to_the_wrong_service_is_a_fault(
    dmp: DmpPeer, structures: Structures, assertion: bytes
) -> None:
    request = write_mtom_request(
        xds.PROVIDE_AND_REGISTER, dmp.url, assertion, b"<a/>", new_message_id(), (Attachment("0.2", b"x"),)
    )
    status, content, content_type = await post(dmp, structures, "registry", request)
    fault = read_message(content_type, content).fault
    assert status == 500
    assert fault is not None
    assert fault.subcode == "ActionNotSupported"


async def test_a_client_without_certificate_is_not_served(dmp: DmpPeer, structures: Structures, pki: Pki) -> None:
    context = ssl.create_default_context(cadata=pki.root.public_bytes(Encoding.PEM).decode())
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        with pytest.raises(aiohttp.ClientError):
            await session.post(f"{dmp.url}/registry", data=b"x")
