"""ACCT-04: on the data there is no program that raises rights, no file of nobody, no folder open to all.

Of the system itself the build lists the programs that raise rights, in the manifest; that there are no others since is
held by BOOT-04 and BOOT-05: a verified root that nothing is laid over cannot get one. So it is not walked through.
"""

from passevue.baseline.machine import Machine
from passevue.baseline.remedies import IMAGE_BUG
from passevue.baseline.rule import Effect, Finding, Function, Level, Rule, Text, When, failed, passed


def check(machine: Machine) -> Finding:
    data = machine.facts.tree("data_rights")
    wrong = {name: int(data[name]) for name in ("unowned", "open_folders", "setuid")}
    if any(wrong.values()):
        return failed(f"on the data: {', '.join(f'{count} {name}' for name, count in wrong.items() if count)}")
    return passed(f"{len(machine.manifest.get('setuid'))} programs listed, {int(data['files'])} files of data")


RULE = Rule(
    id="ACCT-04",
    slug="file_rights",
    level=Level.MUST,
    effect=Effect.HOLD,
    when=frozenset({When.START, When.DAILY}),
    title=Text("Aucun fichier ne donne plus de droits que prévu", "No file gives more rights than meant"),
    why=Text(
        "Un programme aux droits élargis est un raccourci vers tout le reste.",
        "A program with wider rights is a short cut to everything else.",
    ),
    expected="data: nothing unowned, no open folder, no set-uid, set-gid or capability file; the root is verified",
    remedy=IMAGE_BUG,
    source="BP R53 R54 R56(M) R57(R)",
    check=check,
    holds=frozenset({Function.CONSULTATION, Function.SIGN_IN}),
)
