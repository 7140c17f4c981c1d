"""What an answer of the DMP means for the entry: a table of codes, one of texts, one of HTTP statuses. No I/O.

Sources: dmp-xds.md § 10 and reliability.md § 6. Codes are classified before texts. A text of the far side is only
matched, never repeated: it may hold an identity. What is not in the tables is tried again some times, then refused.

Facts: a mutation is a request that may have changed the registry (ITI-41, ITI-57); a query is never in doubt.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NoReturn

from passevue.errors import CredentialError, Failing, InDoubt, NetworkError, Refused
from passevue.national.soap import Element, Fault
from passevue.national.xds import RS

_STATUS = "urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:"
SUCCESS = f"{_STATUS}Success"
FAILURE = f"{_STATUS}Failure"
PARTIAL_SUCCESS = "urn:ihe:iti:2007:ResponseStatusType:PartialSuccess"
_WARNING = "urn:oasis:names:tc:ebxml-regrep:ErrorSeverityType:Warning"


class Verdict(IntEnum):
    """What one code asks for; with several codes the highest wins."""

    LATER = 1  # overloaded: same content, back-off (class T)
    UNSURE = 2  # generic: some tries, then refused (class T bounded)
    CHECK = 3  # it may be there already: look up (class S)
    STALE = 4  # the target moved: look its entryUUID up again, once more (class F)
    CREDENTIAL = 5  # certificate, VIHF or clock: held
    REFUSED = 6  # definitive: a person (class D)


CODES: dict[str, Verdict] = {
    "XDSRegistryBusy": Verdict.LATER,
    "XDSRepositoryBusy": Verdict.LATER,
    "XDSRegistryNotAvailable": Verdict.LATER,
    "XDSRegistryOutOfResources": Verdict.LATER,
    "XDSRepositoryOutOfResources": Verdict.LATER,
    "XDSRegistryError": Verdict.UNSURE,
    "XDSRepositoryError": Verdict.UNSURE,
    "XDSDuplicateUniqueIdInRegistry": Verdict.CHECK,
    "XDSReplaceFailed": Verdict.STALE,
    "XDSRegistryDeprecatedDocumentError": Verdict.STALE,
    "XDSUnresolvedReferenceException": Verdict.STALE,
    "UnresolvedReferenceException": Verdict.STALE,
    "XDSMetadataVersionError": Verdict.STALE,
    "XDSRegistryMetadataError": Verdict.REFUSED,
    "XDSRepositoryMetadataError": Verdict.REFUSED,
    "XDSUnknownPatientId": Verdict.REFUSED,
    "XDSPatientIdDoesNotMatch": Verdict.REFUSED,
    "XDSNonIdenticalHash": Verdict.REFUSED,
    "XDSNonIdenticalSize": Verdict.REFUSED,
    "XDSMissingDocument": Verdict.REFUSED,
    "XDSMissingDocumentMetadata": Verdict.REFUSED,
    "XDSMetadataUpdateError": Verdict.REFUSED,
    "XDSPatientIDReconciliationError": Verdict.REFUSED,
    "XDSMetadataUpdateOperationError": Verdict.REFUSED,
    "XDSUnknownStoredQuery": Verdict.REFUSED,
    "XDSStoredQueryMissingParam": Verdict.REFUSED,
    "XDSStoredQueryParamNumber": Verdict.REFUSED,
    "XDSResultNotSinglePatient": Verdict.REFUSED,
    "XDSTooManyResults": Verdict.REFUSED,
    "XDSUnknownRepositoryId": Verdict.REFUSED,
    "XDSDocumentUniqueIdError": Verdict.REFUSED,
    "DMPInvalidCertificate": Verdict.CREDENTIAL,
    "DMPClosed": Verdict.REFUSED,
    "DMPNotFound": Verdict.REFUSED,
    "Unauthorized": Verdict.REFUSED,
}


@dataclass(frozen=True, slots=True)
class Text:
    """A text of the DMP that says more than its code: our own stable name for it, and what a person can do."""

    pattern: re.Pattern[str]
    code: str
    verdict: Verdict
    hint: str


def _text(pattern: str, code: str, verdict: Verdict, hint: str) -> Text:
    return Text(re.compile(pattern, re.IGNORECASE), code, verdict, hint)


TEXTS: tuple[Text, ...] = (
    _text(
        r"not a valid signature certificate", "DMPInvalidCertificate", Verdict.CREDENTIAL,
        "Le certificat de signature n'est pas un certificat ORG SIGN : vérifiez la structure dans la configuration.",
    ),
    _text(
        r"vihf.*(expir|futur)|(expir|futur).*(vihf|assertion)", "VihfClock", Verdict.CREDENTIAL,
        "Le DMP refuse l'heure de la demande : vérifiez l'horloge du boîtier.",
    ),
    _text(
        r"erreur d.authentification de la personne morale", "StructureNotCertificate", Verdict.REFUSED,
        "L'identifiant de la structure n'est pas celui du certificat : vérifiez la configuration.",
    ),
    _text(
        r"aucun authorinstitution ne correspond", "AuthorInstitution", Verdict.REFUSED,
        "La structure auteur du lot n'est pas celle qui envoie : vérifiez la structure dans le compte rendu.",
    ),
    _text(
        r"structure introuvable ou inactive", "StructureUnknown", Verdict.REFUSED,
        "La structure est inconnue ou inactive dans l'annuaire santé : vérifiez son identifiant et son secteur.",
    ),
    _text(
        r"ps et structure non li", "ProfessionalNotInStructure", Verdict.REFUSED,
        "L'annuaire santé ne rattache pas ce professionnel à cette structure.",
    ),
    _text(
        r"aucune sp.cialit", "SpecialtyMissing", Verdict.REFUSED,
        "La spécialité du médecin manque dans le compte rendu.",
    ),
    _text(
        r"dmp.*(ferm|inexist|absent)|(aucun|pas de) dmp", "DMPClosed", Verdict.REFUSED,
        "Ce patient n'a pas de DMP ouvert : le document ne peut pas y être publié.",
    ),
    _text(
        r"(acc.s|non).*autoris|bloqu", "AccessNotAuthorised", Verdict.REFUSED,
        "Le DMP refuse cet accès : le patient ou l'habilitation s'y oppose.",
    ),
)  # fmt: skip

HINTS: dict[str, str] = {
    "XDSUnknownPatientId": "Le DMP ne connaît pas cet INS : vérifiez l'identité du patient (identitovigilance).",
    "XDSPatientIdDoesNotMatch": "L'INS du document n'est pas celui de la demande : identitovigilance.",
    "XDSNonIdenticalHash": "Un document différent porte déjà cet identifiant : prévenez l'assistance.",
    "XDSReplaceFailed": "Le document à remplacer n'est plus à jour dans le DMP.",
    "DMPInvalidCertificate": "Le DMP refuse le certificat de signature : vérifiez la structure dans la configuration.",
}
_NO_HINT = "Le DMP a refusé le document : transmettez le code à l'assistance."


@dataclass(frozen=True, slots=True)
class Finding:
    """One error of an answer, in our words."""

    code: str
    verdict: Verdict
    hint: str


def judge(code: str, text: str) -> Finding:
    """One code and its text."""
    known = CODES.get(code)
    if known not in (None, Verdict.UNSURE):
        return Finding(code, known, HINTS.get(code, _NO_HINT))
    for candidate in TEXTS:
        if candidate.pattern.search(text[:1000]):
            return Finding(candidate.code, candidate.verdict, candidate.hint)
    return Finding(_safe(code), Verdict.UNSURE, _NO_HINT)


def _safe(code: str) -> str:
    """A far side's code as it may be shown: letters only, or it could carry anything."""
    return code if re.fullmatch(r"[A-Za-z]{1,60}", code) else "UnknownCode"


@dataclass(frozen=True, slots=True)
class RegistryResponse:
    """`status` is the full URN; `findings` are the errors, `warnings` the codes of mere warnings."""

    status: str
    findings: tuple[Finding, ...]
    warnings: tuple[str, ...]


def read_registry_response(payload: Element) -> RegistryResponse:
    """Any ebRS response: RegistryResponse, AdhocQueryResponse."""
    findings: list[Finding] = []
    warnings: list[str] = []
    for error in payload.iterfind(f"{{{RS}}}RegistryErrorList/{{{RS}}}RegistryError"):
        code = error.get("errorCode", "").strip()
        if error.get("severity", "") == _WARNING:
            warnings.append(_safe(code))
        else:
            findings.append(judge(code, error.get("codeContext", "")))
    return RegistryResponse(payload.get("status", ""), tuple(findings), tuple(warnings))


def raise_for_fault(fault: Fault, *, mutation: bool) -> NoReturn:
    finding = judge(fault.subcode, fault.reason)
    if finding.verdict is Verdict.UNSURE:
        finding = judge(fault.code, fault.reason)
        # A fault of unknown meaning blamed on us is definitive; one of the receiver may come after it acted.
        if finding.verdict is Verdict.UNSURE and fault.code == "Sender":
            finding = Finding(_safe(fault.subcode or "Sender"), Verdict.UNSURE, _NO_HINT)
        elif finding.verdict is Verdict.UNSURE and mutation:
            raise InDoubt(f"SOAP fault {_safe(fault.code)}")
    raise_for_findings((finding,))


def raise_for_findings(findings: Sequence[Finding]) -> NoReturn:
    """The error that the gravest of them stands for."""
    gravest = max(findings, key=lambda finding: finding.verdict)
    codes = ", ".join(dict.fromkeys(finding.code for finding in findings))
    if gravest.verdict is Verdict.LATER:
        raise NetworkError(f"the DMP is overloaded: {codes}")
    if gravest.verdict is Verdict.UNSURE:
        raise Failing(gravest.code, "the DMP failed without saying why")
    if gravest.verdict is Verdict.CHECK:
        raise MayBeThere(f"the DMP may have it already: {codes}", code=gravest.code)
    if gravest.verdict is Verdict.CREDENTIAL:
        raise CredentialError(f"the DMP refuses our credentials: {codes}", hint=gravest.hint)
    if gravest.verdict is Verdict.STALE:
        raise StaleTarget(gravest.code, "the target is no longer current", hint=gravest.hint)
    raise Refused(gravest.code, "refused by the DMP", hint=gravest.hint)


class MayBeThere(InDoubt):
    """It says it has our identifiers. Again and again while a look-up finds nothing: refused."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class StaleTarget(Refused):
    """The entryUUID of the target is not the current one: look it up and try once more, then it is a plain refusal."""


@dataclass(frozen=True, slots=True)
class HttpRule:
    """`doubt`: a mutation may have been carried out before this status came."""

    doubt: bool
    definitive: bool = False


HTTP_STATUSES: dict[int, HttpRule] = {
    400: HttpRule(False, definitive=True),
    401: HttpRule(False),
    403: HttpRule(False),
    404: HttpRule(False, definitive=True),
    405: HttpRule(False, definitive=True),
    413: HttpRule(False, definitive=True),
    415: HttpRule(False, definitive=True),
    429: HttpRule(False),
    500: HttpRule(True),
    502: HttpRule(True),
    503: HttpRule(True),
    504: HttpRule(True),
}
_OTHER_STATUS = HttpRule(True)


def raise_for_status(status: int, retry_after_s: float | None, *, mutation: bool) -> NoReturn:
    """An HTTP status other than 200 whose body is not SOAP; redirects are never followed and say nothing."""
    rule = HTTP_STATUSES.get(status, _OTHER_STATUS)
    if rule.definitive:
        raise Refused(f"HTTP{status}", "the DMP refuses the form of the request", hint=_NO_HINT)
    if status in (401, 403):
        raise CredentialError(
            f"HTTP {status}: the DMP refuses the connection's certificate",
            hint="Le DMP refuse le certificat de connexion : vérifiez les certificats de la structure.",
        )
    kind = InDoubt if mutation and rule.doubt else NetworkError
    raise kind(f"HTTP {status} without a SOAP answer", retry_after_s=retry_after_s)
