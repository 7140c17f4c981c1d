"""`passevue admin`: the site's account on the local page, by whoever holds the box.

Being able to read and write the box's data folder is the proof: on the appliance that is root, at the box.
"""

import typer

from passevue.cli.ground import DEFAULT_CONFIG, AsJson, ConfigPath, configuration, fail, now, out, print_json
from passevue.config import Config
from passevue.errors import BoxError, StoreError
from passevue.status import audit, audit_people
from passevue.status.audit_trail import AuditTrail
from passevue.status.local_account import LocalAccount
from passevue.status.observer import audit_folder

app = typer.Typer(no_args_is_help=True, help="Le compte du site, sur la page du boîtier.")


@app.command()
def code(config_path: ConfigPath = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Montre le code de première connexion, tant que personne ne s'en est servi."""
    config = configuration(config_path)
    account = LocalAccount(config.box.data_dir)
    try:
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
        _audit(config)
        found = LocalAccount(config.box.data_dir).reset()
    except (BoxError, OSError) as err:
        fail(_unreachable(err))
    if as_json:
        print_json({"claimed": False, "code": found})
    else:
        out().print(f"Mot de passe oublié. Nouveau code de première connexion : [bold]{found}[/]")


def _audit(config: Config) -> None:
    trail = AuditTrail(audit_folder(config), config.box.oid)
    trail.append([audit.to_xml(audit_people.account_changed(now(), "reset", "console"), config.box.oid)])


def _unreachable(err: BoxError | OSError) -> BoxError:
    if isinstance(err, BoxError):
        return err
    hint = "Le dossier du boîtier ne se lit ou ne s'écrit pas : lancez la commande en root."
    return StoreError(f"the data folder cannot be used: {err.strerror}", hint=hint)
