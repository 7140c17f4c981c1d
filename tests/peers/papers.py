"""What an image says of itself, as `image/supply` and `finalize/20-manifest` leave it, of a few components."""

import hashlib
import json
from pathlib import Path
from typing import Any

COMMIT = "57d68ff3f3574f7e8b2c80375a5b4f86468c5afe"
SBOM = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.6",
    "components": [
        {"name": "adduser", "purl": "pkg:deb/debian/adduser@3.152?arch=all"},
        {"name": "base-files", "purl": "pkg:deb/debian/base-files@13.8"},
        {"name": "yarl", "purl": "pkg:pypi/yarl@1.25.1"},
        {
            "name": "lxml",
            "purl": "pkg:pypi/lxml@6.1.3",
            "components": [{"name": "libxml2", "version": "2.14"}, {"name": "libxslt"}, {"name": "zlib"}],
        },
    ],
}
LICENCES = "Passevue 1.4.2 : logiciels contenus et licences\n\nadduser 3.152\n    GPL-2.0-or-later\n"


def papers(folder: Path, sbom: object = SBOM, licences: str = LICENCES, **manifest: Any) -> Path:
    """`manifest`: keys that are otherwise than usual; None takes one away."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sbom.cdx.json").write_text(json.dumps(sbom))
    (folder / "licences.txt").write_text(licences)
    names = ("sbom.cdx.json", "licences.txt")
    hashes = {f"/usr/share/passevue/{name}": hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    said = {
        "schema": 1,
        "version": "1.4.2",
        "profile": "production",
        "commit": COMMIT,
        "built_at": "2026-11-20T08:02:48+00:00",
        "support_end": "2028-08-09",
        "files": hashes,
    } | manifest
    (folder / "manifest.json").write_text(json.dumps({key: value for key, value in said.items() if value is not None}))
    return folder
