"""`/usr/lib/passevue/recovery`, as root: hands the recovery key of the data partition to the page once, or wipes it.

    values: {"act": "show"}    the key, from where the first boot left it, to <data_dir>/page/recovery-key (the page's
    alone)
            {"act": "noted"}   somebody says that it is on paper: both copies are overwritten and removed, for good;
                               not before it was handed over: nobody can have noted it

The key lies only inside the partition that it opens; showing it again until it was noted tells nothing new to who has
signed in there.
"""

import os
import re
import sys
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from passevue.durable import sync_folder
from passevue.errors import BoxError, Refused, StoreError, TrustError, Unreadable
from passevue.provision.configure import Trace, answer, carried_out
from passevue.update.orders import Order, Orders, Wish

KEPT = Path("/var/lib/passevue-recovery/key")
SHOWN = "page/recovery-key"
_FORM = re.compile(rb"([cbdefghijklnrtuv]{8}-){7}[cbdefghijklnrtuv]{8}\n?")  # modhex, as systemd-cryptenroll prints it


def carry_out(order: Order, data_dir: Path, kept: Path, trace: Trace) -> None:
    """
    Raises:
        Refused: `noted` before, or `not-shown` yet, or `none-made`. StoreError: it cannot be handed over, or wiped.
        Unreadable: not such an order.
    """
    match order.text("act"):
        case "show":
            key = _key(kept)
            trace("recovery-key-shown", order.by, "")
            _hand_over(key, data_dir / SHOWN)
        case "noted":
            if not os.path.lexists(data_dir / SHOWN):
                _must_be(kept)
                hint = "Personne n’a encore vu la clé de secours : montrez-la et notez-la d’abord. Rien n’est oublié."
                raise Refused("not-shown", "the recovery key was shown to nobody", hint=hint)
            trace("recovery-key-noted", order.by, "")
            for path in (kept, data_dir / SHOWN):  # while the second is there, what was cut or failed is asked again
                wipe(path)
        case _:
            raise Unreadable("neither show nor noted")


def _must_be(kept: Path) -> None:
    """The first boot makes the folder and the key in it at once, and noting takes the key alone away.

    Raises:
        Refused: `none-made`, `noted`.
    """
    if not kept.parent.exists():
        hint = (
            "Ce boîtier n’a pas encore de clé de secours. Redémarrez-le : il la fait au démarrage. "
            "Si rien ne change, prévenez votre support."
        )
        raise Refused("none-made", "no recovery key was ever made here", hint=hint)
    if not os.path.lexists(kept):
        hint = "La clé de secours a déjà été notée : elle n’est plus sur le boîtier."
        raise Refused("noted", "the recovery key is no longer here", hint=hint)


def _key(kept: Path) -> bytes:
    _must_be(kept)
    try:
        with open(os.open(kept, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
            key = file.read(200)
    except OSError as err:
        hint = "La clé de secours ne se lit pas : prévenez votre support."
        raise StoreError(f"the recovery key cannot be read: {err.strerror}", hint=hint) from err
    if not _FORM.fullmatch(key):
        raise StoreError(
            "what the first boot left is no recovery key", hint="La clé de secours est abîmée : prévenez votre support."
        )
    return key


def _hand_over(key: bytes, target: Path) -> None:
    """To the page alone: the file has the zones' group from its folder, in which nobody but the page sees it."""
    try:
        target.unlink(missing_ok=True)
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o440)
        with open(handle, "wb") as file:
            os.fchmod(handle, 0o440)
            file.write(key)
    except OSError as err:
        raise StoreError(f"the recovery key cannot be handed over: {err.strerror}") from err


def wipe(path: Path) -> None:
    """Overwritten where it lies, then removed; its folder stays, so that the first boot makes no other key.

    Raises:
        StoreError: it may still be there.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(handle, "wb", buffering=0) as file:
            file.write(bytes(os.fstat(handle).st_size))
            os.fsync(handle)
        path.unlink()
        sync_folder(path.parent)
    except FileNotFoundError:
        return
    except OSError as err:
        hint = "La clé de secours n’a pas pu être oubliée : elle est encore sur le boîtier. Réessayez."
        raise StoreError(f"the recovery key cannot be wiped: {err.strerror}", hint=hint) from err


def work(data_dir: Path, kept: Path, page_user: int, trace: Trace, now: datetime) -> int:
    """One order, if there is one. The exit code."""
    try:
        order = Orders(data_dir, (page_user,)).take(Wish.RECOVERY, now, carried_out(data_dir, Wish.RECOVERY))
    except (TrustError, Unreadable) as err:
        with suppress(StoreError):  # by nobody: who wrote it is not who it says
            trace("recovery-key-refused", "", f"order recovery: {type(err).__name__} {err.message[:200]}")
        print(f"recovery: {err}", file=sys.stderr)
        return 1
    if order is None:
        return 0
    failed: BoxError | None = None
    try:
        carry_out(order, data_dir, kept, trace)
    except BoxError as err:
        failed = err
        with suppress(StoreError):
            trace("recovery-key-refused", order.by, f"{type(err).__name__} {err.message[:200]}")
        print(f"recovery: {err}", file=sys.stderr)
    answer(data_dir, Wish.RECOVERY, order, failed)
    return 1 if failed else 0
