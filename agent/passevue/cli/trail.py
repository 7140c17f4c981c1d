"""`passevue audit`: whether the audit trail is whole."""

import typer
from rich.markup import escape

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
from passevue.errors import StoreError
from passevue.status.audit_trail import Verdict, verify
from passevue.status.folders import audit_folder

app = typer.Typer(no_args_is_help=True, help="Le journal d'audit.")
MOST_SHOWN = 20


@app.command("verify")
def verify_trail(config_path: ConfigPath = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Relit tout le journal et vérifie que rien n'y a été changé, ôté ni déplacé."""
    config = configuration(config_path)
    folder = audit_folder(config)
    try:
        with progress() as bar:
            total = sum(path.stat().st_size for path in folder.glob("audit-*.log"))
            task = bar.add_task("Vérification du journal", total=total or 1)
            found = verify(folder, lambda done: bar.advance(task, done))
    except OSError as error:
        hint = "Le journal d'audit ne se lit pas. Lancez la commande avec le compte du boîtier."
        fail(StoreError(f"audit trail cannot be read: {error.strerror}", hint=hint))
    _tell(found, as_json)
    raise typer.Exit(Exit.NO if found.wrong else Exit.DONE)


def _tell(found: Verdict, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "whole": not found.wrong,
                "records": found.records,
                "files": found.files,
                "head": {"number": found.head.number, "chain": found.head.chain},
                "wrong": list(found.wrong),
            }
        )
        return
    if not found.wrong:
        out().print(f"[green]✓[/] Le journal est entier : {found.records} enregistrements, {found.files} fichiers.")
    for wrong in found.wrong[:MOST_SHOWN]:
        err().print(f"[bold red]✗[/] {escape(wrong)}")
    if len(found.wrong) > MOST_SHOWN:
        err().print(f"… et {len(found.wrong) - MOST_SHOWN} autres.")
    out().print(f"[dim]Dernier enregistrement : {found.head.number}, empreinte {found.head.chain}[/]")
