"""LOG-03: nothing was changed, dropped or moved in the audit trail, as its chain tells; and nothing was cut off its
end, as the record tells that the engine noted when all was well the last time (`audit_head`).
"""

from passevue.baseline.audit_head import read_head, trail_files
from passevue.baseline.machine import Machine
from passevue.baseline.places import audit_folder
from passevue.baseline.reading.audit_chain import Chain
from passevue.baseline.remedies import INVESTIGATE
from passevue.baseline.rule import Effect, Finding, Function, Level, Rule, Text, When, failed, not_applicable, passed


def check(machine: Machine) -> Finding:
    names, noted = trail_files(machine), read_head(machine)
    if not names and noted is None:
        return not_applicable("le journal d’audit n’a pas encore de fichier")
    chain = Chain(noted)
    for name in names:
        with machine.path(audit_folder(machine.config) / name).open("rb") as file:
            chain.follow(name, file, is_last=name == names[-1])
    if chain.wrong:
        return failed(f"{len(chain.wrong)} breaks, the first in {chain.wrong[0]}")
    if chain.lost:
        return failed(f"record {noted.number if noted else 0}, which was there, is gone or another")
    return passed(f"{chain.records} records in {len(names)} files")


RULE = Rule(
    id="LOG-03",
    slug="audit_chained",
    level=Level.MUST,
    effect=Effect.HOLD,
    when=frozenset({When.DAILY}),
    title=Text("Le journal d’audit n’a pas été modifié", "The audit trail was not altered"),
    why=Text(
        "Une trace qu’on peut réécrire ne prouve rien.",
        "A trace that can be written anew proves nothing.",
    ),
    expected="every record follows the one before by SHA-256; the last one noted is still there",
    remedy=INVESTIGATE,
    source="BP R72(R), LOG R26, CR 3.9",
    check=check,
    holds=frozenset({Function.SIGN_IN, Function.CONSULTATION}),
    appliance_only=False,
    timeout_s=600.0,
)
