"""KERN-08: parts of the kernel that attackers like and the box has no use for are closed.

Fact: kernels before 5.1 and 6.6 have the door of the last two and not its switch: one that is absent closes nothing.
"""

from passevue.baseline.machine import Machine
from passevue.baseline.reading.settings import read_sysctls, wrong_sysctls
from passevue.baseline.remedies import IMAGE_BUG
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, failed, passed

WANTED = {
    "user.max_user_namespaces": "?0",
    "kernel.io_uring_disabled": "2",
    "dev.tty.ldisc_autoload": "0",
}


def check(machine: Machine) -> Finding:
    wrong = wrong_sysctls(read_sysctls(machine.facts.text("sysctls")), WANTED)
    return failed(" ".join(wrong)) if wrong else passed(f"{len(WANTED)} settings")


RULE = Rule(
    id="KERN-08",
    slug="narrow_kernel",
    level=Level.SHOULD,
    effect=Effect.WARN,
    when=frozenset({When.START}),
    title=Text("Le noyau n’offre que le nécessaire", "The kernel offers only what is needed"),
    why=Text(
        "Moins le noyau en propose, moins il y a de défauts à exploiter.",
        "The less the kernel offers, the fewer flaws there are to use.",
    ),
    expected="user.max_user_namespaces = 0, kernel.io_uring_disabled = 2, dev.tty.ldisc_autoload = 0",
    remedy=IMAGE_BUG,
    source="Bottlerocket CIS 1.4.4",
    check=check,
)
