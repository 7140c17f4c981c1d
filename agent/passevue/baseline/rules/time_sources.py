"""TIME-02: at least two time servers answer, one of them proves who it is where the configuration names such ones."""

from passevue.baseline.machine import Machine
from passevue.baseline.reading.chrony import authenticated, read_sources
from passevue.baseline.remedies import TIME_SOURCE
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, failed, passed

LEAST = 2


def check(machine: Machine) -> Finding:
    sources = read_sources(machine.facts.text("chrony_sources"))
    answering = [source for source in sources if source.answers]
    if len(answering) < LEAST:
        return failed(f"{len(answering)} of {len(sources)} time sources answer")
    proven = authenticated(machine.facts.text("chrony_authdata"))
    if machine.config.network.time_nts and not proven:
        return failed(f"{len(answering)} time sources answer, none proves who it is (NTS)")
    return passed(f"{len(answering)} time sources answer, {proven} by NTS")


RULE = Rule(
    id="TIME-02",
    slug="time_sources",
    level=Level.SHOULD,
    effect=Effect.WARN,
    when=frozenset({When.START}),
    title=Text("Plusieurs serveurs donnent l’heure", "Several servers give the time"),
    why=Text(
        "Avec un seul serveur de temps, une erreur ou une tromperie passe inaperçue.",
        "With one time server, an error or a deceit goes unnoticed.",
    ),
    expected="at least 2 sources answer, one authenticated (NTS) where configured",
    remedy=TIME_SOURCE,
    source="LOG R5",
    check=check,
)
