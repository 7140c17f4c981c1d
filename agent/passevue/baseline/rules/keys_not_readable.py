"""CERT-02: no private key lies in clear on the data partition. Root looks, since only root may look everywhere."""

from passevue.baseline.machine import Machine
from passevue.baseline.remedies import REISSUE
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, failed, passed
from passevue.errors import Unreadable


def check(machine: Machine) -> Finding:
    scan = machine.facts.tree("keys")
    found = scan["found"]
    if not int(scan["files"]):
        raise Unreadable("no file was looked into")
    if found:
        return failed(f"private key in clear: {', '.join(str(path) for path in found[:3])}")
    return passed(f"{int(scan['files'])} files, no private key")


RULE = Rule(
    id="CERT-02",
    slug="keys_not_readable",
    level=Level.MUST,
    effect=Effect.BLOCK,
    when=frozenset({When.START, When.DAILY}),
    title=Text("Aucune clé privée n’est lisible sur le disque", "No private key can be read on the disk"),
    why=Text(
        "Qui copie une clé parle au DMP au nom de la structure.",
        "Whoever copies a key speaks to the DMP in the structure’s name.",
    ),
    expected="no PEM, PKCS#8 or PKCS#12 private key in clear below /var, /etc, /root, /home, /srv",
    remedy=REISSUE,
    source="ANS FAQ [B], CLA O-12.2.10.1, ETSI 5.4",
    check=check,
)
