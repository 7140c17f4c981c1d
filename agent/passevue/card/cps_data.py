"""What a card's certificates and data objects say, as values (igc-sante.md §§ 4, 5; cps-card.md § 7).

The holder is read from a certificate, which the issuer signed. Data objects are read leniently: their reference
document is not public, unknown tags are passed over.

Facts:
- The subject's CN, SN and GN stand in one multi-valued RDN, in any order.
- `1.2.250.1.71.1.2.5` is one byte in an OCTET STRING, high bit for a test card; `.2.2` the card type (G02); `.2.7` the
  profession (G15); `1.2.250.1.71.4.2.5` the know-how codes. CPS_INFO_PS ends with the know-how code (`SM26`).
- A situation is `EE { 84 raison sociale, 85 StructIdNat, 86 sector }`; there may be holes, absent or empty.
"""

import re

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID, ObjectIdentifier

from passevue.card import der
from passevue.card.cps import CardType, Category, Holder, Situation
from passevue.card.igc import is_test
from passevue.errors import CardFault

ACTIVITY = re.compile(r"CPS_ACTIVITY_(\d\d)_PS")
INFO_PS = "CPS_INFO_PS"
MOST_SITUATIONS = 16
LONGEST_TEXT = 200

_CARD_TYPE = ObjectIdentifier("1.2.250.1.71.1.2.2")
_PROFESSION = ObjectIdentifier("1.2.250.1.71.1.2.7")
_KNOW_HOW = ObjectIdentifier("1.2.250.1.71.4.2.5")
_TYPES = {0: CardType.CPS, 1: CardType.CPF, 2: CardType.CPE, 3: CardType.CPA}
_CODE = re.compile(r"[A-Z]{1,4}\d{1,4}")

_KEY_BITS = range(1024, 4097)
_LARGEST_EXPONENT = 1 << 33
# What the library raises on a certificate that is none; a Warning only where warnings are made errors.
_BAD_CERTIFICATE = (ValueError, TypeError, OverflowError, UnsupportedAlgorithm, Warning, x509.InvalidVersion)


def read_certificate(content: bytes) -> x509.Certificate:
    """A certificate that the box can work with: well formed, RSA, of a size that a card has.

    Raises:
        CardFault: it is not one.
    """
    size = der.whole_length(content)
    try:
        certificate = x509.load_der_x509_certificate(content[:size])
        public = certificate.public_key()
        certificate.extensions  # noqa: B018 - parsed late, and may be wrong
        certificate.subject  # noqa: B018
        certificate.not_valid_before_utc, certificate.not_valid_after_utc  # noqa: B018
    except (*_BAD_CERTIFICATE, x509.DuplicateExtension) as error:
        raise CardFault(f"a certificate of the card cannot be read: {type(error).__name__}") from None
    if not isinstance(public, rsa.RSAPublicKey):
        raise CardFault("a certificate of the card has no RSA key")
    if public.key_size not in _KEY_BITS or public.public_numbers().e >= _LARGEST_EXPONENT:
        raise CardFault(f"a certificate of the card has an odd RSA key of {public.key_size} bits")
    return certificate


def holder(certificate: x509.Certificate, info_ps: bytes | None = None) -> Holder | None:
    """Whose certificate it is; None when it names nobody (technical certificates)."""
    id_nat = _attribute(certificate, NameOID.COMMON_NAME)
    name = _attribute(certificate, NameOID.SURNAME)
    if not id_nat:
        return None
    return Holder(
        id_nat=id_nat,
        name=name,
        given=_attribute(certificate, NameOID.GIVEN_NAME),
        title=_attribute(certificate, NameOID.TITLE),
        profession=_profession(certificate),
        specialities=_know_how(certificate) or _know_how_of(info_ps),
        structure_id=_attribute(certificate, NameOID.ORGANIZATIONAL_UNIT_NAME),
    )


def category(certificate: x509.Certificate) -> Category | None:
    test = is_test(certificate)
    return None if test is None else Category.TEST if test else Category.PRODUCTION


def card_type(certificate: x509.Certificate) -> CardType | None:
    value = _extension(certificate, _CARD_TYPE)
    return _TYPES.get(value.value[0] & 0x7F) if value is not None and len(value.value) == 1 else None


def situation(number: int, content: bytes | None) -> Situation | None:
    """One CPS_ACTIVITY object; None for a hole."""
    if content is None or not content.strip(b"\x00\xff"):
        return None
    template = der.first(content)
    parts = [template.find(tag) for tag in (0x84, 0x85, 0x86)]
    name, structure_id, sector = (part.text[:LONGEST_TEXT] if part else "" for part in parts)
    return Situation(number, name, structure_id, sector) if structure_id or name else None


def _attribute(certificate: x509.Certificate, oid: ObjectIdentifier) -> str:
    found = certificate.subject.get_attributes_for_oid(oid)
    value = found[0].value if found else ""
    text = value if isinstance(value, str) else value.decode("latin-1")
    return "".join(char for char in text if char.isprintable())[:LONGEST_TEXT]


def _extension(certificate: x509.Certificate, oid: ObjectIdentifier) -> der.Tlv | None:
    """The one value inside a private extension; None when it is not there or not whole."""
    try:
        found = certificate.extensions.get_extension_for_oid(oid).value
        return der.first(found.value) if isinstance(found, x509.UnrecognizedExtension) else None
    except (x509.ExtensionNotFound, CardFault):
        return None


def _profession(certificate: x509.Certificate) -> str:
    value = _extension(certificate, _PROFESSION)
    if value is None:
        return ""
    if value.tag == der.INTEGER and 1 <= len(value.value) <= 4:
        return str(value.number)
    return value.text[:LONGEST_TEXT] if value.is_text else ""


def _know_how(certificate: x509.Certificate) -> tuple[str, ...]:
    value = _extension(certificate, _KNOW_HOW)
    try:
        inside = value.inside() if value is not None and value.tag == der.SEQUENCE else ()
    except CardFault:
        return ()
    return tuple(each.text[:LONGEST_TEXT] for each in inside[:16] if each.is_text and each.text)


def _know_how_of(info_ps: bytes | None) -> tuple[str, ...]:
    ending = (info_ps or b"").rstrip(b"\x00\xff \t\r\n")[-4:].decode("ascii", "replace")
    return (ending,) if _CODE.fullmatch(ending) else ()
