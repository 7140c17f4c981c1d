"""`key = value` lines: sysctls as collected, and configuration files with sections (coredump.conf, loader.conf)."""

import re

from passevue.errors import Unreadable

_NUMBER = re.compile(r"-?[0-9]{1,20}")


def read_sysctls(text: str) -> dict[str, str]:
    """`name = value` a line. Raises: Unreadable when there is none, or a line is none."""
    found: dict[str, str] = {}
    for line in filter(None, text.splitlines()):
        name, equals, value = line.partition(" = ")
        if not equals or not name or " " in name:
            raise Unreadable("a sysctl is not in its form")
        found[name] = value.strip()
    if not found:
        raise Unreadable("there is no sysctl")
    return found


def wrong_sysctls(found: dict[str, str], wanted: dict[str, str]) -> list[str]:
    """What is not as wanted, as `name=value`. A wanted value is a number, `>=n`, or either with `?` before it: then
    the kernel need not know it."""
    return [
        f"{name}={found.get(name, 'absent')}" for name, value in wanted.items() if not _holds(found.get(name), value)
    ]


def _holds(found: str | None, wanted: str) -> bool:
    if found is None:
        return wanted.startswith("?")
    wanted = wanted.removeprefix("?")
    if wanted.startswith(">="):
        return _NUMBER.fullmatch(found) is not None and int(found) >= int(wanted[2:])
    return found == wanted


def read_settings(text: str) -> dict[str, str]:
    """A systemd configuration, sections ignored, the last value of each key."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, equals, value = line.strip().partition("=")
        if equals and not key.startswith(("#", ";")):
            found[key.strip()] = value.strip()
    return found
