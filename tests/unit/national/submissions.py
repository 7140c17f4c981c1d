"""Submissions made from the ANS's published request: its metadata, our keys and identifiers."""

import hashlib
import re
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from lxml import etree

from passevue.card.signer import Signer
from passevue.document.identifiers import new_uid
from passevue.national.signature import sign_submission_set
from passevue.national.vihf import KNOW_HOW, PROFESSIONS, Role, VihfFacts
from passevue.queue.work import ENTRY_UUID_PLACEHOLDER, Submission, Transaction

SAMPLES = Path(__file__).parents[2] / "samples"
STRUCTURE = "10B0127189"
INS_CX = "162018885045327^^^&1.2.250.1.213.1.4.10&ISO^NH"
FACTS = VihfFacts(
    name_id="899700367909",
    structure_id=STRUCTURE,
    sector="SA07",
    subject_id="KIT DOC0036790",
    roles=(Role("10", PROFESSIONS, "Médecin"), Role("SM44", KNOW_HOW, "Radio-diagnostic (SM)")),
    resource_id=INS_CX,
)
_SET_ID = "1.2.250.1.999.1.1.8121.5.7122"
_KOS_ID = "1.3.2.751468943.3.1234.56838.231114144457.1.1.1"
_SIGNATURE_ID = "2.25.253872960909518376796861585574417771331"
_RIM = "urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0"
_RPLC = "urn:ihe:iti:2007:AssociationType:RPLC"
_UPDATE = "urn:ihe:iti:2010:AssociationType:UpdateAvailabilityStatus"


def sample_envelope() -> etree._Element:
    """The envelope of `xds/publication.xml`, without the white space that was put in after signing."""
    text = (SAMPLES / "xds/publication.xml").read_text()
    found = re.search(r"<soap:Envelope.*</soap:Envelope>", text, re.DOTALL)
    assert found
    return etree.fromstring(found[0].encode(), etree.XMLParser(remove_blank_text=True))


@cache
def _sample_metadata() -> str:
    request = sample_envelope().find(".//{urn:oasis:names:tc:ebxml-regrep:xsd:lcm:3.0}SubmitObjectsRequest")
    return etree.tostring(request, encoding="unicode")


async def publication(
    signer: Signer, *, replaces: str | None = None, digest: str = "sha1", facts: VihfFacts = FACTS, kos: bytes = b""
) -> Submission:
    """A new KOS, with identifiers of its own."""
    set_id, kos_id, signature_id = new_uid(), new_uid(), new_uid()
    kos = kos or (SAMPLES / "kos/ko.dcm").read_bytes() + kos_id.encode()
    signature = await sign_submission_set(signer, set_id, [(kos_id, kos)], signature_id, datetime.now(UTC), digest)
    metadata = _sample_metadata()
    for old, new in (
        (_SET_ID, set_id),
        (_KOS_ID, kos_id),
        (_SIGNATURE_ID, signature_id),
        ("499700367909006", facts.structure_id),
        (_slot("hash", "58408c116b51497c0f2084c90da3c85c7098455a"), _slot("hash", hashlib.sha1(kos).hexdigest())),
        (_slot("size", "8450"), _slot("size", str(len(kos)))),
        (_slot("hash", "bc9498379c2ef8da40b372fe38f2f14a3e058cf8"), _slot("hash", hashlib.sha1(signature).hexdigest())),
        (_slot("size", "6102"), _slot("size", str(len(signature)))),
    ):
        assert old in metadata
        metadata = metadata.replace(old, new)
    if replaces is not None:
        association = (
            f'<Association xmlns="{_RIM}" id="rplc" associationType="{_RPLC}" sourceObject="DocumentKOS"'
            f' targetObject="{ENTRY_UUID_PLACEHOLDER}"/>'
        )
        metadata = metadata.replace("</RegistryObjectList>", f"{association}</RegistryObjectList>")
    return Submission(
        transaction=Transaction.TD2_1B if replaces else Transaction.TD2_1A,
        set_unique_id=set_id,
        document_unique_id=kos_id,
        metadata=metadata.encode(),
        structure=facts.structure_id,
        vihf=facts.to_bytes(),
        record=b"{}",
        kos=kos,
        signature=signature,
        replaces_unique_id=replaces,
    )


def withdrawal(published: Submission) -> Submission:
    """The ITI-57 that withdraws what `published` brought."""
    set_id = new_uid()
    root = etree.fromstring(published.metadata)
    objects = root.find(f"{{{_RIM}}}RegistryObjectList")
    for child in list(objects):
        if child.tag != f"{{{_RIM}}}RegistryPackage":
            objects.remove(child)
    text = etree.tostring(root, encoding="unicode").replace(published.set_unique_id, set_id)
    change = (
        f'<Association xmlns="{_RIM}" id="change" associationType="{_UPDATE}" sourceObject="SubmissionSet01"'
        f' targetObject="{ENTRY_UUID_PLACEHOLDER}">'
        + _slot("OriginalStatus", "urn:oasis:names:tc:ebxml-regrep:StatusType:Approved")
        + _slot("NewStatus", "urn:asip:ci-sis:2010:StatusType:Deleted")
        + "</Association>"
    )
    text = text.replace("</RegistryObjectList>", f"{change}</RegistryObjectList>")
    return replace(
        published,
        transaction=Transaction.TD3_3C,
        set_unique_id=set_id,
        metadata=text.encode(),
        kos=b"",
        signature=b"",
        replaces_unique_id=published.document_unique_id,
    )


def _slot(name: str, value: str) -> str:
    return f'<Slot name="{name}"><ValueList><Value>{value}</Value></ValueList></Slot>'
