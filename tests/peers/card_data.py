"""What a CPS says of its holder in its data objects (cps-card.md § 7).

Known: the labels, who may read them, the files of CPS_DATA and of the situations, the tags of a situation, that
CPS_INFO_PS ends with the know-how code. Not known, and chosen here: the other tags and files. A reader must therefore
take its identity from the certificates, and read these leniently.
"""

from dataclasses import dataclass

from . import card_der as der
from .card_files import Access
from .card_profile import EMPTIED, Profile, Situation
from .pki_persons import ORIGIN_BYTE

FIRST_SITUATION = 0xD120
SITUATIONS = 16


@dataclass(frozen=True, slots=True)
class DataObject:
    label: str
    fid: int
    content: bytes
    private: bool = False
    write: Access = Access.NEVER


def data_objects(profile: Profile) -> tuple[DataObject, ...]:
    holder = profile.holder
    free = (
        DataObject("CPS_ID_CARD", 0xD101, id_card(profile)),
        DataObject("CPS_NAME_PS", 0xD102, der.tlv(0xE2, _text(0x81, holder.family), _text(0x82, holder.given))),
        DataObject("CPS_LANG_PS", 0xD103, der.tlv(0x5F2D, holder.languages.encode())),
        DataObject("CPS_INFO_PS", 0xD104, info_ps(profile)),
        DataObject("CPS_DATA", 0xD107, bytes(64), write=Access.PIN),
    )
    return free + tuple(
        DataObject(f"CPS_ACTIVITY_{number:02}_PS", FIRST_SITUATION + number - 1, situation(found), private=True)
        for number, found in enumerate(holder.situations[:SITUATIONS], 1)
        if found is not None
    )


def id_card(profile: Profile) -> bytes:
    return der.tlv(
        0xE1,
        der.tlv(0x80, bytes.fromhex(profile.issuer + profile.number)),
        der.tlv(0x81, b"\x00"),  # G02: CPS
        der.tlv(0x82, bytes([ORIGIN_BYTE[profile.category]])),  # G01
        der.tlv(0x83, bytes.fromhex(profile.start)),
        der.tlv(0x84, bytes.fromhex(profile.end)),
    )


def info_ps(profile: Profile) -> bytes:
    holder = profile.holder
    return der.tlv(
        0xE4,
        _text(0x80, holder.id_nat),
        _text(0x81, f"{holder.profession}"),
        _text(0x82, holder.know_how[0] if holder.know_how else ""),
    )


def situation(found: Situation) -> bytes:
    if found == EMPTIED:
        return b""
    return der.tlv(0xEE, _text(0x84, found.name), _text(0x85, found.structure_id), _text(0x86, found.sector))


def _text(tag: int, text: str) -> bytes:
    return der.tlv(tag, text.encode())
