"""`passevue config`: a full example, what is wrong with a file, and the signed file that an appliance takes."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from passevue.cli.exits import Exit
from passevue.cli.ground import AsJson, err, fail, now, out, print_json
from passevue.config import printable
from passevue.config_example import example
from passevue.config_files import check
from passevue.errors import BoxError, ConfigError, StoreError, Unreadable
from passevue.provision import packing

LARGEST = 1 << 20

app = typer.Typer(
    no_args_is_help=True,
    help="La configuration : un exemple complet, ce qui ne va pas dans un fichier, le fichier signé pour un appareil.",
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
    _tell([] if as_json else wrong)
    raise typer.Exit(Exit.CONFIG if wrong else Exit.DONE)


@app.command("pack")
def pack_file(
    path: Annotated[Path, typer.Argument(help="La configuration (passevue.toml).", metavar="FICHIER")],
    number: Annotated[int, typer.Option(help="Plus grand à chaque fois : le boîtier refuse un numéro déjà vu.", min=1)],
    folder: Annotated[
        Path | None, typer.Option(help="Où sont certificats et clés ; sans cette option, à côté de FICHIER.")
    ] = None,
    serial: Annotated[str, typer.Option(help="Pour le seul boîtier de ce numéro de série.")] = "",
    signing_key: Annotated[
        Path | None, typer.Option(help="Clé privée Ed25519 (PEM) du centre : la signature est écrite à côté.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Fichier à écrire ; sans cette option, boitier-NUMERO.toml.")
    ] = None,
) -> None:
    """Réunit une configuration, ses certificats et ses clés en un fichier signé, pour la page ou une clé USB."""
    target = output or Path(f"boitier-{number}.toml")
    try:
        packed = packing.pack(_read(path), folder or path.parent, number, serial)
        if isinstance(packed, list):
            _tell(packed)
            raise typer.Exit(Exit.CONFIG)
        signature = packing.sign(packed.document, _read(signing_key)) if signing_key else b""
        _write(target, packed.document)
        if signature:
            _write(target.with_name(f"{target.name}.sig"), signature)
    except BoxError as error:
        fail(error)
    keys = sum(map(len, packed.package.keys.values()))
    out().print(f"[green]✓[/] {escape(str(target))} : {len(packed.package.files)} certificats, {keys} clés.")
    if keys:
        out().print("  Il contient des clés en clair : effacez-le, et la clé USB, une fois le boîtier configuré.")
    if not signature:
        out().print("  À signer : provision/README.md.")
    for name in packed.missing:
        out().print(f"[yellow]•[/] {escape(printable(name))} n'est pas dans ce dossier : le boîtier doit déjà l'avoir.")


def _tell(wrong: Sequence[ConfigError]) -> None:
    for each in wrong:
        err().print(f"[bold red]✗ {escape(printable(each.key))}[/] {escape(printable(each.hint or each.message, 500))}")


def _read(path: Path) -> str:
    """
    Raises:
        Unreadable: no text of less than a MiB.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        text = data.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise Unreadable(f"{path.name}: {type(error).__name__}", hint=f"Le fichier {path} ne se lit pas.") from error
    if len(data) > LARGEST:
        raise Unreadable(f"{path.name} is too large", hint=f"Le fichier {path} est trop grand.")
    return text


def _write(path: Path, data: bytes) -> None:
    """For its owner alone: it may hold keys.

    Raises:
        StoreError: it is there already, or cannot be written.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(handle, "wb") as file:
            file.write(data)
    except FileExistsError as error:
        raise StoreError(
            f"{path.name} is there", hint=f"Le fichier {path} existe déjà : rien n'a été écrit."
        ) from error
    except OSError as error:
        raise StoreError(f"{path.name}: {error.strerror}", hint=f"Le fichier {path} ne peut pas être écrit.") from error
