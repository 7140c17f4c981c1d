"""What `chronyc -c` says (chronyc(1)): comma-separated fields, one record a line.

Facts: of `tracking`, field 3 is the stratum, 4 the time of the last measurement (seconds since 1970), 5 the offset of
the system clock in seconds, 12 the root dispersion, by how much it may be off beside that, which grows until the next
measurement, 14 the leap status, `Not synchronised` until the first update. Of `sources`, field 2 is the
state (`*` in use, `+` combined, `-` left out, `?` not reachable, `x` a falseticker) and 6 the reach register in octal.
Of `authdata`, field 2 is the mode (`NTS`, `SK`, `-`) and 7 the age of the last good handshake.
"""

from dataclasses import dataclass

from passevue.errors import Unreadable


@dataclass(frozen=True, slots=True)
class Tracking:
    synchronised: bool
    stratum: int
    measured_at: float
    offset_s: float
    dispersion_s: float


@dataclass(frozen=True, slots=True)
class Source:
    name: str
    answers: bool
    agrees: bool  # with what the clock follows, or is that


def read_tracking(text: str) -> Tracking:
    """Raises: Unreadable."""
    fields = text.strip().split(",")
    if len(fields) < 14:
        raise Unreadable("chronyc did not answer with tracking")
    try:
        stratum = int(fields[2])
        measured_at, offset_s, dispersion_s = (float(fields[number]) for number in (3, 4, 11))
    except ValueError as err:
        raise Unreadable("chronyc did not answer with tracking") from err
    return Tracking(fields[13] != "Not synchronised" and stratum > 0, stratum, measured_at, offset_s, dispersion_s)


def read_sources(text: str) -> tuple[Source, ...]:
    """Raises: Unreadable."""
    found = []
    for line in filter(None, text.splitlines()):
        fields = line.split(",")
        if len(fields) < 6:
            raise Unreadable("chronyc did not answer with sources")
        heard = fields[5] != "0"
        found.append(Source(fields[2], heard and fields[1] in {"*", "+", "-"}, heard and fields[1] in {"*", "+"}))
    return tuple(found)


def authenticated(text: str) -> int:
    """How many sources prove who they are with a key that they gave (NTS)."""
    rows = [line.split(",") for line in filter(None, text.splitlines())]
    return sum(len(row) > 4 and row[1] == "NTS" and row[4] not in {"", "0"} for row in rows)
