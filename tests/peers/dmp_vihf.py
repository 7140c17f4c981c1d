"""What the DMP peer asks of a VIHF once its signature is right: who, when, in whose name, with which rights."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from lxml import etree

from tests.peers.dmp_signed import SAML, NotSigned, verify_assertion

HL7 = "urn:hl7-org:v3"
FRESH = timedelta(minutes=5)
_SUBJECT_ID = "urn:oasis:names:tc:xspa:1.0:subject:subject-id"
MANDATORY = (
    "VIHF_Version",
    "urn:oasis:names:tc:xacml:2.0:subject:role",
    "Secteur_Activite",
    "Ressource_URN",
    "urn:oasis:names:tc:xspa:1.0:subject:purposeofuse",
    _SUBJECT_ID,
    "Authentification_Mode",
    "Identifiant_Structure",
    "LPS_ID_HOMOLOGATION_DMP",
    "LPS_Nom",
)


class VihfRefused(Exception):
    """`subcode` and `reason` of the SOAP fault, in the DMP's words where they are known."""

    def __init__(self, subcode: str, reason: str) -> None:
        super().__init__(f"{subcode}: {reason}")
        self.subcode = subcode
        self.reason = reason


@dataclass(frozen=True)
class Vihf:
    """What the peer keeps of one: only from verified bytes."""

    id: str
    mode: str
    structure: str
    name_id: str
    patient: str
    roles: tuple[str, ...]
    signer: x509.Certificate
    authority: x509.Certificate  # which certified the signer


def structure_of(certificate: x509.Certificate) -> str:
    return str(certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)[0].value)


def common_name_of(certificate: x509.Certificate) -> str:
    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def purposes(certificate: x509.Certificate) -> set[x509.ObjectIdentifier]:
    return set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def check_vihf(
    assertion: etree._Element,
    authority: x509.Certificate,
    client: x509.Certificate,
    seen: set[str],
    now: datetime,
    persons: x509.Certificate | None = None,
) -> Vihf:
    """By a structure's certificates of `authority`, or in DIRECTE mode by those of one card of `persons`.

    Raises: VihfRefused.
    """
    try:
        signed = verify_assertion(assertion)
        by_card = persons is not None and signed.certificate.issuer == persons.subject
        signed.certificate.verify_directly_issued_by(persons if persons is not None and by_card else authority)
    except (NotSigned, InvalidSignature, ValueError, etree.XMLSyntaxError) as err:
        raise VihfRefused("DMPInvalidSignature", f"VIHF signature: {err}") from err
    if ExtendedKeyUsageOID.EMAIL_PROTECTION not in purposes(signed.certificate):
        raise VihfRefused("DMPInvalidCertificate", "Not a valid signature certificate")
    _check_fresh(signed.content, signed.certificate, seen, now)
    vihf = _read(signed.content, signed.certificate, persons if persons is not None and by_card else authority)
    if (vihf.mode == "DIRECTE") is not by_card:
        raise VihfRefused("DMPAuthentication", "Authentification_Mode and certificates do not agree")
    if by_card:
        _check_one_card(signed.content, vihf, client, persons)
    elif {vihf.structure} != {structure_of(signed.certificate), structure_of(client)}:
        raise VihfRefused("DMPAuthentication", "Erreur d'authentification de la personne morale")
    if vihf.roles[0] in ("10", "21") and len(vihf.roles) < 2:
        raise VihfRefused("DMPRole", "Aucune spécialité dans le VIHF")
    return vihf


def _check_one_card(
    assertion: etree._Element, vihf: Vihf, client: x509.Certificate, persons: x509.Certificate | None
) -> None:
    """TLS, signature and NameID are of one person, and nothing is said that the card says itself (§ 1.1)."""
    if persons is None or client.issuer != persons.subject:
        raise VihfRefused("DMPAuthentication", "the connection is not the card's")
    usage = vihf.signer.extensions.get_extension_for_class(x509.KeyUsage).value
    if not usage.content_commitment:
        raise VihfRefused("DMPInvalidCertificate", "Not a valid signature certificate")
    if {vihf.name_id} != {common_name_of(vihf.signer), common_name_of(client)}:
        raise VihfRefused("DMPAuthentication", "PS et carte ne correspondent pas")
    if f'Name="{_SUBJECT_ID}"'.encode() in etree.tostring(assertion):
        raise VihfRefused("DMPInvalidVihf", "subject-id is not sent in DIRECTE")
    classes = {one.text for one in assertion.iter(f"{{{SAML}}}AuthnContextClassRef")}
    if classes != {"urn:oasis:names:tc:SAML:2.0:ac:classes:SmartcardPKI"}:
        raise VihfRefused("DMPInvalidVihf", "AuthnContextClassRef")


def _check_fresh(assertion: etree._Element, signer: x509.Certificate, seen: set[str], now: datetime) -> None:
    identifier = assertion.get("ID", "")
    if not identifier or identifier[0].isdigit():
        raise VihfRefused("DMPInvalidVihf", "ID is not an xs:ID")
    if identifier in seen:
        raise VihfRefused("DMPInvalidVihf", "VIHF already used")
    issued = datetime.strptime(assertion.get("IssueInstant", ""), "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    if abs(now - issued) > FRESH:
        raise VihfRefused("DMPInvalidVihf", "VIHF expired or issued in the future")
    if not signer.not_valid_before_utc <= now <= signer.not_valid_after_utc:
        raise VihfRefused("DMPInvalidCertificate", "Not a valid signature certificate: expired")
    issuer = assertion.findtext(f"{{{SAML}}}Issuer", "")
    common_name = signer.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    units = [str(one.value) for one in signer.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)]
    if f"CN={common_name!s}" not in issuer or any(f"OU={one}" not in issuer for one in units):
        raise VihfRefused("DMPInvalidVihf", "Issuer is not the subject of the signing certificate")
    seen.add(identifier)


def _read(assertion: etree._Element, signer: x509.Certificate, authority: x509.Certificate) -> Vihf:
    attributes: dict[str, list[etree._Element]] = {}
    for attribute in assertion.iterfind(f"{{{SAML}}}AttributeStatement/{{{SAML}}}Attribute"):
        name = attribute.get("Name", "")
        if name in attributes:
            raise VihfRefused("DMPInvalidVihf", f"{name} is given twice")
        attributes[name] = attribute.findall(f"{{{SAML}}}AttributeValue")

    def text(name: str) -> str:
        values = attributes.get(name)
        return "".join(values[0].itertext()) if values else ""

    directe = text("Authentification_Mode") == "DIRECTE"
    for name in MANDATORY:
        if not attributes.get(name) and not (directe and name == _SUBJECT_ID):
            raise VihfRefused("DMPInvalidVihf", f"{name} is missing")
    if text("VIHF_Version") != "3.0" or text("Ressource_URN") != "urn:dmp":
        raise VihfRefused("DMPInvalidVihf", "VIHF_Version or Ressource_URN")
    if not text("Secteur_Activite").endswith("^1.2.250.1.71.4.2.4"):
        raise VihfRefused("DMPInvalidVihf", "Secteur_Activite")
    roles = tuple(
        role.get("code", "")
        for value in attributes["urn:oasis:names:tc:xacml:2.0:subject:role"]
        for role in value.iterfind(f"{{{HL7}}}Role")
    )
    if not roles:
        raise VihfRefused("DMPRole", "no Role")
    return Vihf(
        id=assertion.get("ID", ""),
        mode=text("Authentification_Mode"),
        structure=text("Identifiant_Structure"),
        name_id=assertion.findtext(f"{{{SAML}}}Subject/{{{SAML}}}NameID", ""),
        patient=text("urn:oasis:names:tc:xacml:2.0:resource:resource-id"),
        roles=roles,
        signer=signer,
        authority=authority,
    )
