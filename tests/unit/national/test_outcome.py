"""Every code of dmp-xds.md § 10 and reliability § 6, and the class of error that it becomes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from passevue.errors import BoxError, CredentialError, Failing, InDoubt, NetworkError, Refused
from passevue.national import outcome
from passevue.national.outcome import CODES, MayBeThere, StaleTarget, Verdict
from passevue.national.soap import Fault
from passevue.national.xds import RS

CLASSES: dict[Verdict, type[BoxError]] = {
    Verdict.LATER: NetworkError,
    Verdict.UNSURE: Failing,
    Verdict.CHECK: MayBeThere,
    Verdict.STALE: StaleTarget,
    Verdict.CREDENTIAL: CredentialError,
    Verdict.REFUSED: Refused,
}


@pytest.mark.parametrize("code", CODES)
def test_each_code_becomes_the_class_of_its_verdict(code: str) -> None:
    with pytest.raises(BoxError) as raised:
        outcome.raise_for_findings([outcome.judge(code, "")])
    assert type(raised.value) is CLASSES[CODES[code]]


@pytest.mark.parametrize(
    ("text", "kind", "code"),
    [
        ("Not a valid signature certificate", CredentialError, "DMPInvalidCertificate"),
        ("VIHF expired", CredentialError, "VihfClock"),
        ("VIHF issued in the future", CredentialError, "VihfClock"),
        ("Erreur d'authentification de la personne morale", Refused, "StructureNotCertificate"),
        ("Erreur d’authentification de la personne morale", Refused, "StructureNotCertificate"),
        ("Aucun AuthorInstitution ne correspond à l'utilisateur du VIHF", Refused, "AuthorInstitution"),
        ("Structure introuvable ou inactive", Refused, "StructureUnknown"),
        ("PS et structure non liés", Refused, "ProfessionalNotInStructure"),
        ("Aucune spécialité dans le VIHF", Refused, "SpecialtyMissing"),
        ("Le DMP est fermé", Refused, "DMPClosed"),
        ("Accès non autorisé", Refused, "AccessNotAuthorised"),
    ],
)
def test_texts_say_more_than_a_generic_code(text: str, kind: type[BoxError], code: str) -> None:
    for raise_it in (
        lambda: outcome.raise_for_findings([outcome.judge("XDSRegistryError", text)]),
        lambda: outcome.raise_for_fault(Fault("Sender", "x", text), mutation=True),
        lambda: outcome.raise_for_fault(Fault("Receiver", "", text), mutation=False),
    ):
        with pytest.raises(kind, match=code) as raised:
            raise_it()
        assert raised.value.hint


def test_a_known_code_is_not_overruled_by_a_text() -> None:
    assert outcome.judge("XDSRegistryBusy", "Accès non autorisé").verdict is Verdict.LATER


def test_the_gravest_of_several_counts() -> None:
    findings = [outcome.judge(code, "") for code in ("XDSRegistryBusy", "XDSDuplicateUniqueIdInRegistry")]
    with pytest.raises(InDoubt):
        outcome.raise_for_findings(findings)
    with pytest.raises(Refused, match="XDSNonIdenticalHash"):
        outcome.raise_for_findings([*findings, outcome.judge("XDSNonIdenticalHash", "")])


def test_an_unknown_fault_of_the_receiver_leaves_a_mutation_in_doubt_only() -> None:
    with pytest.raises(InDoubt):
        outcome.raise_for_fault(Fault("Receiver", "", "boom"), mutation=True)
    with pytest.raises(NetworkError) as raised:
        outcome.raise_for_fault(Fault("Receiver", "", "boom"), mutation=False)
    assert not isinstance(raised.value, InDoubt)
    with pytest.raises(Failing):
        outcome.raise_for_fault(Fault("Sender", "Odd", "boom"), mutation=True)


@pytest.mark.parametrize(
    ("status", "mutation", "kind"),
    [
        (400, True, Refused),
        (401, True, CredentialError),
        (403, True, CredentialError),
        (404, True, Refused),
        (405, True, Refused),
        (415, True, Refused),
        (429, True, NetworkError),
        (500, True, InDoubt),
        (502, True, InDoubt),
        (503, True, InDoubt),
        (504, True, InDoubt),
        (302, True, InDoubt),
        (204, True, InDoubt),
        (500, False, NetworkError),
        (503, False, NetworkError),
        (302, False, NetworkError),
    ],
)
def test_http_statuses(status: int, mutation: bool, kind: type[BoxError]) -> None:
    with pytest.raises(BoxError) as raised:
        outcome.raise_for_status(status, 12.0, mutation=mutation)
    assert type(raised.value) is kind
    if isinstance(raised.value, NetworkError):
        assert raised.value.retry_after_s == 12.0


@given(st.text(max_size=80), st.text(max_size=200))
def test_nothing_of_the_far_sides_text_is_repeated(code: str, text: str) -> None:
    """It may hold an identity: only codes made of letters, and our own words, are shown."""
    finding = outcome.judge(code, f"{text} 162018885045327 PAT-SIX")
    with pytest.raises(BoxError) as raised:
        outcome.raise_for_findings([finding])
    shown = str(raised.value) + raised.value.hint
    assert "162018885045327" not in shown
    assert "PAT-SIX" not in shown
    assert finding.code.isascii()
    assert finding.code.isalpha()


def test_warnings_are_told_apart_from_errors() -> None:
    severity = "urn:oasis:names:tc:ebxml-regrep:ErrorSeverityType:"
    payload = etree.fromstring(
        f'<r:RegistryResponse xmlns:r="{RS}" status="{outcome.SUCCESS}"><r:RegistryErrorList>'
        f'<r:RegistryError errorCode="XDSExtraMetadataNotSaved" severity="{severity}Warning"/>'
        f'<r:RegistryError errorCode="XDSRegistryBusy" severity="{severity}Error"/>'
        '<r:RegistryError errorCode="XDSRegistryError"/>'
        "</r:RegistryErrorList></r:RegistryResponse>"
    )
    response = outcome.read_registry_response(payload)
    assert response.warnings == ("XDSExtraMetadataNotSaved",)
    assert [one.code for one in response.findings] == ["XDSRegistryBusy", "XDSRegistryError"]
