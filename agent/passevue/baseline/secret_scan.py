"""Looks for secrets where every process of a user could read them (SECR-01): environments and command lines; and in
the settings of files, for the image itself (SECR-02).

Run by root, who alone sees other users' processes. What is told is the process's name and what the variable or option
is called, never its value: `["passevue:DB_PASSWORD"]`.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from passevue.baseline.machine import Unmeasurable

MAX_BYTES: Final = 256 << 10
MOST_FOUND: Final = 20

_NAME = re.compile(r"(?i)(passw|passphrase|secret|token|api_?key|private_?key|credential(?!s_directory)|(^|_)pin(_|$))")
_OPTION = re.compile(r"(?i)^--?(?:password|passphrase|pass|pin|secret|token|key-password)(?:=|$)")
# Names that systemd and the session give, which hold a place or a number and no secret.
_HARMLESS: Final = frozenset({"CREDENTIALS_DIRECTORY", "ENCRYPTED_CREDENTIALS_DIRECTORY", "SSH_AUTH_SOCK"})


# What a file of settings says: `spring.keystore.password = …`, `"api_key": "…"`, `<password>…`.
_SETTING = re.compile(r"""(?m)[<"']?([A-Za-z][\w.-]{2,60})["']?\s*[=:>][ \t]*["']?([^\s"'#;,<>]+)""")
_COMMENTS: Final = ("#", ";", "//")
_NO_SECRET = re.compile(r"(?i)(true|false|yes|no|none|null|on|off|\d+|[/%$<{*].*)")  # switches, counts, places, gaps


def secret_settings(text: str) -> list[str]:
    """The names of settings of a file that should be a secret and have a value."""
    found = _SETTING.findall("\n".join(line for line in text.splitlines() if not line.lstrip().startswith(_COMMENTS)))
    return [name for name, value in found if names_a_secret(name) and not _NO_SECRET.fullmatch(value)]


def report(root: Path = Path("/")) -> str:
    """What was found as a JSON list. Blocks."""
    return json.dumps(sorted(set(find_secrets(root)))[:MOST_FOUND])


def find_secrets(root: Path) -> Iterator[str]:
    """Each as `program:name`. A process that ends meanwhile is no matter.

    Raises:
        Unmeasurable: no process is shown, or one may not be looked at.
    """
    processes = list((root / "proc").glob("[0-9]*"))
    if not processes:
        raise Unmeasurable("no process is shown")
    for process in processes:
        name = _text(process / "comm").strip()
        for entry in _entries(process / "environ"):
            variable, _, value = entry.partition("=")
            if value and names_a_secret(variable):
                yield f"{name}:{variable[:40]}"
        for word in _entries(process / "cmdline"):
            if _OPTION.match(word):
                yield f"{name}:{word.partition('=')[0][:40]}"


def names_a_secret(variable: str) -> bool:
    """Whether a variable of that name should hold a secret."""
    return variable not in _HARMLESS and _NAME.search(variable) is not None


def _entries(path: Path) -> list[str]:
    return [entry for entry in _text(path).split("\0") if entry]


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES).decode("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return ""
    except OSError as err:
        raise Unmeasurable(f"a process may not be looked at: {err.strerror}") from err
