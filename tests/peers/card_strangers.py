"""Cards that are no CPS of today: a CPS2ter, whose ATR looks like one, and anything else."""

from .card_files import Tree
from .card_os import NO_SUCH_CLASS, NO_SUCH_INSTRUCTION, NOT_FOUND, Answer, Apdu, Machine
from .card_profile import Profile


class Cps2ter(Machine):
    """Knows CLA A0 only; of it, no more here than that it exists."""

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile, Tree())

    def class_refusal(self, apdu: Apdu) -> int:
        return 0 if apdu.cla == 0xA0 else NO_SUCH_CLASS

    def select(self, apdu: Apdu) -> Answer:
        return Answer(NOT_FOUND)


class Foreign(Machine):
    """Has no file of ours and only knows SELECT."""

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile, Tree())
        self.handlers = {0xA4: self.select}

    def select(self, apdu: Apdu) -> Answer:
        return Answer(NOT_FOUND if apdu.p1 in (0x00, 0x04, 0x08, 0x09) else NO_SUCH_INSTRUCTION)
