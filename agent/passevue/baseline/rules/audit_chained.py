"""LOG-03: nothing was changed, dropped or moved in the audit trail, as its chain tells; and nothing was cut off its
end, as the record tells that the engine noted when all was well the last time (`audit_head`), and as the heads tell
that the TPM has signed (`notary`): they are whole, fresh, and the trail still has what each of them says.
"""

from passevue.baseline.audit_head import Noted, read_head, trail_files
from passevue.baseline.machine import Machine
from passevue.baseline.places import audit_folder
from passevue.baseline.reading.audit_chain import Chain
from passevue.baseline.reading.signed_heads import read_heads, said_of_the_trail
from passevue.baseline.remedies import INVESTIGATE
from passevue.baseline.rule import Effect, Finding, Function, Level, Rule, Text, When, failed, not_applicable, passed
from passevue.notary.heads import Judged, late
from passevue.shared import open_plain


def check(machine: Machine) -> Finding:
    noted, heads = read_head(machine), read_heads(machine)  # before the trail, which goes on meanwhile
    names = trail_files(machine)
    if not names and noted is None and not heads.heads and not heads.wrong:
        return not_applicable("le journal d’audit n’a pas encore de fichier")
    chain = Chain(noted.end if noted else None, said_of_the_trail(heads))
    for name in names:
        with open(open_plain(machine.path(audit_folder(machine.config) / name)), "rb") as file:
            chain.follow(name, file, is_last=name == names[-1])
    if chain.wrong:
        return failed(f"{len(chain.wrong)} breaks, the first in {chain.wrong[0]}")
    if chain.lost:
        return failed(f"record {noted.end.number if noted else 0}, which was there, is gone or another")
    if lost := chain.signed_lost:
        return failed(f"record {lost[0].number}, of which a signed head speaks, is gone or another")
    if wrong := _wrong_heads(machine, heads, noted):
        return failed(wrong)
    signed = f", {len(heads.heads)} signed heads" if heads.heads else ""
    return passed(f"{chain.records} records in {len(names)} files{signed}")


def _wrong_heads(machine: Machine, heads: Judged, noted: Noted | None) -> str:
    """What is wrong with the row of signed heads, "" when nothing is. Only the appliance signs any."""
    if heads.wrong:
        return f"signed heads: {heads.wrong[0]}"
    if noted and noted.heads and not any((s.head.count, s.digest) == (noted.heads, noted.head) for s in heads.heads):
        return f"signed head {noted.heads}, which was there, is gone or another"
    return late(heads, machine.boot_id, machine.uptime_s) if machine.appliance else ""


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
    expected="every record follows the one before by SHA-256; the last noted and all signed ones are still there; "
    "every head is signed by this TPM, the last one in this start and less than 3 days ago",
    remedy=INVESTIGATE,
    source="BP R72(R), LOG R26, CR 3.9",
    check=check,
    holds=frozenset({Function.SIGN_IN, Function.CONSULTATION}),
    appliance_only=False,
    timeout_s=600.0,
)
