"""The Debian packages of a tree, as dpkg had them.

The build takes dpkg's programs and lists away and keeps its `status` (finalize/10-tree.chroot). Of some packages it
takes most files too: they are listed all the same, so that a scanner asks about them.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from urllib.parse import quote

from supply.component import Component, Licences, place
from supply.licence_names import declared

STATUS = "usr/lib/passevue/dpkg/status"
DOCS = "usr/share/doc"


def packages(tree: Path, debs: Path, release: str, by_hand: Mapping[str, Sequence[str]]) -> list[Component]:
    """In the order of their names. `debs`: the folder with the .deb files, for their hashes."""
    stanzas = [fields for fields in _stanzas(tree / STATUS) if fields.get("Status") == "install ok installed"]
    refs = {fields["Package"]: _purl(fields, release) for fields in stanzas}
    provided = _provided(stanzas)
    found = []
    for fields in sorted(stanzas, key=lambda fields: fields["Package"]):
        name, version = fields["Package"], fields["Version"]
        deb = debs / f"{name}_{version.replace(':', '%3a')}_{fields['Architecture']}.deb"
        source, source_version = _source(fields)
        found.append(
            Component(
                ref=refs[name],
                name=name,
                version=version,
                purl=refs[name],
                licences=_licences(tree, name, by_hand.get(source, ())),
                sha256=sha256(deb) if deb.exists() else "",
                source=f"{source} {source_version}",
                requires=tuple(sorted({refs[each] for each in _needs(fields, refs, provided)} - {refs[name]})),
            )
        )
    return found


@cache
def sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _stanzas(status: Path) -> list[dict[str, str]]:
    paragraphs = status.read_text().split("\n\n")
    return [dict(re.findall(r"^([A-Z][A-Za-z-]*): (.*)$", paragraph, re.MULTILINE)) for paragraph in paragraphs]


def _purl(fields: Mapping[str, str], release: str) -> str:
    """https://github.com/package-url/purl-spec, type `deb`: a colon stays as it is, a plus does not."""
    version = quote(fields["Version"], safe=":~")
    return (
        f"pkg:deb/debian/{quote(fields['Package'], safe='')}@{version}?arch={fields['Architecture']}&distro={release}"
    )


def _source(fields: Mapping[str, str]) -> tuple[str, str]:
    """Name and version of the source package: `Source` says what differs from the binary one."""
    named = re.fullmatch(r"(\S+)(?: \((.+)\))?", fields.get("Source", fields["Package"]))
    assert named is not None  # noqa: S101 (dpkg's own format)
    return named[1], named[2] or re.sub(r"\+b\d+$", "", fields["Version"])


def _provided(stanzas: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for fields in stanzas:
        for virtual in _names(fields.get("Provides", "")):
            found.setdefault(virtual, []).append(fields["Package"])
    return found


def _needs(fields: Mapping[str, str], installed: Mapping[str, str], provided: Mapping[str, list[str]]) -> set[str]:
    """Installed packages that a Depends or Pre-Depends asks for; of alternatives, all that are there."""
    wanted = [name for field in ("Depends", "Pre-Depends") for name in _names(fields.get(field, ""))]
    return {real for name in wanted for real in ([name] if name in installed else provided.get(name, []))}


def _names(relation: str) -> list[str]:
    return [
        found[0] for part in re.split(r"[,|]", relation) if (found := re.match(r"[a-z0-9][a-z0-9+.-]+", part.strip()))
    ]


def _licences(tree: Path, name: str, by_hand: Sequence[str]) -> Licences:
    file = tree / DOCS / name / "copyright"
    if not file.exists():
        return Licences.of(*by_hand, by_hand=True)
    said = declared(file.read_text(errors="replace"))
    return Licences.of(*(said or by_hand), by_hand=not said, text=place(file, tree))
