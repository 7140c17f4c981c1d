"""UPD-03: nothing older than what is installed can be installed, and what runs is not below the security floor, nor
below the rollback index that the TPM keeps (`notary.rollback`).

The index is raised once a release has proved itself. Who puts an older one back, by writing the disk of a box that is
off, has one that runs and does not publish. Should the TPM have lost it, the signed heads remember it.
"""

from passevue.baseline.machine import Machine
from passevue.baseline.reading.ini import read_ini
from passevue.baseline.reading.rauc import SYSTEM_CONF, version
from passevue.baseline.reading.rollback_index import kept_index
from passevue.baseline.reading.signed_heads import remembered_index
from passevue.baseline.remedies import NO_WAY_BACK
from passevue.baseline.rule import Effect, Finding, Function, Level, Rule, Text, When, failed, passed
from passevue.errors import Unreadable

PROVED_WITHIN_S = 3600.0  # of the start: the health gate takes half an hour at most


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
    if machine.manifest.profile != "production":  # goes back and forth between versions on one TPM, by trade
        return passed(f"{installed} runs, nothing below {least} is taken; no production image: no rollback index")
    return _by_index(machine, f"{installed} runs, nothing below {least} is taken")


def _by_index(machine: Machine, well: str) -> Finding:
    own = machine.manifest.get("rollback_index")
    if not isinstance(own, int) or isinstance(own, bool) or own < 1:
        raise Unreadable("the manifest has no rollback index")
    kept, remembered = kept_index(machine.facts), remembered_index(machine)
    greatest = max(kept or 0, remembered)
    if own < greatest:
        return failed(f"rollback index {own} runs, this box has been at {greatest}", Effect.BLOCK)
    if (kept or 0) < remembered:  # it opens nothing, and no update may wait for it
        return failed(f"the TPM has lost the rollback index, which was {remembered}", Effect.WARN)
    if kept == own:
        return passed(f"{well}; rollback index {own}")
    if machine.uptime_s < PROVED_WITHIN_S:
        return passed(f"{well}; rollback index {kept or 0}, {own} once this start has proved itself")
    return failed(f"rollback index {kept or 0} in the TPM, {own} runs and was not raised", Effect.WARN)


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
    expected="min-bundle-version set and not above what runs; what runs not below the security floor, nor below the "
    "rollback index in the TPM",
    remedy=NO_WAY_BACK,
    source="TUF rollback, CRA a",
    check=check,
    holds=frozenset({Function.UPDATE}),
)
