"""Who is signed in at the box and lets one document be published in their own name.

A person at the page chooses an entry; from then on its next try speaks as that person and no longer as the structure
alone: `Publication` asks `InPerson.wanted(number)` when it builds, and `Registry` asks `of_person` at each request.

Rules:
- One consent is for one entry, and for as long as that person stays signed in: `leave` takes all of it back at once.
- An entry whose person left waits for them: it does not go in another name unasked. `settle` forgets that too: it is
  for who lets the entry go in the structure's name after all.
- Only the report's own legal authenticator may: `may_sign` decides.
- By card only: VIHF in DIRECTE mode, signed by the card's signature key, on a TLS connection of its authentication key.
  The DMP takes no publication in INDIRECTE_RENFORCEE mode (dmp-xds.md § 1.2): whoever signed in by Pro Santé Connect
  lets the entry go in the structure's name, and the audit trail says who did.
- Nothing here holds a code, a token or a key; what it holds stops working when the card or the session goes.

Facts: consents are in memory. After a restart what was signed by the card is held until the person agrees again; what
was not built yet goes in the structure's name, as every report does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from cryptography import x509

from passevue.card.cps_signer import CardKey
from passevue.card.signer import Signer
from passevue.document.header import Report
from passevue.errors import CredentialError, Refused
from passevue.national.psc_claims import Situation
from passevue.national.psc_face import PscPerson
from passevue.national.vihf import Mode, VihfFacts


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
    psc: PscPerson | None = None

    @property
    def signs(self) -> Signer:
        """
        Raises:
            CredentialError: nothing of this person's signs: by Pro Santé Connect, or a card without that key.
        """
        if self.signer is None:
            raise CredentialError(
                "the card has no signature key", hint="Cette carte ne permet pas de signer : publiez avec une autre."
            )
        return self.signer

    @property
    def chain(self) -> Sequence[x509.Certificate]:
        return ()

    async def open_tls(self) -> CardKey:
        """
        Raises:
            CredentialError: the card has no such key.
        """
        if self.tls_key is None:
            raise CredentialError(
                "the card has no authentication key",
                hint="Cette carte ne permet pas d’ouvrir la connexion au DMP : publiez avec une autre.",
            )
        return self.tls_key


class Consents(Protocol):
    """What the page asks of whoever keeps the consents: `InPerson` itself, or its stand-in in another process."""

    @property
    def reaches(self) -> bool:
        """Whether anybody is there now who publishes."""
        ...

    def check(self, by: PersonalSigner) -> None:
        """Whether anything may be published in the name of `by`.

        Raises:
            Refused: `not-by-psc`. ZoneAway: who publishes is away.
        """
        ...

    async def agree(self, number: int, by: PersonalSigner) -> None:
        """The next try of entry `number` is in the name of `by`, known to who publishes. Raises as `check`."""
        ...

    def of(self, number: int) -> PersonalSigner | None:
        """In whose name entry `number` goes; None: the structure's, as ever."""
        ...

    async def take_back(self, number: int) -> None:
        """Entry `number` goes in the structure's name after all."""
        ...

    def leave(self, by: PersonalSigner) -> None:
        """`by` has left: nothing more goes in their name."""
        ...


class InPerson:
    """The consents of one box, where they are used. The page of another process reaches it by `zones.in_person`."""

    reaches = True

    def __init__(self) -> None:
        self._chosen: dict[int, PersonalSigner] = {}
        self._left: set[int] = set()  # entries whose person left before they were done
        self._told: list[Callable[[PersonalSigner], None]] = []
        self._told_settled: list[Callable[[int], None]] = []

    def on_leave(self, told: Callable[[PersonalSigner], None]) -> None:
        """`told` is called whenever somebody leaves, at once."""
        self._told.append(told)

    def on_settled(self, told: Callable[[int], None]) -> Callable[[], None]:
        """`told` is called whenever a consent has ended; gives what ends that."""
        self._told_settled.append(told)
        return lambda: self._told_settled.remove(told)

    def choose(self, number: int, by: PersonalSigner) -> None:
        """The next try of entry `number` is in the name of `by`. Raises as `check`."""
        self.check(by)
        self._chosen[number] = by
        self._left.discard(number)

    async def agree(self, number: int, by: PersonalSigner) -> None:
        self.choose(number, by)

    async def take_back(self, number: int) -> None:
        self.settle(number)

    def check(self, by: PersonalSigner) -> None:
        """
        Raises:
            Refused: `not-by-psc`.
        """
        check_mode(by)

    def of(self, number: int) -> PersonalSigner | None:
        """In whose name entry `number` goes; None: the structure's, as ever."""
        return self._chosen.get(number)

    def wanted(self, number: int) -> PersonalSigner | None:
        """As `of`, for who is about to build it.

        Raises:
            CredentialError: whoever asked for it in their name has left: the entry is held.
        """
        if number in self._left:
            raise _gone()
        return self._chosen.get(number)

    def of_person(self, id_nat: str, number: int | None) -> PersonalSigner:
        """Who speaks for entry `number`, which was made in the name of `id_nat`.

        Raises:
            CredentialError: that person is not signed in any more, or has not agreed again: the entry is held.
        """
        one = self._chosen.get(number) if number is not None else None
        if one is None or one.id_nat != id_nat:
            raise _gone()
        return one

    def settle(self, number: int) -> None:
        """Entry `number` is done, or goes in the structure's name after all: the consent ends with it."""
        self._left.discard(number)
        if self._chosen.pop(number, None) is not None:
            for told in tuple(self._told_settled):
                told(number)

    def leave(self, by: PersonalSigner) -> None:
        """`by` has left: nothing more goes in their name."""
        self._left.update(number for number, one in self._chosen.items() if one is by)
        self._chosen = {number: one for number, one in self._chosen.items() if one is not by}
        for told in self._told:
            told(by)


def check_mode(by: PersonalSigner) -> None:
    """
    Raises:
        Refused: `not-by-psc`: not by card.
    """
    if by.mode is not Mode.DIRECTE:
        raise Refused(
            "not-by-psc",
            "the DMP takes no publication in INDIRECTE_RENFORCEE mode",
            hint="Le DMP ne prend une publication en votre nom que par carte CPS.",
        )


def _gone() -> CredentialError:
    return CredentialError(
        "the person in whose name this goes has left",
        hint="La personne au nom de qui cette demande part n’est plus là : qu’elle remette sa carte, se connecte, "
        "et publie de nouveau.",
    )


def may_sign(report: Report, id_nat: str) -> bool:
    """Whether `id_nat` answers for `report`: its legal authenticator, else its author (vihf.md § 3.4)."""
    person = report.legal_authenticator or report.author
    return person is not None and bool(person.id) and person.id.casefold() == id_nat.casefold()


def direct_facts(facts: VihfFacts, by: PersonalSigner, number: int) -> VihfFacts:
    """What the VIHF of entry `number` states when `by` speaks with their card: `facts` of the report, in DIRECTE mode.

    Roles keep the report's labels and specialty; the card must prove the same profession. Structure and sector are
    those of the card's situation (vihf.md § 1.1).

    Raises:
        Refused: `profession-differs`.
    """
    if by.situation.profession != facts.roles[0].code:
        raise Refused(
            "profession-differs",
            "the card proves another profession than the report states",
            hint="Votre carte et le compte rendu n’indiquent pas la même profession : corrigez-la dans le RIS.",
        )
    return replace(
        facts,
        name_id=by.id_nat,
        structure_id=by.situation.structure_id,
        sector=by.situation.sector or facts.sector,
        mode=Mode.DIRECTE,
        consent=number,
    )
