"""The ISO 7816-15 side of a CPS: which files an application has and what stands in them (cps-card.md §§ 3, 5, 6, 7).

Facts kept from real cards:
- the AODF, byte for byte, with its two BIT STRINGs that no DER allows; the CDF has them too;
- a certificate's path is two bytes, relative to the application; others are absolute;
- a key's path is empty, its reference is a local one (bit 8 set) on CPS3;
- the token names six algorithms by reference.
What is not known of real cards and chosen here: the identifiers of PrKDF, DODF and of the free data objects, the
contents of TokenInfo beside its algorithms, what the contactless application holds beside its key and certificate.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from . import card_der as der
from .card_data import DataObject, data_objects
from .card_files import MF, Access, Directory, File, Path, Tree
from .card_profile import Kind, Profile, Update
from .pki_persons import CardKeys

MF_NAME = bytes.fromhex("80250000 01FF0100")
AID_CONTACT = bytes.fromhex("E828BD080F 8025000001 FF 0010")
AID_CONTACTLESS = bytes.fromhex("E828BD080F 8025000001 FF 0020")
CONTACT: Path = (*MF, 0x0001)
CONTACTLESS: Path = (*MF, 0x0002)
ODF, TOKEN_INFO, AODF, PRKDF, CDF, DODF = 0x5031, 0x5032, 0x7001, 0x7002, 0x7005, 0x7006
CPS_DATA = 0xD107

# Named bits (ISO/IEC 7816-15 § 8.3, 8.4, 8.9).
PRIVATE, MODIFIABLE = 0, 1
EXECUTE, PSO_CDS, PSO_DEC, INT_AUTH = 2, 5, 7, 9
DECRYPT, SIGN, NON_REPUDIATION = 1, 2, 9
SENSITIVE, ALWAYS_SENSITIVE, NEVER_EXTRACT = 0, 2, 3

EF_ATR = bytes.fromhex(
    "80 43 01 B8 46 04 04 B0 EC C1 47 03 94 01 80 4F 08 80 25 00 00 01 FF 01 00"
    "E0 10 02 02 01 04 02 02 01 04 02 02 01 00 02 02 01 00 78 08 06 06 2B 81 22 F8 78 02 82 02 90 00"
)


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """One private key and its certificate as the PrKDF and the CDF name them."""

    id: bytes
    reference: int
    key_label: str
    certificate_label: str
    certificate_file: int
    certificate: bytes
    usage: tuple[int, ...]
    flags: tuple[int, ...] = (PRIVATE,)
    needs_pin: bool = True


def key_entries(profile: Profile, keys: CardKeys) -> dict[Path, tuple[KeyEntry, ...]]:
    """The keys of each application, in the order of the card."""
    cps4 = profile.kind is Kind.CPS4
    signature = KeyEntry(
        AID_CONTACT + bytes([0x10 if cps4 else 0x01]),
        0x10 if cps4 else 0x81,
        "CPS_PRIV_SIG",
        "Certificat de Signature CPS",
        0xA001,
        keys.signature.der,
        (NON_REPUDIATION,),
    )
    authentication = KeyEntry(
        AID_CONTACT + bytes([0x20 if cps4 else 0x02]),
        0x20 if cps4 else 0x82,
        "CPS_PRIV_AUT",
        "Certificat d'Authentification CPS",
        0xA002,
        keys.authentication.der,
        (DECRYPT, SIGN),
        (PRIVATE, MODIFIABLE, 2),
    )
    technical = KeyEntry(
        AID_CONTACT + b"\x03",
        0x83,
        "CPS_PRIV_TECH_AUT",
        "Certificat Technique CPS",
        0xA003,
        keys.technical.der,
        (SIGN,),
        needs_pin=False,
    )
    contact: dict[Path, tuple[KeyEntry, ...]] = {CONTACT: (signature, authentication)}
    return contact if cps4 else contact | {CONTACTLESS: (technical,)}


def file_tree(profile: Profile, keys: CardKeys) -> Tree:
    """All files of the card."""
    tree = Tree()
    tree.add(MF, Directory(MF_NAME))
    tree.add((*MF, 0x2F00), _system(ef_dir(profile), 0x1E))
    tree.add((*MF, 0x2F01), _system(EF_ATR, 0x1D))
    tree.add((*MF, 0xD003), File(bytearray(profile.serial_number), 0x1C))
    if profile.update is not Update.NEVER:
        tree.add((*MF, 0xD010), File(bytearray(ef_actua(profile)), write=Access.ISSUER))
    for directory, entries in key_entries(profile, keys).items():
        _add_application(tree, directory, profile, entries)
    return tree


def _system(content: bytes, sfi: int) -> File:
    return File(bytearray(content), sfi, write=Access.ISSUER, delete=Access.ISSUER)


def _add_application(tree: Tree, directory: Path, profile: Profile, entries: Sequence[KeyEntry]) -> None:
    contact = directory == CONTACT
    hidden = Access.NEVER if contact else Access.ALWAYS
    objects = data_objects(profile) if contact else ()

    def put(fid: int, content: bytes, read: Access = Access.ALWAYS, write: Access = Access.NEVER) -> None:
        tree.add((*directory, fid), File(bytearray(content), read=read, write=write, contactless=hidden))

    tree.add(directory, Directory(AID_CONTACT if contact else AID_CONTACTLESS))
    put(ODF, odf(directory, contact))
    put(TOKEN_INFO, token_info(profile))
    put(PRKDF, b"".join(private_key_entry(entry) for entry in entries))
    put(CDF, b"".join(certificate_entry(entry) for entry in entries))
    for entry in entries:
        put(entry.certificate_file, entry.certificate)
    if contact:
        put(AODF, aodf())
        put(DODF, b"".join(data_entry(directory, item) for item in objects))
    for item in objects:
        put(item.fid, item.content, Access.PIN if item.private else Access.ALWAYS, item.write)


def ef_dir(profile: Profile) -> bytes:
    contact = _application(AID_CONTACT, "CPS", CONTACT)
    contactless = _application(AID_CONTACTLESS, "CPS ss contact", CONTACTLESS)
    if profile.kind is Kind.CPS4:
        return contact
    return contactless + contact if profile.contactless_first else contact + contactless


def _application(aid: bytes, label: str, path: Path) -> bytes:
    return der.tlv(
        0x61,
        der.tlv(0x4F, aid),
        der.tlv(0x50, label.encode()),
        der.tlv(0x51, _path_bytes(path)),
        der.tlv(0x73, der.tlv(0x4F, aid)),
    )


def ef_actua(profile: Profile) -> bytes:
    start = der.tlv(0x81, bytes.fromhex("20260301083000"))
    end = der.tlv(0x82, bytes.fromhex("20260301083112"))
    parts = {Update.DONE: start + end, Update.HALF: start + der.tlv(0x82)}
    return der.tlv(0xEC, parts[profile.update]) if profile.update in parts else b""


def odf(directory: Path, contact: bool) -> bytes:
    """EF.OD: which directory file holds what ([0] keys, [4] certificates, [7] data, [8] codes)."""
    parts = [(0, PRKDF), (4, CDF)] + ([(7, DODF), (8, AODF)] if contact else [])
    return b"".join(der.context(number, _path((*directory, fid))) for number, fid in parts)


def token_info(profile: Profile) -> bytes:
    serial = bytes.fromhex(profile.issuer + profile.number)
    return der.sequence(
        der.integer(1),
        der.octets(serial),
        der.utf8("ASIP SANTE"),
        der.tlv(0x80, f"CPS {profile.number}".encode()),
        der.bits(1),  # login required
        der.context(2, *(_algorithm(*row) for row in _ALGORITHMS)),
    )


_COMPUTE_SIGNATURE, _DECIPHER, _HASH = 1, 5, 6
_ALGORITHMS = (  # reference, PKCS #11 mechanism, operation, OID, the card's own number
    (1, 0x220, _HASH, "1.3.14.3.2.26", 0x10),
    (2, 0x250, _HASH, "2.16.840.1.101.3.4.2.1", 0x40),
    (3, 0x06, _COMPUTE_SIGNATURE, "1.2.840.113549.1.1.5", 0x12),
    (4, 0x40, _COMPUTE_SIGNATURE, "1.2.840.113549.1.1.11", 0x42),
    (5, 0x01, _COMPUTE_SIGNATURE, "1.2.840.113549.1.1.1", 0x02),
    (6, 0x01, _DECIPHER, "1.2.840.113549.1.1.1", 0x1A),
)


def _algorithm(reference: int, mechanism: int, operation: int, oid: str, own: int) -> bytes:
    return der.sequence(
        der.integer(reference), der.integer(mechanism), der.NULL, der.bits(operation), der.oid(oid), der.integer(own)
    )


def aodf() -> bytes:
    return _code(
        "Code porteur de la carte CPX",
        1,
        der.tlv(0x03, bytes.fromhex("040C10")),  # initialized, needs-padding, exchangeRefData
        common=der.octets(b"\x02") + _rules_of_codes(),
        lengths=(4, 8, 4),
    ) + _code(
        "Code de deblocage de la carte CPX",
        4,
        der.tlv(0x03, bytes.fromhex("041D10")),  # the same + unblock-disabled, soPassword
        common=_rules_of_codes(),
        lengths=(8, 8, 8),
        reference=2,
    )


def _rules_of_codes() -> bytes:
    """Who may do what with a code: read always, verify always, change with code 4."""
    return der.sequence(
        der.sequence(der.tlv(0x03, bytes.fromhex("0520")), der.NULL),
        der.sequence(der.tlv(0x03, bytes.fromhex("0640")), der.NULL),
        der.sequence(der.tlv(0x03, bytes.fromhex("0308")), der.octets(b"\x04")),
    )


def _code(label: str, identifier: int, flags: bytes, *, common: bytes, lengths: tuple[int, int, int],
          reference: int = 1) -> bytes:  # fmt: skip
    least, stored, most = lengths
    return der.sequence(
        der.sequence(der.utf8(label), der.EMPTY_BITS, common),
        der.sequence(der.octets(bytes([identifier]))),
        der.context(
            1,
            der.sequence(
                flags,
                der.enumerated(1),  # ascii-numeric
                der.integer(least),
                der.integer(stored),
                der.integer(most),
                der.tlv(0x80, bytes([reference])),
                der.octets(b"\xff"),  # what it is padded with
            ),
        ),
    )


def private_key_entry(entry: KeyEntry) -> bytes:
    modes = {SIGN: INT_AUTH, DECRYPT: PSO_DEC, NON_REPUDIATION: PSO_CDS}
    rules = [der.sequence(der.bits(modes[use]), der.octets(b"\x01")) for use in entry.usage]
    common = [der.utf8(entry.key_label), der.bits(*entry.flags)]
    if entry.needs_pin:
        common += [der.octets(b"\x01"), der.sequence(*rules)]
    return der.sequence(
        der.sequence(*common),
        der.sequence(
            der.octets(entry.id),
            der.bits(*entry.usage),
            der.bits(SENSITIVE, ALWAYS_SENSITIVE, NEVER_EXTRACT),
            der.integer(entry.reference),
        ),
        der.context(1, der.sequence(der.sequence(der.octets(b"")), der.integer(2048))),
    )


def certificate_entry(entry: KeyEntry) -> bytes:
    path = der.sequence(der.octets(entry.certificate_file.to_bytes(2, "big")))
    return der.sequence(
        der.sequence(der.utf8(entry.certificate_label), der.ZERO_BITS),
        der.sequence(der.octets(entry.id)),
        der.context(1, der.sequence(path)),
    )


def data_entry(directory: Path, item: DataObject) -> bytes:
    common = [der.utf8(item.label)]
    if item.private:
        common += [der.bits(PRIVATE), der.octets(b"\x01")]
    elif item.write is Access.PIN:
        common += [der.bits(MODIFIABLE), der.octets(b"\x01")]
    else:
        common += [der.EMPTY_BITS]
    return der.sequence(
        der.sequence(*common),
        der.sequence(der.utf8("CPS")),
        der.context(1, _path((*directory, item.fid))),
    )


def _path(path: Path) -> bytes:
    return der.sequence(der.octets(_path_bytes(path)))


def _path_bytes(path: Path) -> bytes:
    return b"".join(fid.to_bytes(2, "big") for fid in path)
