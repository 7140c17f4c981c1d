"""Audit records of people at the page: sign-in, sign-out, what they looked at and did (PS3.15 A.5.3, LOG-02).

Who is the professional's IdNat, or `site-admin`. A refused sign-in names nobody: who failed is not who they say.
"""

from datetime import datetime

from passevue.status.audit import (
    APPLICATION,
    APPLICATION_ACTIVITY,
    Act,
    Code,
    Event,
    Outcome,
    Participant,
    Subject,
    entry,
    ours,
)
from passevue.status.roles import Method

_AUTHENTICATION = Code("110114", "DCM", "User Authentication")
_LOGIN = Code("110122", "DCM", "Login")
_LOGOUT = Code("110123", "DCM", "Logout")
_PATIENT_RECORD = Code("110110", "DCM", "Patient Record")


def signed_in(at: datetime, who: str, method: Method, where: str) -> Event:
    return Event(_AUTHENTICATION, _LOGIN, Act.EXECUTE, Outcome.SUCCESS, at, _by(who, where), said=method.value)


def sign_in_refused(at: datetime, method: Method, where: str, why: str) -> Event:
    said = f"{method.value}: {why}"
    return Event(_AUTHENTICATION, _LOGIN, Act.EXECUTE, Outcome.MINOR, at, _by("unknown", where), said=said)


def signed_out(at: datetime, who: str, method: Method, why: str) -> Event:
    said = f"{method.value}: {why}"
    return Event(_AUTHENTICATION, _LOGOUT, Act.EXECUTE, Outcome.SUCCESS, at, _by(who, ""), said=said)


def entry_looked_at(at: datetime, who: str, number: int, where: str, patients: tuple[Subject, ...]) -> Event:
    """A professional saw whose examination an entry is about."""
    kind = ours("entry-show", "A person looked at an entry")
    subjects = (*patients, entry(number))
    return Event(_PATIENT_RECORD, kind, Act.READ, Outcome.SUCCESS, at, _by(who, where), subjects)


def account_changed(at: datetime, what: str, where: str, who: str = "site-admin") -> Event:
    """The local account was claimed, its password changed, or the box's keeper `who` made it nobody's again."""
    kind = ours(f"account-{what}", f"Local account: {what}")
    return Event(APPLICATION_ACTIVITY, kind, Act.UPDATE, Outcome.SUCCESS, at, _by(who, where))


def _by(who: str, where: str) -> tuple[Participant, ...]:
    return (Participant(who, requestor=True, address=where), Participant("passevue", role=APPLICATION))
