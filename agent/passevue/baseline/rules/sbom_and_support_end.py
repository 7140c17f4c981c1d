"""UPD-07: the bill of materials is that of the image, and the end of support is not near."""

import hashlib
from datetime import timedelta

from passevue.baseline.machine import Machine
from passevue.baseline.remedies import PLAN
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, failed, passed

SBOM = "/usr/share/passevue/sbom.cdx.json"
MAX_SBOM_BYTES = 32 << 20
SOON = timedelta(days=180)


def check(machine: Machine) -> Finding:
    expected = machine.manifest.files.get(SBOM)
    if expected is None:
        return failed("the manifest has no bill of materials")
    try:
        found = hashlib.sha256(machine.read_bytes(SBOM, MAX_SBOM_BYTES)).hexdigest()
    except FileNotFoundError:
        return failed("there is no bill of materials")
    if found != expected:
        return failed("the bill of materials is not that of the manifest")
    end = machine.manifest.support_end
    if end is None:
        return failed("the manifest has no end of support")
    left = end - machine.now.date()
    if left < SOON:
        return failed(f"support ends {end}, in {left.days} days")
    return passed(f"CycloneDX as in the manifest, support until {end}")


RULE = Rule(
    id="UPD-07",
    slug="sbom_and_support_end",
    level=Level.MUST,
    effect=Effect.WARN,
    when=frozenset({When.BUILD, When.START, When.DAILY}),
    title=Text("Cette version est encore maintenue", "This version is still supported"),
    why=Text(
        "Passé la fin de maintenance, les failles ne sont plus corrigées.",
        "Past the end of support flaws are corrected no more.",
    ),
    expected="CycloneDX SBOM as in the manifest; support ends in 180 days or more",
    remedy=PLAN,
    source="CRA II.1 and Annex II.7, CLA O-12.2.5.4, HYG 35",
    check=check,
)
