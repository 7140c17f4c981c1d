"""CycloneDX 1.6, as JSON: the same bytes for the same components.

No random serial number and no date but the build's: two builds of one commit have one root hash. Nested components are
what a Python wheel carries inside. Schema: ECMA-424, bom-1.6.schema.json.
"""

import hashlib
import json
import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from supply.component import Component, Licences
from supply.licence_names import spdx_id

NAMESPACE = uuid.UUID("6f1c9a52-2f0b-5e63-9c1b-7d2a4a5b8e10")
OURS = "Apache-2.0"


def bill(version: str, components: Sequence[Component], required: Collection[str], epoch: int) -> bytes:
    """Of `passevue`, the image, its root. `required`: names of Python packages that the agent itself asks for."""
    root = f"pkg:generic/passevue@{version}"
    bom: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "lifecycles": [{"phase": "build"}],
            "component": {
                "type": "firmware",
                "bom-ref": root,
                "name": "passevue",
                "version": version,
                "description": "The system image of a DRIMbox: Debian packages, Python packages and the agent",
                "licenses": [{"license": {"id": OURS}}],
                "purl": root,
            },
        },
        "components": [_component(one) for one in components],
        "dependencies": _dependencies(root, components, required),
    }
    content = hashlib.sha256(json.dumps(bom, sort_keys=True).encode()).hexdigest()
    bom["serialNumber"] = f"urn:uuid:{uuid.uuid5(NAMESPACE, content)}"
    return (json.dumps(bom, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _component(one: Component) -> dict[str, Any]:
    told: dict[str, Any] = {"type": one.kind, "bom-ref": one.ref, "name": one.name}
    optional = {
        "version": one.version,
        "purl": one.purl,
        "hashes": [{"alg": "SHA-256", "content": one.sha256}] if one.sha256 else None,
        "licenses": _licences(one.licences),
        "properties": [{"name": "passevue:debian:source", "value": one.source}] if one.source else None,
        "components": [_component(inner) for inner in one.carries],
    }
    return told | {name: value for name, value in optional.items() if value}


def _licences(licences: Licences) -> list[dict[str, Any]]:
    how = {"acknowledgement": "concluded" if licences.by_hand else "declared"}
    if licences.expression:
        return [{"expression": licences.expression, **how}]
    return [{"license": {"id" if spdx_id(name) == name else "name": name, **how}} for name in licences.names]


def _dependencies(root: str, components: Sequence[Component], required: Collection[str]) -> list[dict[str, Any]]:
    """Who asks for whom; the root for what the agent asks for, and for what nothing else does: all is reached."""
    asks = {one.ref: sorted({*one.requires, *(inner.ref for inner in one.carries)}) for one in components}
    asks |= {inner.ref: [] for one in components for inner in one.carries}
    asked = {ref for refs in asks.values() for ref in refs}
    top = {one.ref for one in components if one.ref not in asked or one.name in required}
    reached = _reached(top, asks)
    for ref in sorted(asks):  # a circle that nobody outside asks for
        if ref not in reached:
            top.add(ref)
            reached |= _reached({ref}, asks)
    return [
        {"ref": ref, "dependsOn": refs} if refs else {"ref": ref}
        for ref, refs in [(root, sorted(top)), *sorted(asks.items())]
    ]


def _reached(start: Collection[str], asks: Mapping[str, Sequence[str]]) -> set[str]:
    reached: set[str] = set()
    ahead = list(start)
    while ahead:
        ref = ahead.pop()
        if ref not in reached:
            reached.add(ref)
            ahead += asks[ref]
    return reached
