"""Writes XDM archives: one ZIP per month of creation of its KOS, in the layout of the demonstrator (xdm.md § 2).

Beside the demonstrator's CR.TXT stands one file of ours, RECORD.JSN: the report's header and under which visibility it
was published, without which a box that imports the archive could not publish the manifest again when images change.
Other systems pass over it.
"""

import errno
import html
import os
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from passevue.document.kos_header import read_kos_header
from passevue.document.patient import Identifier
from passevue.document.xdm_metadata import metadata_for_archive
from passevue.document.xdm_values import ArchivedKos
from passevue.errors import StoreError

RECORD = "RECORD.JSN"  # 8.3, as ITI-32 asks for media
SETS_PER_FILE = 390  # 5 files each: below the 2,000 members that an import takes
BYTES_PER_FILE = 256 << 20


@dataclass(frozen=True, slots=True)
class Sender:
    """Who exports, for INDEX.HTM and README.TXT."""

    structure_id: str
    structure_name: str
    person: str = ""
    address: str = ""
    telephone: str = ""
    application: str = "Passevue"
    version: str = ""
    editor: str = "Passevue"


def export_xdm(entries: Iterable[ArchivedKos], folder: Path, sender: Sender) -> tuple[Path, ...]:
    """Writes `KA<yyyymm>.zip` files into `folder`, and gives their paths.

    A month that passes what an import takes goes on in `KA<yyyymm>_2.zip` and so on. Files appear whole or not at all.

    Raises:
        StoreError: an export of that month is already in the folder, or the disk failed.
        Unreadable: an archived KOS or metadata cannot be read.
    """
    try:
        return _exported(entries, folder, sender)
    except OSError as err:
        raise StoreError(
            f"XDM: cannot be written: {err.strerror}",
            hint="L'archive n'a pas pu être écrite : choisissez un dossier vide, avec assez de place.",
        ) from err


def _exported(entries: Iterable[ArchivedKos], folder: Path, sender: Sender) -> tuple[Path, ...]:
    with ExitStack() as stack:
        months: dict[str, _MonthFile] = {}
        done: list[_MonthFile] = []
        for entry in entries:
            month = _month_of(entry.kos)
            file = months.get(month)
            if file is None or file.full:
                part = 1 if file is None else file.part + 1
                file = months[month] = _MonthFile(folder, month, part)
                stack.callback(file.discard)
                done.append(file)
            file.add(entry)
        return tuple(file.finish(sender) for file in done)


@dataclass
class _MonthFile:
    """One ZIP under construction, beside its final name."""

    folder: Path
    month: str
    part: int
    sets: list[tuple[str, ...]] = field(default_factory=list)
    size: int = 0

    def __post_init__(self) -> None:
        suffix = "" if self.part == 1 else f"_{self.part}"
        self.path = self.folder / f"KA{self.month}{suffix}.zip"
        if self.path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), self.path.name)
        self.partial = self.path.with_suffix(".part")
        self.zip = zipfile.ZipFile(self.partial, "w", zipfile.ZIP_DEFLATED)

    @property
    def full(self) -> bool:
        return len(self.sets) >= SETS_PER_FILE or self.size >= BYTES_PER_FILE

    def add(self, entry: ArchivedKos) -> None:
        number = len(self.sets) + 1
        folder = f"SS{number:06}"
        kos_name, signature_name = f"KOS_{number}_1.DCM", f"SIGN_{number}.XML" if entry.signature else ""
        metadata = metadata_for_archive(
            entry.metadata,
            f"{folder}/{kos_name}",
            f"{folder}/{signature_name}" if signature_name else "",
            entry.entry_uuid,
        )
        files = {"METADATA.XML": metadata, "CR.TXT": cr_txt(entry), kos_name: entry.kos}
        if signature_name:
            files[signature_name] = entry.signature
        if entry.record:
            files[RECORD] = entry.record
        for name, content in files.items():
            self.write(f"IHE_XDM/{folder}/{name}", content)
        self.sets.append((folder, *files))

    def write(self, name: str, content: bytes) -> None:
        member = zipfile.ZipInfo(f"KA{self.month}/{name}")  # its date is 1980-01-01: the same entries, the same bytes
        member.compress_type = zipfile.ZIP_DEFLATED
        member.external_attr = 0o100600 << 16
        self.zip.writestr(member, content)
        self.size += len(content)

    def finish(self, sender: Sender) -> Path:
        self.write("INDEX.HTM", index_htm(sender).encode())
        self.write("README.TXT", readme_txt(sender, self.sets).encode())
        self.zip.close()
        with self.partial.open("rb") as file:
            os.fsync(file.fileno())
        self.partial.rename(self.path)
        return self.path

    def discard(self) -> None:
        """Removes what was not finished."""
        self.zip.close()
        self.partial.unlink(missing_ok=True)


def cr_txt(entry: ArchivedKos) -> bytes:
    """Six fields on one line (xdm.md § 3)."""
    report, ipp = entry.report_id or Identifier(""), entry.ipp or Identifier("")
    fields = (report.root, report.extension, entry.ins.value, entry.ins.oid, ipp.extension, ipp.root)
    return ";".join(each.replace(";", " ").replace("\n", " ").replace("\r", " ") for each in fields).encode()


def index_htm(sender: Sender) -> str:
    name = html.escape(f"{sender.structure_name} ({sender.structure_id})")
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" '
        '"http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd">\n'
        '<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="fr"><head><title>Archive XDM</title></head>'
        f'<body><p>Emetteur : {name}</p><p>Voir le fichier <a href="README.TXT">README.TXT</a></p></body></html>\n'
    )


def readme_txt(sender: Sender, sets: Iterable[tuple[str, ...]]) -> str:
    """`sets` are (folder, file, file, …)."""
    blocks = {
        "Emetteur :": (
            f"    . Nom : {sender.person}",
            f"    . Organisme : {sender.structure_name} ({sender.structure_id})",
            f"    . Adresse : {sender.address}",
            f"    . Téléphone : {sender.telephone}",
        ),
        "Application de l'emetteur :": (
            f"    . Nom : {sender.application}",
            f"    . Version : {sender.version}",
            f"    . Editeur : {sender.editor}",
        ),
        "Instructions :": ("    . Importez cette archive dans une DRIMbox : ses KOS sont déjà publiés au DMP.",),
        "Arborescence :": ("    README.TXT", "    INDEX.HTM", "    IHE_XDM", *_tree(sets)),
    }
    return "\n".join("\n".join((title, "=" * len(title), *lines, "")) for title, lines in blocks.items())


def _tree(sets: Iterable[tuple[str, ...]]) -> Iterator[str]:
    for folder, *names in sets:
        yield f"        {folder}"
        yield from (f"            {name}" for name in names)


def _month_of(kos: bytes) -> str:
    """`yyyymm` of InstanceCreationDate; it becomes a file's name, so it is digits or nothing."""
    month = read_kos_header(kos).created[:6]
    return month if len(month) == 6 and month.isascii() and month.isdigit() else "000000"
