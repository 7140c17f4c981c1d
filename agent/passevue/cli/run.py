"""`passevue run`, typed by a person: its words and its help. What it does: `start`."""

from pathlib import Path
from typing import Annotated

import typer

from passevue.box import SOCKETS, Part
from passevue.cli.ground import DEFAULT_CONFIG, ConfigPath
from passevue.cli.start import live
from passevue.cli.words import Wanted


def run(
    config_path: ConfigPath = DEFAULT_CONFIG,
    part: Annotated[
        list[Part] | None, typer.Option("--part", help="Seulement cette partie ; répétable. Sans : toutes.")
    ] = None,
    sockets: Annotated[
        Path | None,
        typer.Option("--sockets", help="Dossier des prises locales entre parties.", show_default=str(SOCKETS)),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Écrit aussi chaque requête dans le journal.")] = False,
) -> None:
    """Fait tourner le boîtier, jusqu'à un signal d'arrêt."""
    raise typer.Exit(live(Wanted(config_path, tuple(part or ()), sockets, debug)))
