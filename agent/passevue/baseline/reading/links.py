"""Network interfaces, as /sys/class/net shows them. A collected line is `name type kind marks`.

`type` is ARPHRD (1 Ethernet, 772 loopback, 65534 none: tunnels), `kind` the DEVTYPE of its uevent or `-`, `marks` the
folders that tell what it is (`device`, `bridge`, `wireless`, `phy80211`, `tun_flags`, `bonding`, `brport`), or `-`.
"""

import re
from dataclasses import dataclass

from passevue.errors import Unreadable

MARKS = ("bonding", "bridge", "brport", "device", "phy80211", "tun_flags", "wireless")
_TYPE = re.compile(r"[0-9]{1,5}")
ETHERNET, LOOPBACK = 1, 772
_RADIO_KINDS = frozenset({"wlan", "wwan", "bluetooth", "wimax"})


@dataclass(frozen=True, slots=True)
class Link:
    name: str
    type: int
    kind: str
    marks: frozenset[str]

    @property
    def radio(self) -> bool:
        return self.kind in _RADIO_KINDS or bool(self.marks & {"wireless", "phy80211"})

    @property
    def wire(self) -> bool:
        """A plain wired port of the machine: nothing that forwards, tunnels or joins."""
        joins = self.marks & {"bonding", "bridge", "brport", "tun_flags"}
        return self.type == ETHERNET and "device" in self.marks and self.kind == "-" and not self.radio and not joins


def read_links(text: str) -> tuple[Link, ...]:
    """Raises: Unreadable; also when there is no loopback, which every machine has."""
    links = tuple(_link(line) for line in filter(None, text.splitlines()))
    if not any(each.type == LOOPBACK for each in links):
        raise Unreadable("there is no loopback among the interfaces")
    return links


def _link(line: str) -> Link:
    words = line.split(" ")
    if len(words) != 4 or not _TYPE.fullmatch(words[1]):
        raise Unreadable("an interface is not in its form")
    marks = frozenset() if words[3] == "-" else frozenset(words[3].split(","))
    return Link(words[0], int(words[1]), words[2], marks)
