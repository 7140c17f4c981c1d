"""What one virtual card is: its generation, its holder, its codes, and what is odd about it. Values only.

    Profile()                                              # a CPS3 in its holder's hand, all in order
    Profile(kind=Kind.CPS4, pin="4711", update=Update.EMPTY)

Facts of cps-card.md §§ 2, 5, 7; people and structures are invented (test RPPS start with 8997).
"""

from dataclasses import dataclass, field
from enum import StrEnum

ISSUER = "8025000001"  # EF.SN.ICC of every CPx card starts with it (§ 3)


class Kind(StrEnum):
    CPS3 = "cps3"  # IAS-ECC by its contacts, T=0
    CPS3_CONTACTLESS = "cps3-contactless"  # the same by the antenna, T=1
    CPS4 = "cps4"  # ChipDoc, logical channel 1
    CPS2TER = "cps2ter"  # older: its ATR looks like a CPS3's, nothing else does
    FOREIGN = "foreign"  # a bank card, a badge: knows no CPS command


class Update(StrEnum):
    """EF_ACTUA, which the issuer writes around each update of a card (§ 3)."""

    NEVER = "never"  # the file is absent
    DONE = "done"  # start and end are there
    HALF = "half"  # start only: the update broke off
    EMPTY = "empty"  # nothing: the update broke off earlier


ATR = {
    Kind.CPS3: "3BAC00402A001225006480000310009000",
    Kind.CPS3_CONTACTLESS: "3B8F80010031B86404B0ECC1739401808290000E",
    Kind.CPS4: "3BDC18FF00001225006480000401009000",
    Kind.CPS2TER: "3BAC00402A001225006480820212009000",
    Kind.FOREIGN: "3B6500002063CB6800",
}
CPS4_OTHER_ATRS = ("3B9B188001001225006480040100009044", "3B9B188001001225006480000401009044")  # T=0 and T=1


@dataclass(frozen=True, slots=True)
class Situation:
    """One situation d'exercice: where, and in which sector (table R02)."""

    name: str
    structure_id: str
    sector: str


EMPTIED = Situation("", "", "")  # its file is there, nothing is in it


@dataclass(frozen=True, slots=True)
class Holder:
    """A professional. `id_nat` is 8 + RPPS, `profession` of table G15, `know_how` the specialities."""

    id_nat: str = "899700367909"
    family: str = "RADIOLOGUE"
    given: str = "CAMILLE"
    title: str = "Médecin"
    profession: int = 10
    know_how: tuple[str, ...] = ("SM44",)
    languages: str = "fr"
    situations: tuple[Situation | None, ...] = (  # None is a hole: neither file nor entry
        Situation("CABINET DE RADIOLOGIE DU PORT", "10B0127189", "SA08"),
        None,
        Situation("CENTRE HOSPITALIER DES FALAISES", "10B0184569", "SA01"),
    )


@dataclass(frozen=True, slots=True)
class Profile:
    """Everything that makes one card differ from another."""

    kind: Kind = Kind.CPS3
    holder: Holder = field(default_factory=Holder)
    number: str = "99213845"  # the eight digits printed on the card
    issuer: str = ISSUER
    category: str = "test"  # or "production"
    pin: str = "1234"
    pin_tries: int = 3
    unblocking_code: str = "87654321"
    unblocking_tries: int = 3  # not known of real cards
    unblocking_uses: int = 5  # the counter 9D: at 0 the card cannot be unblocked any more
    update: Update = Update.NEVER
    start: str = "20250115"
    end: str = "20280115"
    contactless_first: bool = True  # in EF.DIR
    short_read_warns: bool = False  # 62 82 with what there is, instead of 6C xx, when more is read than the file has
    own_atr: str = ""

    @property
    def atr(self) -> bytes:
        return bytes.fromhex(self.own_atr or ATR[self.kind])

    @property
    def contactless(self) -> bool:
        return self.kind is Kind.CPS3_CONTACTLESS

    @property
    def serial_number(self) -> bytes:
        """EF.SN.ICC: `5A 0A`, issuer, card number, Luhn digit, `F`."""
        digits = self.issuer + self.number
        return bytes.fromhex("5A0A" + digits + luhn_digit(digits) + "F")


def luhn_digit(digits: str) -> str:
    """The check digit that makes `digits` + it pass (ISO/IEC 7812-1 annex B)."""
    total = 0
    for index, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 if index % 2 else 2)
        total += value - 9 if value > 9 else value
    return str(-total % 10)
