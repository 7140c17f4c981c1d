"""APP-04: a production image: no test authority in production, no simulated reader, no development profile.

A development image can never work in the production realm. In the test realm it only shows what it is: that is what
it is for, and nothing of the national space is behind it.
"""

from passevue.baseline.certificates import authorities
from passevue.baseline.machine import Machine
from passevue.baseline.remedies import REFLASH
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, failed, passed
from passevue.national.certificate import is_test_authority

SIMULATED_READERS = (
    "/usr/lib/pcsc/drivers/serial/*vpcd*",
    "/usr/lib/pcsc/drivers/*/*vpcd*",
    "/etc/reader.conf.d/*vpcd*",
)


def check(machine: Machine) -> Finding:
    production = machine.config.box.realm == "production"
    if machine.manifest.profile != "production":
        return failed(f"profile {machine.manifest.profile}", None if production else Effect.WARN)
    simulated = [path for pattern in SIMULATED_READERS for path in machine.glob(pattern)]
    if simulated:
        return failed(f"simulated reader: {simulated[0]}")
    stores = {"registry.authority": machine.config.registry.authority}
    if machine.config.trust is not None:
        stores["trust.authority"] = machine.config.trust.authority
    for setting, path in stores.items():
        if production and any(is_test_authority(one) for one in authorities(machine, setting, path)):
            return failed(f"a test authority in {setting}")
    return passed(f"profile production, realm {machine.config.box.realm}")


RULE = Rule(
    id="APP-04",
    slug="release_build",
    level=Level.MUST,
    effect=Effect.BLOCK,
    when=frozenset({When.START}),
    title=Text("Le logiciel installé est une version de production", "The installed software is a production release"),
    why=Text(
        "Une version de développement contient des facilités d’essai qui n’ont rien à faire dans un centre.",
        "A development version holds conveniences for trials that have no place in a centre.",
    ),
    expected="manifest profile production; no test authority in production, no simulated reader",
    remedy=REFLASH,
    source="CRA b j",
    check=check,
)
