"""Who signed in: the claims of Pro Santé Connect as frozen values, and the situations a person may act in (§ 8).

Rules:
- Any list may be empty and any string absent: a student or a substitute has no structure. What has another type than
  the claim's is refused, not guessed.
- One person may have several professions (`exercices`), each with several places (`activities`). The two together are
  a `Situation`: what a VIHF states. Only one whose structure the box holds certificates for can be chosen.
- Nothing here prints itself: these are identities.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

from passevue.errors import SignInError, TrustError, Unreadable
from passevue.national.psc_json import strings, text

MAX_EXERCICES = 32
MAX_ACTIVITIES = 128
_LONGEST = 400


@dataclass(frozen=True, slots=True, repr=False)
class Activity:
    """One place of work, as the directory has it; "" where it does not say."""

    sector: str  # codeSecteurDactivite, SA07 and the like
    mode: str  # codeModeExercice: L liberal, S employed
    pharmacy_section: str  # codeSectionPharmacien, TRE_G05
    structure_id: str  # ancienIdentifiantDeLaStructure: StructIdNat
    siret: str
    finess: str
    name: str  # raisonSocialeSite, else enseigneCommercialeSite

    @property
    def structure_ids(self) -> tuple[str, ...]:
        """Every StructIdNat that this place goes by, the directory's own first (vihf.md § 3.3)."""
        built = ("3" + self.siret if self.siret else "", "1" + self.finess if self.finess else "")
        return tuple(dict.fromkeys(one for one in (self.structure_id, *built) if one))


@dataclass(frozen=True, slots=True, repr=False)
class Exercice:
    """One profession of the person, with the name used in it."""

    profession: str  # codeProfession, TRE_G15
    category: str  # codeCategorieProfessionnelle: C civil, E student, M military
    know_how_type: str
    know_how: str  # codeSavoirFaire, TRE_R38, R01…
    family: str
    given: str
    activities: tuple[Activity, ...]


@dataclass(frozen=True, slots=True, repr=False)
class Professional:
    """A person as Pro Santé Connect knows them."""

    sub: str
    id_nat: str  # SubjectNameID: 8 and RPPS
    family: str
    given: str
    palier: str  # Palier_Authentification
    roles: tuple[str, ...]  # SubjectRole, `<code>^1.2.250.1.213.1.1.5.5`
    sector: str  # Secteur_Activite, without its code system
    structure_id: str  # SubjectOrganizationID, when there is one only
    structure_name: str
    exercices: tuple[Exercice, ...]


@dataclass(frozen=True, slots=True, repr=False)
class Situation:
    """In what capacity, and for which structure, a person acts now."""

    structure_id: str
    structure_name: str
    sector: str
    profession: str
    know_how: str
    pharmacy_section: str
    family: str
    given: str


def read_professional(claims: Mapping[str, Any]) -> Professional:
    """The person in a userinfo answer.

    Raises:
        SignInError: nobody is named.
        TrustError: two different people are.
        Unreadable: a claim has another type than its own, or passes a bound.
    """
    sub = text(claims, "sub", _LONGEST)
    if not sub:
        raise Unreadable("expected sub among the claims")
    reference = _object(claims, "SubjectRefPro")
    return Professional(
        sub=sub,
        id_nat=_id_nat(claims, sub),
        family=text(claims, "family_name", _LONGEST),
        given=text(claims, "given_name", _LONGEST),
        palier=text(claims, "Palier_Authentification", _LONGEST).partition("^")[0],
        roles=strings(claims, "SubjectRole"),
        sector=text(claims, "Secteur_Activite", _LONGEST).partition("^")[0],
        structure_id=text(claims, "SubjectOrganizationID", _LONGEST),
        structure_name=text(claims, "SubjectOrganization", _LONGEST),
        exercices=tuple(_exercice(one) for one in _objects(reference, "exercices", MAX_EXERCICES)),
    )


def _id_nat(claims: Mapping[str, Any], sub: str) -> str:
    """Every claim that names the person names the same one; Keycloak writes user names in lower case."""
    kind, _, rest = sub.partition(":")
    named = [text(claims, "SubjectNameID", _LONGEST), text(claims, "preferred_username", _LONGEST)]
    named.append(rest.rpartition(":")[2] if kind == "f" else "")
    said = [one for one in named if one]
    if not said:
        raise SignInError(
            "no_identity",
            "no national identifier among the claims",
            hint="Pro Santé Connect n'a pas donné votre identifiant national : contactez son support.",
        )
    if len({one.casefold() for one in said}) > 1:
        raise TrustError(
            "the claims name two people", hint="La réponse de Pro Santé Connect se contredit : reconnectez-vous."
        )
    return said[0]


def _exercice(found: Mapping[str, Any]) -> Exercice:
    return Exercice(
        profession=text(found, "codeProfession", _LONGEST),
        category=text(found, "codeCategorieProfessionnelle", _LONGEST),
        know_how_type=text(found, "codeTypeSavoirFaire", _LONGEST),
        know_how=text(found, "codeSavoirFaire", _LONGEST),
        family=text(found, "nomDexercice", _LONGEST),
        given=text(found, "prenomDexercice", _LONGEST),
        activities=tuple(_activity(one) for one in _objects(found, "activities", MAX_ACTIVITIES)),
    )


def _activity(found: Mapping[str, Any]) -> Activity:
    return Activity(
        sector=text(found, "codeSecteurDactivite", _LONGEST),
        mode=text(found, "codeModeExercice", _LONGEST),
        pharmacy_section=text(found, "codeSectionPharmacien", _LONGEST),
        structure_id=text(found, "ancienIdentifiantDeLaStructure", _LONGEST),
        siret=text(found, "numeroSiretSite", _LONGEST),
        finess=text(found, "numeroFinessSite", _LONGEST),
        name=text(found, "raisonSocialeSite", _LONGEST) or text(found, "enseigneCommercialeSite", _LONGEST),
    )


def _object(found: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = found.get(name) or {}
    if not isinstance(value, dict):
        raise Unreadable(f"expected an object in {name}")
    return value


def _objects(found: Mapping[str, Any], name: str, most: int) -> list[Mapping[str, Any]]:
    value = found.get(name) or []
    if not isinstance(value, list) or len(value) > most or not all(isinstance(one, dict) for one in value):
        raise Unreadable(f"expected at most {most} objects in {name}")
    return value


# Situations


def usable_situations(person: Professional, held: Container[str]) -> tuple[Situation, ...]:
    """Every situation of `person` in a structure of `held` (StructIdNat that the box has certificates for)."""
    found = [
        _situation(person, exercice, activity, structure_id)
        for exercice in person.exercices
        for activity in exercice.activities
        for structure_id in activity.structure_ids
        if structure_id in held
    ]
    if not found and person.structure_id in held:
        found = [_only_situation(person, exercice) for exercice in person.exercices]
    return tuple(dict.fromkeys(one for one in found if one.profession and one.sector))


def choose_situation(situations: tuple[Situation, ...], structure_id: str = "") -> Situation | None:
    """The one situation meant: in `structure_id` when the call names it, else the only one. None: the person chooses.

    Raises:
        SignInError: none is possible.
    """
    wanted = [one for one in situations if not structure_id or one.structure_id == structure_id]
    if not wanted:
        raise SignInError(
            "no_situation",
            "no exercise situation in a structure of this box",
            hint="L'annuaire ne vous connaît aucune activité dans une structure de ce boîtier : vérifiez votre "
            "situation auprès de l'Annuaire Santé, ou les certificats du boîtier.",
        )
    return wanted[0] if len(wanted) == 1 else None


def _situation(person: Professional, exercice: Exercice, activity: Activity, structure_id: str) -> Situation:
    return Situation(
        structure_id=structure_id,
        structure_name=activity.name,
        sector=activity.sector,
        profession=exercice.profession,
        know_how=exercice.know_how,
        pharmacy_section=activity.pharmacy_section,
        family=exercice.family or person.family,
        given=exercice.given or person.given,
    )


def _only_situation(person: Professional, exercice: Exercice) -> Situation:
    """From the claims that name the structure when it is unique (§ 8)."""
    place = Activity(person.sector, "", "", person.structure_id, "", "", person.structure_name)
    return _situation(person, exercice, place, person.structure_id)
