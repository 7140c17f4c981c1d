"""Every error of the box, in one tree split by whose side failed.

The class decides whether to try again, never the text. A library's errors become ours in the one module that imports
the library. Raising does not log; the owner of the loop logs once.

    BoxError
      ConfigError              the box refuses to start and says which key
      StoreError               our own disk or database failed: nothing may be acknowledged
        NoRoom                 the volume is full, or nearly: intake says no
        Damaged                a page, a row or an object is not what was written
      CabinetError             RIS, modality or PACS sent what we cannot take: answered in its own protocol
        Hl7Error               with the AE/AR code, ERR location and table 0357 code to answer
        DicomError             with the DIMSE status to answer
      CredentialError          a key, certificate, token or sign-in is not usable now: entries are held, no try is burnt
        CardError              a card or its reader needs a person
          CardAbsent           no reader, no card, or it was pulled
          UnknownCard          not a card that the box works with
          CardFault            it answers nonsense, too much, too slowly or not at all
          PinNeeded            its holder's code was not given, or not in its form
            PinWrong           it was given, and is wrong: `tries_left`
            LastTry            one try is left: only on the person's own word
            PinBlocked         none is left: the unblocking code, or another card
        SignInError            Pro Santé Connect names nobody (any more): the person signs in again, or someone acts
      TraceError               the audit trail takes no record: nothing national until it does, entries are held
      Unsound                  a rule of the baseline shuts the national side: entries are held until it opens
      NetworkError             no answer came: stays in the queue, tried again
        ZoneAway               another zone of this box does not answer: it restarts, and is asked again
        InDoubt                the request left whole and no answer was understood: look up before sending again
        StudyAbsent            the PACS does not have the study yet: asked again, set aside after some days
        Failing                the far side answered with a failure of its own that may pass: bounded tries
      Refused                  the far side said no, with its code: set aside for a person, never retried blindly
      NotOnListeBlanche        the peer is unknown: answered 403, audited
      TrustError               a signature, hash or seal is wrong: fail closed, never retried
      Unreadable               bytes from outside are not what they claim to be, or pass a bound: the reader's caller
                               says what that means to the sender

Messages say what was expected and what came, and never hold an identity: they reach logs and the status page.
`hint` is one French sentence for the person at the box.
"""

from enum import StrEnum


class BoxError(Exception):
    """Root of the tree. `message` is technical English for the log, `hint` plain French for the page."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(BoxError):
    """A setting is missing or wrong. `key` is its dotted path in the configuration file."""

    def __init__(self, key: str, message: str, *, hint: str = "") -> None:
        super().__init__(f"{key}: {message}", hint=hint)
        self.key = key


class StoreError(BoxError):
    """The disk or the database failed: what was under way is not acknowledged."""


class NoRoom(StoreError):
    """The volume of the queue has no room left for new work (reliability § 5)."""


class Damaged(StoreError):
    """Something read back is not what was written."""


class CabinetError(BoxError):
    """A neighbour inside the centre sent what the box cannot take."""


class Ack(StrEnum):
    """HL7 v2 acknowledgement codes, MSA-1, table 0008 (original mode)."""

    AA = "AA"  # taken in: the box now answers for it
    AE = "AE"  # the message itself is wrong: sending it again as it is, is useless
    AR = "AR"  # refused for a circumstance: may be sent again later


class Hl7Error(CabinetError):
    """What to answer to an HL7 v2 message that is not taken.

    Attributes:
        ack: `AE` or `AR`.
        code: table 0357 (ERR-3), e.g. 101 required field missing.
        location: ERR-2, e.g. `PID^1^3`; empty when unknown.
        application_code: table 0533 (ERR-5), e.g. 904; None when there is none.
    """

    def __init__(
        self, code: int, message: str, *, ack: Ack = Ack.AE, location: str = "", application_code: int | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.ack = ack
        self.location = location
        self.application_code = application_code


class DicomError(CabinetError):
    """What to answer to a DIMSE request that is not carried out: `status` is (0000,0900), e.g. 0xA700."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class CredentialError(BoxError):
    """A key, certificate, token or sign-in cannot be used now; the entry is held and no try is burnt (Q-14)."""


class CardError(CredentialError):
    """The card or its reader needs a person; each kind has a French `hint` of its own when none is given."""

    usual_hint = "La carte ou son lecteur demande une intervention."

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint or self.usual_hint)


class CardAbsent(CardError):
    """No reader, no card in it, or the card was pulled while at work: nothing of it is kept."""

    usual_hint = "Insérez votre carte dans le lecteur, puce vers l’avant, et laissez-la en place."


class UnknownCard(CardError):
    """A card that is none of CPS3 and CPS4."""

    usual_hint = "Cette carte n’est pas une carte CPS utilisable ici : insérez votre carte CPS."


class CardFault(CardError):
    """The card or the reader answered what makes no sense, passed a bound, or did not answer."""

    usual_hint = "La carte ne répond pas correctement : retirez-la, essuyez la puce et remettez-la."


class PinNeeded(CardError):
    """The code porteur must be typed, in its form, before this can be done."""

    usual_hint = "Tapez le code à quatre chiffres de votre carte."


class PinWrong(PinNeeded):
    """The code given is not the card's. `tries_left` is what the card says after it."""

    def __init__(self, message: str, tries_left: int, *, hint: str = "") -> None:
        plural = "s" if tries_left > 1 else ""
        super().__init__(message, hint=hint or f"Code faux : il reste {tries_left} essai{plural}.")
        self.tries_left = tries_left


class LastTry(PinNeeded):
    """One try is left: the code is not sent unless the person says so; nothing was sent."""

    usual_hint = "Il ne reste qu’un essai avant le blocage : ne continuez que si vous êtes sûr de votre code."


class PinBlocked(PinNeeded):
    """No try is left."""

    usual_hint = "Le code de la carte est bloqué : débloquez-le avec votre code de déblocage."


class SignInError(CredentialError):
    """Pro Santé Connect names nobody, or no longer does. `code` is its own word, or ours, stable and greppable."""

    def __init__(self, code: str, message: str, *, hint: str = "") -> None:
        super().__init__(f"{code}: {message}", hint=hint)
        self.code = code


class TraceError(BoxError):
    """The audit trail takes no record: nothing national may happen (LOG-01); the entry is held, no try is burnt."""


class Unsound(BoxError):
    """The box cannot say that it is sound, or says that it is not: the national side stays shut (APP-01); the entry is
    held, no try is burnt."""


class NetworkError(BoxError):
    """No answer came, or the far side is overloaded: same content again, later.

    `retry_after_s` is the far side's own wish (HTTP Retry-After), None when it gave none.
    """

    def __init__(self, message: str, *, hint: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class ZoneAway(NetworkError):
    """Another process of this box, the one of another trust zone, is not there or does not answer."""

    usual_hint = "Une partie du boîtier redémarre : réessayez dans un instant."

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint or self.usual_hint)


class InDoubt(NetworkError):
    """The request left whole, and no answer was understood: the far side may or may not have acted (Q-06)."""


class StudyAbsent(NetworkError):
    """The PACS, which did answer, does not have the study yet: asked again until `queue.absent_study_h` have passed."""


class Failing(NetworkError):
    """The far side answered with a general failure (`XDSRegistryError`, HTTP 500 without a body): same content again.

    Five times in a row with the same `code` and the entry is set aside (dmp-xds.md § 10, "T bounded").
    """

    def __init__(self, code: str, message: str, *, hint: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(f"{code}: {message}", hint=hint, retry_after_s=retry_after_s)
        self.code = code


class Refused(BoxError):
    """The far side, or our own checks, said no. `code` is stable and greppable, e.g. `XDSUnknownPatientId`."""

    def __init__(self, code: str, message: str, *, hint: str = "") -> None:
        super().__init__(f"{code}: {message}", hint=hint)
        self.code = code


class NotOnListeBlanche(BoxError):
    """The peer's certificate is not on the liste blanche."""


class TrustError(BoxError):
    """A signature, hash, certificate or seal is wrong."""


class Unreadable(BoxError):
    """Bytes from outside are not what they claim to be, or pass a bound (reliability § 8)."""
