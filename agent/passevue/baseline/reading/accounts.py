"""/etc/passwd and /etc/shadow, joined and without what could be attacked off line: no hash leaves this module.

A joined line is `name:uid:lock:shell`, `lock` one of `locked`, `open` (a password can be tried), `empty` (none is asked
for), `expired` never: an expired account still has its password (shadow(5)).
"""

import re
from dataclasses import dataclass

from passevue.errors import Unreadable

_UID = re.compile(r"[0-9]{1,10}")
NO_SHELL = frozenset({"/usr/sbin/nologin", "/sbin/nologin", "/bin/false", "/usr/bin/false"})
LOCKED, OPEN, EMPTY = "locked", "open", "empty"


@dataclass(frozen=True, slots=True)
class Account:
    name: str
    uid: int
    lock: str
    shell: str


def joined(passwd: str, shadow: str) -> str:
    """Raises: Unreadable."""
    locks = {fields[0]: _lock(fields[1]) for fields in _fields(shadow, 2)}
    lines = [
        f"{fields[0]}:{fields[2]}:{_lock(fields[1]) if fields[1] != 'x' else locks.get(fields[0], LOCKED)}:{fields[6]}"
        for fields in _fields(passwd, 7)
    ]
    return "\n".join(lines) + "\n"


def _lock(password: str) -> str:
    if not password:
        return EMPTY
    return LOCKED if password[0] in "!*" else OPEN


def _fields(text: str, least: int) -> list[list[str]]:
    lines = [line.split(":") for line in text.splitlines() if line]
    if not lines or any(len(fields) < least for fields in lines):
        raise Unreadable("a line of passwd or shadow is not in its form")
    return lines


def read_accounts(text: str) -> tuple[Account, ...]:
    """Of joined lines. Raises: Unreadable; also when there is no root."""
    found: list[Account] = []
    for fields in _fields(text, 4):
        name, uid, lock, shell = fields[:4]
        if len(fields) != 4 or not _UID.fullmatch(uid) or lock not in {LOCKED, OPEN, EMPTY}:
            raise Unreadable("an account is not in its form")
        found.append(Account(name, int(uid), lock, shell))
    if not any(each.uid == 0 for each in found):
        raise Unreadable("there is no root among the accounts")
    return tuple(found)
