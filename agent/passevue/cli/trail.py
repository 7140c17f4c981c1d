"""`passevue audit`: whether the audit trail is whole, and still says what the TPM has signed of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from passevue.baseline.reading.audit_chain import Chain
from passevue.baseline.reading.signed_heads import judged, said_of_the_trail
from passevue.cli.exits import Exit
from passevue.cli.ground import (
    DEFAULT_CONFIG,
    AsJson,
    ConfigPath,
    configuration,
    err,
    fail,
    out,
    print_json,
    progress,
)
from passevue.errors import StoreError, Unreadable
from passevue.notary.heads import Judged
from passevue.notary.place import FOLDER, Place
from passevue.shared import open_plain
from passevue.status.audit_trail import Verdict, trail_files, verify
from passevue.status.folders import audit_folder

app = typer.Typer(no_args_is_help=True, help="Le journal d'audit.")
MOST_SHOWN = 20

Heads = Annotated[Path, typer.Option("--heads", help="Dossier des têtes signées par le TPM.")]


@dataclass(frozen=True, slots=True)
class Found:
    """What was found of the trail, of the row of signed heads, and of the one in the other."""

    trail: Verdict
    heads: Judged
    lost: tuple[int, ...]  # records of which a signed head speaks

    @property
    def wrong(self) -> tuple[str, ...]:
        heads = (f"têtes signées : {each}" for each in self.heads.wrong)
        lost = (f"l'enregistrement {number}, dont parle une tête signée, n'y est plus" for number in self.lost)
        return (*self.trail.wrong, *heads, *lost)


@app.command("verify")
def verify_trail(config_path: ConfigPath = DEFAULT_CONFIG, heads: Heads = FOLDER, as_json: AsJson = False) -> None:
    """Relit tout le journal et vérifie que rien n'y a été changé, ôté ni déplacé, ni depuis qu'il fut signé."""
    config = configuration(config_path)
    try:
        found = _look(audit_folder(config), Place(heads))
    except OSError as error:
        hint = "Le journal d'audit ne se lit pas. Lancez la commande avec le compte du boîtier."
        which = f"{Path(str(error.filename)).name}: " if error.filename else ""
        fail(StoreError(f"audit trail cannot be read: {which}{error.strerror}", hint=hint))
    except Unreadable as error:
        fail(error)
    _tell(found, as_json)
    raise typer.Exit(Exit.NO if found.wrong else Exit.DONE)


def _look(folder: Path, place: Place) -> Found:
    """Raises: OSError, Unreadable."""
    heads = judged(place)  # before the trail, which goes on meanwhile
    with progress() as bar:
        total = sum(path.lstat().st_size for path in trail_files(folder))
        task = bar.add_task("Vérification du journal", total=total or 1)
        trail = verify(folder, lambda done: bar.advance(task, done))
    chain = Chain(signed=said_of_the_trail(heads))
    for path in trail_files(folder) if heads.heads else ():
        with open(open_plain(path), "rb") as file:
            chain.follow(path.name, file, is_last=True)
    return Found(trail, heads, tuple(record.number for record in chain.signed_lost))


def _tell(found: Found, as_json: bool) -> None:
    trail, last = found.trail, found.heads.last
    if as_json:
        print_json(
            {
                "whole": not found.wrong,
                "records": trail.records,
                "files": trail.files,
                "head": {"number": trail.head.number, "chain": trail.head.chain},
                "signed": {
                    "heads": len(found.heads.heads),
                    "number": last.head.end.number if last else 0,
                    "key": last.head.key if last else "",
                },
                "wrong": list(found.wrong),
            }
        )
        return
    if not found.wrong:
        out().print(f"[green]✓[/] Le journal est entier : {trail.records} enregistrements, {trail.files} fichiers.")
    for wrong in found.wrong[:MOST_SHOWN]:
        err().print(f"[bold red]✗[/] {escape(wrong)}")
    if len(found.wrong) > MOST_SHOWN:
        err().print(f"… et {len(found.wrong) - MOST_SHOWN} autres.")
    out().print(f"[dim]Dernier enregistrement : {trail.head.number}, empreinte {trail.head.chain}[/]")
    if last:
        signed = f"{len(found.heads.heads)} têtes signées, la dernière à l'enregistrement {last.head.end.number}"
        out().print(f"[dim]{signed}, par la clé {last.head.key} du TPM[/]")
