"""KERN-07: AppArmor is on, the manifest's profiles are loaded, none only complains, each of our services is in one.

Debian ships profiles of the mode `unconfined`, which only name a program: no harm for a program that is not there, and
none of ours may be so.
"""

from passevue.baseline.machine import Machine
from passevue.baseline.remedies import IMAGE_BUG
from passevue.baseline.rule import Effect, Finding, Function, Level, Rule, Text, When, failed, passed
from passevue.errors import Unreadable

OURS = "passevue-"
LAX = frozenset({"complain", "prompt"})


def check(machine: Machine) -> Finding:
    facts = machine.facts
    if facts.absent("apparmor") or facts.text("apparmor").strip() != "Y":
        return failed("AppArmor is off")
    modes = dict(_profile(line) for line in facts.lines("apparmor_profiles"))
    lax = sorted(name for name, mode in modes.items() if mode in LAX or (name.startswith(OURS) and mode != "enforce"))
    if lax:
        return failed(f"{len(lax)} profiles not enforced: {', '.join(lax[:5])}")
    absent = sorted(set(machine.manifest.apparmor) - set(modes))
    if absent or not machine.manifest.apparmor:
        return failed(f"not loaded: {', '.join(absent) or 'the manifest names no profile'}")
    pairs = [line.split(" ", 1) for line in facts.lines("confinement")]
    ours = [(unit, label) for unit, label in pairs if unit.startswith(OURS)]
    if not ours:
        raise Unreadable("no process of ours was seen")
    free = sorted({unit for unit, label in ours if not label.endswith(" (enforce)")})
    return failed(f"not confined: {', '.join(free)}") if free else passed(f"{len(modes)} profiles, none lax")


def _profile(line: str) -> tuple[str, str]:
    name, bracket, mode = line.rpartition(" (")
    if not bracket or not mode.endswith(")"):
        raise Unreadable("a profile of AppArmor is not in its form")
    return name, mode[:-1]


RULE = Rule(
    id="KERN-07",
    slug="apparmor_enforced",
    level=Level.MUST,
    effect=Effect.HOLD,
    when=frozenset({When.START, When.PERIODIC}),
    title=Text("Chaque service est enfermé dans ses droits", "Each service is shut in its rights"),
    why=Text(
        "Un service trompé ne doit pouvoir toucher que ce qui est à lui.",
        "A service that was fooled must be able to touch only what is its own.",
    ),
    expected="AppArmor on; the manifest's profiles enforced, none in complain; our services confined",
    remedy=IMAGE_BUG,
    source="BP R37 R45(R), CIS 1.3",
    check=check,
    holds=frozenset({Function.CONSULTATION, Function.SIGN_IN}),
)
