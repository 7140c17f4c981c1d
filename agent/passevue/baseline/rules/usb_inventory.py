"""USB-03: what is plugged in is known: hubs, and readers of the list; of those with tested firmware listed, that
firmware.

`bcdDevice` of the device descriptor is the firmware's version, as `lsusb -v` shows it.
"""

import re

from passevue.baseline.machine import Machine
from passevue.baseline.remedies import INSPECT
from passevue.baseline.rule import Effect, Event, Finding, Level, Rule, Text, When, failed, passed
from passevue.card.usb import judged, read_reader_files

DEVICES = "/sys/bus/usb/devices"
READERS = "/usr/share/passevue/hw/readers"
NAME = re.compile(r"\d+-\d+(\.\d+)*")


def check(machine: Machine) -> Finding:
    models = read_reader_files(machine.path(READERS))
    names = [name for name in machine.names(DEVICES) if NAME.fullmatch(name)]  # raises where no bus is shown
    wrong, readers = [], []
    for name in names:
        seen = judged(machine.path(f"{DEVICES}/{name}"), models)
        if not seen.verdict.allowed:
            wrong.append(f"{seen.device.vendor or '????'}:{seen.device.product or '????'} {seen.verdict.reason}")
        elif seen.verdict.model is not None:
            readers.append(seen.verdict.model.name)
            if (tested := seen.verdict.model.tested) and (found := _firmware(machine, name)) not in tested:
                wrong.append(f"{seen.verdict.model.name} firmware {found}, not tried")
    if wrong:
        return failed("; ".join(wrong))
    return passed(f"{len(names)} devices; readers: {', '.join(readers) or 'none'}")


def _firmware(machine: Machine, name: str) -> str:
    """`2.01` of 0x0201: binary-coded decimal."""
    raw = machine.read_bytes(f"{DEVICES}/{name}/descriptors")
    return f"{raw[13]:x}.{raw[12]:02x}"


RULE = Rule(
    id="USB-03",
    slug="usb_inventory",
    level=Level.MUST,
    effect=Effect.WARN,
    when=frozenset({When.START, When.EVENT}),
    title=Text("Rien d’inattendu n’est branché", "Nothing unexpected is plugged in"),
    why=Text(
        "Un appareil inconnu a pu être posé par quelqu’un de passage.",
        "An unknown device may have been left by somebody passing by.",
    ),
    expected="each device a hub or a listed reader, of a tested firmware where some are listed",
    remedy=INSPECT,
    source="CR 3.11 7.8",
    check=check,
    on=frozenset({Event.USB}),
)
