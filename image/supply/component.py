"""A part of the image that somebody else made: a Debian package, a Python package, a library that one carries."""

from dataclasses import dataclass, field
from pathlib import Path

from supply.licence_names import spdx_id


@dataclass(frozen=True, slots=True)
class Licences:
    """Under what a component is given. Empty: nobody has said so where a program or a person looked."""

    names: tuple[str, ...] = ()  # SPDX identifiers where there is one, else the authors' own words; sorted, no doubles
    expression: str = ""  # or one SPDX expression, as declared
    by_hand: bool = False  # a person said so (by_hand.toml); else the component declares it
    text: str = ""  # where in the image its text is; "" when it is not there

    @classmethod
    def of(cls, *words: str, by_hand: bool = False, text: str = "") -> "Licences":
        names = {spdx_id(word) or word for word in words if word}
        return cls(tuple(sorted(names, key=lambda name: (name.lower(), name))), "", by_hand, text)

    @property
    def known(self) -> bool:
        return bool(self.names or self.expression)

    def __str__(self) -> str:
        return self.expression or ", ".join(self.names)


@dataclass(frozen=True, slots=True)
class Component:
    ref: str  # unlike any other's
    name: str
    version: str  # "" when what carries it does not say
    purl: str  # "" for a bare file
    licences: Licences = Licences()
    sha256: str = ""  # of the .deb, the wheel or the file; "" when it is not at hand
    source: str = ""  # Debian's source package and its version: what its security tracker speaks of
    kind: str = "library"  # CycloneDX's type
    requires: tuple[str, ...] = ()  # refs
    carries: tuple["Component", ...] = field(default=())


def place(path: Path, tree: Path) -> str:
    """As seen in the image."""
    return f"/{path.relative_to(tree)}"
