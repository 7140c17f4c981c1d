"""`/usr/lib/passevue/recovery`, as root: hands the recovery key of the data partition to the page once, or wipes it.

    values: {"act": "show"}    the key, from where the first boot left it, to <data_dir>/page/recovery-key (the page's
    alone)
            {"act": "noted"}   somebody says that it is on paper: both copies are overwritten and removed, for good

The key lies only inside the partition that it opens; showing it again until it was noted tells nothing new to who has
signed in there.
"""

import os
import re
import sys
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from passevue.errors import BoxError, Refused, StoreError, TrustError, Unreadable
from passevue.provision.configure import Trace, answer, carried_out
from passevue.update.orders import Order, Orders, Wish

KEPT = Path("/var/lib/passevue-recovery/key")
SHOWN = "page/recovery-key"
_FORM = re.compile(rb"([cbdefghijklnrtuv]{8}-){7}[cbdefghijklnrtuv]{8}\n?")  # modhex, as systemd-cryptenroll prints it


def carry_out(order: Order, data_dir: Path, kept: Path, page_user: int, trace: Trace) -> None:
    """
    Raises:
        Refused: it was noted before. StoreError: it cannot be handed over. Unreadable: not such an order.
    """
    match order.text("act"):
        case "show":
            trace("recovery-key-shown", order.by, "")
            _hand_over(_key(kept), data_dir / SHOWN, page_user)
        case "noted":
            trace("recovery-key-noted", order.by, "")
            for path in (data_dir / SHOWN, kept):
                wipe(path)
        case _:
            raise Unreadable("neither show nor noted")


def _key(kept: Path) -> bytes:
    try:
        with open(os.open(kept, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
            key = file.read(200)
    except OSError as err:
        hint = "La clé de secours a déjà été notée : elle n’est plus sur le boîtier."
        raise Refused("noted", "the recovery key is no longer here", hint=hint) from err
    if not _FORM.fullmatch(key):
        raise StoreError(
            "what the first boot left is no recovery key", hint="La clé de secours est abîmée : prévenez votre support."
        )
    return key


def _hand_over(key: bytes, target: Path, user: int) -> None:
    try:
        target.unlink(missing_ok=True)
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o400)
        with open(handle, "wb") as file:
            if os.geteuid() == 0:
                os.fchown(handle, user, -1)
            file.write(key)
    except OSError as err:
        raise StoreError(f"the recovery key cannot be handed over: {err.strerror}") from err


def wipe(path: Path) -> None:
    """Overwritten where it lies, then removed; its folder stays, so that the first boot makes no other key."""
    with suppress(OSError):
        handle = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(handle, "wb", buffering=0) as file:
            file.write(bytes(os.fstat(handle).st_size))
            os.fsync(handle)
        path.unlink()


def work(data_dir: Path, kept: Path, page_user: int, trace: Trace, now: datetime) -> int:
    """One order, if there is one. The exit code."""
    try:
        order = Orders(data_dir, (page_user,)).take(Wish.RECOVERY, now, carried_out(data_dir, Wish.RECOVERY))
    except (TrustError, Unreadable) as err:
        print(f"recovery: {err}", file=sys.stderr)
        return 1
    if order is None:
        return 0
    failed: BoxError | None = None
    try:
        carry_out(order, data_dir, kept, page_user, trace)
    except BoxError as err:
        failed = err
        print(f"recovery: {err}", file=sys.stderr)
    answer(data_dir, Wish.RECOVERY, order, failed)
    return 1 if failed else 0
