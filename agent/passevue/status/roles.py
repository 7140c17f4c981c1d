"""Who stands before the page, and what that lets them do: values and one table.

Whoever does not sign in sees counters (the secretary's view). A practitioner is a person, proved by the CPS or by Pro
Santé Connect; the site admin is whoever holds the local password, and sees no patient.
"""

from dataclasses import dataclass
from enum import StrEnum

from passevue.national.psc_claims import Situation


class Role(StrEnum):
    PRACTITIONER = "practitioner"
    ADMIN = "admin"


class Method(StrEnum):
    """How they proved it; a session is bound to it."""

    CARD = "card"  # CPS in the reader of this box, with its code
    BROWSER = "psc-browser"  # Pro Santé Connect, authorization code flow
    PHONE = "psc-phone"  # Pro Santé Connect, e-CPS asked by the box (CIBA)
    PASSWORD = "password"  # noqa: S105 - the local account


class Right(StrEnum):
    """One thing that may be done on the page."""

    SEE_ENTRIES = "see-entries"
    SEE_PATIENT = "see-patient"
    RETRY = "retry"
    RELEASE = "release"
    CLOSE = "close"
    PUBLISH = "publish"  # in one's own name
    SEE_SETTINGS = "see-settings"


RIGHTS = {
    Role.PRACTITIONER: frozenset({Right.SEE_ENTRIES, Right.SEE_PATIENT, Right.RETRY, Right.RELEASE, Right.PUBLISH}),
    Role.ADMIN: frozenset({Right.SEE_ENTRIES, Right.RETRY, Right.RELEASE, Right.CLOSE, Right.SEE_SETTINGS}),
}


@dataclass(frozen=True, slots=True, repr=False)
class Person:
    """A professional who signed in. `situations` are those in a structure of this box, and may be none."""

    id_nat: str
    family: str
    given: str
    profession: str  # TRE_G15, `10` is a doctor
    situations: tuple[Situation, ...]

    @property
    def name(self) -> str:
        return f"{self.given} {self.family}".strip()
