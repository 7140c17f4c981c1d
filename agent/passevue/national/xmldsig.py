"""What the VIHF and the XAdES share of XML Signature: algorithms, canonical text, digests.

Both are written here directly in canonical form, as text, so what is hashed is what is sent: nothing is serialised
again after signing (vihf.md §§ 2.1, 4.2). `escape_*` follow Canonical XML 1.0 § 2.3, and refuse what XML cannot hold.
"""

import base64
import hashlib
import re
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from passevue.errors import Refused

DSIG = "http://www.w3.org/2000/09/xmldsig#"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
EXC_C14N = "http://www.w3.org/2001/10/xml-exc-c14n#"
C14N_WITH_COMMENTS = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315#WithComments"
ENVELOPED = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One setting chooses digest and signature together (vihf.md § 4.3). `name` is also the Signer's hash name."""

    name: str
    digest_uri: str
    signature_uri: str

    def digest(self, data: bytes) -> str:
        """Base64 of the digest, as `DigestValue` holds it."""
        return base64.b64encode(hashlib.new(self.name, data, usedforsecurity=False).digest()).decode()


ALGORITHMS = {
    "sha1": Algorithm("sha1", f"{DSIG}sha1", f"{DSIG}rsa-sha1"),
    "sha256": Algorithm(
        "sha256", "http://www.w3.org/2001/04/xmlenc#sha256", "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
    ),
}

_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_IN_TEXT = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#xD;"}
_IN_ATTRIBUTE = {"&": "&amp;", "<": "&lt;", '"': "&quot;", "\t": "&#x9;", "\n": "&#xA;", "\r": "&#xD;"}


def escape_text(text: str) -> str:
    """`text` as canonical element content.

    Raises:
        Refused: it holds a character that XML 1.0 has no place for.
    """
    return _escape(text, _IN_TEXT)


def escape_attribute(text: str) -> str:
    """`text` as a canonical attribute value, without its quotes. Raises as `escape_text`."""
    return _escape(text, _IN_ATTRIBUTE)


def _escape(text: str, table: dict[str, str]) -> str:
    if _NOT_XML.search(text):
        raise Refused(
            "NotXml",
            "a value holds a control character that XML cannot carry",
            hint="Un nom ou un identifiant du compte rendu contient un caractère interdit : corrigez-le dans le RIS.",
        )
    return "".join(table.get(char, char) for char in text)


def base64_der(certificate: x509.Certificate) -> str:
    """`X509Certificate`: base64 of the DER, on one line."""
    return base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()
