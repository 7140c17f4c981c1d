"""What a received thing asks for: which action on which studies."""

from dataclasses import dataclass
from enum import StrEnum


class Action(StrEnum):
    """What an entry asks for its study. Whether a publication replaces another is read off the archive."""

    PUBLISH = "publish"  # new report, replaced report, visibility change
    WITHDRAW = "withdraw"  # report deleted
    REFRESH = "refresh"  # the images changed: rejection note, key image note, OMI^O23


@dataclass(frozen=True, slots=True)
class Task:
    """One thing to do for one study. Tasks of one study are done one after the other, in order of arrival (Q-07)."""

    action: Action
    study_uid: str
