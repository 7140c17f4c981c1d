"""What a card says it holds: EF.DIR, then the object directory of one application (ISO/IEC 7816-15).

    chosen = application(files.read(EF_DIR), aid)
    held = read_application(files, chosen)  ->  Pkcs15(keys, certificates, codes, data)

Nothing below the application is known beforehand: every file is found from EF.ODF. The application is chosen by its
AID, never by its place in EF.DIR (cps-card.md § 3). Paths come in both forms, absolute (3F00 …) and relative to the
application.

Entries of a kind that is not known are passed over, as are those without what identifies them; a file that is not made
of whole values is a `CardFault`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from passevue.card import der
from passevue.card.der import Tlv
from passevue.errors import CardFault

MF = b"\x3f\x00"
EF_DIR = MF + b"\x2f\x00"
EF_ODF = b"\x50\x31"  # relative to the application (ISO/IEC 7816-15 § 7.5.4)
LONGEST_PATH = 16


class Usage(IntEnum):
    """Named bits of KeyUsageFlags that matter here (ISO/IEC 7816-15 § 8.4.1)."""

    DECRYPT = 1
    SIGN = 2
    NON_REPUDIATION = 9


class PinFlag(IntEnum):
    """Named bits of PasswordFlags (ISO/IEC 7816-15 § 8.9.2)."""

    NEEDS_PADDING = 5
    UNBLOCKING = 6
    SO_PIN = 7


class Files(Protocol):
    """Reads a whole file by its absolute path; None when it is not there or may not be read now."""

    def read(self, path: bytes) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class Application:
    aid: bytes
    label: str
    path: bytes


@dataclass(frozen=True, slots=True)
class Key:
    """A private key. `reference` is what MANAGE SECURITY ENVIRONMENT takes; `auth_id` the code that opens it, or
    empty."""

    id: bytes
    label: str
    reference: int
    usage: frozenset[int]
    bits: int
    auth_id: bytes


@dataclass(frozen=True, slots=True)
class Certificate:
    """Where a certificate is, or itself when the directory holds it (`content`)."""

    id: bytes
    label: str
    path: bytes
    authority: bool = False
    content: bytes = b""


@dataclass(frozen=True, slots=True)
class Code:
    """A PIN or unblocking code. `stored` is the length it is sent in, padded with `padding`."""

    id: bytes
    label: str
    reference: int
    flags: frozenset[int]
    least: int
    stored: int
    most: int
    padding: int

    @property
    def unblocking(self) -> bool:
        return PinFlag.UNBLOCKING in self.flags or PinFlag.SO_PIN in self.flags


@dataclass(frozen=True, slots=True)
class DataObject:
    label: str
    path: bytes
    auth_id: bytes


@dataclass(frozen=True, slots=True)
class Pkcs15:
    """All that one application says it holds, in the card's order."""

    application: Application
    keys: tuple[Key, ...]
    certificates: tuple[Certificate, ...]
    codes: tuple[Code, ...]
    data: tuple[DataObject, ...]


def applications(ef_dir: bytes) -> tuple[Application, ...]:
    """What EF.DIR lists: records `61 { 4F AID, 50 label, 51 path }` (ISO/IEC 7816-4 § 8.2.1.1)."""
    found = []
    for record in der.values(ef_dir):
        if record.tag != 0x61:
            continue
        aid, label, path = (record.find(tag) for tag in (0x4F, 0x50, 0x51))
        if aid is not None and path is not None and path.value:
            found.append(Application(aid.value, label.text if label else "", absolute(path.value, MF)))
    return tuple(found)


def application(ef_dir: bytes, aid: bytes) -> Application | None:
    return next((each for each in applications(ef_dir) if each.aid == aid), None)


def absolute(path: bytes, application_path: bytes) -> bytes:
    """`path` from the MF, whichever form it has.

    Raises:
        CardFault: not a path.
    """
    if not path or len(path) % 2 or len(path) > LONGEST_PATH:
        raise CardFault(f"expected a path of pairs of bytes, got {len(path)} bytes")
    return path if path.startswith(MF) else application_path + path


def read_application(files: Files, chosen: Application, most_files: int = 16) -> Pkcs15:
    """Everything that the application's directories list; contents are not read.

    Raises:
        CardFault: no object directory, or values that are not whole.
    """
    odf = files.read(chosen.path + EF_ODF)
    if odf is None:
        raise CardFault("the application has no object directory")
    gathered: dict[int, list[Tlv]] = {}
    for reference in der.values(odf)[:most_files]:
        gathered.setdefault(reference.tag, []).extend(_entries(files, reference, chosen.path))
    listed = [entry for tag in (0xA4, 0xA5, 0xA6) for entry in gathered.get(tag, [])]
    return Pkcs15(
        application=chosen,
        keys=tuple(_keys(gathered.get(0xA0, []))),
        certificates=tuple(_certificates(listed, chosen.path)),
        codes=tuple(_codes(gathered.get(0xA8, []))),
        data=tuple(_data(gathered.get(0xA7, []), chosen.path)),
    )


_DIRECTORIES = frozenset({0xA0, 0xA4, 0xA5, 0xA6, 0xA7, 0xA8})  # keys, certificates (three kinds), data, codes


def _entries(files: Files, reference: Tlv, application_path: bytes) -> Iterator[Tlv]:
    """Entries of one directory: in a file of their own (path), or right here ([0])."""
    if reference.tag not in _DIRECTORIES:
        return
    for choice in reference.inside():
        if choice.tag == 0xA0:
            yield from choice.inside()
        elif path := _path(choice, application_path):
            content = files.read(path)
            if content is not None:  # the AODF hides in contactless
                yield from der.values(content)


def _path(sequence: Tlv, application_path: bytes) -> bytes:
    """Path ::= SEQUENCE { efidOrPath, index, length }; empty when it names nothing."""
    if sequence.tag != der.SEQUENCE:
        return b""
    found = sequence.find(der.OCTET_STRING)
    return absolute(found.value, application_path) if found is not None and found.value else b""


@dataclass(frozen=True, slots=True)
class _Entry:
    """CIO ::= SEQUENCE { common, class, [0] subclass, [1] type }; label and authId are taken out of common."""

    label: str
    auth_id: bytes
    class_attributes: tuple[Tlv, ...]
    type_attributes: Tlv | None

    def one(self, tag: int) -> Tlv | None:
        return next((each for each in self.class_attributes if each.tag == tag), None)

    @property
    def id(self) -> bytes:
        found = self.one(der.OCTET_STRING)
        return found.value if found else b""


def _read(entry: Tlv) -> _Entry | None:
    parts = entry.inside()
    plain = [each for each in parts if each.tag == der.SEQUENCE]
    if len(plain) < 2:
        return None
    common = plain[0].inside()
    label = next((each.text for each in common if each.is_text), "")
    auth_id = next((each.value for each in common if each.tag == der.OCTET_STRING), b"")
    typed = next((each for each in parts if each.tag == 0xA1), None)
    inner = typed.inside() if typed else ()
    return _Entry(label, auth_id, plain[1].inside(), inner[0] if inner else None)


def _keys(entries: list[Tlv]) -> Iterator[Key]:
    for entry in (_read(each) for each in entries if each.tag == der.SEQUENCE):  # privateRSAKey; others have a tag
        if entry is None or not entry.id:
            continue
        reference, usage = entry.one(der.INTEGER), entry.one(der.BIT_STRING)
        sizes = entry.type_attributes.find(der.INTEGER) if entry.type_attributes else None
        if reference is not None:
            yield Key(
                id=entry.id,
                label=entry.label,
                reference=reference.number & 0xFF,  # written signed: 81 is -127
                usage=usage.bits() if usage else frozenset(),
                bits=sizes.number if sizes else 0,
                auth_id=entry.auth_id,
            )


def _certificates(entries: list[Tlv], application_path: bytes) -> Iterator[Certificate]:
    for entry in (_read(each) for each in entries if each.tag == der.SEQUENCE):  # x509Certificate
        if entry is None or not entry.id or entry.type_attributes is None:
            continue
        authority = entry.one(der.BOOLEAN)
        value = next(iter(entry.type_attributes.inside()), None)
        if value is None:
            continue
        direct = value.value if value.tag == 0xA0 else b""
        path = b"" if direct else _path(value, application_path)
        if direct or path:
            yield Certificate(entry.id, entry.label, path, bool(authority and authority.truth), direct)


def _codes(entries: list[Tlv]) -> Iterator[Code]:
    for entry in (_read(each) for each in entries if each.tag == der.SEQUENCE):  # pwd
        if entry is None or not entry.id or entry.type_attributes is None:
            continue
        inside = entry.type_attributes.inside()
        numbers = [each.number for each in inside if each.tag == der.INTEGER]
        flags = next((each.bits() for each in inside if each.tag == der.BIT_STRING), frozenset[int]())
        reference = next((each.value for each in inside if each.tag == 0x80), b"\x00")
        padding = next((each.value for each in inside if each.tag == der.OCTET_STRING), b"")
        if len(numbers) >= 2 and len(reference) == 1:
            yield Code(
                id=entry.id,
                label=entry.label,
                reference=reference[0],
                flags=flags,
                least=numbers[0],
                stored=numbers[1],
                most=numbers[2] if len(numbers) > 2 else numbers[1],
                padding=padding[0] if padding else 0xFF,
            )


def _data(entries: list[Tlv], application_path: bytes) -> Iterator[DataObject]:
    for each in entries:
        entry = _read(each)
        if entry is None or entry.type_attributes is None:
            continue
        path = _path(entry.type_attributes, application_path)
        if path:
            yield DataObject(entry.label, path, entry.auth_id)
