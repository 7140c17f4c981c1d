"""Which file of a stick is meant: pure."""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Protocol, TypeVar

from passevue.errors import Refused


class Named(Protocol):
    """A file of the stick's root."""

    @property
    def name(self) -> str: ...


N = TypeVar("N", bound=Named)
T = TypeVar("T")
_SIGNATURE = "la signature de la configuration, qui porte le même nom suivi de .sig,"


class Want(StrEnum):
    """What somebody asked for."""

    BUNDLE = "bundle"
    CONFIGURATION = "configuration"


def chosen(files: Iterable[N], want: Want, serial: str) -> dict[str, N]:
    """The files that are meant, by the fields of the page's form: `bundle`; or `document` and `signature`.

    Of several configurations that of this box is called by its serial: `<serial>.toml`. A signature has its
    configuration's name and `.sig`. Case does not count.

    Raises:
        Refused: there is none, or nobody can know which.
    """
    there = [(each.name.casefold(), each) for each in files]
    if want is Want.BUNDLE:
        bundles = [each for name, each in there if name.endswith(".raucb")]
        return {"bundle": _one(bundles, "de mise à jour (.raucb)", "plusieurs mises à jour : laissez-en une")}
    documents = [(name, each) for name, each in there if name.endswith(".toml")]
    ours = [(name, each) for name, each in documents if name == f"{serial.casefold()}.toml"]
    several = f"plusieurs configurations : appelez celle de ce boîtier {serial}.toml, ou n’en laissez qu’une"
    name, document = _one(ours or documents, "de configuration (.toml)", several)
    signatures = [each for other, each in there if other == f"{name}.sig"]
    return {"document": document, "signature": _one(signatures, _SIGNATURE, "plusieurs signatures de ce nom")}


def _one(found: Sequence[T], missing: str, several: str) -> T:
    if not found:
        raise Refused("stick-file", "no such file on the stick", hint=f"La clé n’a pas {missing} à sa racine.")
    if len(found) > 1:
        raise Refused("stick-files", "several such files on the stick", hint=f"La clé a {several}.")
    return found[0]
