"""The DMP peer's own verifier of VIHF and XAdES: shares no line with the package, so neither can be wrong for both.

What a verifier returns is read again from the very bytes whose digest was right: nothing outside them is ever used
(signature wrapping, reliability N-11).
"""

import base64
import hashlib
from copy import deepcopy
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from lxml import etree

DS = "http://www.w3.org/2000/09/xmldsig#"
SAML = "urn:oasis:names:tc:SAML:2.0:assertion"
XADES = "http://uri.etsi.org/01903/v1.1.1#"
EXC_C14N = "http://www.w3.org/2001/10/xml-exc-c14n#"
_DIGESTS = {f"{DS}sha1": "sha1", "http://www.w3.org/2001/04/xmlenc#sha256": "sha256"}
_SIGNATURES: dict[str, hashes.HashAlgorithm] = {
    f"{DS}rsa-sha1": hashes.SHA1(),
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256": hashes.SHA256(),
}
_NS = {"ds": DS, "saml": SAML, "xa": XADES}
PARSER = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=True)


class NotSigned(Exception):
    """The signature is not what it must be."""


@dataclass(frozen=True)
class Signed:
    """`content` was parsed from verified bytes alone."""

    content: etree._Element
    certificate: x509.Certificate


def verify_assertion(assertion: etree._Element) -> Signed:
    """An enveloped SAML signature, in the one form the DMP takes: one reference, to the assertion itself."""
    if assertion.tag != f"{{{SAML}}}Assertion":
        raise NotSigned("expected a saml2:Assertion")
    signatures = assertion.findall("ds:Signature", _NS)
    if len(signatures) != 1 or assertion.index(signatures[0]) != 1 or assertion[0].tag != f"{{{SAML}}}Issuer":
        raise NotSigned("expected one ds:Signature right after Issuer")
    if len(list(assertion.iter(f"{{{DS}}}Signature"))) != 1 or len(list(assertion.iter(f"{{{SAML}}}Assertion"))) != 1:
        raise NotSigned("expected one assertion and one signature")
    signature = signatures[0]
    reference = _one(signature, "ds:SignedInfo/ds:Reference")
    if reference.get("URI") != f"#{assertion.get('ID')}" or not assertion.get("ID"):
        raise NotSigned("expected a reference to the assertion itself")
    transforms = [one.get("Algorithm") for one in reference.iterfind("ds:Transforms/ds:Transform", _NS)]
    if transforms != [f"{DS}enveloped-signature", EXC_C14N]:
        raise NotSigned("expected enveloped-signature, then exclusive canonicalisation")
    if _one(signature, "ds:SignedInfo/ds:CanonicalizationMethod").get("Algorithm") != EXC_C14N:
        raise NotSigned("expected exclusive canonicalisation of SignedInfo")
    alone = deepcopy(assertion)
    alone.remove(alone.find("ds:Signature", _NS))
    content = etree.tostring(alone, method="c14n", exclusive=True, with_comments=False)
    _check_digest(reference, content)
    signed_info = etree.tostring(
        deepcopy(_one(signature, "ds:SignedInfo")), method="c14n", exclusive=True, with_comments=False
    )
    certificate = _check_rsa(signature, signed_info)
    return Signed(etree.fromstring(content, PARSER), certificate)


def verify_xades(content: bytes, set_unique_id: str, documents: dict[str, bytes]) -> Signed:
    """The signature of a submission set: every digest, the RSA value, and what the manifest names."""
    root = etree.fromstring(content, PARSER)
    if root.tag != f"{{{DS}}}Signature":
        raise NotSigned("expected ds:Signature as root")
    ids = [value for element in root.iter() if (value := element.get("Id")) is not None]
    if len(set(ids)) != len(ids):
        raise NotSigned("an Id is given twice")
    manifest = _one(root, "ds:Object/ds:Manifest")
    properties = _one(root, "ds:Object/xa:QualifyingProperties/xa:SignedProperties")
    references = root.findall("ds:SignedInfo/ds:Reference", _NS)
    if [one.get("URI") for one in references] != ["#IHEManifest", "#S0-SignedProperties"]:
        raise NotSigned("expected references to the manifest and to the signed properties")
    if (manifest.get("Id"), properties.get("Id")) != ("IHEManifest", "S0-SignedProperties"):
        raise NotSigned("expected the manifest and the signed properties where they belong")
    for reference, element in zip(references, (manifest, properties), strict=True):
        if reference.find("ds:Transforms", _NS) is not None:
            raise NotSigned("expected no transform")
        _check_digest(reference, _inclusive(element))
    certificate = _check_rsa(root, _inclusive(_one(root, "ds:SignedInfo")))
    verified = etree.fromstring(_inclusive(manifest), PARSER)
    named = {one.get("URI", ""): one for one in verified.iterfind("ds:Reference", _NS)}
    if set(named) != {f"urn:oid:{one}" for one in (set_unique_id, *documents)}:
        raise NotSigned("expected the set and each of its documents in the manifest")
    for unique_id, document in documents.items():
        _check_digest(named[f"urn:oid:{unique_id}"], document)
    cert_digest = _one(properties, "xa:SignedSignatureProperties/xa:SigningCertificate/xa:Cert/xa:CertDigest")
    algorithm = cert_digest[0].get("Algorithm", "")
    wanted = base64.b64encode(certificate.fingerprint(_hash(algorithm))).decode()
    if "".join(cert_digest[1].itertext()) != wanted:
        raise NotSigned("the digest of the signing certificate differs")
    return Signed(verified, certificate)


def _inclusive(element: etree._Element) -> bytes:
    # A re-parsed copy: canonicalising a sub-element in place may add wrong xmlns="" (vihf.md § 4.2).
    alone = etree.fromstring(etree.tostring(element, with_tail=False), PARSER)
    return bytes(etree.tostring(alone, method="c14n"))


def _one(parent: etree._Element, path: str) -> etree._Element:
    found = parent.findall(path, _NS)
    if len(found) != 1:
        raise NotSigned(f"expected one {path}, got {len(found)}")
    return found[0]


def _decoded(element: etree._Element) -> bytes:
    try:
        return base64.b64decode("".join("".join(element.itertext()).split()), validate=True)
    except ValueError as err:
        raise NotSigned("what is no base64 stands where base64 is due") from err


def _hash(uri: str) -> hashes.HashAlgorithm:
    if _DIGESTS.get(uri) == "sha1":
        return hashes.SHA1()
    if _DIGESTS.get(uri) == "sha256":
        return hashes.SHA256()
    raise NotSigned("unknown digest")


def _check_digest(reference: etree._Element, content: bytes) -> None:
    method = _DIGESTS.get(_one(reference, "ds:DigestMethod").get("Algorithm", ""))
    if method is None:
        raise NotSigned("unknown digest")
    if _decoded(_one(reference, "ds:DigestValue")) != hashlib.new(method, content).digest():
        raise NotSigned(f"the digest of {reference.get('URI', '')[:20]} differs")


def _check_rsa(signature: etree._Element, signed_info: bytes) -> x509.Certificate:
    algorithm = _SIGNATURES.get(_one(signature, "ds:SignedInfo/ds:SignatureMethod").get("Algorithm", ""))
    if algorithm is None:
        raise NotSigned("unknown signature algorithm")
    der = _decoded(_one(signature, "ds:KeyInfo/ds:X509Data/ds:X509Certificate"))
    certificate = x509.load_der_x509_certificate(der)
    key = certificate.public_key()
    value = _decoded(_one(signature, "ds:SignatureValue"))
    try:
        assert isinstance(key, rsa.RSAPublicKey)
        key.verify(value, signed_info, padding.PKCS1v15(), algorithm)
    except InvalidSignature as err:
        raise NotSigned("the signature value is wrong") from err
    return certificate
