"""Who the patient is: INS, local identifiers and the strict traits, as the report's header gives them.

The INS (identité nationale de santé) is a matricule of 13 characters and a 2-digit key, and the OID that says which
realm it is of. A partial birth date is legal in an INS (cda-report.md § 3): it is kept as it came.
"""

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum

INS_NIR = "1.2.250.1.213.1.4.8"
INS_NIA = "1.2.250.1.213.1.4.9"
INS_NIR_TEST = "1.2.250.1.213.1.4.10"
INS_NIR_DEMONSTRATION = "1.2.250.1.213.1.4.11"
INS_OIDS = frozenset({INS_NIR, INS_NIA, INS_NIR_TEST, INS_NIR_DEMONSTRATION})

# Corsica's two departments have a letter in the sixth and seventh characters: 2A counts as 19, 2B as 18.
_MATRICULE = re.compile(r"(?P<head>\d{5}(?:\d{2}|2[AB])\d{6})(?P<key>\d{2})", re.ASCII)


class Realm(StrEnum):
    """Which world an INS is of; the same words as `box.realm` in the configuration."""

    PRODUCTION = "production"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Identifier:
    """HL7 v3 II: `root` is an OID or UUID, `extension` may be empty."""

    root: str
    extension: str = ""

    @property
    def text(self) -> str:
        """`root`, or `root^extension`: the form in which ids are compared and kept."""
        return f"{self.root}^{self.extension}" if self.extension else self.root

    def same_as(self, text: str) -> bool:
        """Whether `text` (`root` or `root^extension`) is this one; UUIDs and OIDs are compared without case."""
        root, _, extension = text.partition("^")
        return root.casefold() == self.root.casefold() and extension == self.extension


@dataclass(frozen=True, slots=True)
class Ins:
    """INS matricule and its OID."""

    value: str
    oid: str

    @property
    def issuer(self) -> str:
        """Namespace of PID-3.4.1 and of DICOM IssuerOfPatientID."""
        return "ASIP-SANTE-INS-NIA" if self.oid == INS_NIA else "ASIP-SANTE-INS-NIR"

    @property
    def cx(self) -> str:
        """XDS form: `279035121518989^^^&1.2.250.1.213.1.4.10&ISO^NH`."""
        return f"{self.value}^^^&{self.oid}&ISO^NH"

    @property
    def realm(self) -> Realm:
        return Realm.PRODUCTION if self.oid in (INS_NIR, INS_NIA) else Realm.TEST

    @property
    def complete(self) -> bool:
        """13 characters and 2 digits of key, whatever the key says."""
        return _MATRICULE.fullmatch(self.value) is not None

    @property
    def key_is_right(self) -> bool:
        """The key is 97 minus the remainder of the 13 characters by 97."""
        found = _MATRICULE.fullmatch(self.value)
        if found is None:
            return False
        head = found["head"].replace("2A", "19").replace("2B", "18")
        return int(found["key"]) == 97 - int(head) % 97


def ins_is_qualified(ins: tuple[str, str] | None, identity_reliability: str) -> bool:
    """Qualifiée: the message carries an INS and PID-32 says that the identity is validated (hl7v2.md § 3.3)."""
    return ins is not None and identity_reliability == "VALI"


@dataclass(frozen=True, slots=True)
class Patient:
    """The recordTarget of a report.

    Attributes:
        ins: None when the report carries none.
        local_ids: every other id, the first is the IPP.
        birth_given: first birth given name; `birth_given_names` the whole list, words separated by spaces.
        used_family, used_given: empty when there is none.
        sex: `M`, `F` or `U`.
        birth_date: digits of the HL7 date, 4, 6 or 8; empty when unknown.
        birth_place: INSEE code; `birth_city` its label.
    """

    ins: Ins | None
    local_ids: tuple[Identifier, ...] = ()
    birth_family: str = ""
    birth_given: str = ""
    birth_given_names: str = ""
    used_family: str = ""
    used_given: str = ""
    sex: str = "U"
    birth_date: str = ""
    birth_place: str = ""
    birth_city: str = ""

    @property
    def ipp(self) -> Identifier | None:
        return self.local_ids[0] if self.local_ids else None


def same_name(one: str, other: str) -> bool:
    """Whether two spellings are one name: case, accents, hyphens, apostrophes and runs of spaces do not count."""
    return _plain(one) == _plain(other)


def _plain(name: str) -> str:
    letters = unicodedata.normalize("NFKD", name.replace("œ", "oe").replace("Œ", "OE").replace("æ", "ae"))
    kept = "".join(" " if not char.isalnum() else char for char in letters if not unicodedata.combining(char))
    return " ".join(kept.casefold().split())


def first_given_is(patient: Patient, given: str) -> bool:
    """Whether `given` is the first birth given name.

    A list alone does not say where its first name ends: `JEAN PIERRE LOUIS` may begin with JEAN or JEAN PIERRE.
    """
    if same_name(patient.birth_given, given):
        return True
    names, first, asked = _plain(patient.birth_given_names), _plain(patient.birth_given), _plain(given)
    return asked.startswith(first + " ") and (names + " ").startswith(asked + " ")
