"""What the image is made of, as it says itself: version, end of support, bill of materials, licences (UPD-07).

Three files of the signed root, made by `image/supply`: `manifest.json`, and the two that people take with them. Each is
read up to a bound and no further. One that is not as the manifest has it is given to nobody. A laptop has none of them.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from passevue.errors import StoreError

FOLDER = Path("/usr/share/passevue")
MANIFEST, SBOM, LICENCES = "manifest.json", "sbom.cdx.json", "licences.txt"
PAPERS = (SBOM, LICENCES)
MOST = 4 << 20
"""Bytes of one file: ten times what they have."""
MISSING = "La liste de ce que contient ce boîtier manque : prévenez votre support."
_WRONG = "La liste de ce que contient ce boîtier ne se lit pas : prévenez votre support."


@dataclass(frozen=True, slots=True)
class Paper:
    """A file to take with one. `sha256` as the signed manifest has it too."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Contents:
    """What the manifest and the bill of materials say.

    Attributes:
        commit: of the source, "" when the manifest does not say.
        carried: parts that lie inside of Python packages, compiled in.
        format: of the bill of materials, `CycloneDX 1.6`.
    """

    version: str
    commit: str
    development: bool
    built_at: datetime | None
    support_end: date | None
    debian: int
    python: int
    carried: int
    format: str
    papers: tuple[Paper, ...]

    @property
    def components(self) -> int:
        return self.debian + self.python + self.carried


def read_contents(folder: Path = FOLDER) -> Contents | None:
    """None where there is no manifest. Blocks.

    Raises:
        StoreError: one of the three is missing, too large, or not what it should be.
    """
    try:
        manifest = _read(folder / MANIFEST)
    except FileNotFoundError:
        return None
    except OSError as err:
        raise StoreError(f"{MANIFEST} cannot be read", hint=_WRONG) from err
    papers = {name: read_paper(folder, name, manifest) for name in PAPERS}
    try:
        return _contents(json.loads(manifest), json.loads(papers[SBOM]), papers)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as err:
        raise StoreError("the manifest or the bill of materials has another form", hint=_WRONG) from err


def read_paper(folder: Path, name: str, manifest: bytes | None = None) -> bytes:
    """One of the two, whole, as the manifest has it. Blocks. Raises as `read_contents`."""
    try:
        data = _read(folder / name)
        files = json.loads(_read(folder / MANIFEST) if manifest is None else manifest)["files"]
        expected = files[f"{FOLDER}/{name}"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as err:
        raise StoreError(f"{name} or its hash cannot be read", hint=_WRONG) from err
    if hashlib.sha256(data).hexdigest() != expected:
        raise StoreError(f"{name} is not that of the manifest", hint=_WRONG)
    return data


def _contents(manifest: dict[str, Any], sbom: dict[str, Any], papers: dict[str, bytes]) -> Contents:
    components = sbom["components"]
    kinds = [str(each.get("purl", "")).partition("/")[0] for each in components]
    end, built = manifest.get("support_end"), manifest.get("built_at")
    return Contents(
        version=str(manifest["version"])[:40],
        commit=str(manifest.get("commit", ""))[:64],
        development=manifest.get("profile") != "production",
        built_at=datetime.fromisoformat(built).astimezone() if built else None,
        support_end=date.fromisoformat(end) if end else None,
        debian=kinds.count("pkg:deb"),
        python=kinds.count("pkg:pypi"),
        carried=sum(len(each.get("components", ())) for each in components),
        format=f"{sbom['bomFormat']} {sbom['specVersion']}"[:40],
        papers=tuple(Paper(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in papers.items()),
    )


def _read(path: Path) -> bytes:
    """Raises: OSError; one that is larger than MOST counts as unreadable."""
    with path.open("rb") as file:
        data = file.read(MOST + 1)
    if len(data) > MOST:
        raise OSError(f"{path.name} has more than {MOST} bytes")
    return data
