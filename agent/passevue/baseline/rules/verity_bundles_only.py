"""UPD-01: only bundles that are verified block by block are taken.

CVE-2026-34155 signs only the head of a plain bundle beyond 2 GiB; it is corrected in RAUC 1.15.2. Without `plain`
there is nothing to sign so, and the version of the distribution does.
"""

from passevue.baseline.machine import Machine
from passevue.baseline.reading.ini import read_ini
from passevue.baseline.reading.rauc import SYSTEM_CONF, formats
from passevue.baseline.remedies import IMAGE_BUG
from passevue.baseline.rule import Effect, Finding, Function, Level, Rule, Text, When, failed, passed


def check(machine: Machine) -> Finding:
    settings = read_ini(machine.read_text(SYSTEM_CONF))
    taken = formats(settings.get("system", {}).get("bundle-formats", ""))
    if not taken or not taken <= {"verity", "crypt"}:
        return failed(f"bundle formats: {' '.join(sorted(taken)) or 'none'}")
    return passed(f"bundle formats: {' '.join(sorted(taken))}")


RULE = Rule(
    id="UPD-01",
    slug="verity_bundles_only",
    level=Level.MUST,
    effect=Effect.HOLD,
    when=frozenset({When.BUILD, When.START}),
    title=Text("Une mise à jour est vérifiée bloc par bloc", "An update is verified block by block"),
    why=Text(
        "Un paquet vérifié à moitié installerait ce qu’un tiers y a mis.",
        "A bundle verified by half would install what somebody else has put in.",
    ),
    expected="bundle-formats is verity (crypt allowed), never plain",
    remedy=IMAGE_BUG,
    source="BP R59, CRA II.7",
    check=check,
    holds=frozenset({Function.UPDATE}),
)
