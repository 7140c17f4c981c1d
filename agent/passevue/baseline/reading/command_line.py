"""The kernel's command line, as words: quotes keep a word together (kernel, next_arg)."""

import re
from dataclasses import dataclass

from passevue.errors import Unreadable

_WORD = re.compile(r'(?:[^\s"]|"[^"]*"?)+')
ROOT_HASHES = ("roothash", "usrhash")


@dataclass(frozen=True, slots=True)
class CommandLine:
    words: tuple[str, ...]

    def values(self, name: str) -> list[str]:
        """Of `name=value`, in their order; the kernel and systemd take the last of most."""
        return [word.partition("=")[2] for word in self.words if word.startswith(name + "=")]

    def has(self, name: str) -> bool:
        """The bare word, or with any value."""
        return name in self.words or bool(self.values(name))

    @property
    def root_hash(self) -> str:
        """Raises: Unreadable when there is none, or more than one."""
        found = [value for name in ROOT_HASHES for value in self.values(name)]
        if len(found) != 1 or not re.fullmatch(r"[0-9a-f]{64}", found[0]):
            raise Unreadable("the command line has no single root hash")
        return found[0]

    @property
    def fixed(self) -> tuple[str, ...]:
        """Without what belongs to one image alone: the root hash."""
        return tuple(word for word in self.words if word.partition("=")[0] not in ROOT_HASHES)


def read_command_line(text: str) -> CommandLine:
    """Raises: Unreadable when it is empty or not one line."""
    line = text.strip("\n\0 ")
    if not line or "\n" in line or not line.isprintable():
        raise Unreadable("the command line is not one line of text")
    return CommandLine(tuple(word.replace('"', "") for word in _WORD.findall(line)))
