"""CERT-03: each use has its own key, and the certificate that the IGC-Santé issues for that use (igc-sante.md § 2)."""

from passevue.baseline.certificates import in_use, public_key, read
from passevue.baseline.machine import Machine
from passevue.baseline.remedies import RIGHT_CERTIFICATE
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, failed, passed
from passevue.national.certificate import Family, family

FAMILIES = {"dmp": Family.ORG_AUTH_CLI, "sign": Family.ORG_SIGN, "psc": Family.ORG_AUTH_CLI}


def check(machine: Machine) -> Finding:
    keys: dict[bytes, tuple[str, str]] = {}
    for held in in_use(machine.config):
        certificate = read(machine, held)
        key = public_key(certificate)
        other = keys.setdefault(key, (held.role, held.setting))
        if other[0] != held.role:
            return failed(f"{held.setting} has the key of {other[1]}")
        expected = FAMILIES.get(held.role)
        if expected is not None and family(certificate) is not expected:
            return failed(f"{held.setting} is not {expected.value}")
    return passed(f"{len(keys)} keys, each for one use")


RULE = Rule(
    id="CERT-03",
    slug="one_key_one_use",
    level=Level.MUST,
    effect=Effect.WARN,
    when=frozenset({When.START}),
    title=Text("Une clé ne sert qu’à un usage", "A key serves one use only"),
    why=Text(
        "Une clé qui sert partout ouvre tout le jour où elle est prise.",
        "A key that serves everywhere opens everything on the day it is taken.",
    ),
    expected="no key in two roles; KU and EKU as the IGC-Santé issues them for each",
    remedy=RIGHT_CERTIFICATE,
    source="TLS R27 R28 R30",
    check=check,
    appliance_only=False,
)
