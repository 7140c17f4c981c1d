"""/proc/<pid>/mountinfo (proc_pid_mountinfo(5)): what is mounted where, with the options of mount and filesystem.

Fact: a filesystem that can be written has `rw` among its own options, after the dash; those before it are of this one
mount and can be stricter.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from passevue.errors import Unreadable

_ESCAPE = re.compile(r"\\([0-7]{3})")

# Filesystems without a disk behind them: nothing written there outlives the power.
MEMORY = frozenset(
    {
        "autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs", "efivarfs",
        "fusectl", "hugetlbfs", "mqueue", "nsfs", "proc", "pstore", "ramfs", "securityfs", "sysfs", "tmpfs", "tracefs",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mount:
    """`options` are of the mount, `own` of the filesystem itself."""

    device: str  # major:minor
    point: str
    options: frozenset[str]
    kind: str
    source: str
    own: frozenset[str]

    @property
    def writable(self) -> bool:
        return "ro" not in self.own and "ro" not in self.options

    @property
    def filesystem_writable(self) -> bool:
        return "ro" not in self.own


def read_mounts(text: str) -> tuple[Mount, ...]:
    """Raises: Unreadable; also when nothing is mounted as `/`."""
    mounts = tuple(_mount(line) for line in text.splitlines() if line)
    if not any(each.point == "/" for each in mounts):
        raise Unreadable("mountinfo has no root")
    return mounts


def _mount(line: str) -> Mount:
    before, dash, after = line.partition(" - ")
    left, right = before.split(" "), after.split(" ")
    if not dash or len(left) < 6 or len(right) < 3 or not re.fullmatch(r"\d+:\d+", left[2]):
        raise Unreadable("a line of mountinfo is not in its form")
    return Mount(
        device=left[2],
        point=_plain(left[4]),
        options=frozenset(left[5].split(",")),
        kind=right[0],
        source=_plain(right[1]),
        own=frozenset(right[2].split(",")),
    )


def _plain(text: str) -> str:
    return _ESCAPE.sub(lambda found: chr(int(found[1], 8)), text)


def holding(mounts: Iterable[Mount], path: str) -> Mount:
    """The mount that `path` lies on; of several at one point the last, which hides the others. Raises: Unreadable."""
    found = [each for each in mounts if each.point == "/" or path == each.point or path.startswith(each.point + "/")]
    if not found:
        raise Unreadable(f"nothing is mounted over {path}")
    longest = max(len(each.point) for each in found)
    return [each for each in found if len(each.point) == longest][-1]
