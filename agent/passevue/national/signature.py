"""The XAdES signature of a submission set, source "Source", a document of its own beside the KOS.

Facts (vihf.md § 4, IHE DSG), all read off the golden sample and rebuilt to the byte in the tests:
- XAdES 1.1.1; SignedInfo refers to Manifest and SignedProperties by Id, without transforms: their digests are of the
  inclusive C14N of each element. The tree keeps no unused namespace in scope, so inclusive and exclusive are the same.
- The set itself is in the manifest with the dummy digest `AA==`; a KOS with the digest of its raw bytes.
- No indentation, empty elements as ` />`, an XML declaration and a final newline: all count in hash and size.
- `Signature/@Id` is the uniqueId of the signature's own DocumentEntry.
"""

import re
from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from passevue.card.signer import Signer
from passevue.national.certificate import distinguished_name
from passevue.national.xmldsig import (
    ALGORITHMS,
    C14N_WITH_COMMENTS,
    DSIG,
    XSI,
    Algorithm,
    base64_der,
    escape_attribute,
    escape_text,
)

XADES = "http://uri.etsi.org/01903/v1.1.1#"
SOURCE_SIGNATURE = "1.2.840.10065.1.12.1.14"  # purpose of signature: Source
_SCHEMA = "http://docs.oasis-open.org/security/saml/v2.0/saml-schema-assertion-2.0.xsd"  # as in the sample, unused
_EMPTY_ELEMENT = re.compile(r"<(\w+)([^<>]*?) />")


async def sign_submission_set(
    signer: Signer,
    set_unique_id: str,
    documents: Sequence[tuple[str, bytes]],
    signature_id: str,
    now: datetime,
    digest: str,
) -> bytes:
    """The signature file of one set, to be published as it is.

    Args:
        set_unique_id: XDSSubmissionSet.uniqueId.
        documents: uniqueId and raw bytes of each document of the set, the signature itself left out.
        signature_id: uniqueId of the signature's DocumentEntry, an OID.
        now: aware; SigningTime.
        digest: `sha1` or `sha256`, for every digest and the signature.

    Raises:
        CredentialError: the key cannot sign now.
    """
    algorithm = ALGORITHMS[digest]
    digests = [(unique_id, algorithm.digest(content)) for unique_id, content in documents]
    manifest = _manifest([(set_unique_id, "AA=="), *digests], algorithm)
    properties = _signed_properties(signer.certificate, now, algorithm)
    signed_info = _signed_info(
        _digest_of(manifest, DSIG, algorithm), _digest_of(properties, XADES, algorithm), algorithm
    )
    value = await signer.sign(_canonical(signed_info, DSIG), algorithm.name)
    identifier = escape_attribute(signature_id)
    return (
        f'<?xml version="1.0"?>\n<Signature xmlns="{DSIG}" Id="{identifier}">{signed_info}'
        f"<SignatureValue>{b64encode(value).decode()}</SignatureValue>"
        f"<KeyInfo><X509Data><X509Certificate>{base64_der(signer.certificate)}</X509Certificate></X509Data></KeyInfo>"
        f'<Object><SignatureProperties><SignatureProperty Id="purposeOfSignature" Target="#{identifier}">'
        f"{SOURCE_SIGNATURE}</SignatureProperty></SignatureProperties></Object>"
        f"<Object>{manifest}</Object>"
        f'<Object><QualifyingProperties xmlns="{XADES}" Target="#{identifier}">{properties}</QualifyingProperties>'
        "</Object></Signature>\n"
    ).encode()


def _canonical(element: str, namespace: str) -> bytes:
    """Inclusive C14N of one element whose default `namespace` is declared by an ancestor."""
    name, rest = re.split(r"(?=[ >])", element, maxsplit=1)
    return _EMPTY_ELEMENT.sub(r"<\1\2></\1>", f'{name} xmlns="{namespace}"{rest}').encode()


def _digest_of(element: str, namespace: str, algorithm: Algorithm) -> str:
    return algorithm.digest(_canonical(element, namespace))


def _digest(value: str, algorithm: Algorithm) -> str:
    return f'<DigestMethod Algorithm="{algorithm.digest_uri}" /><DigestValue>{value}</DigestValue>'


def _manifest(references: Sequence[tuple[str, str]], algorithm: Algorithm) -> str:
    inner = "".join(
        f'<Reference URI="urn:oid:{escape_attribute(unique_id)}">{_digest(value, algorithm)}</Reference>'
        for unique_id, value in references
    )
    return (
        f'<Manifest xmlns:xsi="{XSI}" Id="IHEManifest" xsi:schemaLocation="{DSIG} {_SCHEMA}">{inner}</Manifest>'
    )  # fmt: skip


def _signed_info(manifest: str, properties: str, algorithm: Algorithm) -> str:
    return (
        f'<SignedInfo><CanonicalizationMethod Algorithm="{C14N_WITH_COMMENTS}" />'
        f'<SignatureMethod Algorithm="{algorithm.signature_uri}" />'
        f'<Reference Type="{DSIG}Manifest" URI="#IHEManifest">{_digest(manifest, algorithm)}</Reference>'
        f'<Reference Type="{XADES}SignedProperties" URI="#S0-SignedProperties">{_digest(properties, algorithm)}'
        "</Reference></SignedInfo>"
    )


def _signed_properties(certificate: x509.Certificate, now: datetime, algorithm: Algorithm) -> str:
    """In the XAdES namespace; children of X509Data's vocabulary carry their own."""

    digest = algorithm.digest(certificate.public_bytes(Encoding.DER))
    issuer = escape_text(distinguished_name(certificate.issuer))
    return (
        f'<SignedProperties xmlns:xsi="{XSI}" Id="S0-SignedProperties" xsi:schemaLocation="{XADES} {_SCHEMA}">'
        f"<SignedSignatureProperties><SigningTime>{now.isoformat(timespec='milliseconds')}</SigningTime>"
        f"<SigningCertificate><Cert><CertDigest>{_digest(digest, algorithm)}</CertDigest>"
        f'<IssuerSerial><X509IssuerName xmlns="{DSIG}">{issuer}</X509IssuerName>'
        f'<X509SerialNumber xmlns="{DSIG}">{certificate.serial_number}</X509SerialNumber></IssuerSerial></Cert>'
        "</SigningCertificate><SignaturePolicyIdentifier><SignaturePolicyImplied /></SignaturePolicyIdentifier>"
        "</SignedSignatureProperties><SignedDataObjectProperties /></SignedProperties>"
    )
