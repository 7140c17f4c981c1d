"""CPS cards that are programs: CPS3 by contacts and by the antenna, CPS4, and what must be refused (cps-card.md).

    card = VirtualCard(Profile(kind=Kind.CPS3, pin="1234"))
    card.answer(bytes.fromhex("00A40904043F00D003"))     # 61 27
    card.reset()                                         # PIN and choices forgotten, as by SCARD_RESET_CARD
    card.faults.once(after=2, remove=True)               # see card_faults.py
    card.keys.authentication.certificate                 # what its answers can be checked with
    VirtualCard(profile, persons.card_keys(profile))     # certified by an authority of your own (pki_persons.py)

By hand, in a reader of vpcd: `python -m tests.peers.card --help`.

Nothing here reads what the box reads: the card writes its files itself. A real card would answer as these do wherever
cps-card.md says how; where it says that nobody knows, `card_pkcs15.py` and `card_data.py` say what was chosen.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from .card_cps3 import Cps3
from .card_cps4 import Cps4
from .card_faults import CardMute, CardRemoved, Faults
from .card_os import Machine
from .card_pkcs15 import file_tree
from .card_profile import EMPTIED, Holder, Kind, Profile, Situation, Update
from .card_strangers import Cps2ter, Foreign
from .pki_persons import CardKeys, keys_of_process

__all__ = [
    "EMPTIED", "CardMute", "CardRemoved", "Exchange", "Holder", "Kind", "Profile", "Situation", "Update", "VirtualCard",
]  # fmt: skip

TRACE = 5_000  # exchanges kept, at least: a card in a soak test must not grow


@dataclass(frozen=True, slots=True)
class Exchange:
    """One command and its answer, as the trace keeps them: codes are masked, as in any trace."""

    command: bytes
    answer: bytes

    def __str__(self) -> str:
        return f"{self.command.hex(' ')} -> {self.answer.hex(' ')}".upper()


class VirtualCard:
    """One card. Thread-safe: a card does one thing at a time.

    `trace` keeps the last exchanges; `removed` is set by a fault, and cleared by `insert()`.
    """

    def __init__(self, profile: Profile | None = None, keys: CardKeys | None = None) -> None:
        self.profile = profile or Profile()
        self.keys = keys or keys_of_process(self.profile)
        self.machine = _machine(self.profile, self.keys)
        self.faults = Faults()
        self.trace: list[Exchange] = []
        self.removed = False
        self.resets = 0
        self.power_ons = 0
        self._one_at_a_time = threading.Lock()

    @property
    def atr(self) -> bytes:
        return self.profile.atr

    def insert(self) -> None:
        """Into a reader, with its contacts not powered yet."""
        self.removed = False

    def power(self) -> bytes:
        """Cold reset: gives the ATR."""
        with self._one_at_a_time:
            self.power_ons += 1
            self.faults.reset()
            self.machine.power_on()
        return self.atr

    def reset(self) -> bytes:
        """Warm reset: gives the ATR."""
        with self._one_at_a_time:
            self.resets += 1
            self.faults.reset()
            self.machine.reset()
        return self.atr

    def answer(self, apdu: bytes) -> bytes:
        """What the card says to one command, as the reader hands it over.

        Raises:
            CardRemoved: it was pulled, now or before.
            CardMute: it says nothing to this one.
        """
        with self._one_at_a_time:
            said = self._say(bytes(apdu))
            if len(self.trace) >= 2 * TRACE:
                del self.trace[:TRACE]
            self.trace.append(Exchange(_masked(bytes(apdu)), said))
            return said

    def _say(self, apdu: bytes) -> bytes:
        if self.removed:
            raise CardRemoved
        fault = self.faults.take(apdu)
        if fault is None:
            return self.machine.answer(apdu)
        if fault.delay:
            time.sleep(fault.delay)
        if fault.remove:
            self.removed = True
            self.machine.power_on()
            raise CardRemoved
        if fault.mute:
            raise CardMute
        if fault.answer is not None:
            return fault.answer
        if fault.sw is not None:
            return fault.sw.to_bytes(2, "big")
        return self.machine.answer(apdu)


_MACHINES: dict[Kind, Callable[[Profile, CardKeys], Machine]] = {
    Kind.CPS3: lambda profile, keys: Cps3(profile, file_tree(profile, keys), keys),
    Kind.CPS3_CONTACTLESS: lambda profile, keys: Cps3(profile, file_tree(profile, keys), keys),
    Kind.CPS4: lambda profile, keys: Cps4(profile, file_tree(profile, keys), keys),
    Kind.CPS2TER: lambda profile, _keys: Cps2ter(profile),
    Kind.FOREIGN: lambda profile, _keys: Foreign(profile),
}


def _machine(profile: Profile, keys: CardKeys) -> Machine:
    return _MACHINES[profile.kind](profile, keys)


def _masked(apdu: bytes) -> bytes:
    """Codes do not stand in traces: data of VERIFY, CHANGE and UNBLOCK as zeros."""
    secret = len(apdu) > 5 and apdu[1] in (0x20, 0x24, 0x2C)
    return apdu[:5] + bytes(len(apdu) - 5) if secret else apdu


if __name__ == "__main__":
    from tests.peers.card_by_hand import main

    raise SystemExit(main())
