"""BOOT-07: what the firmware and systemd say that they measured is what the TPM holds.

That PCR 7 and 11 are the ones meant is proved by the data partition, which opens with them alone (STOR-02).
"""

import base64

from passevue.baseline.machine import Machine
from passevue.baseline.reading.event_log import replay
from passevue.baseline.remedies import DEPOT
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, failed, passed

PCRS = (4, 7, 11)  # boot loader and UKI, Secure Boot's keys and state, the UKI's parts


def check(machine: Machine) -> Finding:
    facts = machine.facts
    if facts.absent("pcrs"):
        return failed("no TPM 2.0 with a SHA-256 bank")
    values = dict(line.split(" ") for line in facts.lines("pcrs"))
    firmware = base64.b64decode(facts.text("event_log"), validate=True)
    replayed = replay(firmware, facts.text("event_log_systemd"))
    wrong = [pcr for pcr in PCRS if replayed.get(pcr) != values[str(pcr)]]
    if wrong:
        return failed(f"the log does not replay to PCR {', '.join(map(str, wrong))}")
    return passed(f"PCR {', '.join(map(str, PCRS))} as logged")


RULE = Rule(
    id="BOOT-07",
    slug="measured_boot",
    level=Level.SHOULD,
    effect=Effect.WARN,
    when=frozenset({When.START}),
    title=Text("Chaque étape du démarrage a été mesurée", "Each step of the start was measured"),
    why=Text(
        ("La puce de sécurité retient ce qui a démarré : c’est la preuve que rien d’autre n’a tourné avant."),
        "The security chip remembers what was started: the proof that nothing else ran before.",
    ),
    expected="TPM 2.0; the event log replays to PCR 4, 7 and 11",
    remedy=DEPOT,
    source="SP 800-193 detect",
    check=check,
)
