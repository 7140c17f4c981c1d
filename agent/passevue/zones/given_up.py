"""Questions whose asker no longer waits: the notice may come before the answer is begun, while it is made, or after.

Numbers are kept until their answer looks for them, the newest `MOST` of them: those of answers that failed stay behind.
"""

from collections import OrderedDict

MOST = 256


class GivenUp:
    """Numbers of things that nobody waits for any more."""

    def __init__(self) -> None:
        self._numbers: OrderedDict[int, None] = OrderedDict()

    def add(self, number: int) -> None:
        self._numbers[number] = None
        while len(self._numbers) > MOST:
            self._numbers.popitem(last=False)

    def take(self, number: int) -> bool:
        """Whether nobody waits for that one; told once."""
        return self._numbers.pop(number, 0) is None
