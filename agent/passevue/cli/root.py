"""The small programs that systemd runs as root for one order of the page, joined to the audit trail. Not commands of
`passevue`.

/usr/lib/passevue/{configure,recovery,erase} call them; what each does is in `provision`.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from passevue import config as settings
from passevue.config import Config
from passevue.errors import ConfigError, StoreError
from passevue.provision import configure as configuring
from passevue.provision import erase as erasing
from passevue.provision import recovery as recovering
from passevue.status import audit
from passevue.status.audit_trail import AuditTrail
from passevue.update.machine import Machine
from passevue.zones.part import Part, user_of

DATA_DIR = configuring.DATA_DIR
UNCLAIMED = "2.25.0"  # of a box that has no OID yet


def configure() -> int:
    machine = Machine()
    desk = configuring.Desk(DATA_DIR, machine, _trace(), configuring.seal)
    return configuring.work(DATA_DIR, desk, (user_of(Part.PAGE),), _now())


def recovery() -> int:
    return recovering.work(DATA_DIR, recovering.KEPT, user_of(Part.PAGE), _trace(), _now())


def erase() -> int:
    import slots.places  # image/rauc/overlay, beside the program

    return erasing.work(DATA_DIR, user_of(Part.PAGE), _trace(), _now(), slots.places)


def _trace() -> Callable[[str, str, str], None]:
    """Writes to the audit trail at once; what cannot be written does not happen.

    Raises (when called):
        StoreError: the trail takes nothing.
    """

    def trace(what: str, by: str, said: str) -> None:
        found = _configuration()
        source = found.box.oid if found is not None else UNCLAIMED
        event = audit.machine_changed(_now(), what, by, said)
        try:
            AuditTrail(DATA_DIR / "audit", source).append([audit.to_xml(event, source)])
        except (OSError, StoreError) as err:
            raise StoreError(
                "the audit trail takes nothing", hint="Le journal d’audit ne s’écrit pas : rien n’a été fait."
            ) from err

    return trace


def _configuration() -> Config | None:
    try:
        path = DATA_DIR / "config/passevue.toml"
        return settings.load(path) if path.exists() else None
    except (ConfigError, OSError):
        return None


def _now() -> datetime:
    return datetime.now(UTC)
