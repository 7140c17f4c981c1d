"""`/usr/lib/passevue/erase`, as root: makes the box nobody's again. After it no key opens what was on the disk.

Order of things, each tried even when one before has failed, for a half-erased box must be an erased one:

1. the serial typed on the page is this machine's: else nothing happens at all;
2. every key slot of the data partition is destroyed (`cryptsetup erase`), then both headers are overwritten: 16 MiB;
3. the TPM's owner hierarchy is cleared: a copy of the header made before opens with nothing any more;
4. the partition's entry leaves the table, so that the next start makes a new one, as at the factory;
5. the machine restarts without stopping services one by one: what they stand on is gone.

An audit trail that takes nothing (a full disk, a sick one) stops no erasure: it goes with the rest.

The volume key is still in memory until then. Images and programs hold nothing of the centre: they stay.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from passevue.errors import Refused, StoreError, TrustError, Unreadable
from passevue.provision.configure import Trace
from passevue.update.machine import Machine
from passevue.update.orders import Order, Orders, Wish

PARTITION = Path("/dev/disk/by-partlabel/passevue-var")
HEADER_BYTES = 16 << 20
COMMAND_S = 60
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin", "TPM2TOOLS_TCTI": "device:/dev/tpmrm0"}


class Table(Protocol):
    """The partition table of the machine's disk: image/rauc's own reader and writer."""

    def remove(self, partition: Path) -> None:
        """Take the entry of that partition out. Raises: OSError and the like."""
        ...


@dataclass(frozen=True, slots=True)
class Tools:
    """Programs, by where they are on the appliance."""

    cryptsetup: str = "/usr/sbin/cryptsetup"
    tpm2_clear: str = "/usr/bin/tpm2_clear"
    systemctl: str = "/usr/bin/systemctl"


def check(order: Order, machine: Machine) -> None:
    """
    Raises:
        Refused: `serial`: what was typed is not this box's serial.
    """
    typed = "".join(order.text("serial").upper().split()).replace("-", "")
    if not typed or typed != machine.serial.replace("-", ""):
        hint = "Ce n’est pas le numéro de ce boîtier : rien n’a été effacé."
        raise Refused("serial", "what was typed is not this box's serial", hint=hint)


def steps(partition: Path, table: Table, tools: Tools) -> Iterator[str]:
    """What is done, one after the other; what fails is told and does not stop the next."""
    yield _ran([tools.cryptsetup, "erase", "--batch-mode", str(partition)], "key slots")
    yield _overwritten(partition)
    yield _ran([tools.tpm2_clear, "-c", "l"], "TPM")
    try:
        table.remove(partition)
        yield "partition entry: done"
    except Exception as err:  # whatever it is, the restart must come
        yield f"partition entry: {type(err).__name__}"
    os.sync()
    yield _ran([tools.systemctl, "reboot", "--force"], "restart")


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
    return f"{what}: {'done' if done.returncode == 0 else f'left with {done.returncode}'}"


def _overwritten(partition: Path) -> str:
    """Both LUKS2 headers and the key slots' area lie in the first 16 MiB. Random first, then zeros."""
    try:
        with partition.open("r+b", buffering=0) as blocks:
            size = min(HEADER_BYTES, blocks.seek(0, os.SEEK_END))
            for fill in (os.urandom, bytes):
                blocks.seek(0)
                for at in range(0, size, 1 << 20):
                    blocks.write(fill(min(1 << 20, size - at)))
                os.fsync(blocks.fileno())
    except OSError as err:
        return f"headers: {type(err).__name__}"
    return "headers: done"


def _noted(trace: Trace, what: str, by: str, said: str) -> None:
    try:
        trace(what, by, said)
    except StoreError as err:
        print(f"erase: {err}", file=sys.stderr)


def work(
    data_dir: Path, page_user: int, trace: Trace, now: datetime, table: Table, *, machine: Machine | None = None,
    partition: Path = PARTITION, tools: Tools | None = None,
) -> int:  # fmt: skip
    """One order, if there is one. The exit code; on the machine itself it does not come back."""
    try:
        order = Orders(data_dir, (page_user,)).take(Wish.ERASE, now, ())
        if order is None:
            return 0
        check(order, machine or Machine())
    except (TrustError, Unreadable, Refused) as err:
        print(f"erase: {err}", file=sys.stderr)
        _noted(trace, "erase-refused", "", str(err)[:200])
        return 1
    _noted(trace, "erase", order.by, "")
    for told in steps(partition, table, tools or Tools()):
        print(f"erase: {told}", file=sys.stderr, flush=True)
    return 0
