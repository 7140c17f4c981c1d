"""The signed heads (`notary`) as the rules and `passevue audit verify` look at them. Each of these blocks.

They lie on the appliance alone. They are read before the trail is: one that is signed meanwhile speaks of a record that
is not read any more.
"""

from passevue.baseline.machine import Machine
from passevue.notary import place
from passevue.notary.head import Signed
from passevue.notary.heads import Judged, greatest_index, judge, last_head, read_keys
from passevue.notary.place import Place
from passevue.notary.trail import Record


def read_heads(machine: Machine) -> Judged:
    """The whole row, each signature checked. Raises: OSError, Unreadable."""
    return judged(_place(machine))


def read_last(machine: Machine) -> Signed | None:
    """The last head, once it is on the disk: what is noted of it must outlive a power cut no longer than it does.
    Raises: OSError, Unreadable.
    """
    found = _place(machine)
    last = last_head(found.heads())
    if last is not None:
        found.sync_heads()
    return last


def judged(found: Place) -> Judged:
    """The same, of a copy wherever it lies. Raises: OSError, Unreadable."""
    return judge(found.heads(), read_keys(found.keys()))


def said_of_the_trail(row: Judged) -> frozenset[Record]:
    """The records that the trail must still have."""
    return frozenset(signed.head.end for signed in row.heads)


def remembered_index(machine: Machine) -> int:
    """The greatest rollback index that a head remembers, 0 when none does. Raises: OSError, Unreadable."""
    return greatest_index(_place(machine).heads())


def _place(machine: Machine) -> Place:
    return Place(machine.path(place.FOLDER))
