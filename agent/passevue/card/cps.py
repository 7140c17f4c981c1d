"""A CPS as values: which card it is, whose, what it can do; and the decisions that need no card to be taken.

Facts (cps-card.md §§ 2, 3, 5):
- The ATR only says which card to try first: CPS3, CPS4 and the old CPS2ter share the run `00 12 25 00 64 80`. A card
  is a CPS when EF.SN.ICC says so: issuer `8025000001`, eight digits of number, a Luhn digit.
- EF_ACTUA is absent until the card's first update by its issuer. There but empty or half filled, the update broke off:
  the card is what it says, and must not be used.
- Whose card it is stands in its certificates, which are signed; the data objects repeat some of it, unsigned.

`repr` of these values shows no person: they may end up in a traceback.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cryptography import x509

from passevue.card import der
from passevue.errors import CardFault, UnknownCard

COMMON_RUN = bytes.fromhex("001225006480")
CONTACTLESS_HISTORY = bytes.fromhex("0031B86404B0ECC1739401808290 00")
_CPS2TER_VERSION = bytes.fromhex("8202")
ISSUER = "8025000001"
AID_CONTACT = bytes.fromhex("E828BD080F 8025000001 FF 0010")
AID_CONTACTLESS = bytes.fromhex("E828BD080F 8025000001 FF 0020")
LONGEST_ATR = 33  # ISO 7816-3 § 8.2.1


class Generation(StrEnum):
    CPS3 = "cps3"  # by its contacts: RSA with PKCS#1 v1.5 only
    CPS3_CONTACTLESS = "cps3-contactless"  # by the antenna: the technical key alone, no code
    CPS4 = "cps4"  # contacts: PKCS#1 v1.5 and PSS


class Category(StrEnum):
    """Table G01: a card is for production or for tests, never both."""

    PRODUCTION = "production"
    TEST = "test"


class CardType(StrEnum):
    """Table G02."""

    CPS = "CPS"  # professional
    CPF = "CPF"  # professional in training
    CPE = "CPE"  # staff of a structure
    CPA = "CPA"  # authorised staff


class KeyUse(StrEnum):
    """What a key of a card is for."""

    AUTH = "auth"  # authentication certificate: TLS, sign-in
    SIGN = "sign"  # signature certificate: non-repudiation
    TECH = "tech"  # technical certificate, by the antenna, without a code


class Padding(StrEnum):
    PKCS1 = "pkcs1"
    PSS = "pss"  # salt as long as the digest, MGF1 with the same hash; CPS4 only


@dataclass(frozen=True, slots=True, repr=False)
class Holder:
    """Whose card, by its certificates. `id_nat` is the prefixed national identifier (table G08) or structure/login
    for staff."""

    id_nat: str
    name: str
    given: str
    title: str
    profession: str  # table G15, e.g. "10"; "" when the certificate has none
    specialities: tuple[str, ...]  # know-how codes, e.g. SM44
    structure_id: str = ""  # OU, on staff cards

    def __repr__(self) -> str:
        return "Holder(…)"


@dataclass(frozen=True, slots=True, repr=False)
class Situation:
    """A situation d'exercice, readable after the code. `number` is its place on the card, 1 to 16, with holes."""

    number: int
    structure_name: str
    structure_id: str  # StructIdNat, prefix included
    sector: str  # table R02, e.g. SA08

    def __repr__(self) -> str:
        return f"Situation({self.number})"


@dataclass(frozen=True, slots=True)
class PinState:
    """A code's counter. None: the card does not say (a code that is verified is not counted on CPS4)."""

    tries_left: int | None
    tries_max: int | None = None
    uses_left: int | None = None  # of the unblocking code: how often it may still unblock
    verified: bool = False

    @property
    def blocked(self) -> bool:
        return self.tries_left == 0 or self.uses_left == 0


@dataclass(frozen=True, slots=True, repr=False)
class CpsKey:
    """A private key with its certificate, found by the identifier that both carry."""

    use: KeyUse
    id: bytes
    label: str
    reference: int
    usage: frozenset[int]
    bits: int
    needs_pin: bool
    certificate_label: str
    certificate: x509.Certificate

    def __repr__(self) -> str:
        return f"CpsKey({self.use}, {self.reference:02X})"


@dataclass(frozen=True, slots=True, repr=False)
class Cps:
    """Everything known of a card; complete when it exists. `situations` is None until the code was given."""

    generation: Generation
    number: str
    application: str
    card_type: CardType | None
    category: Category | None
    holder: Holder | None
    keys: tuple[CpsKey, ...]
    valid_from: datetime | None
    valid_until: datetime | None
    update_broken: bool
    updated_at: str  # YYYYMMDDhhmmss of the last update, "" when there was none
    pin: PinState | None  # None: the card has no code in this mode
    situations: tuple[Situation, ...] | None

    def __repr__(self) -> str:
        return f"Cps({self.generation}, {self.category})"

    def key(self, use: KeyUse) -> CpsKey | None:
        return next((each for each in self.keys if each.use is use), None)

    @property
    def authentication(self) -> CpsKey | None:
        return self.key(KeyUse.AUTH)

    @property
    def signature(self) -> CpsKey | None:
        return self.key(KeyUse.SIGN)

    @property
    def technical(self) -> CpsKey | None:
        return self.key(KeyUse.TECH)


# --- which card ------------------------------------------------------------------------------------------------------


def candidates(atr: bytes) -> tuple[Generation, ...]:
    """The generations to try, likeliest first.

    Raises:
        UnknownCard: no CPS answers with such an ATR.
    """
    history = historical_bytes(atr)
    if history == CONTACTLESS_HISTORY:
        return (Generation.CPS3_CONTACTLESS,)
    if COMMON_RUN not in history:
        raise UnknownCard(f"not the ATR of a CPS: {atr[:LONGEST_ATR].hex()}")
    version = _version(history)
    if b"\x04\x01" in version[:3]:
        return (Generation.CPS4, Generation.CPS3)
    return (Generation.CPS3, Generation.CPS4)


def unknown_card(atr: bytes) -> UnknownCard:
    """The words for a card whose ATR is a CPS's and which is none that we read."""
    if _version(historical_bytes(atr)).startswith(_CPS2TER_VERSION):
        hint = "Cette carte est une ancienne CPS (2ter), qui n’est plus lue : utilisez votre carte CPS actuelle."
        return UnknownCard("a CPS2ter card, out of use", hint=hint)
    return UnknownCard("the card has the ATR of a CPS and does not prove to be one")


def _version(history: bytes) -> bytes:
    return history.partition(COMMON_RUN)[2]


def historical_bytes(atr: bytes) -> bytes:
    """The historical bytes of an ATR (ISO 7816-3 § 8.2); empty when it makes no sense."""
    if not 2 <= len(atr) <= LONGEST_ATR:
        return b""
    at, more = 2, atr[1] >> 4
    while more:
        at += (more & 0x07).bit_count()
        if not more & 0x08:
            break
        if at >= len(atr):
            return b""
        more = atr[at] >> 4
        at += 1
    history = atr[at : at + (atr[1] & 0x0F)]
    return history if len(history) == atr[1] & 0x0F else b""


def card_number(serial: bytes) -> str:
    """The eight digits shown to people, out of EF.SN.ICC.

    Raises:
        UnknownCard: it is not the serial number of a CPS.
    """
    if len(serial) < 12 or serial[:2] != b"\x5a\x0a":
        raise UnknownCard("the card has no serial number of a CPS")
    digits = serial[2:12].hex().rstrip("f")
    if not digits.isdecimal() or len(digits) != 19 or not digits.startswith(ISSUER):
        raise UnknownCard("the card's issuer is not that of the CPS")
    if not _luhn(digits):
        raise UnknownCard("the check digit of the card's number is wrong")
    return digits[10:18]


def _luhn(digits: str) -> bool:
    """Whether the last digit checks the others (ISO/IEC 7812-1 annex B)."""
    doubled = [int(digit) * (1 + index % 2) for index, digit in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def update_state(actua: bytes | None) -> tuple[bool, str]:
    """Out of EF_ACTUA (None: absent): whether an update broke off, and when the last one ended."""
    if actua is None:
        return False, ""
    try:
        template = der.first(actua)
        start, end = template.find(0x81), template.find(0x82)
    except CardFault:
        return True, ""
    if template.tag != 0xEC or not _is_moment(start) or not _is_moment(end):
        return True, ""
    return False, end.value.hex() if end else ""


def _is_moment(found: der.Tlv | None) -> bool:
    """BCD YYYYMMDDhhmmss."""
    if found is None or len(found.value) != 7 or not found.value.hex().isdecimal():
        return False
    try:
        datetime.strptime(found.value.hex(), "%Y%m%d%H%M%S")
    except ValueError:
        return False
    return True
