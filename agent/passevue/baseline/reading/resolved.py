"""`resolvectl llmnr`, `mdns`, `dns`: a line `Global: …`, then one `Link 2 (enp1s0): …` for each interface."""

import re

from passevue.errors import Unreadable

_LINE = re.compile(r"(Global|Link \d+ \([\w.:-]+\)):(?: (.*))?")


def read_values(text: str) -> list[str]:
    """What stands after each colon. Raises: Unreadable; also when the first line is missing."""
    found = [_LINE.fullmatch(line.rstrip()) for line in text.splitlines() if line.strip()]
    if not found or any(each is None for each in found):
        raise Unreadable("resolvectl answered in another form")
    return [(each[2] or "").strip() for each in found if each is not None]
