"""Who is signed in at the box and lets one document be published in their own name.

A person at the page chooses an entry; from then on its next try speaks as that person and no longer as the structure
alone: `Publication` asks `InPerson.of(number)` when it builds, and whoever writes a VIHF asks `of_person(name_id)`.

Rules:
- One consent is for one entry, and for as long as that person stays signed in: `leave` takes all of it back at once.
- Only the report's own legal authenticator may: `may_sign` decides.
- Nothing here holds a code, a token or a key; what it holds stops working when the card or the session goes.

By card the VIHF is in DIRECTE mode, signed by the card's signature key, on a TLS connection of its authentication key;
by Pro Santé Connect it is in INDIRECTE_RENFORCEE mode, signed by the structure's (vihf.md § 1.1).
"""

from dataclasses import dataclass
from datetime import datetime

from passevue.card.cps_signer import CardKey
from passevue.card.signer import Signer
from passevue.document.header import Report
from passevue.errors import CredentialError
from passevue.national.psc_claims import Situation
from passevue.national.psc_session import PscSession
from passevue.national.vihf import Mode


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class PersonalSigner:
    """One signed-in person, as the national side needs them.

    Attributes:
        situation: the one chosen: its structure is one that the box has certificates for.
        authenticated_at: AuthnInstant.
        signer: the card's signature key in DIRECTE mode; None in INDIRECTE_RENFORCEE, where the structure's signs.
        tls_key: the card's authentication key in DIRECTE mode.
        psc: the session whose claims are stated in INDIRECTE_RENFORCEE mode.
    """

    id_nat: str
    mode: Mode
    situation: Situation
    authenticated_at: datetime
    signer: Signer | None = None
    tls_key: CardKey | None = None
    psc: PscSession | None = None


class InPerson:
    """The consents of one box. One process: what a card holds cannot be handed to another."""

    def __init__(self) -> None:
        self._chosen: dict[int, PersonalSigner] = {}

    def choose(self, number: int, by: PersonalSigner) -> None:
        """The next try of entry `number` is in the name of `by`."""
        self._chosen[number] = by

    def of(self, number: int) -> PersonalSigner | None:
        """In whose name entry `number` goes; None: the structure's, as ever."""
        return self._chosen.get(number)

    def of_person(self, id_nat: str) -> PersonalSigner:
        """
        Raises:
            CredentialError: that person is not signed in any more: the entry is held.
        """
        for one in self._chosen.values():
            if one.id_nat == id_nat:
                return one
        raise CredentialError(
            "the person in whose name this goes has left",
            hint="La personne au nom de qui cette demande part n’est plus connectée : qu’elle se reconnecte.",
        )

    def settle(self, number: int) -> None:
        """Entry `number` is done: the consent with it."""
        self._chosen.pop(number, None)

    def leave(self, by: PersonalSigner) -> None:
        """`by` has left: nothing more goes in their name."""
        self._chosen = {number: one for number, one in self._chosen.items() if one is not by}


def may_sign(report: Report, id_nat: str) -> bool:
    """Whether `id_nat` answers for `report`: its legal authenticator, else its author (vihf.md § 3.4)."""
    person = report.legal_authenticator or report.author
    return person is not None and bool(person.id) and person.id.casefold() == id_nat.casefold()
