"""What a VIHF states of a person who signed in by Pro Santé Connect: INDIRECTE_RENFORCEE mode (vihf.md § 3.3).

The situation is the one chosen (`psc_claims.choose_situation`): its structure is one that the box signs for. Labels are
left out: the claims carry codes only, and the DMP judges codes.
"""

from passevue.document.patient import Ins
from passevue.errors import Refused
from passevue.national.psc_claims import Professional, Situation
from passevue.national.psc_token import IdToken
from passevue.national.vihf import (
    KNOW_HOW,
    NEED_SPECIALTY,
    PHARMACIST,
    PHARMACY_SECTIONS,
    PROFESSIONS,
    Mode,
    Role,
    VihfFacts,
)


def facts_of_person(
    person: Professional,
    situation: Situation,
    token: IdToken,
    ins: Ins | None = None,
    *,
    secret_connection: bool = False,
) -> VihfFacts:
    """What the VIHF of this person's request states; `ins` is the patient concerned, where one is.

    Raises:
        Refused: the directory gives no specialty where the DMP asks for one.
    """
    return VihfFacts(
        name_id=person.id_nat,
        structure_id=situation.structure_id,
        sector=situation.sector,
        subject_id=f"{situation.given} {situation.family}".strip(),
        roles=_roles(situation),
        resource_id=ins.cx if ins is not None else "",
        secret_connection=secret_connection,
        mode=Mode.INDIRECTE_RENFORCEE,
        authenticated_at=token.authenticated_at.timestamp(),
    )


def _roles(situation: Situation) -> tuple[Role, ...]:
    """Profession, then know-how, or the pharmacist's section (vihf.md § 3.1)."""
    profession = Role(situation.profession, PROFESSIONS, "", "professions")
    if situation.profession == PHARMACIST and situation.pharmacy_section:
        return profession, Role(situation.pharmacy_section, PHARMACY_SECTIONS, "")
    if situation.know_how and situation.profession != PHARMACIST:
        return profession, Role(situation.know_how, KNOW_HOW, "", "specialites RPPS")
    if situation.profession in NEED_SPECIALTY:
        raise Refused(
            "SpecialtyMissing",
            "expected a specialty for this profession among the claims",
            hint="Pro Santé Connect ne donne pas votre spécialité : faites compléter l'Annuaire Santé.",
        )
    return (profession,)
