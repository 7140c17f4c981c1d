"""`passevue config`: a full example, and what is wrong with a file."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from passevue.cli.exits import Exit
from passevue.cli.ground import AsJson, err, now, out, print_json
from passevue.config import printable
from passevue.config_example import example
from passevue.config_files import check

app = typer.Typer(
    no_args_is_help=True, help="La configuration : un exemple complet, et ce qui ne va pas dans un fichier."
)


@app.command("example")
def show_example() -> None:
    """Écrit une configuration complète et commentée."""
    typer.echo(example(), nl=False)


@app.command("check")
def check_file(
    path: Annotated[Path, typer.Argument(help="Fichier à vérifier.", metavar="FICHIER")], as_json: AsJson = False
) -> None:
    """Dit tout ce qui ne va pas dans un fichier, réglage par réglage."""
    wrong = check(path, now())
    if as_json:
        print_json([{"key": each.key, "message": printable(each.message, 500), "hint": each.hint} for each in wrong])
    elif not wrong:
        out().print("[green]✓[/] La configuration est correcte.")
    for each in wrong if not as_json else []:
        err().print(f"[bold red]✗ {escape(printable(each.key))}[/] {escape(printable(each.hint or each.message, 500))}")
    raise typer.Exit(Exit.CONFIG if wrong else Exit.DONE)
