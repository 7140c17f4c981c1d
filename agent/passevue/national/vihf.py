"""The VIHF: one signed SAML 2.0 assertion that says who asks the DMP for what, made new for every request.

Facts and section numbers: vihf.md.

Rules:
- Never reused, never queued: `VihfFacts` are what the queue keeps; the assertion is signed just before it is sent.
- Signed with the SIGN certificate of the structure whose identifier it states, never with AUTH_CLI (§ 1.1).
- Order Issuer, Signature, Subject, AuthnStatement, AttributeStatement; attributes in the order of the ANS sample.
- Written as text that is already its own exclusive canonical form, but for `xmlns:xsi` on the assertion, which
  exclusive canonicalisation drops there since nothing of the element uses it (§ 2.1).

What differs by mode is in one table keyed by `Mode` (§ 1.1): what a report publishes, what a person asks who signed in
by Pro Santé Connect, what a person's card signs.
"""

import json
import uuid
from base64 import b64encode
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from cryptography import x509

from passevue.card.signer import Signer
from passevue.document.report import Professional, Report
from passevue.errors import Refused, Unreadable
from passevue.national.certificate import distinguished_name
from passevue.national.xmldsig import (
    ALGORITHMS,
    DSIG,
    ENVELOPED,
    EXC_C14N,
    XSI,
    Algorithm,
    base64_der,
    escape_attribute,
    escape_text,
)

SAML = "urn:oasis:names:tc:SAML:2.0:assertion"
HL7 = "urn:hl7-org:v3"
PROFESSIONS = "1.2.250.1.71.1.2.7"  # TRE_G15
KNOW_HOW = "1.2.250.1.71.4.2.5"  # TRE_R01
PHARMACY_SECTIONS = "1.2.250.1.71.4.2.6"  # TRE_G05
SECTORS = "1.2.250.1.71.4.2.4"  # JDV_J61
PHARMACIST = "21"
NEED_SPECIALTY = {"10", PHARMACIST}  # doctors and pharmacists (§ 3.1)
_X509_SUBJECT_NAME = "urn:oasis:names:tc:SAML:1.1:nameid-format:X509SubjectName"
_CONFIDENTIALITY = "urn:oasis:names:tc:xspa:1.0:resource:patient:hl7:confidentiality-code"


class Mode(StrEnum):
    """`Authentification_Mode` (§ 1.1)."""

    INDIRECTE = "INDIRECTE"  # the local system authenticated the user; the structure answers for it
    INDIRECTE_RENFORCEE = "INDIRECTE_RENFORCEE"  # Pro Santé Connect did; the structure signs
    DIRECTE = "DIRECTE"  # the card did, and signs


@dataclass(frozen=True, slots=True)
class _Form:
    """What a mode states of the authentication (§ 1.1)."""

    context_class: str
    context_declaration: str = ""
    subject_id: bool = True  # § 3: not sent in DIRECTE, where the card's certificate says it


_CLASSES = "urn:oasis:names:tc:SAML:2.0:ac:classes:"
_FORMS = {
    Mode.INDIRECTE: _Form(f"{_CLASSES}TLSClient"),
    Mode.INDIRECTE_RENFORCEE: _Form(f"{_CLASSES}TLSClient", "APP_BROWSER_AUTH"),
    Mode.DIRECTE: _Form(f"{_CLASSES}SmartcardPKI", subject_id=False),
}


@dataclass(frozen=True, slots=True)
class Role:
    """A coded value of type CE: profession, know-how, access mode (§§ 3.1, 3.2)."""

    code: str
    code_system: str
    display_name: str
    code_system_name: str = ""


NORMAL_ACCESS = Role("normal", "1.2.250.1.213.1.1.4.248", "Acces normal", "mode acces VIHF 1.0")


@dataclass(frozen=True, slots=True)
class VihfFacts:
    """What a VIHF states, whoever signs it and whenever.

    Attributes:
        name_id: IdNat of the professional, or the identifier of an automate; in DIRECTE, CN of the card's certificate.
        structure_id: StructIdNat, equal to OU of the signing certificate; in DIRECTE, of the card's situation.
        sector: `SA07` and the like (JDV_J61), without its code system.
        subject_id: given and family name of the professional.
        roles: profession, then know-how where the profession has one.
        resource_id: the patient as `<INS>^^^&<OID>&ISO^NH`; empty when no patient is concerned.
        secret_connection: a minor asked that this access stay unseen by the legal representatives.
        authenticated_at: when Pro Santé Connect authenticated the person, seconds since 1970; None in other modes.
        consent: in DIRECTE, the queue's number of the entry that the person agreed to; never stated.
    """

    name_id: str
    structure_id: str
    sector: str
    subject_id: str
    roles: tuple[Role, ...]
    resource_id: str
    secret_connection: bool = False
    mode: Mode = Mode.INDIRECTE
    authenticated_at: float | None = None
    consent: int | None = None

    def to_bytes(self) -> bytes:
        return json.dumps({"version": 1, **asdict(self)}, ensure_ascii=False).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> "VihfFacts":
        """Raises: Unreadable when these are not facts that `to_bytes` wrote."""
        try:
            fields: dict[str, Any] = json.loads(content)
            if fields.pop("version") != 1:
                raise Unreadable("expected VIHF facts version 1")
            roles = tuple(Role(**role) for role in fields.pop("roles"))
            return cls(roles=roles, mode=Mode(fields.pop("mode")), **fields)
        except (ValueError, TypeError, KeyError, AttributeError) as err:
            raise Unreadable(f"expected VIHF facts: {type(err).__name__}") from err


@dataclass(frozen=True, slots=True)
class Lps:
    """The software as declared at the DMP's homologation (§ 3).

    `secret_connection_code` is the value that states a secret connection: the public texts name the attribute and not
    its value, so it comes with the homologation; without it such a request is refused, never sent as an ordinary one.
    """

    name: str
    version: str
    homologation: str
    id: str = ""
    secret_connection_code: str = ""


async def build_vihf(facts: VihfFacts, signer: Signer, now: datetime, digest: str, lps: Lps) -> bytes:
    """A signed assertion, UTF-8, without XML declaration: put as it is in `wsse:Security`.

    Args:
        now: aware; IssueInstant, and AuthnInstant when the facts have none of their own.
        signer: of the structure's SIGN certificate; in DIRECTE, of the card's signature certificate.
        digest: `sha1` or `sha256`, for digest and signature.

    Raises:
        CredentialError: the key cannot sign now.
        Refused: a value cannot be stated.
    """
    assertion = _Assertion(facts, signer.certificate, now, lps, f"_{uuid.uuid4()}")
    return await assertion.signed(signer, ALGORITHMS[digest])


class _Assertion:
    """One assertion: its parts as canonical text, and how they are signed together."""

    def __init__(
        self, facts: VihfFacts, certificate: x509.Certificate, now: datetime, lps: Lps, assertion_id: str
    ) -> None:
        self.id = assertion_id
        self._attributes = f'ID="{assertion_id}" IssueInstant="{_instant(now)}" Version="2.0"'
        issuer = escape_text(distinguished_name(certificate.subject))
        self._issuer = f'<saml2:Issuer Format="{_X509_SUBJECT_NAME}">{issuer}</saml2:Issuer>'
        self._statements = (
            f"<saml2:Subject><saml2:NameID>{escape_text(facts.name_id)}</saml2:NameID></saml2:Subject>"
            f'<saml2:AuthnStatement AuthnInstant="{_instant(_authenticated(facts, now))}">'
            f"{_context(_FORMS[facts.mode])}</saml2:AuthnStatement>"
            f"<saml2:AttributeStatement>{_attributes(facts, lps)}</saml2:AttributeStatement>"
        )

    def canonical(self) -> bytes:
        """What the enveloped-signature and exclusive canonicalisation transforms leave: the digest's input."""
        return self._whole("", "").encode()

    async def signed(self, signer: Signer, algorithm: Algorithm) -> bytes:
        body = signed_info_body(self.id, algorithm, self.canonical())
        signed_info = f'<ds:SignedInfo xmlns:ds="{DSIG}">{body}</ds:SignedInfo>'.encode()
        value = await signer.sign(signed_info, algorithm.name)
        return self._whole(f' xmlns:xsi="{XSI}"', _signature(body, value, signer.certificate)).encode()

    def _whole(self, declarations: str, signature: str) -> str:
        return (
            f'<saml2:Assertion xmlns:saml2="{SAML}"{declarations} {self._attributes}>'
            f"{self._issuer}{signature}{self._statements}</saml2:Assertion>"
        )


def _instant(moment: datetime) -> str:
    """UTC, milliseconds, `Z` (§ 2)."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def _authenticated(facts: VihfFacts, now: datetime) -> datetime:
    """AuthnInstant: `auth_time` of Pro Santé Connect; never after the assertion itself, whatever two clocks say."""
    if facts.authenticated_at is None:
        return now
    return min(datetime.fromtimestamp(facts.authenticated_at, UTC), now)


def _context(form: _Form) -> str:
    declared = form.context_declaration
    declaration = f"<saml2:AuthnContextDecl>{declared}</saml2:AuthnContextDecl>" if declared else ""
    return (
        f"<saml2:AuthnContext><saml2:AuthnContextClassRef>{form.context_class}</saml2:AuthnContextClassRef>"
        f"{declaration}</saml2:AuthnContext>"
    )


def signed_info_body(assertion_id: str, algorithm: Algorithm, canonical: bytes) -> str:
    """Canonical content of `ds:SignedInfo`; its namespace is declared on whichever element it ends up in."""
    return (
        f'<ds:CanonicalizationMethod Algorithm="{EXC_C14N}"></ds:CanonicalizationMethod>'
        f'<ds:SignatureMethod Algorithm="{algorithm.signature_uri}"></ds:SignatureMethod>'
        f'<ds:Reference URI="#{assertion_id}"><ds:Transforms>'
        f'<ds:Transform Algorithm="{ENVELOPED}"></ds:Transform><ds:Transform Algorithm="{EXC_C14N}"></ds:Transform>'
        f'</ds:Transforms><ds:DigestMethod Algorithm="{algorithm.digest_uri}"></ds:DigestMethod>'
        f"<ds:DigestValue>{algorithm.digest(canonical)}</ds:DigestValue></ds:Reference>"
    )


def _signature(signed_info: str, value: bytes, certificate: x509.Certificate) -> str:
    return (
        f'<ds:Signature xmlns:ds="{DSIG}"><ds:SignedInfo>{signed_info}</ds:SignedInfo>'
        f"<ds:SignatureValue>{b64encode(value).decode()}</ds:SignatureValue>"
        f"<ds:KeyInfo><ds:X509Data><ds:X509Certificate>{base64_der(certificate)}</ds:X509Certificate></ds:X509Data>"
        "</ds:KeyInfo></ds:Signature>"
    )


def _attributes(facts: VihfFacts, lps: Lps) -> str:
    """Every attribute, in the order of the ANS sample (§ 3); what is empty and optional is left out."""
    plain = (
        ("VIHF_Version", "3.0"),
        ("Secteur_Activite", f"{facts.sector}^{SECTORS}"),
        ("Ressource_URN", "urn:dmp"),
        ("urn:oasis:names:tc:xspa:1.0:subject:subject-id", facts.subject_id if _FORMS[facts.mode].subject_id else ""),
        ("Identifiant_Structure", facts.structure_id),
        ("LPS_ID", lps.id),
        ("LPS_Nom", lps.name),
        ("LPS_ID_HOMOLOGATION_DMP", lps.homologation),
        ("LPS_Version", lps.version),
        ("urn:oasis:names:tc:xacml:2.0:resource:resource-id", facts.resource_id),
        ("Authentification_Mode", facts.mode),
        (_CONFIDENTIALITY, _secret_connection(facts, lps)),
    )
    coded = (
        ("urn:oasis:names:tc:xspa:1.0:subject:purposeofuse", "PurposeOfUse", (NORMAL_ACCESS,)),
        ("urn:oasis:names:tc:xacml:2.0:subject:role", "Role", facts.roles),
    )
    values: list[tuple[str, tuple[str, ...]]] = [(name, (escape_text(value),)) for name, value in plain if value]
    values += [(name, tuple(_coded(element, role) for role in roles)) for name, element, roles in coded]
    return "".join(_attribute(name, contents) for name, contents in values)


def _attribute(name: str, contents: tuple[str, ...]) -> str:
    inner = "".join(f"<saml2:AttributeValue>{content}</saml2:AttributeValue>" for content in contents)
    return f'<saml2:Attribute Name="{name}">{inner}</saml2:Attribute>'


def _coded(element: str, role: Role) -> str:
    return (
        f'<{element} xmlns="{HL7}" xmlns:xsi="{XSI}" code="{escape_attribute(role.code)}"'
        f' codeSystem="{escape_attribute(role.code_system)}"'
        f' codeSystemName="{escape_attribute(role.code_system_name)}"'
        f' displayName="{escape_attribute(role.display_name)}" xsi:type="CE"></{element}>'
    )


def _secret_connection(facts: VihfFacts, lps: Lps) -> str:
    if not facts.secret_connection:
        return ""
    if not lps.secret_connection_code:
        raise Refused(
            "ConnexionSecrete",
            "a secret connection was asked and its value is not configured",
            hint="Connexion secrète demandée : renseignez « registry.secret_connection_code » avant de relancer.",
        )
    return lps.secret_connection_code


def facts_of(report: Report, structure_id: str, sector: str, *, secret_connection: bool = False) -> VihfFacts:
    """What the VIHF of a publication states, from the report (§ 3.4).

    Args:
        structure_id: StructIdNat in whose name the box acts for this report.
        sector: used when the report does not say.

    Raises:
        Refused: no professional, no profession, no INS, or no specialty where the DMP asks for one.
    """
    person = report.legal_authenticator or report.author
    if person is None or not person.id or not person.profession or report.patient.ins is None:
        raise Refused(
            "VihfFacts",
            "expected a signatory with identifier and profession, and an INS, in the report",
            hint="Le compte rendu ne dit pas quel professionnel le valide, ou n'a pas d'INS : complétez-le.",
        )
    if person.profession in NEED_SPECIALTY and not person.specialty:
        raise Refused(
            "SpecialtyMissing",
            "expected a specialty for this profession in the report",
            hint="La spécialité du médecin manque dans le compte rendu : complétez-la dans le RIS.",
        )
    return VihfFacts(
        name_id=person.id,
        structure_id=structure_id,
        sector=report.facility.code if report.facility and report.facility.code else sector,
        subject_id=f"{person.given} {person.family}".strip(),
        roles=_roles(person),
        resource_id=report.patient.ins.cx,
        secret_connection=secret_connection,
    )


def _roles(person: Professional) -> tuple[Role, ...]:
    """Labels are those of the report: `Médecin - Radio-diagnostic (SM)` names both."""
    label, _, know_how = (person.code.label if person.code else "").partition(" - ")
    roles = [Role(person.profession, PROFESSIONS, label)]
    if person.specialty:
        system = PHARMACY_SECTIONS if person.profession == PHARMACIST else KNOW_HOW
        roles.append(Role(person.specialty, system, know_how))
    return tuple(roles)
