"""What the image is made of: Debian packages, wheels and what they carry, as CycloneDX and as a list of licences."""

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

FINALIZE = Path(__file__).parents[3] / "image/finalize/15-supply"
SUPPLY = Path(__file__).parents[3] / "image/supply"
EPOCH = "1793491200"
STATUS = """\
Package: lamp
Status: install ok installed
Architecture: amd64
Source: light (1.0-1)
Version: 2:1.0+x-1+b2
Depends: base-wire (>= 1), battery | mains, absent
Provides: shine (= 1)

Package: base-wire
Status: install ok installed
Architecture: all
Version: 3~rc1-1+b1
Pre-Depends: shine

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1

Package: mains
Status: install ok installed
Architecture: amd64
Source: ccid
Version: 7
"""
MACHINE_READABLE = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
License: Expat

Files: *
License: GPL-2+
 Long words.

Files: debian/*
License: GPL-3+ with Bison exception

License: LGPL-2
 A text that no file of this package has.
"""


def metadata(name: str, version: str, *more: str) -> str:
    return "\n".join(["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", *more, "", "About it"])


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A tree as mkosi leaves it, and beside it the folders that finalize scripts see."""
    tree, sources = tmp_path / "tree", tmp_path / "sources"
    (tree / "usr/share/passevue").mkdir(parents=True)
    (tree / "usr/lib/passevue/dpkg").mkdir(parents=True)
    (tree / "usr/lib/passevue/dpkg/status").write_text(STATUS)
    for name, text in {"lamp": MACHINE_READABLE, "mains": "You may do much.\nFormat: loose", "base-wire": ""}.items():
        (tree / "usr/share/doc" / name).mkdir(parents=True)
        (tree / "usr/share/doc" / name / "copyright").write_text(text)
    archives = sources / "packages/cache/apt/archives"
    archives.mkdir(parents=True)
    (archives / "lamp_2%3a1.0+x-1+b2_amd64.deb").write_bytes(b"a deb")
    (sources / "wheels").mkdir()
    (sources / "supply").symlink_to(SUPPLY)
    python = tree / "usr/lib/passevue/python"
    folders = {
        "passevue-9.1": metadata("passevue", "9.1", "Requires-Dist: Thick.Lib>=2"),
        "thick_lib-2.0": metadata(
            "Thick_Lib", "2.0", "License-Expression: MIT OR Apache-2.0", 'Requires-Dist: plain ; extra == "more"'
        ),
        "plain-1": metadata("plain", "1", "License: BSD", "Requires-Dist: thick-lib", "Requires-Dist: not-here"),
        "silent-1": metadata("silent", "1", "License: first line", "        second line"),
    }
    for stem, text in folders.items():
        (python / f"{stem}.dist-info").mkdir(parents=True)
        (python / f"{stem}.dist-info/METADATA").write_text(text)
        (python / f"{stem}.dist-info/WHEEL").write_text("Tag: py3-none-any\n")
        for tag in ("py3-none-any", "cp313-cp313-other") if not stem.startswith("passevue") else ():
            with zipfile.ZipFile(sources / f"wheels/{stem}-{tag}.whl", "w") as wheel:
                wheel.writestr(f"{stem}.dist-info/WHEEL", f"Tag: {tag}\n")
                if stem == "plain-1":
                    wheel.writestr("x/includes/libxml/xmlversion.h", '#define LIBXML_DOTTED_VERSION "2.1"\n')
    thick = python / "thick_lib-2.0.dist-info"
    (thick / "licenses").mkdir()
    (thick / "licenses/LICENSE").write_text("Do.")
    (thick / "sboms").mkdir()
    told = [
        {"name": "thick_lib", "version": "2.0"},
        {"name": "crate", "version": "1", "purl": "pkg:cargo/crate@1?download_url=file://somebody/disk"},
        {"name": "compiler", "version": "1", "scope": "excluded"},
    ]
    (thick / "sboms/it.cdx.json").write_text(json.dumps({"components": told}))
    (python / "thick_lib.libs").mkdir()
    (python / "thick_lib.libs/libcrypto-0123abcd.so.3").write_bytes(b"\0OpenSSL 3.5.9 29 Sep 2026\0")
    return tmp_path


def finalize(made: Path, script: Path = FINALIZE) -> tuple[bytes, str]:
    given = {"RELEASE": "trixie", "IMAGE_VERSION": "9.1", "SOURCE_DATE_EPOCH": EPOCH}
    places = {"BUILDROOT": str(made / "tree"), "SRCDIR": str(made / "sources")}
    subprocess.run([sys.executable, script], env=os.environ | given | places, check=True)
    out = made / "tree/usr/share/passevue"
    return (out / "sbom.cdx.json").read_bytes(), (out / "licences.txt").read_text()


@pytest.fixture
def bom(made: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(finalize(made)[0])
    return read


def by_name(bom: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in bom["components"]}


def test_what_is_installed_is_listed_once_and_nothing_else(bom: dict[str, Any]) -> None:
    names = [one["name"] for one in bom["components"]]
    assert names == ["base-wire", "lamp", "mains", "plain", "silent", "thick-lib"]


def test_the_image_itself_is_the_root(bom: dict[str, Any]) -> None:
    root = bom["metadata"]["component"]
    assert (root["name"], root["version"], root["licenses"]) == ("passevue", "9.1", [{"license": {"id": "Apache-2.0"}}])
    assert bom["metadata"]["timestamp"] == "2026-11-01T00:00:00Z"
    assert (bom["bomFormat"], bom["specVersion"]) == ("CycloneDX", "1.6")


def test_a_package_has_its_address_its_hash_and_the_source_that_debian_s_tracker_knows(bom: dict[str, Any]) -> None:
    lamp, wire = by_name(bom)["lamp"], by_name(bom)["base-wire"]
    assert lamp["purl"] == "pkg:deb/debian/lamp@2:1.0%2Bx-1%2Bb2?arch=amd64&distro=trixie"
    assert lamp["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(b"a deb").hexdigest()}]
    assert lamp["properties"] == [{"name": "passevue:debian:source", "value": "light 1.0-1"}]
    assert wire["properties"] == [{"name": "passevue:debian:source", "value": "base-wire 3~rc1-1"}]
    assert "hashes" not in wire, "its file is not at hand"


def test_licences_of_files_count_texts_alone_do_not(bom: dict[str, Any]) -> None:
    found = [one["license"] for one in by_name(bom)["lamp"]["licenses"]]
    assert [one.get("id") or one["name"] for one in found] == ["GPL-2.0-or-later", "GPL-3+ with Bison exception", "MIT"]
    assert {one["acknowledgement"] for one in found} == {"declared"}


def test_a_licence_that_a_person_found_says_so(bom: dict[str, Any]) -> None:
    """By the source package, and only where the text is not one for programs."""
    (licence,) = by_name(bom)["mains"]["licenses"]
    assert licence == {"license": {"id": "LGPL-2.1-or-later", "acknowledgement": "concluded"}}


def test_a_wheel_s_licence_is_the_newest_word_of_its_metadata(bom: dict[str, Any]) -> None:
    names = by_name(bom)
    assert names["thick-lib"]["licenses"] == [{"expression": "MIT OR Apache-2.0", "acknowledgement": "declared"}]
    assert names["plain"]["licenses"] == [{"license": {"name": "BSD", "acknowledgement": "declared"}}]


def test_the_hash_is_that_of_the_wheel_that_was_installed(made: Path) -> None:
    """Of two for one version, as a cache may hold."""
    one = by_name(json.loads(finalize(made)[0]))["plain"]
    wheel = made / "sources/wheels/plain-1-py3-none-any.whl"
    assert one["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(wheel.read_bytes()).hexdigest()}]


def test_what_a_wheel_carries_is_inside_it(bom: dict[str, Any]) -> None:
    carried = {one["name"]: one for one in by_name(bom)["thick-lib"]["components"]}
    assert sorted(carried) == ["crate", "libcrypto-0123abcd.so.3"], "not itself, not what only built it"
    assert carried["crate"]["purl"] == "pkg:cargo/crate@1", "not where it lay when it was built"
    assert carried["libcrypto-0123abcd.so.3"]["version"] == "3.5.9"
    (libxml2,) = by_name(bom)["plain"]["components"]
    assert (libxml2["name"], libxml2["version"]) == ("libxml2", "2.1")


def test_who_asks_for_whom_is_known_and_all_is_reached(bom: dict[str, Any]) -> None:
    asks = {one["ref"]: one.get("dependsOn", []) for one in bom["dependencies"]}
    refs = {one["name"]: one["bom-ref"] for one in bom["components"]}
    assert asks[refs["lamp"]] == [refs["base-wire"], refs["mains"]]
    assert asks[refs["base-wire"]] == [refs["lamp"]], "by what it provides"
    assert refs["thick-lib"] in asks["pkg:generic/passevue@9.1"], "asked for by the agent itself"
    assert refs["plain"] not in asks[refs["thick-lib"]], "only in an extra"
    ahead, reached = ["pkg:generic/passevue@9.1"], set()
    while ahead:
        ref = ahead.pop()
        if ref not in reached:
            reached.add(ref)
            ahead += asks[ref]
    assert reached == set(asks)


def test_the_same_tree_gives_the_same_bytes_and_another_another_serial_number(made: Path) -> None:
    first, second = finalize(made), finalize(made)
    assert first == second
    status = made / "tree/usr/lib/passevue/dpkg/status"
    status.write_text(status.read_text().replace("Version: 7", "Version: 8"))
    assert json.loads(finalize(made)[0])["serialNumber"] != json.loads(first[0])["serialNumber"]


def test_a_wheel_that_is_not_there_stops_the_build(made: Path) -> None:
    (made / "sources/wheels/plain-1-py3-none-any.whl").unlink()
    with pytest.raises(subprocess.CalledProcessError):
        finalize(made)


def test_the_list_names_what_has_no_known_licence_first(made: Path) -> None:
    text = finalize(made)[1]
    unknown = text.partition("Sans licence connue\n")[2].partition("\n\n")[2].partition("\n\n")[0]
    assert unknown.splitlines() == ["base-wire 3~rc1-1+b1", "silent 1", "crate 1"]
    assert "3 paquets Debian, 3 bibliothèques Python, 3 composants emportés ; 3 sans licence connue" in text


def test_the_list_says_where_each_text_is(made: Path) -> None:
    text = finalize(made)[1]
    assert "    /usr/share/doc/lamp/copyright\n" in text
    assert "    /usr/lib/passevue/python/thick_lib-2.0.dist-info/licenses\n" in text
    assert "    + libcrypto-0123abcd.so.3 3.5.9 : Apache-2.0 *\n" in text


def test_only_empty_places_of_the_build_are_taken_away(tmp_path: Path) -> None:
    for name in ("src/keys", "src/kept"):
        (tmp_path / "work" / name).mkdir(parents=True)
    (tmp_path / "work/finalize").touch()
    (tmp_path / "work/src/kept/file").write_text("something")
    subprocess.run([FINALIZE.with_name("12-leftovers")], env=os.environ | {"BUILDROOT": str(tmp_path)}, check=True)
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    assert left == ["work", "work/src", "work/src/kept", "work/src/kept/file"]
