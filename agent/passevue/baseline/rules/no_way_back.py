"""UPD-03: nothing older than what is installed can be installed, and what runs is not below the security floor."""

from passevue.baseline.machine import Machine
from passevue.baseline.reading.ini import read_ini
from passevue.baseline.reading.rauc import SYSTEM_CONF, version
from passevue.baseline.remedies import INSTALL_UPDATE
from passevue.baseline.rule import Effect, Finding, Function, Level, Rule, Text, When, failed, passed


def check(machine: Machine) -> Finding:
    installed = machine.manifest.version
    floor = machine.manifest.security_floor
    if floor and version(installed) < version(floor):
        return failed(f"{installed} runs, the security floor is {floor}", Effect.BLOCK)
    least = read_ini(machine.read_text(SYSTEM_CONF)).get("system", {}).get("min-bundle-version", "")
    if not least:
        return failed("no min-bundle-version")
    if version(installed) < version(least):
        return failed(f"{installed} runs, min-bundle-version is {least}")
    return passed(f"{installed} runs, nothing below {least} is taken")


RULE = Rule(
    id="UPD-03",
    slug="no_way_back",
    level=Level.MUST,
    effect=Effect.HOLD,
    worse=Effect.BLOCK,
    when=frozenset({When.START, When.EVENT}),
    title=Text("Le boîtier ne revient pas à une version dangereuse", "The box does not go back to a dangerous version"),
    why=Text(
        "Réinstaller une ancienne version rouvrirait ses failles connues.",
        "To install an old version again would open its known flaws.",
    ),
    expected="min-bundle-version set and not above what runs; what runs not below the security floor",
    remedy=INSTALL_UPDATE,
    source="TUF rollback, CRA a",
    check=check,
    holds=frozenset({Function.UPDATE}),
)
