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
MANDATORY = (
    "VIHF_Version",
    "urn:oasis:names:tc:xacml:2.0:subject:role",
    "Secteur_Activite",
    "Ressource_URN",
    "urn:oasis:names:tc:xspa:1.0:subject:purposeofuse",
    "urn:oasis:names:tc:xspa:1.0:subject:subject-id",
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


def structure_of(certificate: x509.Certificate) -> str:
    return str(certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)[0].value)


def purposes(certificate: x509.Certificate) -> set[x509.ObjectIdentifier]:
    return set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def check_vihf(
    assertion: etree._Element,
    authority: x509.Certificate,
    client: x509.Certificate,
    seen: set[str],
    now: datetime,
) -> Vihf:
    """Raises: VihfRefused."""
    try:
        signed = verify_assertion(assertion)
        signed.certificate.verify_directly_issued_by(authority)
    except (NotSigned, InvalidSignature, ValueError, etree.XMLSyntaxError) as err:
        raise VihfRefused("DMPInvalidSignature", f"VIHF signature: {err}") from err
    if ExtendedKeyUsageOID.EMAIL_PROTECTION not in purposes(signed.certificate):
        raise VihfRefused("DMPInvalidCertificate", "Not a valid signature certificate")
    _check_fresh(signed.content, signed.certificate, seen, now)
    vihf = _read(signed.content)
    if {vihf.structure} != {structure_of(signed.certificate), structure_of(client)}:
        raise VihfRefused("DMPAuthentication", "Erreur d'authentification de la personne morale")
    if vihf.roles[0] in ("10", "21") and len(vihf.roles) < 2:
        raise VihfRefused("DMPRole", "Aucune spécialité dans le VIHF")
    return vihf


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
    if not issuer.startswith(f"CN={common_name!s}") or f"OU={structure_of(signer)}" not in issuer:
        raise VihfRefused("DMPInvalidVihf", "Issuer is not the subject of the signing certificate")
    seen.add(identifier)


def _read(assertion: etree._Element) -> Vihf:
    attributes: dict[str, list[etree._Element]] = {}
    for attribute in assertion.iterfind(f"{{{SAML}}}AttributeStatement/{{{SAML}}}Attribute"):
        name = attribute.get("Name", "")
        if name in attributes:
            raise VihfRefused("DMPInvalidVihf", f"{name} is given twice")
        attributes[name] = attribute.findall(f"{{{SAML}}}AttributeValue")
    for name in MANDATORY:
        if not attributes.get(name):
            raise VihfRefused("DMPInvalidVihf", f"{name} is missing")

    def text(name: str) -> str:
        values = attributes.get(name)
        return "".join(values[0].itertext()) if values else ""

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
    )
