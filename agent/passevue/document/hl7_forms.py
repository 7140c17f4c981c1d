"""HL7 v2 data types as XDS metadata writes them: CX, XCN, XON (dmp-xds.md § 5.1).

Delimiters inside a value are escaped as HL7 v2 does, so that a name can never become another field.
"""

from passevue.document.header import Professional, Structure
from passevue.document.identifiers import valid_oid
from passevue.document.patient import Identifier
from passevue.intake.ris_values import Participant

PROFESSIONALS = "1.2.250.1.71.4.2.1"
STRUCTURES = "1.2.250.1.71.4.2.2"

_ESCAPES = str.maketrans({"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "~": "\\R\\", "&": "\\T\\"})


def escaped(text: str) -> str:
    return text.translate(_ESCAPES)


def cx(identifier: Identifier, type_code: str) -> str:
    """`IPP101^^^&1.2.250.1.213.4.5.2.4&ISO^PI`; an authority that is a UUID is said to be one (table 0301)."""
    kind = "ISO" if valid_oid(identifier.root) else "UUID"
    return f"{escaped(identifier.extension)}^^^&{identifier.root}&{kind}^{type_code}"


def xon(structure: Structure) -> str:
    """`name^^^^^&1.2.250.1.71.4.2.2&ISO^IDNST^^^id`."""
    return f"{escaped(structure.name)}^^^^^&{STRUCTURES}&ISO^IDNST^^^{escaped(structure.id)}"


def xcn(person: Professional) -> str:
    """A person, or the device that wrote the report: type `U`, its id one of the establishment's (`EI`)."""
    root = person.id_root or PROFESSIONALS
    if person.device:
        return f"{escaped(person.id)}^{escaped(person.device)}^^^^^^^&{root}&ISO^U^^^EI"
    kind = "IDNPS" if root == PROFESSIONALS else "EI"
    return f"{escaped(person.id)}^{escaped(person.family)}^{escaped(person.given)}^^^^^^&{root}&ISO^D^^^{kind}"


def xcn_of_participant(participant: Participant, source_id: str) -> str:
    """Who asked for the publication (PRT of role SB). `source_id` vouches for a device's id.

    PRT-5.13 says `RPPS` in samples whose id is a national one all the same; XDS knows that as `IDNPS`.
    """
    if not participant.person_id and participant.device_id:
        return f"{escaped(participant.device_id)}^^^^^^^^&{source_id}&ISO^U^^^EI"
    kind = participant.person_id_type
    kind = "IDNPS" if kind in ("", "RPPS", "IDNPS") else escaped(kind)
    name = f"{escaped(participant.family)}^{escaped(participant.given)}"
    return f"{escaped(participant.person_id)}^{name}^^^^^^&{PROFESSIONALS}&ISO^D^^^{kind}"
