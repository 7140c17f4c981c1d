"""kernel-hardening-checker: how the kernel was built, how it was started, what it runs with; against KSPP and others.

What it finds wrong in the build is Debian's choice: the box takes Debian's kernel and its corrections, and makes up for
some of it on the command line. The figures say how much.
"""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

PACKAGES = "usr/lib/python3/dist-packages"
START = "import sys; from kernel_hardening_checker import main; sys.exit(main())"


@dataclass(frozen=True)
class Checked:
    good: int
    bad: tuple[str, ...]  # "name: what it is"

    def __str__(self) -> str:
        return f"{self.good} of {self.good + len(self.bad)}"


def check(tree: Path, *, config: str = "", cmdline: str = "", sysctl: str = "") -> Checked:
    """
    Args:
        config, cmdline, sysctl: the texts of /boot/config-*, /proc/cmdline and `sysctl -a`; empty: not looked at.
    """
    with tempfile.TemporaryDirectory() as folder:
        words = []
        for option, text in (("-c", config), ("-l", cmdline), ("-s", sysctl)):
            if text:
                file = Path(folder) / option.lstrip("-")
                file.write_text(text)
                words += [option, str(file)]
        done = subprocess.run(
            [sys.executable, "-c", START, *words, "-m", "json"],
            capture_output=True, text=True, check=True, env={"PYTHONPATH": str(tree / PACKAGES)},
        )  # fmt: skip
    return read(done.stdout)


def read(out: str) -> Checked:
    checks = json.loads(out)
    bad = [f"{each['option_name']}: {each['check_result']}" for each in checks if not each["check_result_bool"]]
    return Checked(len(checks) - len(bad), tuple(bad))
