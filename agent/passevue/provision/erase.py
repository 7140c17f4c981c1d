"""`/usr/lib/passevue/erase`, as root: makes the box nobody's again. After it no key opens what was on the disk.

Order of things, each tried even when one before has failed, for a half-erased box must be an erased one:

1. the serial typed on the page is this machine's: else nothing happens at all;
2. the partition's entry leaves the table: whatever is cut after that, the next start makes a new partition over the
   old one, key slots included, as at the factory;
3. every key slot of the data partition is destroyed (`cryptsetup erase`), then both headers are overwritten: 16 MiB;
4. the TPM's owner hierarchy is cleared: a copy of the header made before opens with nothing any more;
5. the machine restarts without stopping services one by one: what they stand on is gone.

From 2 on the partition has no name any more. Were udev to see that, systemd would unmount /var and stop what stands on
it, this program too: the disk is held against that, and the partition is spoken to by its device.

An audit trail that takes nothing (a full disk, a sick one, one that another zone holds) stops no erasure: it goes with
the rest.

The volume key is still in memory until then. Images and programs hold nothing of the centre: they stay.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Thread
from typing import Protocol

from passevue.errors import Refused, TrustError, Unreadable
from passevue.provision.configure import Trace
from passevue.update.machine import Machine
from passevue.update.orders import Orders, Wish

PARTITION = Path("/dev/disk/by-partlabel/passevue-var")
HEADER_BYTES = 16 << 20
COMMAND_S = 60  # three of them, TRACE_S and what is written: below TimeoutStartSec= of the unit
TRACE_S = 20.0
DONE = ": done"
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin", "TPM2TOOLS_TCTI": "device:/dev/tpmrm0"}


class Table(Protocol):
    """The partition table of the machine's disk: image/rauc's own reader and writer."""

    def held(self, partition: Path) -> AbstractContextManager[None]:
        """While in it, nobody is told of what changes on the disk of that partition. Raises: OSError and the like."""
        ...

    def remove(self, partition: Path) -> None:
        """Take the entry of that partition out. Raises: OSError and the like."""
        ...


@dataclass(frozen=True, slots=True)
class Tools:
    """Programs, by where they are on the appliance."""

    cryptsetup: str = "/usr/sbin/cryptsetup"
    tpm2_clear: str = "/usr/bin/tpm2_clear"
    systemctl: str = "/usr/bin/systemctl"


def check(typed: str, serial: str) -> None:
    """
    Raises:
        Refused: `serial`: what was typed is not this box's serial.
    """
    bare = "".join(typed.upper().split()).replace("-", "")
    if not bare or bare != serial.replace("-", ""):
        hint = "Ce n’est pas le numéro de ce boîtier : rien n’a été effacé."
        raise Refused("serial", "what was typed is not this box's serial", hint=hint)


def steps(partition: Path, table: Table, tools: Tools) -> Iterator[str]:
    """What is done, one after the other; what fails is told, once more at the end, and does not stop the next."""
    device = _resolved(partition)
    held = ExitStack()
    todo: tuple[Callable[[], str], ...] = (
        lambda: _tried(lambda: held.enter_context(table.held(device)), "hold on the disk"),
        lambda: _tried(lambda: table.remove(device), "partition entry"),
        lambda: _ran([tools.cryptsetup, "erase", "--batch-mode", str(device)], "key slots"),
        lambda: _tried(lambda: _overwrite(device), "headers"),
        lambda: _ran([tools.tpm2_clear, "-c", "l"], "TPM"),
        lambda: _tried(os.sync, "disks"),
    )
    failed = []
    with held:
        for step in todo:
            told = step()
            failed += [] if told.endswith(DONE) else [told]
            yield told
        if failed:
            yield f"not all is done: {', '.join(failed)}"
        yield _ran([tools.systemctl, "reboot", "--force"], "restart")


def _resolved(partition: Path) -> Path:
    """The device that the name stands for now: udev may take the name away."""
    try:
        return partition.resolve(strict=True)
    except (OSError, RuntimeError):
        return partition


def _tried(act: Callable[[], object], what: str) -> str:
    try:
        act()
    except Exception as err:  # whatever it is, the next step must come
        return f"{what}: {type(err).__name__}"
    return what + DONE


def _ran(argv: Sequence[str], what: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=COMMAND_S,
            check=False,
            env=ENVIRONMENT,
        )
    except (OSError, subprocess.SubprocessError) as err:
        return f"{what}: {type(err).__name__}"
    return what + DONE if done.returncode == 0 else f"{what}: left with {done.returncode}"


def _overwrite(device: Path) -> None:
    """Both LUKS2 headers and the key slots' area lie in the first 16 MiB. Random first, then zeros."""
    with device.open("r+b", buffering=0) as blocks:
        size = min(HEADER_BYTES, blocks.seek(0, os.SEEK_END))
        for fill in (os.urandom, bytes):
            blocks.seek(0)
            for at in range(0, size, 1 << 20):
                blocks.write(fill(min(1 << 20, size - at)))
            os.fsync(blocks.fileno())


def _noted(trace: Trace, what: str, by: str, said: str, within_s: float) -> None:
    """Whatever becomes of the record, and however long it takes: the erasure does not wait for it."""

    def note() -> None:
        told = _tried(lambda: trace(what, by, said), "audit record")
        if not told.endswith(DONE):
            _tell(told)

    thread = Thread(target=note, name="audit", daemon=True)
    if _tried(thread.start, "").endswith(DONE):
        thread.join(within_s)
    if thread.is_alive():
        _tell("audit record: not written in time")


def _tell(said: str) -> None:
    with suppress(OSError):  # nobody listens: no reason to stop
        print(f"erase: {said}", file=sys.stderr, flush=True)


def work(
    data_dir: Path, page_user: int, trace: Trace, now: datetime, table: Table, *, machine: Machine | None = None,
    partition: Path = PARTITION, tools: Tools | None = None, trace_s: float = TRACE_S,
) -> int:  # fmt: skip
    """One order, if there is one. The exit code; on the machine itself it does not come back."""
    try:
        order = Orders(data_dir, (page_user,)).take(Wish.ERASE, now, ())
        if order is None:
            return 0
        check(order.text("serial"), (machine or Machine()).serial)
    except (TrustError, Unreadable, Refused) as err:
        _tell(str(err))
        _noted(trace, "erase-refused", "", str(err)[:200], trace_s)
        return 1
    _noted(trace, "erase", order.by, "", trace_s)
    for told in steps(partition, table, tools or Tools()):
        _tell(told)
    return 0
