"""`passevue admin`: the site's account on the local page, by whoever holds the box.

Being able to read and write the box's data folder is the proof: on the appliance that is root, at the box. Root then
works as the owner of that folder: a code or an audit record that only root can read would lock the box itself out.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from passevue.cli.ground import DEFAULT_CONFIG, AsJson, ConfigPath, configuration, fail, now, out, print_json, who
from passevue.config import Config
from passevue.errors import BoxError, StoreError
from passevue.shared import is_shared
from passevue.status import audit, audit_people
from passevue.status.audit_trail import AuditTrail
from passevue.status.folders import audit_folder
from passevue.status.local_account import LocalAccount
from passevue.zones.part import Part, user_of

app = typer.Typer(no_args_is_help=True, help="Le compte du site, sur la page du boîtier.")


@app.command()
def code(config_path: ConfigPath = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Montre le code de première connexion, tant que personne ne s'en est servi."""
    config = configuration(config_path)
    account = LocalAccount(config.box.data_dir)
    try:
        with _as_owner(config.box.data_dir):
            account.prepare()
            found = account.code()
    except (BoxError, OSError) as err:
        fail(_unreachable(err))
    if as_json:
        print_json({"claimed": not found, "code": found or None})
    elif found:
        out().print(f"Code de première connexion : [bold]{found}[/]")
        out().print("[dim]À taper une fois sur la page du boîtier, à « Compte du site ».[/]")
    else:
        out().print("Le compte du site a déjà son mot de passe. Perdu ? passevue admin reset")


@app.command()
def reset(config_path: ConfigPath = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Oublie le mot de passe du site, ferme ses sessions et donne un nouveau code de première connexion."""
    config = configuration(config_path)
    try:
        keeper = who()
        with _as_owner(config.box.data_dir):
            _audit(config, keeper)
            found = LocalAccount(config.box.data_dir).reset()
    except (BoxError, OSError) as err:
        fail(_unreachable(err))
    if as_json:
        print_json({"claimed": False, "code": found})
    else:
        out().print(f"Mot de passe oublié. Nouveau code de première connexion : [bold]{found}[/]")


@contextmanager
def _as_owner(folder: Path) -> Iterator[None]:
    """Root's files are the page's while the block lasts: the folder owner's, or the zone's. Raises: OSError."""
    if os.geteuid() != 0:
        yield
        return
    owner, group = folder.stat(), os.getegid()
    os.setegid(owner.st_gid)
    os.seteuid(user_of(Part.PAGE) if is_shared(folder) else owner.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)


def _audit(config: Config, keeper: str) -> None:
    trail = AuditTrail(audit_folder(config), config.box.oid)
    trail.append([audit.to_xml(audit_people.account_changed(now(), "reset", "console", keeper), config.box.oid)])


def _unreachable(err: BoxError | OSError) -> BoxError:
    if isinstance(err, BoxError):
        return err
    hint = "Le dossier du boîtier ne se lit ou ne s'écrit pas : lancez la commande en root."
    return StoreError(f"the data folder cannot be used: {err.strerror}", hint=hint)
