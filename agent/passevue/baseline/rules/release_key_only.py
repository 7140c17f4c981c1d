"""UPD-02: only bundles of the release authority are taken, checked for purpose, revocation and signer."""

import hashlib

from passevue.baseline.machine import Machine
from passevue.baseline.reading.ini import read_ini
from passevue.baseline.reading.rauc import SYSTEM_CONF, is_true
from passevue.baseline.remedies import IMAGE_BUG
from passevue.baseline.rule import Effect, Finding, Function, Level, Rule, Text, When, failed, passed

PURPOSE = "codesign-rauc"


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
    if not keyring.get("allowed-signer-cns"):
        return failed("allowed-signer-cns is not set")
    return passed(f"{path} as in the manifest, {PURPOSE}, CRL, signer by name")


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
    expected="keyring as in the manifest; check-purpose=codesign-rauc, check-crl, allowed-signer-cns; no signing time",
    remedy=IMAGE_BUG,
    source="CR 3.10 3.12",
    check=check,
    holds=frozenset({Function.UPDATE}),
)
