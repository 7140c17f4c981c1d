"""STOR-02: the data partition has two key slots: the TPM's, bound to the measured boot, and the recovery key's."""

from passevue.baseline.machine import Machine
from passevue.baseline.reading.luks import read_luks
from passevue.baseline.remedies import REENROL
from passevue.baseline.rule import Effect, Finding, Function, Level, Rule, Text, When, failed, passed

EXPECTED = ("systemd-recovery", "systemd-tpm2")
SIGNED_PCR = 11  # the UKI's parts, by a policy that our key signs
FIXED_PCRS = {7, 12}  # Secure Boot's state, and what came to the kernel from elsewhere than the UKI, by their values


def check(machine: Machine) -> Finding:
    header = read_luks(machine.facts.tree("luks"))
    named = [slot for token in header.tokens for slot in token.slots]
    if strange := sorted(set(header.slots) - set(named)):
        return failed(f"{len(strange)} key slot(s) without a token: a passphrase or a key file")
    kinds = tuple(sorted(token.kind for token in header.tokens))
    if kinds != EXPECTED or sorted(named) != sorted(header.slots):
        return failed(f"{len(header.slots)} key slots, tokens {', '.join(kinds) or 'none'}")
    tpm = next(token for token in header.tokens if token.kind == "systemd-tpm2")
    if SIGNED_PCR not in tpm.signed_pcrs or FIXED_PCRS.difference(tpm.pcrs):
        return failed(f"the TPM's slot asks for PCR {[*tpm.pcrs]}, signed {[*tpm.signed_pcrs]}")
    return passed("TPM with PCR 7 and 12 and signed PCR 11, recovery key")


RULE = Rule(
    id="STOR-02",
    slug="key_bound_to_boot",
    level=Level.MUST,
    effect=Effect.HOLD,
    when=frozenset({When.START}),
    title=Text(
        "Le disque ne s’ouvre que dans ce boîtier, démarré normalement",
        "The disk opens only in this box, started normally",
    ),
    why=Text(
        "La clé du disque est tenue par la puce de sécurité ; une clé de plus serait une porte de plus.",
        "The disk’s key is held by the security chip; one more key would be one more door.",
    ),
    expected="key slots: one of systemd-tpm2 (PCR 7, 12, signed policy of PCR 11), one of systemd-recovery, no other",
    remedy=REENROL,
    source="HYG 31, SP 800-193",
    check=check,
    holds=frozenset({Function.CONSULTATION, Function.SIGN_IN}),
)
