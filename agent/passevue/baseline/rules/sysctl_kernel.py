"""KERN-01: settings of the kernel and of its filesystems. `?` before a value: a kernel that does not know it has no
such door.
"""

from passevue.baseline.machine import Machine
from passevue.baseline.reading.settings import read_sysctls, wrong_sysctls
from passevue.baseline.remedies import IMAGE_BUG
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, failed, passed

WANTED = {
    "kernel.dmesg_restrict": "1",
    "kernel.kptr_restrict": "2",
    "kernel.randomize_va_space": "2",
    "kernel.perf_event_paranoid": "?>=2",
    "kernel.unprivileged_bpf_disabled": "?>=1",
    "kernel.sysrq": "?0",
    "kernel.panic_on_oops": "1",
    "kernel.yama.ptrace_scope": ">=1",
    "kernel.kexec_load_disabled": "?1",
    "net.core.bpf_jit_harden": "2",
    "fs.suid_dumpable": "0",
    "fs.protected_fifos": "2",
    "fs.protected_regular": "2",
    "fs.protected_symlinks": "1",
    "fs.protected_hardlinks": "1",
}


def check(machine: Machine) -> Finding:
    told = machine.facts.text("sysctls") + machine.facts.text("sysctls_guarded")  # the second to CAP_SYS_ADMIN alone
    wrong = wrong_sysctls(read_sysctls(told), WANTED)
    return failed(" ".join(wrong)) if wrong else passed(f"{len(WANTED)} settings")


RULE = Rule(
    id="KERN-01",
    slug="sysctl_kernel",
    level=Level.MUST,
    effect=Effect.WARN,
    when=frozenset({When.START, When.DAILY}),
    title=Text("Le noyau est réglé pour se protéger", "The kernel is set to protect itself"),
    why=Text(
        "Ces réglages ferment des portes dont le boîtier n’a pas besoin.",
        "These settings close doors that the box does not need.",
    ),
    expected="each setting of the table in sysctl_kernel.py",
    remedy=IMAGE_BUG,
    source="BP R9 R11 R12 R14(I)",
    check=check,
)
