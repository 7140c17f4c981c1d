"""mkosi: from the packages and the stage to partitions and a signed kernel image."""

import hashlib
import json
import os
import shutil
import ssl
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from making.ground import BUILD, HERE, REPOSITORY, TOOLS, BuildError, Order, commit, remove, run, settle, step

MADE = BUILD / "mkosi"
FETCHED = BUILD / "cache/fetched"  # its date: when the lists of packages were
_PACKAGE = BUILD / "mkosi-python"  # mkosi alone out of the tools' Python packages: the rest is for another Python


def run_mkosi(order: Order, stage: Path) -> None:
    _prepare()
    repart = _partitions(order)
    facts = stage / "usr/share/passevue/manifest.json"
    facts.write_text(json.dumps(_facts(order)))
    settle(stage)
    owners = "flat" if os.getuid() else "kept"
    settings = {
        "tools-tree": TOOLS,
        "image-version": order.version,
        "source-date-epoch": int(_release()["dated"].timestamp()),
        "sandbox-tree": BUILD / "apt",
        "package-cache-dir": BUILD / "cache/packages",
        "cache-dir": BUILD / "cache/trees",
        "incremental": "yes",
        "extra-tree": stage,
        "repart-dir": repart,
        "secure-boot-key": order.keys / "db.key",
        "secure-boot-certificate": order.keys / "db.crt",
        "sign-expected-pcr-key": order.keys / "pcr.key",
        "sign-expected-pcr-certificate": order.keys / "pcr.crt",
        "build-sources": ",".join(f"{path}:{name}" for name, path in _seen_by_finalize(order).items()),
        "environment": f"PASSEVUE_OWNERS={owners}",
    }
    words = [f"--{name}={value}" for name, value in settings.items()]
    words += [f"--profile={name}" for name in (order.profile, *(["test"] if order.test else []))]
    force = ["-f", "-f"] if order.fresh else ["-f"]  # twice: the trees of earlier builds go too
    with step(f"mkosi: {order.profile}{' with root console' if order.test else ''} {order.version}"):
        if order.fresh or not FETCHED.exists():
            FETCHED.touch()
        run([*_mkosi(), *force, *words, "build"], "mkosi", env=_environment())


def _seen_by_finalize(order: Order) -> dict[str, Path]:
    """Folders under $SRCDIR of the scripts in finalize/: keys sign the manifest, of the rest the SBOM is made."""
    return {
        "keys": order.keys,
        "packages": BUILD / "cache/packages",
        "supply": HERE / "supply",
        "wheels": BUILD / "cache/wheels",
    }


def _prepare() -> None:
    link = _PACKAGE / "mkosi"
    link.parent.mkdir(exist_ok=True)
    if not link.is_symlink():
        link.symlink_to("../tools/usr/lib/python3/dist-packages/mkosi")
    for old in MADE.glob("passevue*"):
        old.unlink()
    for cache in ("packages", "trees"):
        (BUILD / "cache" / cache).mkdir(parents=True, exist_ok=True)


def _partitions(order: Order) -> Path:
    """partitions/, with the compression that was asked for."""
    repart = BUILD / "repart"
    remove(repart)
    shutil.copytree(HERE / "partitions", repart)
    algorithm, _, level = order.compression.partition(",")
    root = repart / "10-root-a.conf"
    root.write_text(root.read_text().replace("=zstd", f"={algorithm}").replace("Level=12", f"Level={level}"))
    return repart


def _facts(order: Order) -> dict[str, object]:
    """What the manifest says and the tree does not show; finalize/20-manifest adds the rest."""
    command = [*_mkosi(), f"--profile={order.profile}", "--json", "summary"]
    told = subprocess.run([str(part) for part in command], capture_output=True, check=True, env=_environment()).stdout  # noqa: S603
    image = json.loads(told)["Images"][-1]  # those that it depends on come first
    release = _release()
    catalogue = (REPOSITORY / "agent/passevue/baseline/rules").glob("*.py")
    certificate = ssl.PEM_cert_to_DER_cert((order.keys / "db.crt").read_text())
    return {
        "version": order.version,
        "profile": order.profile,
        "test_console": order.test,
        "commit": commit(),
        "built_at": datetime.fromtimestamp(order.epoch, UTC).isoformat(),
        "cmdline": " ".join(image["KernelCommandLine"]),
        "boot_keys": [hashlib.sha256(certificate).hexdigest()],
        "rules": sum("\nRULE = " in path.read_text() for path in catalogue),
        "support_end": release["support_end"].isoformat(),
        "security_floor": release["security_floor"],
        "rollback_index": rollback_index(),
    }


def rollback_index() -> int:
    """
    Raises:
        BuildError: no number that the TPM of a box could keep (agent/passevue/notary/rollback.py).
    """
    index = _release().get("rollback_index")
    if type(index) is not int or not 1 <= index <= 64:
        raise BuildError(f"release.toml: rollback_index is 1 to 64, not {index!r}")
    return index


def _release() -> dict[str, Any]:
    return tomllib.loads((HERE / "release.toml").read_text())


def _mkosi() -> list[object]:
    return [sys.executable, "-m", "mkosi", "--directory", HERE]


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(_PACKAGE)}
