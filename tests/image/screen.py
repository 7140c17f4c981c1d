"""What stands on the guest's own screen (tty1), read from inside."""

import re

from tests.image.machine import Machine

READ = "import sys; sys.stdout.write(open('/dev/vcsu1', 'rb').read().decode('utf-32-le'))"  # vcs(4)
_CODE = re.compile(r"Code de première connexion :\s+(\S+)")


async def screen(machine: Machine) -> str:
    """Its characters, row after row, without breaks."""
    return (await machine.console.run("python3", "-I", "-c", READ)).out


def code_on(text: str) -> str:
    """For who comes first; "" when there is none."""
    found = _CODE.search(text)
    return found[1] if found else ""


def digits_on(text: str) -> str:
    """Without what groups them."""
    return re.sub(r"[\s:]", "", text).lower()
