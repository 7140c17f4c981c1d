"""A box of files whose notary really signs, with a TPM that is a program.

box = ABox(tmp_path, chip)
box.recorded(5)                # five records in its audit trail
assert box.signs() == 0
assert box.look(AUDIT_CHAINED).status is Status.PASS
"""

import copy
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

from passevue.baseline.rule import Finding, Rule
from passevue.baseline.rules.no_way_back import RULE as NO_WAY_BACK
from passevue.notary import place, work
from passevue.notary.place import Place
from passevue.notary.tpm import Tpm
from passevue.notary.work import Notary
from passevue.status.audit import box_started, to_xml
from passevue.status.audit_trail import AuditTrail
from passevue.update.machine import Machine
from tests.unit.baseline.machines import BOOT_ID, NOW, Recorded
from tests.unit.notary.chip import Chip

DATA = "/var/lib/passevue"
CONF = "[system]\nmin-bundle-version=1.0.0\n"
MACHINE_ID = "7f3a90c122bf4b0f8f4b5d1f0a3b2c1d"


class ABox:
    """`chip` may be given another one, or taken away, as long as the box is."""

    def __init__(self, root: Path, chip: Chip | None, *, index: int = 1, version: str = "1.4.2") -> None:
        self.files = Recorded(root)
        self.files.configured()
        self.chip = chip
        self.clock = NOW
        self.folder.mkdir(parents=True)
        (root / DATA.lstrip("/") / "baseline").mkdir(parents=True)
        self.files.file("/etc/machine-id", MACHINE_ID)
        self.files.file("/etc/rauc/system.conf", CONF)
        self.installed(index, version)
        self.started(BOOT_ID, 60)

    def copied(self, root: Path, chip: Chip) -> "ABox":
        """The same box in another folder, with a copy of its TPM."""
        made = copy.copy(self)
        made.files, made.chip = copy.copy(self.files), chip
        made.files.root, made.files.facts = root, {}
        shutil.copytree(self.files.root, root)
        return made

    @property
    def folder(self) -> Path:
        return self.files.root / str(place.FOLDER).lstrip("/")

    @property
    def place(self) -> Place:
        return Place(self.folder)

    @property
    def trail(self) -> Path:
        return self.files.root / DATA.lstrip("/") / "audit"

    def installed(self, index: int, version: str = "1.4.2", profile: str = "production") -> None:
        self.version = version
        self.files.manifest(rollback_index=index, version=version, profile=profile)
        self.files.file("/usr/lib/os-release", f"IMAGE_ID=passevue\nIMAGE_VERSION={version}\n")

    def started(self, boot_id: str, uptime_s: int, *, word: str = "passed") -> None:
        """This start, and what its health gate has said."""
        self.uptime_s = uptime_s
        self.files.file("/proc/sys/kernel/random/boot_id", f"{boot_id}\n")
        self.files.file("/proc/uptime", f"{uptime_s}.00 {uptime_s}.00\n")
        told = {"schema": 1, "boot_id": boot_id, "version": self.version, "word": word}
        self.files.file(f"{DATA}/update/health.json", json.dumps(told))

    def later(self, seconds: int) -> None:
        self.uptime_s += seconds
        self.files.file("/proc/uptime", f"{self.uptime_s}.00 {self.uptime_s}.00\n")

    def recorded(self, records: int, version: str = "1") -> None:
        """As the box itself writes them."""
        events = [to_xml(box_started(self.clock, version), "1.2.3") for _ in range(records)]
        AuditTrail(self.trail, "1.2.3", max_file_bytes=1000).append(events)

    @property
    def notary(self) -> Notary:
        tpm = self.chip.tpm if self.chip else Tpm("device:/nonexistent/tpmrm0")
        root = self.files.root
        return Notary(self.place, root / DATA.lstrip("/"), Machine(root), tpm, lambda: float(self.uptime_s))

    def signs(self) -> int:
        """One run of the unit; its exit code."""
        return work.work(self.notary, self.clock, at_once=True)

    def lines(self) -> list[bytes]:
        return self.place.heads().splitlines(keepends=True)

    def write(self, lines: list[bytes]) -> None:
        (self.folder / place.HEADS).write_bytes(b"".join(lines))

    def look(self, rule: Rule) -> Finding:
        """With what root reads of the TPM at this moment."""
        assert rule.check is not None
        if rule is NO_WAY_BACK:
            self.files.facts = {"rollback_index": json.dumps(self.chip.tpm.kept())} if self.chip else {"cmdline": ""}
        return rule.check(self.files.machine())


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
