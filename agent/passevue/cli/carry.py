"""`passevue xdm`: the published manifests as XDM archives, to back up or to move to another box (xdm.md).

Local files only: nothing is published or withdrawn by these commands.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from lxml import etree
from rich.markup import escape

from passevue import __version__
from passevue.cli import ground
from passevue.cli.exits import Exit
from passevue.cli.ground import DEFAULT_CONFIG, AsJson, ConfigPath, configuration, print_json, run
from passevue.config import Config
from passevue.document.kos_header import KosVersion, read_kos_header
from passevue.document.patient import Ins
from passevue.document.record import NOBODY, Record
from passevue.document.xdm import ArchivedKos, Sender, XdmReport, export_xdm, import_xdm
from passevue.document.xdm_metadata import read_metadata
from passevue.document.xml import parse
from passevue.errors import Refused, StoreError, Unreadable
from passevue.queue.archive import Archived, ArchiveState
from passevue.queue.store import Store

app = typer.Typer(no_args_is_help=True, help="Archives XDM : sauvegarder ou déplacer les manifestes publiés.")

SET_UNIQUE_ID = "urn:uuid:96fdda7c-d067-4183-912e-bf5ee74998a8"  # XDSSubmissionSet.uniqueId (ITI TF-3 table 4.2.5.1-1)


@app.command("export")
def export_archives(
    folder: Annotated[Path, typer.Argument(help="Dossier où écrire les archives.", metavar="DOSSIER")],
    config_path: ConfigPath = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Écrit les manifestes publiés dans des archives KA<année><mois>.zip. Elles portent l'identité des patients."""
    config = configuration(config_path)

    async def act() -> tuple[Path, ...]:
        async with ground.opened(config) as store:
            await ground.audited(config, "xdm-export", [0], "")
            kept = [entry async for entry in _published(store)]
            return await asyncio.to_thread(_write, kept, folder, _sender(config))

    with ground.progress() as bar:
        bar.add_task("Écriture des archives", total=None)
        paths = run(act())
    if as_json:
        print_json({"files": [str(path) for path in paths]})
    else:
        for path in paths:
            typer.echo(str(path))


async def _published(store: Store) -> AsyncIterator[ArchivedKos]:
    after = ""
    while studies := await store.archive.studies(after):
        for study_uid in studies:
            found = await store.archive.get(study_uid)
            if found is not None and found.state is ArchiveState.PUBLISHED and found.kos:
                yield _carried(found)
        after = studies[-1]


def _carried(found: Archived) -> ArchivedKos:
    facts, _ = read_metadata(found.metadata)
    record = Record.from_bytes(found.record)
    report = record.report
    return ArchivedKos(
        study_uid=found.study_uid,
        kos=found.kos,
        metadata=found.metadata,
        signature=found.signature,
        report_id=report.id if report is not None else record.report_id,
        ins=_ins(facts.patient_id if facts is not None else ""),
        ipp=report.patient.ipp if report is not None else record.ipp,
        entry_uuid=(found.entry_uuid or "").removeprefix("urn:uuid:"),
        record=found.record if report is not None else b"",
    )


def _ins(cx: str) -> Ins:
    """`279…^^^&1.2.250.1.213.1.4.10&ISO^NH` (dmp-xds.md § 5.1)."""
    value, _, rest = cx.partition("^^^&")
    return Ins(value, rest.partition("&")[0])


def _write(kept: list[ArchivedKos], folder: Path, sender: Sender) -> tuple[Path, ...]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return export_xdm(kept, folder, sender)
    except FileExistsError as error:
        hint = "Une archive de ce mois est déjà dans ce dossier. Choisissez un dossier vide."
        raise Refused("already-there", "an export of that month is in the folder", hint=hint) from error
    except OSError as error:
        raise StoreError(
            f"archives cannot be written: {error.strerror}", hint="Choisissez un autre dossier."
        ) from error


def _sender(config: Config) -> Sender:
    first = config.structures[0]
    return Sender(first.id, first.name, version=__version__)


# --- import --------------------------------------------------------------------------------------------------------


@app.command("import")
def import_archive(
    path: Annotated[Path, typer.Argument(help="Archive à reprendre.", metavar="ARCHIVE", exists=True, dir_okay=False)],
    config_path: ConfigPath = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Reprend les manifestes d'une archive XDM. Rien n'est publié : ils sont déjà dans le DMP."""
    config = configuration(config_path)

    async def act() -> tuple[XdmReport, int]:
        async with ground.opened(config) as store:
            known = {entry.study_uid: read_kos_header(entry.kos).version async for entry in _published(store)}
            report = await asyncio.to_thread(_read, path, known, config.box.realm)
            await ground.audited(config, "xdm-import", [0], "")
            added = [await store.archive.add(_archived(entry)) for entry in report.taken]
            return report, sum(added)

    with ground.progress() as bar:
        bar.add_task("Lecture de l'archive", total=None)
        report, added = run(act())
    _tell(report, added, as_json)
    if report.refused:
        raise typer.Exit(Exit.NO)


def _read(path: Path, known: dict[str, KosVersion], realm: str) -> XdmReport:
    try:
        return import_xdm(path, known, realm)
    except Unreadable as error:
        raise Refused("unreadable", error.message, hint="L'archive est refusée en entier : elle est abîmée.") from error
    except OSError as error:
        raise StoreError(f"the archive cannot be read: {error.strerror}", hint=f"{path} ne se lit pas.") from error


def _archived(entry: ArchivedKos) -> Archived:
    header = read_kos_header(entry.kos)
    known = Record.from_bytes(entry.record)
    if not known.header:
        known = Record(report_id=entry.report_id or NOBODY, ipp=entry.ipp or NOBODY)
    record = replace(known, kos_series_uid=header.series_uid, instance_number=header.instance_number)
    return Archived(
        study_uid=entry.study_uid,
        state=ArchiveState.PUBLISHED,
        record=record.to_bytes(),
        changed_at=ground.now(),
        document_unique_id=header.sop_instance_uid,
        set_unique_id=next(_set_unique_ids(entry.metadata), header.sop_instance_uid),
        entry_uuid=f"urn:uuid:{entry.entry_uuid}" if entry.entry_uuid else None,
        kos=entry.kos,
        metadata=entry.metadata,
        signature=entry.signature,
    )


def _set_unique_ids(metadata: bytes) -> Iterator[str]:
    for node in parse(metadata).iter("{*}ExternalIdentifier"):
        if node.get("identificationScheme") == SET_UNIQUE_ID and isinstance(node, etree._Element):
            yield node.get("value", "")


def _tell(report: XdmReport, added: int, as_json: bool) -> None:
    if as_json:
        names = ("skipped", "refused", "warnings")
        found = {name: [{"folder": f.folder, "reason": f.reason} for f in getattr(report, name)] for name in names}
        print_json({"taken": added, **found})
        return
    console = ground.out()
    console.print(f"{added} manifestes repris, {len(report.skipped)} déjà là, {len(report.refused)} refusés.")
    for finding in (*report.refused, *report.warnings):
        console.print(f"  {escape(finding.folder)} : {escape(finding.reason)}")
