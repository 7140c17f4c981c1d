"""Facts: what the operating system shows to root alone, or to no sandbox, written down for the engine to judge.

The engine runs as `passevue-host`, in its own mount, process and perhaps network view: the mounts, sockets, rules and
key slots that it must judge are not there to see. `passevue-facts` and the two units that it calls for (`collect`)
read them; it leaves one JSON in `PLACE`, root:passevue 0640; the rules read that and nothing of the system itself. Run
as root by hand, `passevue baseline` collects them on the spot.

    machine.facts.text("mounts")                # /proc/1/mountinfo, as the kernel wrote it
    machine.facts.tree("ruleset")               # the same, where it is JSON

Rules of this module:
- a fact is raw text with a name; what it means is decided by the rule, without privilege (`collect` cuts out secrets);
- a fact that could not be read is kept with the reason: asking for it raises, and the rule's result is `unknown`;
- facts of another boot, or older than 15 minutes by CLOCK_BOOTTIME, are no facts.
"""

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from passevue.errors import Unreadable

PLACE: Final = "/run/passevue/facts.json"
PART_PLACE: Final = (
    "/run/passevue-facts-{hand}/facts.json"  # what another unit than `passevue-facts` read, for it alone
)
SCHEMA: Final = 1
FRESH_S: Final = 15 * 60.0  # collected every four minutes: three missed rounds
MAX_BYTES: Final = 4 << 20  # a whole box takes 150 KiB
MAX_FACT_BYTES: Final = 1 << 20  # a ruleset of 100 KiB, a firmware log of 64 KiB are the longest


@dataclass(frozen=True, slots=True)
class Facts:
    """One round of reading.

    Attributes:
        uptime_s: CLOCK_BOOTTIME when it was made.
        texts: name = what was read.
        missing: name = why it could not be.
        since: name = CLOCK_BOOTTIME of those that are not read anew each round.
    """

    boot_id: str
    uptime_s: float
    texts: Mapping[str, str] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    since: Mapping[str, float] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """Raises: Unreadable when it was not, or could not be, collected."""
        if name in self.texts:
            return self.texts[name]
        raise Unreadable(f"{name}: {self.missing.get(name, 'not collected')}")

    def absent(self, name: str) -> bool:
        """Whether the machine has no such file, which says something too; other failures are no answer."""
        return name not in self.texts and self.missing.get(name, "").startswith("FileNotFoundError")

    def tree(self, name: str) -> Any:
        """A fact that is JSON. Raises: Unreadable."""
        try:
            return json.loads(self.text(name))
        except (ValueError, RecursionError) as err:
            raise Unreadable(f"{name}: not JSON") from err

    def lines(self, name: str) -> list[str]:
        """Without empty ones. Raises: Unreadable."""
        return [line for line in self.text(name).splitlines() if line.strip()]

    def check_fresh(self, boot_id: str, uptime_s: float, fresh_s: float = FRESH_S) -> None:
        """Raises: Unreadable when they are of another boot, too old, or of the future."""
        if self.boot_id != boot_id:
            raise Unreadable("the facts are of another boot")
        if not 0 <= uptime_s - self.uptime_s < fresh_s:
            raise Unreadable(f"the facts are {(uptime_s - self.uptime_s) / 60:.0f} min old")


def to_json(facts: Facts) -> str:
    return json.dumps(
        {
            "schema": SCHEMA,
            "boot_id": facts.boot_id,
            "uptime_s": facts.uptime_s,
            "texts": dict(facts.texts),
            "missing": dict(facts.missing),
            "since": dict(facts.since),
        }
    )


def from_json(data: bytes) -> Facts:
    """Raises: Unreadable when it is not what `to_json` gives."""
    if len(data) > MAX_BYTES:
        raise Unreadable(f"the facts are longer than {MAX_BYTES} bytes")
    try:
        tree = json.loads(data)
        if tree["schema"] != SCHEMA:
            raise Unreadable(f"the facts have schema {tree['schema']}, not {SCHEMA}")
        texts, missing = _texts(tree["texts"]), _texts(tree["missing"])
        since = {str(name): float(value) for name, value in tree["since"].items() if name in texts}
        return Facts(str(tree["boot_id"]), float(tree["uptime_s"]), texts, missing, since)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as err:
        raise Unreadable(f"the facts cannot be read: {type(err).__name__}") from err


def _texts(tree: Any) -> dict[str, str]:
    if not all(isinstance(name, str) and isinstance(text, str) for name, text in tree.items()):
        raise Unreadable("the facts hold something else than texts")
    return dict(tree)


def read(path: Path, *, owner: int = 0) -> Facts:
    """The facts of that file, which only `owner` may have written. Blocks.

    Raises:
        Unreadable: it is somebody else's, open to others' writing, or not facts.
        OSError: it is not there or may not be read.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(handle, "rb") as file:
        seen = os.fstat(handle)
        if not stat.S_ISREG(seen.st_mode) or seen.st_uid != owner or seen.st_mode & 0o022:
            raise Unreadable("the facts may have been written by somebody else")
        return from_json(file.read(MAX_BYTES + 1))


def write(path: Path, facts: Facts, *, group: int = -1) -> None:
    """Put the facts there, whole or not at all. Blocks. `group` may read them; -1 leaves the writer's.

    Raises:
        Unreadable: they pass the bound.
        OSError: the folder is not there or not ours to write.
    """
    data = to_json(facts).encode()
    if len(data) > MAX_BYTES:
        raise Unreadable(f"the facts are longer than {MAX_BYTES} bytes")
    aside = path.with_suffix(".new")
    aside.unlink(missing_ok=True)
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
    with open(handle, "wb") as file:
        if group not in (-1, os.fstat(handle).st_gid):  # its unit has that group, and may change no owner at all
            os.fchown(handle, -1, group)
        os.fchmod(handle, 0o640)
        file.write(data)
    os.replace(aside, path)
