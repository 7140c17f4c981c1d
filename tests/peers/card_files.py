"""A card's file tree: files and directories by path, who may read them, the FCP that SELECT gives (cps-card.md § 3).

Paths are tuples of file identifiers from the MF: `(0x3F00, 0x0001, 0x7001)`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum

from . import card_der as der

Path = tuple[int, ...]
MF: Path = (0x3F00,)


class Access(IntEnum):
    """Security condition byte of an access rule, as FCPs show it."""

    ALWAYS = 0x00
    PIN = 0x11  # user authentication, security environment 1
    ISSUER = 0x45  # secure messaging with the issuer's keys: never, for us
    NEVER = 0xFF


@dataclass(slots=True)
class File:
    """An elementary file. `content` is a bytearray so that the one writable file can be written."""

    content: bytearray
    sfi: int = 0
    read: Access = Access.ALWAYS
    write: Access = Access.NEVER
    contactless: Access = Access.ALWAYS
    delete: Access = Access.NEVER


@dataclass(frozen=True, slots=True)
class Directory:
    """An application, or the MF; `name` is its AID."""

    name: bytes


@dataclass(slots=True)
class Tree:
    """All of a card's files."""

    nodes: dict[Path, File | Directory] = field(default_factory=dict)

    def add(self, path: Iterable[int], node: File | Directory) -> None:
        self.nodes[tuple(path)] = node

    def file(self, path: Path) -> File:
        node = self.nodes[path]
        assert isinstance(node, File)
        return node

    def directory_named(self, name: bytes) -> Path | None:
        """Full name only: no card of these takes a part of it."""
        return next((p for p, n in self.nodes.items() if isinstance(n, Directory) and n.name == name), None)

    def with_sfi(self, directory: Path, sfi: int) -> Path | None:
        return next(
            (p for p, n in self.nodes.items() if isinstance(n, File) and p[:-1] == directory and n.sfi == sfi), None
        )

    def fcp(self, path: Path, template: int = 0x62) -> bytes:
        node = self.nodes[path]
        fid = der.tlv(0x83, path[-1].to_bytes(2, "big"))
        if isinstance(node, Directory):
            rules = _rules(b"\x7b" + bytes([Access.NEVER] * 4 + [Access.ISSUER, Access.ALWAYS]))
            return der.tlv(template, der.tlv(0x82, b"\x38"), fid, der.tlv(0x84, node.name), rules, _LIVE)
        contact = bytes([node.delete, *[Access.NEVER] * 3, node.write, node.read])
        contactless = bytes([*[Access.NEVER] * 5, node.contactless])
        return der.tlv(
            template,
            der.tlv(0x80, len(node.content).to_bytes(2, "big")),
            der.tlv(0x82, b"\x01"),
            fid,
            der.tlv(0x88, bytes([node.sfi << 3])),
            _rules(b"\x7b" + contact, b"\x7b" + contactless),
            _LIVE,
        )


_LIVE = der.tlv(0x8A, b"\x05")


def _rules(contact: bytes, contactless: bytes | None = None) -> bytes:
    return der.tlv(0xA1, der.tlv(0x8C, contact), *([der.tlv(0x9C, contactless)] if contactless else []))
