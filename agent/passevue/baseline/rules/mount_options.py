"""STOR-04: nothing runs from where something can be written, and services do not see each other's processes."""

from passevue.baseline.machine import Machine
from passevue.baseline.reading.mounts import holding, read_mounts
from passevue.baseline.reading.properties import is_ours, read_units
from passevue.baseline.remedies import IMAGE_BUG
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, failed, passed
from passevue.errors import Unreadable

WANTED = ("nosuid", "nodev", "noexec")
FOLDERS = ("/var", "/var/log", "/var/tmp", "/tmp", "/dev/shm")  # noqa: S108 (what is looked at, nothing is put there)
ESP = ("/efi", "/boot", "/boot/efi")
HIDDEN = frozenset({"invisible", "ptraceable", "noaccess"})


def check(machine: Machine) -> Finding:
    mounts = read_mounts(machine.facts.text("mounts"))
    esp = [each.point for each in mounts if each.kind == "vfat" and each.point in ESP]
    wrong = []
    for folder in (*FOLDERS, *esp):
        lacks = [each for each in WANTED if each not in holding(mounts, folder).options]
        if lacks:
            wrong.append(f"{folder} lacks {','.join(lacks)}")
    ours = [unit for unit in read_units(machine.facts.text("units")).values() if is_ours(unit)]
    if not ours:
        raise Unreadable("systemctl showed no service of ours")
    seeing = [unit["Id"] for unit in ours if unit["ProtectProc"] not in HIDDEN]
    if seeing:
        wrong.append(f"{', '.join(seeing)} see all processes")
    return failed("; ".join(wrong)) if wrong else passed(f"{len(FOLDERS) + len(esp)} folders")


RULE = Rule(
    id="STOR-04",
    slug="mount_options",
    level=Level.MUST,
    effect=Effect.WARN,
    when=frozenset({When.START}),
    title=Text("Aucun programme ne se lance depuis les données", "No program is run from the data"),
    why=Text(
        "Un fichier reçu doit rester un fichier, jamais devenir un programme.",
        "A file that was received must stay a file, never become a program.",
    ),
    expected=("nosuid, nodev, noexec on /var /var/log /var/tmp /tmp /dev/shm and the ESP; ProtectProc on our services"),
    remedy=IMAGE_BUG,
    source="BP R28(I), CIS 1.1.2",
    check=check,
)
