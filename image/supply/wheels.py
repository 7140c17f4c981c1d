"""The agent's Python dependencies, and what their wheels carry inside.

A wheel may bring compiled libraries: some say so in an SBOM of their own (PEP 770), some only by the files that
auditwheel put into `NAME.libs`, lxml by the headers that it was built with. What is linked in and says nothing is not
known here: image/SECURITY.md.
"""

import json
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

from supply.component import Component, Licences, place
from supply.debian import sha256

PLACE = "usr/lib/passevue/python"
US = "passevue"
TEXTS = ("licen", "copying", "notice")
HEADERS = {
    "libexslt": ("exsltconfig.h", "LIBEXSLT_DOTTED_VERSION"),
    "libxml2": ("xmlversion.h", "LIBXML_DOTTED_VERSION"),
    "libxslt": ("xsltconfig.h", "LIBXSLT_DOTTED_VERSION"),
}
OPENSSL = re.compile(rb"OpenSSL (\d+\.\d+\.\d+[a-z]?) +\d+ [A-Z][a-z]{2} \d{4}")
MIB = 1 << 20


def distributions(tree: Path, wheels: Path, by_hand: Mapping[str, Sequence[str]]) -> list[Component]:
    """All but our own, in the order of their names. `wheels`: the folder they were installed from.

    Raises:
        FileNotFoundError: a wheel is not there.
    """
    folders = {_normal(_metadata(folder)["Name"]): folder for folder in (tree / PLACE).glob("*.dist-info")}
    refs = {name: _purl(name, _metadata(folder)["Version"]) for name, folder in folders.items() if name != US}
    found = []
    for name, ref in sorted(refs.items()):
        folder, told = folders[name], _metadata(folders[name])
        wheel = _wheel(wheels, folder)
        found.append(
            Component(
                ref=ref,
                name=name,
                version=told["Version"],
                purl=ref,
                licences=_licences(tree, folder),
                sha256=sha256(wheel),
                requires=tuple(sorted({refs[each] for each in _needs(folder) if each in refs})),
                carries=tuple(_carried(folder, wheel, ref, by_hand)),
            )
        )
    return found


def required_by_us(tree: Path) -> list[str]:
    """Names that our own metadata asks for."""
    return sorted({name for folder in (tree / PLACE).glob(f"{US}-*.dist-info") for name in _needs(folder)})


def _metadata(folder: Path) -> Any:
    return HeaderParser().parsestr((folder / "METADATA").read_text())


def _normal(name: str) -> str:
    """PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _purl(name: str, version: str) -> str:
    return f"pkg:pypi/{name}@{version}"


def _wheel(wheels: Path, folder: Path) -> Path:
    """The file that was installed: of two for one version, the one with the same tags."""
    stem = folder.name.removesuffix(".dist-info")
    for wheel in sorted(wheels.glob(f"{stem}-*.whl")):
        with zipfile.ZipFile(wheel) as packed:
            if packed.read(f"{folder.name}/WHEEL") == (folder / "WHEEL").read_bytes():
                return wheel
    raise FileNotFoundError(f"no wheel {stem} in {wheels}")


def _needs(folder: Path) -> set[str]:
    """What is asked for outside extras; markers are not weighed, since what is not installed has no component."""
    asked = [line for line in _metadata(folder).get_all("Requires-Dist", []) if not re.search(r"\bextra\b", line)]
    return {_normal(found[0]) for line in asked if (found := re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", line))}


def _licences(tree: Path, folder: Path) -> Licences:
    """Of three generations of metadata the newest that speaks: expression (PEP 639), word, classifiers."""
    told = _metadata(folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name.lower().startswith(TEXTS))
    text = place(files[0].parent, tree) if files else ""
    if expression := told["License-Expression"]:
        return Licences(expression=expression, text=text)
    classified = [line.split(" :: ")[-1] for line in told.get_all("Classifier", []) if line.startswith("License ::")]
    word = (told["License"] or "").strip()
    return Licences.of(*([word] if word and "\n" not in word else classified), text=text)


def _carried(folder: Path, wheel: Path, parent: str, by_hand: Mapping[str, Sequence[str]]) -> Iterator[Component]:
    found: dict[str, Component] = {}
    for file in sorted((folder / "sboms").glob("*.json")):
        for told in json.loads(file.read_text()).get("components", []):
            if told.get("scope") != "excluded" and _normal(told["name"]) != _normal(folder.name.split("-")[0]):
                one = _told(told, parent, by_hand)
                found[one.ref] = one
    for file in sorted((folder.parent / f"{folder.name.split('-')[0]}.libs").glob("*.so*")):
        one = _file(file, parent, by_hand)
        found[one.ref] = one
    for name, version in _by_headers(wheel):
        one = Component(
            ref=f"{parent}#{name}@{version}",
            name=name,
            version=version,
            purl=f"pkg:generic/{name}@{version}",
            licences=Licences.of(*by_hand.get(name, ()), by_hand=True),
        )
        found[one.ref] = one
    yield from (found[ref] for ref in sorted(found))


def _told(told: Mapping[str, Any], parent: str, by_hand: Mapping[str, Sequence[str]]) -> Component:
    """A component of the wheel's own SBOM; where it was built, on somebody's disk, is left out."""
    purl = re.sub(r"\?download_url=file:[^&#]*$", "", told.get("purl", ""))
    name, version = told["name"], told.get("version", "")
    expressions = [each["expression"] for each in told.get("licenses", []) if "expression" in each]
    words = [
        each["license"].get("id") or each["license"]["name"] for each in told.get("licenses", []) if "license" in each
    ]
    licences = Licences(expression=expressions[0]) if expressions else Licences.of(*words)
    if not licences.known:
        licences = Licences.of(*by_hand.get(name, ()), by_hand=True)
    return Component(
        ref=f"{parent}#{purl or f'{name}@{version}'}", name=name, version=version, purl=purl, licences=licences
    )


def _file(file: Path, parent: str, by_hand: Mapping[str, Sequence[str]]) -> Component:
    """A library that auditwheel copied in: `libssl-6a9b88ec.so.3`. OpenSSL says its version in its bytes."""
    name = re.sub(r"(-[0-9a-f]{8})?\.so.*$", "", file.name)
    version = OPENSSL.search(file.read_bytes()) if name == "libcrypto" else None
    return Component(
        ref=f"{parent}#{file.name}",
        name=file.name,
        version=version[1].decode() if version else "",
        purl=f"pkg:generic/openssl@{version[1].decode()}" if version else "",
        licences=Licences.of(*by_hand.get(name, ()), by_hand=True),
        sha256=sha256(file),
        kind="library" if version else "file",
    )


def _by_headers(wheel: Path) -> Iterator[tuple[str, str]]:
    with zipfile.ZipFile(wheel) as packed:
        for name, (header, word) in HEADERS.items():
            for member in packed.namelist():
                if member.rpartition("/")[2] == header and packed.getinfo(member).file_size < MIB:
                    said = re.search(rf'#define {word} "([^"]+)"', packed.read(member).decode(errors="replace"))
                    if said:
                        yield name, said[1]
