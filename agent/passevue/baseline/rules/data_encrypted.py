"""STOR-01: the data partition is LUKS2 with AES-XTS and two keys of 256 bits, and `/var` really lies on it."""

from passevue.baseline.machine import Machine
from passevue.baseline.reading.device_mapper import read_mapped, read_targets
from passevue.baseline.reading.luks import read_luks
from passevue.baseline.reading.mounts import holding, read_mounts
from passevue.baseline.remedies import REPROVISION
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, failed, passed

CIPHER, KEY_BYTES = "aes-xts-plain64", 64
MAPPED = "var"


def check(machine: Machine) -> Finding:
    facts = machine.facts
    data = holding(read_mounts(facts.text("mounts")), "/var")
    if data.device != read_mapped(facts.text("mapped")).get(MAPPED):
        return failed(f"/var is {data.kind} on another device than the encrypted one")
    active = next((each for each in read_targets(facts.text("crypt_table")) if each.name == MAPPED), None)
    if active is None:
        return failed("/var is not encrypted")
    header = read_luks(facts.tree("luks"))
    ciphers = {*header.ciphers, active.words[0]}
    if ciphers != {CIPHER}:
        return failed(f"cipher {', '.join(sorted(ciphers))}")
    if any(size < KEY_BYTES for size in header.slots.values()) or not header.slots:
        return failed(f"keys of {', '.join(f'{size} bytes' for size in header.slots.values()) or 'no size'}")
    return passed(f"LUKS2, {CIPHER}, {KEY_BYTES} bytes")


RULE = Rule(
    id="STOR-01",
    slug="data_encrypted",
    level=Level.MUST,
    effect=Effect.BLOCK,
    when=frozenset({When.START}),
    title=Text("Les données sont chiffrées", "The data are encrypted"),
    why=Text("Un disque volé ne doit rien livrer.", "A stolen disk must give nothing away."),
    expected="/var on LUKS2, aes-xts-plain64 with a key of 64 bytes",
    remedy=REPROVISION,
    source="HYG 31, PG 4.5.6.2, CRA e",
    check=check,
)
