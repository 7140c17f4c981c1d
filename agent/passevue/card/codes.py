"""The holder's code and the unblocking code: asked once, sent once, never kept (cps-card.md § 5, CARD-01).

Rules:
- One VERIFY for each code that a person types. Nothing here sends a code twice, whatever is answered.
- Before it goes, the card is asked how many tries are left: none is `PinBlocked`, one is `LastTry` unless the person
  said yes. Neither costs a try. A card that does not say counts as having one left.
- Only four digits are sent for the code porteur, eight for the unblocking code: whether a wrong length costs a try
  is not known.
- The buffers that hold a code here are overwritten. What the interpreter and libraries copied is out of reach; the
  process that holds them has no core file and no swap (KERN-09).

Facts: CPS3 tells counters by GET DATA in the MF; CPS4 by an empty VERIFY, `90 00` then meaning that the code is
verified.
"""

from collections.abc import Callable

from passevue.card import der
from passevue.card.apdu import OK, Line, Response
from passevue.card.cps import Generation, PinState
from passevue.card.files import CardFiles
from passevue.card.pkcs15 import MF
from passevue.errors import CardFault, LastTry, PinBlocked, PinNeeded, PinWrong

PIN_REFERENCE = 0x01
UNBLOCKING_REFERENCE = 0x02
PIN_DIGITS = 4
UNBLOCKING_DIGITS = 8
STORED = 8

_VERIFY, _CHANGE, _UNBLOCK, _GET_DATA = 0x20, 0x24, 0x2C, 0xCB
_BLOCKED = 0x6983
_UNBLOCKING_BLOCKED = (
    "Le code de déblocage ne peut plus servir : cette carte doit être remplacée. "
    "Adressez-vous à l’ANS (esante.gouv.fr)."
)
_UNBLOCKING_LAST = "Il ne reste qu’un essai du code de déblocage : ne continuez que si vous en êtes sûr."

Secret = bytes | bytearray


class Codes:
    """The codes of one powered card."""

    def __init__(self, line: Line, files: CardFiles, generation: Generation) -> None:
        self._line = line
        self._files = files
        self._cps4 = generation is Generation.CPS4

    def state(self, reference: int = PIN_REFERENCE) -> PinState:
        """The counter; costs no try."""
        return self._asked_by_verify(reference) if self._cps4 else self._told(reference)

    def verify(self, pin: Secret, *, last_try: bool = False) -> None:
        """Open the card with its holder's code.

        Raises:
            PinNeeded: not four digits; nothing was sent.
            LastTry, PinBlocked: nothing was sent.
            PinWrong: the card refused it; `tries_left` says what remains.
        """
        code = _padded(pin, PIN_DIGITS)
        try:
            self._allow(PIN_REFERENCE, last_try)
            self._to_mf()
            self._settle(self._line.send(_VERIFY, 0, PIN_REFERENCE, code), "VERIFY")
        finally:
            _wipe(code)

    def change(self, old: Secret, new: Secret, *, last_try: bool = False) -> None:
        """Another code. On CPS4 the old one is verified first; on CPS3 both go in one command.

        Raises: as `verify`.
        """
        given = [_padded(old, PIN_DIGITS), _padded(new, PIN_DIGITS)]
        try:
            self._allow(PIN_REFERENCE, last_try)
            self._to_mf()
            if self._cps4:
                self._settle(self._line.send(_VERIFY, 0, PIN_REFERENCE, given[0]), "VERIFY")
                self._settle(self._line.send(_CHANGE, 0x01, PIN_REFERENCE, given[1]), "CHANGE")
            else:
                self._send_both(_CHANGE, given)
        finally:
            _wipe(*given)

    def unblock(self, code: Secret, new: Secret, *, last_try: bool = False) -> None:
        """A new code by the unblocking code.

        Raises:
            PinNeeded: not eight and four digits; nothing was sent.
            LastTry, PinBlocked: of the unblocking code; nothing was sent.
            PinWrong: the card refused it.
        """
        given = [_padded(code, UNBLOCKING_DIGITS), _padded(new, PIN_DIGITS)]
        try:
            self._allow(UNBLOCKING_REFERENCE, last_try)
            self._to_mf()
            if self._cps4:
                self._settle(self._line.send(_VERIFY, 0, UNBLOCKING_REFERENCE, given[0]), "VERIFY", unblocking=True)
                self._settle(self._line.send(_UNBLOCK, 0x03, 0x80 | PIN_REFERENCE), "RESET RETRY COUNTER")
                self._settle(self._line.send(_CHANGE, 0x01, PIN_REFERENCE, given[1]), "CHANGE")
            else:
                self._send_both(_UNBLOCK, given, unblocking=True)
        finally:
            _wipe(*given)

    def _send_both(self, ins: int, given: list[bytearray], *, unblocking: bool = False) -> None:
        both = given[0] + given[1]
        try:
            self._settle(self._line.send(ins, 0, PIN_REFERENCE, both), f"{ins:02X}", unblocking=unblocking)
        finally:
            _wipe(both)

    def _allow(self, reference: int, last_try: bool) -> None:
        state = self.state(reference)
        unblocking = reference == UNBLOCKING_REFERENCE
        if state.blocked:
            raise _blocked(unblocking)
        if not state.verified and (state.tries_left is None or state.tries_left <= 1) and not last_try:
            raise LastTry("one try is left, nothing was sent", hint=_UNBLOCKING_LAST if unblocking else "")

    def _settle(self, response: Response, what: str, *, unblocking: bool = False) -> None:
        if response.ok:
            return
        left = _tries(response.sw)
        if left == 0 or response.sw == _BLOCKED:
            raise _blocked(unblocking)
        if left is not None:
            name = "Code de déblocage" if unblocking else "Code"
            plural = "s" if left > 1 else ""
            raise PinWrong("the card refused the code", left, hint=f"{name} faux : il reste {left} essai{plural}.")
        raise CardFault(f"card answers {response.sw:04X} to {what}")

    def _to_mf(self) -> None:
        """The codes are global: they are verified in the MF."""
        if not self._cps4:
            self._files.enter(MF)

    # Counters

    def _asked_by_verify(self, reference: int) -> PinState:
        response = self._line.send(_VERIFY, 0, reference)
        if response.sw == OK:
            return PinState(None, verified=True)
        if response.sw == _BLOCKED:
            return PinState(0)
        left = _tries(response.sw)
        if left is None:
            raise CardFault(f"card does not tell its tries: {response.sw:04X}")
        return PinState(left)

    def _told(self, reference: int) -> PinState:
        """`70 { BF 81 rr { A0 { 9A max, 9B left, 9D uses left } } }`."""
        self._files.enter(MF)
        asked = bytes.fromhex("4D0870 06BF81") + bytes([reference]) + bytes.fromhex("02A080")
        response = self._line.send(_GET_DATA, 0x3F, 0xFF, asked, 256)
        if not response.ok:
            raise CardFault(f"card does not tell its tries: {response.sw:04X}")
        counters = _inside(der.first(response.data), lambda tag: tag == 0xA0)
        if counters is None:
            raise CardFault("card tells no counter of its code")
        left = _byte(counters, 0x9B)
        if left is None:
            raise CardFault("card does not tell how many tries are left")
        return PinState(left, _byte(counters, 0x9A), _byte(counters, 0x9D))


def _inside(start: der.Tlv, wanted: Callable[[int], bool], levels: int = 4) -> der.Tlv | None:
    """The first value whose tag is wanted, a few levels down."""
    if wanted(start.tag):
        return start
    if levels == 0 or start.tag not in (0x70, 0xBF8101, 0xBF8102):
        return None
    return next((found for each in start.inside() if (found := _inside(each, wanted, levels - 1))), None)


def _byte(template: der.Tlv, tag: int) -> int | None:
    found = template.find(tag)
    return found.value[0] if found is not None and len(found.value) == 1 else None


def _tries(sw: int) -> int | None:
    return sw & 0x0F if sw >> 4 == 0x63C else None


def _blocked(unblocking: bool) -> PinBlocked:
    if unblocking:
        return PinBlocked("the unblocking code cannot be used any more", hint=_UNBLOCKING_BLOCKED)
    return PinBlocked("no try is left")


def _padded(code: Secret, digits: int) -> bytearray:
    """`code` as the card stores it: ASCII digits, FF up to eight bytes.

    Raises:
        PinNeeded: not exactly that many digits.
    """
    if len(code) != digits or any(not 0x30 <= byte <= 0x39 for byte in code):
        raise PinNeeded(
            f"expected {digits} digits, nothing was sent",
            hint=f"Ce code a {digits} chiffres exactement : rien n’a été envoyé à la carte.",
        )
    padded = bytearray(b"\xff" * STORED)
    padded[: len(code)] = code
    return padded


def _wipe(*buffers: bytearray) -> None:
    for buffer in buffers:
        buffer[:] = bytes(len(buffer))
