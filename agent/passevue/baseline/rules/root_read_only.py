"""BOOT-05: root, `/usr` and `/etc` are the image's own, read-only, with nothing laid over them.

Over `/etc/machine-id` systemd mounts a file of `/run`, read-only: that is no way to write.
"""

from passevue.baseline.machine import Machine
from passevue.baseline.reading.mounts import Mount, holding, read_mounts
from passevue.baseline.remedies import REFLASH
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, failed, passed

OVER = frozenset({"/etc/machine-id"})
SYSTEM = ("/usr", "/etc", "/opt", "/bin", "/sbin", "/lib", "/lib64")


def check(machine: Machine) -> Finding:
    mounts = read_mounts(machine.facts.text("mounts"))
    root = holding(mounts, "/")
    if root.filesystem_writable:
        return failed(f"the root filesystem, {root.kind}, can be written")
    for mount in mounts:
        if not _is_of_the_system(mount):
            continue
        if mount.kind == "overlay":
            return failed(f"an overlay over {mount.point}")
        if mount.writable:
            return failed(f"{mount.point} can be written")
        if mount.device != root.device and mount.point not in OVER:
            return failed(f"{mount.point} is {mount.kind} of elsewhere")
    return passed(f"{root.kind}, read-only")


def _is_of_the_system(mount: Mount) -> bool:
    return mount.point == "/" or any(f"{mount.point}/".startswith(f"{folder}/") for folder in SYSTEM)


RULE = Rule(
    id="BOOT-05",
    slug="root_read_only",
    level=Level.MUST,
    effect=Effect.BLOCK,
    when=frozenset({When.START}),
    title=Text("Le système ne peut pas être modifié", "The system cannot be changed"),
    why=Text(
        "Ce qui se modifie peut être altéré, et l’altération survivrait au redémarrage.",
        "What can be changed can be tampered with, and the tampering would outlive a restart.",
    ),
    expected="/, /usr and /etc from one read-only filesystem; nothing writable and no overlay over them",
    remedy=REFLASH,
    source="Bottlerocket, CRA f",
    check=check,
)
