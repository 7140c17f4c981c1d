"""The guest's audit trail, as a test reads it: what has come since the test began to look.

trail = await Trail.of(box)
...
assert await trail.says(*failure("NET-01"))
"""

import contextlib
from dataclasses import dataclass

from tests.image.machine import Machine
from tests.image.waiting import eventually

FILES = "/var/lib/passevue/audit/audit-*.log"
COMES_S = 60


def failure(rule: str) -> tuple[str, str]:
    """What the record of a rule that fails now holds (passevue.status.audit, rule_changed)."""
    return f'ParticipantObjectID="{rule}"', "<EventOutcomeDescription>fail "


def happened(what: str, said: str = "") -> tuple[str, str]:
    """What the record of something that was done to the machine holds (machine_changed)."""
    return f'<EventTypeCode csd-code="{what}"', f"<EventOutcomeDescription>{said}"


@dataclass(frozen=True)
class Trail:
    box: Machine
    seen: int  # number of the last record that was there

    @classmethod
    async def of(cls, box: Machine) -> "Trail":
        return cls(box, max(await _records(box), default=0))

    async def says(self, *words: str) -> bool:
        """Whether one new record that holds all of these words comes: records go to the disk beside what they tell."""

        async def new() -> list[str]:
            return [text for number, text in (await _records(self.box)).items() if number > self.seen]

        with contextlib.suppress(TimeoutError):
            await eventually(new, lambda texts: any(all(word in text for word in words) for text in texts), COMES_S, 3)
            return True
        return False


async def _records(box: Machine) -> dict[int, str]:
    """By number. A file's header has none."""
    said = await box.console.run("sh", "-c", f"cat {FILES} 2>/dev/null; true", timeout_s=120)
    lines = (line.split(" ", 2) for line in said.out.splitlines() if line[:1].isdigit())
    return {int(number): text for number, _, text in lines}
