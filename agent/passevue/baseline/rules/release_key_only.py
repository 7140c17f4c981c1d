"""UPD-02: only bundles of the release authority are taken, checked for purpose, revocation and signer.

Signers by name (`allowed-signer-cns`) are a setting of RAUC 1.15 and later, which older ones refuse to start with;
there the authority of updates signs nothing but the one signer.
"""

import hashlib

from passevue.baseline.machine import Machine, Unmeasurable
from passevue.baseline.reading.ini import read_ini
from passevue.baseline.reading.rauc import SYSTEM_CONF, is_true, version
from passevue.baseline.remedies import IMAGE_BUG
from passevue.baseline.rule import Effect, Finding, Function, Level, Rule, Text, When, failed, passed

PURPOSE = "codesign-rauc"
NAMES_SIGNERS = (1, 15)


def check(machine: Machine) -> Finding:
    keyring = read_ini(machine.read_text(SYSTEM_CONF)).get("keyring", {})
    path = keyring.get("path", "")
    expected = machine.manifest.files.get(path)
    if expected is None:
        return failed(f"the manifest has no {path or 'keyring'}")
    if hashlib.sha256(machine.read_bytes(path)).hexdigest() != expected:
        return failed(f"{path} is not that of the manifest")
    if keyring.get("check-purpose") != PURPOSE:
        return failed(f"check-purpose={keyring.get('check-purpose', '')}")
    if not is_true(keyring.get("check-crl", "")):
        return failed("check-crl is off")
    if is_true(keyring.get("use-bundle-signing-time", "")):
        return failed("use-bundle-signing-time is on")
    if not keyring.get("allowed-signer-cns") and _rauc(machine) >= NAMES_SIGNERS:
        return failed("allowed-signer-cns is not set")
    return passed(f"{path} as in the manifest, {PURPOSE}, CRL")


def _rauc(machine: Machine) -> tuple[int, ...]:
    """The version of RAUC in the image. Raises: Unmeasurable."""
    found = [str(each["version"]) for each in machine.manifest.get("packages") if each.get("name") == "rauc"]
    if len(found) != 1:
        raise Unmeasurable("the manifest has no RAUC")
    return version(found[0])


RULE = Rule(
    id="UPD-02",
    slug="release_key_only",
    level=Level.MUST,
    effect=Effect.HOLD,
    when=frozenset({When.BUILD, When.START}),
    title=Text("Seules les mises à jour de l’éditeur sont acceptées", "Only the publisher’s updates are taken"),
    why=Text(
        "Qui pourrait signer une mise à jour serait maître du boîtier.",
        "Whoever could sign an update would be master of the box.",
    ),
    expected="keyring as in the manifest; purpose, CRL and (from RAUC 1.15) signer checked; no signing time",
    remedy=IMAGE_BUG,
    source="CR 3.10 3.12",
    check=check,
    holds=frozenset({Function.UPDATE}),
)
