"""Reads XDM archives, whole or not at all (N-19), set by set into what the archive may keep (xdm.md § 4).

Strict on the KOS, lenient with a warning on the signature: the published sample's does not agree with its own hash.
Lenient too on the record that a box of ours adds: one that does not speak of this KOS is left out.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from passevue.document.identifiers import valid_root, valid_uid
from passevue.document.kos_header import KosHeader, KosVersion, read_kos_header
from passevue.document.patient import INS_OIDS, Identifier, Ins, Realm
from passevue.document.record import Record
from passevue.document.xdm_export import RECORD
from passevue.document.xdm_metadata import DocumentFacts, read_metadata
from passevue.document.xdm_values import ArchivedKos, Finding, XdmReport
from passevue.document.xdm_zip import Archive
from passevue.errors import CabinetError, Damaged, Unreadable
from passevue.intake.key_object import is_manifest, read_key_object

MAX_REFERENCES = 200_000  # of one KOS (N-08)
MAX_ELEMENTS = 16 * MAX_REFERENCES  # each has eleven or twelve: a person brings the archive, not a neighbour

_SET = re.compile(r"(?P<base>(?:KA[^/]*/)?IHE_XDM/)(?P<folder>SS[^/]*)/(?P<name>[^/]+)", re.IGNORECASE)


def import_xdm(path: Path, known: Mapping[str, KosVersion], realm: Realm | str) -> XdmReport:
    """What may be archived of the ZIP at `path`.

    `known` holds the version of each study already archived, `realm` is `box.realm`.

    Raises:
        Unreadable: the archive is refused whole (N-19): its form, a set without METADATA.XML, a KOS of another hash.
    """
    with Archive(path) as archive:
        importer = _Importer(archive, dict(known), Realm(realm))
        sets = _sets_of(archive)
        if not sets:
            raise Unreadable("XDM: expected IHE_XDM/SS… folders")
        for folder, names in sorted(sets.items()):
            importer.take_in(folder, names)
        return importer.report()


def _sets_of(archive: Archive) -> dict[str, dict[str, str]]:
    """Members of each set by upper-case name: `KA202401/IHE_XDM/SS000001/` → {`CR.TXT`: …}."""
    sets: dict[str, dict[str, str]] = {}
    for name in archive.names:
        found = _SET.fullmatch(name)
        if found is not None:
            sets.setdefault(f"{found['base']}{found['folder']}/", {})[found["name"].upper()] = name
    return sets


@dataclass
class _Importer:
    archive: Archive
    known: dict[str, KosVersion]
    realm: Realm
    taken: dict[str, ArchivedKos] = field(default_factory=dict)
    skipped: list[Finding] = field(default_factory=list)
    refused: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)

    def report(self) -> XdmReport:
        return XdmReport(tuple(self.taken.values()), tuple(self.skipped), tuple(self.refused), tuple(self.warnings))

    def take_in(self, folder: str, names: Mapping[str, str]) -> None:
        if "METADATA.XML" not in names:
            raise Unreadable("XDM: a set has no METADATA.XML")
        metadata = self.archive.read(names["METADATA.XML"])
        kos_facts, signature_facts = read_metadata(metadata)
        kos = self._document(folder, names, kos_facts, "KOS")
        if kos_facts is None or kos is None:
            raise Unreadable("XDM: a set has no KOS")
        if not _agrees(kos_facts, kos):
            raise Unreadable("XDM: hash or size of a KOS is not what METADATA.XML says")
        signature = self._document(folder, names, signature_facts, "SIGN") or b""
        if signature_facts is not None and not _agrees(signature_facts, signature):
            self.warnings.append(Finding(folder, "signature-hash-differs"))
        cr = self.archive.read(names["CR.TXT"]) if "CR.TXT" in names else b""
        try:
            entry, version = _entry(kos, kos_facts, metadata, signature, cr)
            if entry.ins.realm is not self.realm:
                raise _SetRefused("ins-of-other-realm")
        except _SetRefused as err:
            self.refused.append(Finding(folder, err.reason))
            return
        self._keep_newer(folder, self._with_record(folder, names, entry), version)

    def _with_record(self, folder: str, names: Mapping[str, str], entry: ArchivedKos) -> ArchivedKos:
        content = self.archive.read(names[RECORD]) if RECORD in names else b""
        if content and not _speaks_of(content, entry):
            self.warnings.append(Finding(folder, "record-differs"))
            return entry
        return replace(entry, record=content)

    def _keep_newer(self, folder: str, entry: ArchivedKos, version: KosVersion) -> None:
        known = self.known.get(entry.study_uid)
        if known is not None and known >= version:
            self.skipped.append(Finding(folder, "same-or-newer-known"))
            return
        if entry.study_uid in self.taken:
            self.skipped.append(Finding(folder, "replaces-older-in-archive"))
        self.known[entry.study_uid] = version
        self.taken[entry.study_uid] = entry

    def _document(self, folder: str, names: Mapping[str, str], facts: DocumentFacts | None, start: str) -> bytes | None:
        """By Slot URI, relative to IHE_XDM or to the set; else the first file whose name begins so."""
        base = folder.rpartition("/")[0].rpartition("/")[0] + "/"
        candidates = [base + facts.uri, folder + facts.uri] if facts is not None and facts.uri else []
        candidates += [names[name] for name in sorted(names) if name.startswith(start)]
        found = next((name for name in candidates if name in self.archive and name.startswith(folder)), None)
        return None if found is None else self.archive.read(found)


class _SetRefused(Exception):
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _agrees(facts: DocumentFacts, content: bytes) -> bool:
    return facts.hash == hashlib.sha1(content, usedforsecurity=False).hexdigest() and facts.size == str(len(content))


def _entry(
    kos: bytes, facts: DocumentFacts, metadata: bytes, signature: bytes, cr: bytes
) -> tuple[ArchivedKos, KosVersion]:
    header = _header_of_manifest(kos)
    if header.sop_instance_uid != facts.unique_id:
        raise _SetRefused("unique-id-differs")
    report_id, ins, ipp = _read_cr(cr) if cr else (None, _ins_of_cx(facts.patient_id), None)
    if ins.value != header.patient_id:
        raise _SetRefused("ins-differs")
    if ins.oid not in INS_OIDS or not ins.key_is_right:
        raise _SetRefused("ins-wrong")
    entry = ArchivedKos(header.study_uid, kos, metadata, signature, report_id, ins, ipp, facts.entry_uuid)
    return entry, header.version


def _speaks_of(content: bytes, entry: ArchivedKos) -> bool:
    """Whether a record is of the report, the patient and the study of `entry`."""
    try:
        report = Record.from_bytes(content).report
    except Damaged:
        return False
    if report is None or report.exam_of(entry.study_uid) is None:
        return False
    return report.id == entry.report_id and report.patient.ins == entry.ins


def _ins_of_cx(text: str) -> Ins:
    """`279035121518989^^^&1.2.250.1.213.1.4.10&ISO^NH`."""
    value, _, rest = text.partition("^^^&")
    return Ins(value, rest.partition("&")[0])


def _header_of_manifest(kos: bytes) -> KosHeader:
    """N-08: a manifest, of one study, that references something, and not without end."""
    try:
        header, note = read_kos_header(kos), read_key_object(kos, MAX_ELEMENTS)
    except (Unreadable, CabinetError) as err:
        raise _SetRefused("kos-unreadable") from err
    if not is_manifest(note.title):
        raise _SetRefused("not-a-manifest")
    if not valid_uid(header.study_uid) or not valid_uid(header.sop_instance_uid):
        raise _SetRefused("kos-unreadable")
    if not note.references or len(note.references) > MAX_REFERENCES:
        raise _SetRefused("no-or-too-many-references")
    if any(reference.StudyInstanceUID != header.study_uid for reference in note.references):
        raise _SetRefused("references-other-study")
    return header


def _read_cr(data: bytes) -> tuple[Identifier | None, Ins, Identifier | None]:
    try:
        fields = data.decode("utf-8-sig").strip().split(";")
    except UnicodeDecodeError as err:
        raise _SetRefused("cr-unreadable") from err
    if len(fields) != 6:
        raise _SetRefused("cr-unreadable")
    root, extension, ins, ins_oid, ipp, ipp_root = (each.strip() for each in fields)
    report_id = Identifier(root, extension) if valid_root(root) else None
    return report_id, Ins(ins, ins_oid), Identifier(ipp_root, ipp) if ipp and valid_root(ipp_root) else None
