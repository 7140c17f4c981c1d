"""Every command, joined: `passevue` and its groups. Typing, completion and help are typer's; people read French."""

import logging
from typing import Annotated

import typer

from passevue import __version__
from passevue.cli import admin, baseline, card, carry, configure, queue, run, status, trail, update
from passevue.status import logs

app = typer.Typer(
    name="passevue",
    help="Passevue, une DRIMbox ouverte.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # a traceback with values in it may hold an identity
)
app.command("run")(run.run)
app.command("status")(status.status)
app.add_typer(baseline.app, name="baseline")
app.add_typer(configure.app, name="config")
app.add_typer(queue.app, name="queue")
app.add_typer(trail.app, name="audit")
app.add_typer(admin.app, name="admin")
app.add_typer(carry.app, name="xdm")
app.add_typer(card.app, name="card")
app.add_typer(update.app, name="update")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"passevue {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Montre la version.")
    ] = False,
) -> None:
    logs.set_up(level=logging.WARNING)  # standard output is the command's answer
