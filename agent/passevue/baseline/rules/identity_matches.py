"""CERT-06: the certificates of a structure are that structure's: their OU is its StructIdNat."""

from passevue.baseline.certificates import in_use, read
from passevue.baseline.machine import Machine, Unmeasurable
from passevue.baseline.remedies import RIGHT_CERTIFICATE
from passevue.baseline.rule import Effect, Event, Finding, Level, Rule, Text, When, failed, passed
from passevue.errors import TrustError
from passevue.national.certificate import structure_id


def check(machine: Machine) -> Finding:
    held_by_structures = [held for held in in_use(machine.config) if held.structure]
    unreadable = []
    for held in held_by_structures:
        try:
            found = structure_id(read(machine, held))
        except TrustError:
            return failed(f"{held.setting} names no structure")
        except Unmeasurable:
            unreadable.append(held.setting)
            continue
        if found != held.structure:
            return failed(f"{held.setting} is of another structure")
    if unreadable:
        raise Unmeasurable(f"{unreadable[0]} cannot be read")
    return passed(f"{len(held_by_structures)} certificates are their structure's")


RULE = Rule(
    id="CERT-06",
    slug="identity_matches",
    level=Level.MUST,
    effect=Effect.BLOCK,
    when=frozenset({When.START, When.EVENT}),
    title=Text("Les certificats sont ceux de la structure", "The certificates are the structure’s"),
    why=Text(
        "Publier avec le certificat d’une autre structure met les documents à son nom.",
        "Publishing with another structure’s certificate puts the documents in its name.",
    ),
    expected="OU of each certificate equals structures.N.id",
    remedy=RIGHT_CERTIFICATE,
    source="ANS FAQ [B]",
    check=check,
    on=frozenset({Event.CONFIG}),
    appliance_only=False,
)
