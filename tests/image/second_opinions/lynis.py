"""lynis in the box: an index from 0 to 100, warnings, suggestions. It is made for servers that people log in to."""

import re
from dataclasses import dataclass

from tests.image.console import CommandFailed
from tests.image.machine import Machine
from tests.image.second_opinions.guest import PLACE

REPORT, LOG = "/run/lynis.dat", "/run/lynis.log"
LONGEST_S = 1800


@dataclass(frozen=True)
class Opinion:
    index: int
    warnings: frozenset[str]  # by lynis' test: "LOGG-2138"
    suggestions: frozenset[str]

    def __str__(self) -> str:
        return f"{self.index} ({len(self.warnings)} warnings, {len(self.suggestions)} suggestions)"


async def ask(box: Machine) -> Opinion:
    """A shell script, with the box's own shell and tools."""
    script = (
        f"cd {PLACE}/usr/share/lynis && exec /bin/sh {PLACE}/usr/sbin/lynis audit system --quick --no-colors --quiet"
        f" --profile {PLACE}/etc/lynis/default.prf --plugindir {PLACE}/etc/lynis/plugins"
        f" --logfile {LOG} --report-file {REPORT}"
    )
    said = await box.console.run("sh", "-c", script, timeout_s=LONGEST_S, check=False)
    report = (await box.console.run("cat", REPORT)).out
    if "hardening_index=" not in report:
        raise CommandFailed(("lynis",), said)
    return read(report)


def read(report: str) -> Opinion:
    index = re.search(r"^hardening_index=(\d+)$", report, re.MULTILINE)
    assert index
    return Opinion(
        int(index[1]),
        frozenset(re.findall(r"^warning\[\]=([A-Z]+-\d+)\|", report, re.MULTILINE)),
        frozenset(re.findall(r"^suggestion\[\]=([A-Z]+-\d+)\|", report, re.MULTILINE)),
    )
