"""USB-01: a device waits for a verdict, and the readers that may get one are those of the signed list."""

import hashlib

from passevue.baseline.machine import Machine
from passevue.baseline.remedies import IMAGE_BUG
from passevue.baseline.rule import Effect, Finding, Function, Level, Rule, Text, When, failed, passed
from passevue.errors import Unreadable

DEVICES = "/sys/bus/usb/devices"
READERS = "/usr/share/passevue/hw/readers"


def check(machine: Machine) -> Finding:
    hubs = [name for name in machine.names(DEVICES) if name.startswith("usb")]  # raises where no bus is shown
    defaults = [f"{DEVICES}/{name}/authorized_default" for name in hubs]
    open_ones = [path.split("/")[-2] for path in defaults if machine.read_text(path, 64).strip() != "0"]
    if open_ones:
        return failed(f"controllers that take anything: {', '.join(open_ones)}")
    listed = {path: digest for path, digest in machine.manifest.files.items() if path.startswith(READERS + "/")}
    found = {path: hashlib.sha256(machine.read_bytes(path)).hexdigest() for path in machine.glob(f"{READERS}/*.toml")}
    if not listed:
        raise Unreadable("the manifest lists no reader file")
    if found != listed:
        return failed(f"{len(set(found.items()) ^ set(listed.items()))} reader files are not those of the manifest")
    return passed(f"{len(defaults)} controllers closed, {len(found)} reader files as signed")


RULE = Rule(
    id="USB-01",
    slug="usb_default_deny",
    level=Level.MUST,
    effect=Effect.HOLD,
    when=frozenset({When.START}),
    title=Text("Aucun appareil USB n’est accepté d’office", "No USB device is taken by default"),
    why=Text(
        "Une clé ou un faux clavier branché en passant ne doit rien pouvoir faire.",
        "A stick or false keyboard plugged in on the way past must be able to do nothing.",
    ),
    expected="authorized_default = 0 on each controller; reader files = manifest",
    remedy=IMAGE_BUG,
    source="HYG 15, CLA O-12.2.7.1",
    check=check,
    holds=frozenset({Function.SIGN_IN}),
)
