"""What an organisation's IGC-Santé certificate says: its holder, its family, its chain (igc-sante.md §§ 2-6). No I/O.

Realm and dates are read as for persons (`card.igc`).

Facts:
- Encoded order of an organisation's DN is C, ST, O, OU, CN; printed from CN to C with comma and
  space, as the ANS samples do.
- Card holders' DNs have one multi-valued RDN `CN=…+SN=…+GN=…`.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from passevue.card.igc import extension, is_test, is_test_authority, issuer_of, usable_from, usable_until
from passevue.errors import TrustError

__all__ = [
    "Family",
    "check_chain",
    "distinguished_name",
    "family",
    "is_test",
    "is_test_authority",
    "structure_id",
    "usable_from",
    "usable_until",
]

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
    usage = extension(certificate, x509.KeyUsage)
    extended = extension(certificate, x509.ExtendedKeyUsage)
    if usage is None or extended is None or not usage.digital_signature or usage.key_cert_sign:
        return None
    purposes = set(extended)
    if ExtendedKeyUsageOID.SERVER_AUTH in purposes:
        return Family.SERV_SSL_SERV
    if ExtendedKeyUsageOID.EMAIL_PROTECTION in purposes:
        return Family.ORG_SIGN if usage.content_commitment else None
    return Family.ORG_AUTH_CLI if ExtendedKeyUsageOID.CLIENT_AUTH in purposes else None


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
    in_date = (one for one in authorities if one.not_valid_before_utc <= now <= one.not_valid_after_utc)
    found = issuer_of(certificate, in_date)
    if found is None and issuer_of(certificate, authorities) is not None:
        raise TrustError(
            f"the authority that issued {certificate.serial_number:x} is not in its dates",
            hint="L’autorité de ce certificat n’est pas dans ses dates : vérifiez d’abord l’horloge du boîtier.",
        )
    if found is None:
        raise TrustError(
            f"no authority of the store issued {certificate.serial_number:x}",
            hint="Ce certificat ne vient pas de l'IGC-Santé configurée dans « registry.authority » "
            "(test ou production).",
        )
    return found
