"""What all certificates of the IGC-Santé have alike, a person's or an organisation's: realm, dates, who issued them.

Pure. What a person's must be besides is in `trust`, what an organisation's in `national.certificate`.

Facts (igc-sante.md §§ 1-2):
- Test and production look alike: the names of the authorities (`TEST …`) and the origin byte tell them apart.
- A SIGN certificate may outlive its PrivateKeyUsagePeriod: the earlier end counts.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import NameOID, ObjectIdentifier

T = TypeVar("T", bound=x509.ExtensionType)

ORIGIN = ObjectIdentifier("1.2.250.1.71.1.2.5")  # OCTET STRING of one byte; its high bit means test
_TEST_BIT = 0x80


def is_test(certificate: x509.Certificate) -> bool | None:
    """What the origin byte says; None when there is none that can be read."""
    try:
        value = certificate.extensions.get_extension_for_oid(ORIGIN).value
    except x509.ExtensionNotFound:
        return None
    content = value.value if isinstance(value, x509.UnrecognizedExtension) else b""
    return bool(content[2] & _TEST_BIT) if len(content) == 3 and content[:2] == b"\x04\x01" else None


def is_test_authority(authority: x509.Certificate) -> bool:
    """Whether an authority is of the test hierarchy: its CN begins with `TEST `."""
    return common_name(authority.subject).startswith("TEST ")


def common_name(name: x509.Name) -> str:
    """Its CN; empty when there is none, or more than one."""
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if len(found) == 1 else ""


def usable_from(certificate: x509.Certificate) -> datetime:
    return certificate.not_valid_before_utc


def usable_until(certificate: x509.Certificate) -> datetime:
    """End of its use: notAfter, or earlier the end of PrivateKeyUsagePeriod."""
    period = extension(certificate, x509.PrivateKeyUsagePeriod)
    end, last = period.not_after if period is not None else None, certificate.not_valid_after_utc
    if end is None:
        return last
    return min(end if end.tzinfo is not None else end.replace(tzinfo=last.tzinfo), last)


def is_authority(certificate: x509.Certificate) -> bool:
    constraints = extension(certificate, x509.BasicConstraints)
    return constraints is not None and constraints.ca


def issuer_of(certificate: x509.Certificate, authorities: Iterable[x509.Certificate]) -> x509.Certificate | None:
    """The one of `authorities` that signed it and may sign certificates; None when none did."""
    for authority in authorities:
        if authority.subject != certificate.issuer or not _may_issue(authority):
            continue
        try:
            certificate.verify_directly_issued_by(authority)
        except (InvalidSignature, TypeError, ValueError):
            continue
        return authority
    return None


def _may_issue(authority: x509.Certificate) -> bool:
    usage = extension(authority, x509.KeyUsage)
    return is_authority(authority) and (usage is None or usage.key_cert_sign)


def extension(certificate: x509.Certificate, kind: type[T]) -> T | None:
    """The extension of that kind, None when there is none."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
