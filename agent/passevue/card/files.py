"""Files and directories of a card: SELECT and READ BINARY as each generation wants them (cps-card.md § 4).

Facts:
- Paths are given whole from the MF, with P1=09: `00 A4 09 04 02 2F00` fails while another directory is current.
- P2=04 gives the FCP, P2=0C nothing; P2=00 is refused by CPS3.
- READ BINARY takes 256 bytes at once and an offset up to 7FFF; `62 82` on a short read is success.
- A CPS4 answers on logical channel 1, after its name was selected there; after a reset of the card by anyone it
  wants the issuer's domain and the applet first (`69 85`). Only SELECT is ever sent again for that: nothing else is.
"""

from passevue.card import der
from passevue.card.apdu import CONDITIONS, NOT_FOUND, SECURITY_STATUS, SHORT_READ, Line, Response
from passevue.errors import CardFault, PinNeeded

LONGEST_FILE = 0x8000  # offsets end at 7FFF
BLOCK = 256

CPS4_NAME = bytes.fromhex("80250000 01FF0100")
_CPS4_DOMAIN = bytes.fromhex("A0000001510000")
_CPS4_APPLET = bytes.fromhex("80250000 01FF0002")

_SELECT, _READ_BINARY = 0xA4, 0xB0
_BY_NAME, _BY_PATH = 0x04, 0x09
_FCP, _NOTHING = 0x04, 0x0C
_PAST_THE_END = 0x6B00
_UNREADABLE = frozenset({NOT_FOUND, SECURITY_STATUS, CONDITIONS, 0x6986, 0x6981, 0x6A81, 0x6A86, 0x6283})


class CardFiles:
    """What `pkcs15.Files` asks for, over a card."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def enter(self, path: bytes) -> None:
        """Make the directory current.

        Raises:
            CardFault: it is not there.
        """
        response = self._select(path, _NOTHING)
        if not response.ok:
            raise CardFault(f"directory {path.hex()} cannot be selected: {response.sw:04X}")

    def read(self, path: bytes, *, one_value: bool = False, private: bool = False) -> bytes | None:
        """The whole file, or its first DER value; None when it is not there or not to be read now.

        Raises:
            PinNeeded: `private`, and the card wants its code first.
            CardFault: the card answers neither content nor a known refusal.
        """
        chosen = self._select(path, _FCP)
        if private and chosen.sw == SECURITY_STATUS:
            raise PinNeeded("the card wants its holder's code before this is read")
        if chosen.sw in _UNREADABLE:
            return None
        if not chosen.ok:
            raise CardFault(f"file {path.hex()} cannot be selected: {chosen.sw:04X}")
        size = _size(chosen.data)
        return self._content(path, LONGEST_FILE if size is None else size, one_value, private)

    def _content(self, path: bytes, size: int, one_value: bool, private: bool) -> bytes | None:
        gathered = bytearray()
        while len(gathered) < size:
            wanted = min(BLOCK, size - len(gathered))
            response = self._line.send(_READ_BINARY, len(gathered) >> 8, len(gathered) & 0xFF, le=wanted)
            if private and response.sw == SECURITY_STATUS:
                raise PinNeeded("the card wants its holder's code before this is read")
            if not gathered and response.sw in _UNREADABLE:
                return None
            if response.sw == _PAST_THE_END:
                break
            if not response.ok and response.sw != SHORT_READ:
                raise CardFault(f"file {path.hex()} cannot be read: {response.sw:04X}")
            if len(response.data) > wanted:
                raise CardFault(f"card gives {len(response.data)} bytes for {wanted}")
            gathered += response.data
            if one_value and len(gathered) == len(response.data):
                size = min(size, der.whole_length(bytes(gathered)) or size)
            if not response.data or response.sw == SHORT_READ:
                break
        return bytes(gathered[:size])

    def _select(self, path: bytes, p2: int) -> Response:
        return self._line.send(_SELECT, _BY_PATH, p2, path)


def open_cps4(line: Line) -> bool:
    """Enter the card's own name on its channel, by the long way if need be; False when it is no CPS4."""
    if _by_name(line, CPS4_NAME).ok:
        return True
    _by_name(line, _CPS4_DOMAIN)
    _by_name(line, _CPS4_APPLET, logical=0)
    return _by_name(line, CPS4_NAME).ok


def _by_name(line: Line, name: bytes, logical: int | None = None) -> Response:
    return line.send(_SELECT, _BY_NAME, _NOTHING, name, logical=logical)


def _size(fcp: bytes) -> int | None:
    """Tag 80 of the file control parameters: bytes of content; None when they do not say."""
    try:
        template = der.first(fcp)
        found = template.find(0x80) or template.find(0x81)
    except CardFault:
        return None
    if found is None or not 1 <= len(found.value) <= 4:
        return None
    size = int.from_bytes(found.value, "big")
    if size > LONGEST_FILE:
        raise CardFault(f"card says that a file has {size} bytes")
    return size
