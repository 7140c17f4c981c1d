"""Which kernel modules could be loaded: modprobe's configuration and the modules there are (modprobe.d(5)).

Facts: `install NAME /bin/false` keeps a module out, also by its name; `blacklist NAME` only keeps it from loading by
itself. `-` and `_` are the same in a module's name. A module that is built in needs no loading at all.
"""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from passevue.errors import Unreadable

_LOADED = re.compile(r"([\w-]+) \d+ (?:\d+|-) .*")
_NOTHING = frozenset({"/bin/false", "/usr/bin/false", "/bin/true", "/usr/bin/true"})


def plain(name: str) -> str:
    return name.replace("-", "_")


def refused(configuration: str) -> frozenset[str]:
    """Modules that every `install` line of their name keeps out; which of several counts is modprobe's to know."""
    installs: dict[str, set[str]] = {}
    for line in configuration.splitlines():
        words = line.split()
        if len(words) >= 3 and words[0] == "install":
            installs.setdefault(plain(words[1]), set()).add(words[2])
    return frozenset(name for name, commands in installs.items() if commands <= _NOTHING)


def names_of(paths: Iterable[str]) -> frozenset[str]:
    """Of `kernel/drivers/usb/storage/usb-storage.ko.xz: …`, as in modules.dep and modules.builtin."""
    return frozenset(
        plain(PurePosixPath(path.partition(":")[0]).name.partition(".ko")[0]) for path in paths if path.strip()
    )


def loaded(proc_modules: str) -> frozenset[str]:
    """Of /proc/modules. Raises: Unreadable; also when there is none, which no box of ours starts with."""
    found = [_LOADED.fullmatch(line) for line in proc_modules.splitlines()]
    if not found:
        raise Unreadable("no module is loaded")
    return frozenset(plain(_known(each)[1]) for each in found)


def _known(line: re.Match[str] | None) -> re.Match[str]:
    if line is None:
        raise Unreadable("a line of /proc/modules is not in its form")
    return line
