"""What an IGC-Santé certificate says: its holder, its family, its realm, its dates (igc-sante.md §§ 2-6). No I/O.

Facts:
- Encoded order of an organisation's DN is C, ST, O, OU, CN; printed from CN to C with comma and
  space, as the ANS samples do.
- Card holders' DNs have one multi-valued RDN `CN=…+SN=…+GN=…`.
- Test and production look alike: the names of the authorities (`TEST …`) and the origin byte tell them apart.
- A SIGN certificate may outlive its PrivateKeyUsagePeriod: the earlier end counts.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from passevue.errors import TrustError

T = TypeVar("T", bound=x509.ExtensionType)

ORIGIN = ObjectIdentifier("1.2.250.1.71.1.2.5")  # OCTET STRING of one byte; its high bit means test
_TEST_BIT = 0x80
_LONGEST_CHAIN = 4

_SHORT_NAMES = {
    NameOID.COMMON_NAME: "CN",
    NameOID.SURNAME: "SN",
    NameOID.GIVEN_NAME: "GN",
    NameOID.ORGANIZATIONAL_UNIT_NAME: "OU",
    NameOID.ORGANIZATION_NAME: "O",
    NameOID.STATE_OR_PROVINCE_NAME: "ST",
    NameOID.LOCALITY_NAME: "L",
    NameOID.COUNTRY_NAME: "C",
    NameOID.TITLE: "T",
    NameOID.SERIAL_NUMBER: "SERIALNUMBER",
    NameOID.DOMAIN_COMPONENT: "DC",
}


class Family(StrEnum):
    """Offers of the IGC-Santé that the box uses, told by KU and EKU."""

    ORG_AUTH_CLI = "ORG AUTH_CLI"  # opens TLS
    ORG_SIGN = "ORG SIGN"  # signs VIHF and submission sets
    SERV_SSL_SERV = "SERV SSL_SERV"  # a server


def distinguished_name(name: x509.Name) -> str:
    """`CN=…, OU=…, O=…, ST=…, C=FR`: RFC 4514 order and escapes, comma and space between (vihf.md § 2, Issuer)."""
    return ", ".join("+".join(_attribute(attribute) for attribute in rdn) for rdn in reversed(name.rdns))


def _attribute(attribute: x509.NameAttribute[str | bytes]) -> str:
    label = _SHORT_NAMES.get(attribute.oid, attribute.oid.dotted_string)
    value = attribute.value if isinstance(attribute.value, str) else attribute.value.hex()
    return f"{label}={_escaped(value)}"


def _escaped(value: str) -> str:
    """RFC 4514 § 2.4."""
    text = "".join(f"\\{char}" if char in '",+;<>\\' else char for char in value)
    if text.startswith(("#", " ")):
        text = f"\\{text}"
    if text.endswith(" ") and len(value) > 1:
        text = f"{text[:-1]}\\ "
    return text


def structure_id(certificate: x509.Certificate) -> str:
    """StructIdNat: the OU of an organisation's certificate.

    Raises:
        TrustError: there is none, or more than one.
    """
    units = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    if len(units) != 1 or not isinstance(units[0].value, str):
        raise TrustError(f"expected one OU in the subject of {certificate.serial_number:x}, got {len(units)}")
    return units[0].value


def family(certificate: x509.Certificate) -> Family | None:
    """The family that KU and EKU make of it; None when neither of ours."""
    usage = _extension(certificate, x509.KeyUsage)
    extended = _extension(certificate, x509.ExtendedKeyUsage)
    if usage is None or extended is None or not usage.digital_signature or usage.key_cert_sign:
        return None
    purposes = set(extended)
    if ExtendedKeyUsageOID.SERVER_AUTH in purposes:
        return Family.SERV_SSL_SERV
    if ExtendedKeyUsageOID.EMAIL_PROTECTION in purposes:
        return Family.ORG_SIGN if usage.content_commitment else None
    return Family.ORG_AUTH_CLI if ExtendedKeyUsageOID.CLIENT_AUTH in purposes else None


def usable_from(certificate: x509.Certificate) -> datetime:
    return certificate.not_valid_before_utc


def usable_until(certificate: x509.Certificate) -> datetime:
    """End of its use: notAfter, or earlier the end of PrivateKeyUsagePeriod."""
    period = _extension(certificate, x509.PrivateKeyUsagePeriod)
    end = period.not_after if period is not None else None
    if end is None:
        return certificate.not_valid_after_utc
    if end.tzinfo is None:
        end = end.replace(tzinfo=certificate.not_valid_after_utc.tzinfo)
    return min(end, certificate.not_valid_after_utc)


def is_test_authority(authority: x509.Certificate) -> bool:
    """Whether an authority is of the test hierarchy: its CN begins with `TEST ` (igc-sante.md § 1)."""
    names = authority.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return bool(names) and str(names[0].value).startswith("TEST ")


def origin_is_test(certificate: x509.Certificate) -> bool | None:
    """What the origin byte says; None when there is none."""
    try:
        value = certificate.extensions.get_extension_for_oid(ORIGIN).value
    except x509.ExtensionNotFound:
        return None
    content = value.value if isinstance(value, x509.UnrecognizedExtension) else b""
    return bool(content[2] & _TEST_BIT) if len(content) == 3 and content[:2] == b"\x04\x01" else None


def check_chain(leaf: x509.Certificate, authorities: Sequence[x509.Certificate], now: datetime) -> None:
    """The leaf leads to a self-signed root among `authorities`, each step signed, allowed to sign, and in its dates.

    Raises:
        TrustError: it does not.
    """
    current = leaf
    for _ in range(_LONGEST_CHAIN):
        issuer = _issuer(current, authorities, now)
        if issuer.subject == issuer.issuer:
            return
        current = issuer
    raise TrustError(f"chain of {leaf.serial_number:x} is longer than {_LONGEST_CHAIN}")


def _issuer(certificate: x509.Certificate, authorities: Sequence[x509.Certificate], now: datetime) -> x509.Certificate:
    for authority in authorities:
        if authority.subject != certificate.issuer or not _may_issue(authority):
            continue
        if not authority.not_valid_before_utc <= now <= authority.not_valid_after_utc:
            continue
        try:
            certificate.verify_directly_issued_by(authority)
        except (InvalidSignature, ValueError, TypeError):
            continue
        return authority
    raise TrustError(
        f"no authority of the store issued {certificate.serial_number:x}",
        hint="Ce certificat ne vient pas de l'IGC-Santé configurée dans « registry.authority » (test ou production).",
    )


def _may_issue(authority: x509.Certificate) -> bool:
    constraints = _extension(authority, x509.BasicConstraints)
    usage = _extension(authority, x509.KeyUsage)
    return constraints is not None and constraints.ca and (usage is None or usage.key_cert_sign)


def _extension(certificate: x509.Certificate, kind: type[T]) -> T | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
