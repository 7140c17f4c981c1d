"""SERV-01: nothing listens but what the manifest lists, held by the unit that it names.

One that is missing opens nothing: it is told here and is a matter of SERV-02. An address narrower than the manifest's
is fine: a site may bind one wire. A socket that systemd passes on is held by PID 1 as well.
"""

from passevue.baseline.machine import Listener, Machine
from passevue.baseline.reading.sockets import Socket, read_sockets
from passevue.baseline.remedies import remedy
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, failed, passed
from passevue.errors import Unreadable

ANY = frozenset({"", "*", "0.0.0.0", "::"})  # noqa: S104 (compared with, nothing is bound)
SYSTEMD = "init.scope"


def check(machine: Machine) -> Finding:
    listed = machine.manifest.listeners
    found = read_sockets(machine.facts.tree("sockets"))
    if not found or not listed:
        raise Unreadable("no listener was seen, or none is listed")
    strange = sorted({_name(each) for each in found if not any(_meant(each, one) for one in listed)})
    if strange:
        return failed(f"not listed: {', '.join(strange)}")
    missing = [f"{one.proto}/{one.port}" for one in listed if not any(_meant(each, one) for each in found)]
    return passed(f"{len(found)} sockets, {len(listed)} listed" + (f", silent: {' '.join(missing)}" if missing else ""))


def _meant(found: Socket, listed: Listener) -> bool:
    address = (
        listed.address in ANY or found.address == listed.address or (listed.address == "loopback" and found.loopback)
    )
    held = set(found.units) <= {listed.unit, SYSTEMD} and bool(found.units)
    return (found.proto, found.port) == (listed.proto, listed.port) and address and held


def _name(socket: Socket) -> str:
    return f"{socket.proto}/{socket.port} of {'+'.join(socket.units) or 'nobody'}"


RULE = Rule(
    id="SERV-01",
    slug="listeners",
    level=Level.MUST,
    effect=Effect.BLOCK,
    when=frozenset({When.START, When.PERIODIC}),
    title=Text("Le boîtier n’écoute que là où il le doit", "The box listens only where it must"),
    why=Text(
        "Une écoute de trop est une porte que personne ne garde.",
        "One listener too many is a door that nobody guards.",
    ),
    expected="each listening socket is of the manifest: protocol, port, address, unit",
    remedy=remedy(
        "service.unknown",
        "Redémarrez le boîtier ; si une écoute inconnue revient, appelez la maintenance.",
        "Restart the box; if an unknown listener comes back, call maintenance.",
    ),
    source="BP R62 R80(M), CIS 2.1.4",
    check=check,
    can_flap=True,
)
