"""The XAdES of a set: the golden file to the byte, and an independent verifier for ours."""

import base64
import hashlib
import re
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from lxml import etree

from passevue.card.signer import Signer
from passevue.national.signature import sign_submission_set
from tests.peers.dmp_signed import NotSigned, verify_xades
from tests.unit.national.submissions import SAMPLES

GOLDEN = (SAMPLES / "xds/signature_xades_lot.xml").read_bytes()
SET_ID = "1.2.250.1.999.1.1.8121.5.7122"
KOS_ID = "1.3.2.751468943.3.1234.56838.231114144457.1.1.1"
KOS = (SAMPLES / "kos/ko.dcm").read_bytes()
SIGNATURE_ID = "2.25.253872960909518376796861585574417771331"
NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)


class PublishedSigner:
    """Holds the sample's public certificate and answers with the sample's value, once it fits what is to be signed."""

    certificate = x509.load_pem_x509_certificate((SAMPLES / "igc/feuille_org_sign_drimbox.pem").read_bytes())

    async def sign(self, data: bytes, hash_name: str) -> bytes:
        assert base64.b64encode(hashlib.sha1(data).digest()) == b"cfBkBQxfhW7c5drX/neHSGzkg/o="  # vihf.md § 4.2
        found = re.search(rb"<SignatureValue>([^<]+)", GOLDEN)
        assert found
        value = base64.b64decode(found[1])
        key = self.certificate.public_key()
        assert isinstance(key, rsa.RSAPublicKey)
        key.verify(value, data, padding.PKCS1v15(), hashes.SHA1())
        return value


async def test_the_golden_file_is_rebuilt_to_the_byte() -> None:
    instant = datetime.fromisoformat("2023-11-14T14:44:58.150+01:00")
    rebuilt = await sign_submission_set(PublishedSigner(), SET_ID, [(KOS_ID, KOS)], SIGNATURE_ID, instant, "sha1")
    assert rebuilt == GOLDEN


def test_the_independent_verifier_takes_the_golden_file() -> None:
    verify_xades(GOLDEN, SET_ID, {KOS_ID: KOS})


@pytest.mark.parametrize("digest", ["sha1", "sha256"])
async def test_an_independent_verifier_takes_ours(signer: Signer, digest: str) -> None:
    documents = [("1.2.3", b"kos"), ("1.2.4", b"other")]
    content = await sign_submission_set(signer, "1.2.9", documents, "2.25.7", NOW, digest)
    assert verify_xades(content, "1.2.9", dict(documents)).certificate == signer.certificate
    assert etree.fromstring(content).get("Id") == "2.25.7"


@pytest.mark.parametrize(
    ("set_id", "documents"),
    [("1.2.8", {"1.2.3": b"kos"}), ("1.2.9", {"1.2.3": b"KOS"}), ("1.2.9", {}), ("1.2.9", {"1.2.3": b"kos", "1": b""})],
)
async def test_another_set_or_document_does_not_verify(
    signer: Signer, set_id: str, documents: dict[str, bytes]
) -> None:
    content = await sign_submission_set(signer, "1.2.9", [("1.2.3", b"kos")], "2.25.7", NOW, "sha1")
    with pytest.raises(NotSigned):
        verify_xades(content, set_id, documents)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b">AA==<", b">AQ==<"),
        (b"2026-11-21", b"2026-11-22"),
        (b"IHEManifest", b"IHEManifesT"),
        (b"<SignatureValue>", b"<SignatureValue>AAAA"),
        (b"<SignatureValue>", b"<SignatureValue>A"),
    ],
)
async def test_a_changed_byte_does_not_verify(signer: Signer, old: bytes, new: bytes) -> None:
    content = await sign_submission_set(signer, "1.2.9", [("1.2.3", b"kos")], "2.25.7", NOW, "sha1")
    assert old in content
    with pytest.raises(NotSigned):
        verify_xades(content.replace(old, new, 1), "1.2.9", {"1.2.3": b"kos"})


async def test_canonical_forms_are_those_of_lxml(signer: Signer) -> None:
    """Every digest in the file is that of lxml's inclusive canonicalisation of the element it names."""
    content = await sign_submission_set(signer, "1.2.9", [("1.2.3", b"kos")], "2.25.7", NOW, "sha256")
    root = etree.fromstring(content)
    ds = "{http://www.w3.org/2000/09/xmldsig#}"
    for reference in root.iterfind(f"{ds}SignedInfo/{ds}Reference"):
        target = root.find(f".//*[@Id='{reference.get('URI')[1:]}']")
        canonical = etree.tostring(etree.fromstring(etree.tostring(target)), method="c14n")
        wanted = base64.b64encode(hashlib.sha256(canonical).digest()).decode()
        assert reference.findtext(f"{ds}DigestValue") == wanted
