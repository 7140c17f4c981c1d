"""`/usr/lib/passevue/notary`, one run: sees that no power cuts lock the TPM, raises the rollback index if this start
is good, signs how far the trail is.

Run after each start, once the health gate has spoken, and each hour (`passevue-notary.service`, `.timer`); a head is
due once a start, every six hours, and when the index was raised. Each of the three is tried whatever becomes of the
others; it leaves with 1 when one failed, and is run again within the hour.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from passevue.errors import BoxError, Unreadable
from passevue.notary.head import FIRST, Head, line, to_attest
from passevue.notary.heads import greatest_index, last_head, read_keys
from passevue.notary.place import Place
from passevue.notary.rollback import index_of
from passevue.notary.tpm import Tpm
from passevue.notary.trail import end_of_trail
from passevue.update.machine import Machine

DATA_DIR: Final = Path("/var/lib/passevue")
MANIFEST: Final = "usr/share/passevue/manifest.json"
MAX_BYTES: Final = 4 << 20
EVERY_S: Final = 6 * 3600 - 600  # run each hour: some minutes late or early must not skip one


def _boot_time_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Notary:
    """`machine` is another folder in tests, `tpm` another program than the machine's chip."""

    place: Place = field(default_factory=Place)
    data_dir: Path = DATA_DIR
    machine: Machine = field(default_factory=Machine)
    tpm: Tpm = field(default_factory=Tpm)
    uptime_s: Callable[[], float] = _boot_time_s

    def bear_power_cuts(self) -> str:
        """What was done about the TPM's lock: "" when nothing was due. Blocks. Raises: BoxError."""
        if self.tpm.bears_power_cuts():
            return ""
        self.tpm.bear_power_cuts()
        if not self.tpm.bears_power_cuts():
            raise Unreadable("the TPM keeps a limit of its own")
        return "power cuts do not lock the TPM any more"

    def raise_index(self) -> str:
        """What was done about the rollback index: "" when nothing was due. Blocks. Raises: BoxError, OSError."""
        own = self.own_index()
        if not own or not self.is_proved():
            return ""
        kept = index_of(self.tpm.kept())
        if own <= (kept or 0):
            return ""
        remembered = greatest_index(self.place.heads())
        if own < remembered:  # it was kept here once: what runs is older, and makes no room for itself
            raise Unreadable(f"the TPM has lost the rollback index, which was {remembered}; {own} runs")
        if kept is None:
            self.tpm.define()
        self.tpm.set_index(own)
        return f"rollback index raised from {kept or 0} to {own}"

    def sign_head(self, now: datetime) -> Head:
        """Add a head. Blocks. Raises: BoxError, OSError."""
        end = end_of_trail(self.data_dir / "audit")
        last = last_head(self.place.heads())
        index = self._kept_index()
        with self.tpm.key() as key:
            head = Head(
                count=last.head.count + 1 if last else 1,
                end=end,
                at=now,
                boot_id=self.machine.boot_id,
                uptime_s=int(self.uptime_s()),
                serial=self.machine.serial,
                version=self.machine.version,
                index=index,
                key=key.id,
                before=last.digest if last else FIRST,
            )
            attested, signature = key.sign_time(to_attest(head))
            if key.id not in read_keys(self.place.keys()):
                self.place.add_key(key.pem)
        self.place.add_head(line(head, attested, signature))
        return head

    def _kept_index(self) -> int:
        """0 as well when something else lies in its place: that must not keep the trail from being signed."""
        try:
            return index_of(self.tpm.kept()) or 0
        except Unreadable:
            return 0

    def is_due(self) -> bool:
        """Whether this start has no head yet, or an old one. Blocks. Raises: OSError, Unreadable."""
        last = last_head(self.place.heads())
        if last is None or last.head.boot_id != self.machine.boot_id:
            return True
        return not 0 <= self.uptime_s() - last.head.uptime_s < EVERY_S

    def own_index(self) -> int:
        """Of the release that runs; 0 when it has none. Raises: OSError, Unreadable."""
        told = _tree(self.machine.root / MANIFEST).get("rollback_index", 0)
        if not isinstance(told, int) or isinstance(told, bool):
            raise Unreadable("the manifest's rollback index is no number")
        return told

    def is_proved(self) -> bool:
        """Whether the health gate has passed this very start of this version (`update.health`)."""
        try:
            told = _tree(self.data_dir / "update/health.json")
        except (OSError, Unreadable):
            return False
        here = (1, self.machine.boot_id, self.machine.version, "passed")
        return (
            bool(here[1]) and (told.get("schema"), told.get("boot_id"), told.get("version"), told.get("word")) == here
        )


def _tree(path: Path) -> dict[str, Any]:
    """Raises: OSError, Unreadable."""
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    try:
        tree = json.loads(data) if len(data) <= MAX_BYTES else None
    except (ValueError, RecursionError):
        tree = None
    if not isinstance(tree, dict):
        raise Unreadable(f"{path.name} is not what it should be")
    return tree


def work(notary: Notary, now: datetime, *, at_once: bool = False) -> int:
    """The exit code. `at_once`: a head is signed whether it is due or not."""
    left, done = 0, ""
    try:
        if said := notary.bear_power_cuts():
            print(f"notary: {said}", flush=True)
    except (BoxError, OSError) as err:
        print(f"notary: the TPM's lock: {err}", file=sys.stderr, flush=True)
        left = 1
    try:
        if done := notary.raise_index():
            print(f"notary: {done}", flush=True)
    except (BoxError, OSError) as err:
        print(f"notary: rollback index: {err}", file=sys.stderr, flush=True)
        left = 1
    try:
        if at_once or done or notary.is_due():
            head = notary.sign_head(now)
            print(f"notary: head {head.count} signed, record {head.end.number}, index {head.index}", flush=True)
    except (BoxError, OSError) as err:
        print(f"notary: head: {err}", file=sys.stderr, flush=True)
        left = 1
    return left


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Raises the rollback index in the TPM; signs the head of the trail.")
    parser.add_argument("--at-once", action="store_true", help="sign a head although none is due")
    return work(Notary(), datetime.now(UTC), at_once=parser.parse_args(argv).at_once)
