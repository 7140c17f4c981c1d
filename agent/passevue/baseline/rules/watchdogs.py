"""SERV-05: systemd feeds the hardware watchdog, and each of our services that keeps running has one of its own.

That it was asked for says nothing: a machine without one still shows the time. That it was fed does.
"""

from passevue.baseline.machine import Machine
from passevue.baseline.reading.properties import is_ours, read_blocks, read_units, seconds
from passevue.baseline.remedies import remedy
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, failed, passed
from passevue.errors import Unreadable

NEVER = frozenset({"", "0", "n/a"})


def check(machine: Machine) -> Finding:
    facts = machine.facts
    manager = read_blocks(facts.text("manager"))[0]
    services = [unit for unit in read_units(facts.text("units")).values() if is_ours(unit)]
    running = [unit for unit in services if unit["ActiveState"] == "active"]
    if not running:
        raise Unreadable("no service of ours runs")
    if loose := sorted(unit["Id"] for unit in running if not 0 < seconds(unit["WatchdogUSec"]) < float("inf")):
        return failed(f"no watchdog on {', '.join(loose)}")
    hardware = seconds(manager["RuntimeWatchdogUSec"])
    if not 0 < hardware < float("inf") or manager["WatchdogLastPingTimestamp"] in NEVER:
        return failed("no hardware watchdog is fed")
    return passed(f"hardware {hardware:.0f} s, {len(running)} services")


RULE = Rule(
    id="SERV-05",
    slug="watchdogs",
    level=Level.SHOULD,
    effect=Effect.WARN,
    when=frozenset({When.START}),
    title=Text("Un blocage fait redémarrer", "A hang makes it start again"),
    why=Text("Personne n’est là pour appuyer sur le bouton.", "Nobody is there to press the button."),
    expected="hardware watchdog armed and fed by systemd; WatchdogSec on our services",
    remedy=remedy(
        "board.watchdog",
        "Prévenez la maintenance : le chien de garde de l’appareil est à activer.",
        "Tell maintenance: the machine’s watchdog must be turned on.",
    ),
    source="CRA h",
    check=check,
)
