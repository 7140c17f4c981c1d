"""Why what the site admin sent, or had read from a stick, became no order: what the audit trail says of it.

A word of a closed list, never a file's name or what a stick says of itself. What came before who sent it had proved who
they are has none: a stranger adds nothing to the trail. What an order's carrier refuses is that one's to tell.
"""

from enum import StrEnum

from passevue.errors import BoxError, NoRoom, Refused, StoreError, Unreadable, ZoneAway


class Way(StrEnum):
    """How it was to come."""

    UPLOAD = "upload"
    STICK = "stick"


class Reason(StrEnum):
    TOO_LARGE = "too-large"
    EMPTY = "empty"
    MISSING = "file-missing"  # one of two
    MALFORMED = "malformed"  # no such form
    BROKEN_OFF = "broken-off"  # cut, or too slow
    NO_ROOM = "no-room"  # but the queue's own
    DISK = "disk"  # takes no write
    STICK_NONE = "stick-none"
    STICK_SEVERAL = "stick-several"
    STICK_FILE = "stick-file"  # it has no such file
    STICK_FILES = "stick-files"  # or several
    STICK_UNREADABLE = "stick-unreadable"
    STICK_AWAY = "stick-away"  # who reads sticks does not answer


class NotTaken(Unreadable):
    """A file that was to come from somebody who may send it."""

    def __init__(self, reason: Reason, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


_OF_STICK = {str(each): each for each in Reason if each.startswith("stick-")}


def reason_of(error: BoxError, way: Way) -> Reason | None:
    """None: nothing for the trail."""
    match error:
        case NotTaken():
            return error.reason
        case NoRoom():
            return Reason.NO_ROOM
        case StoreError():
            return Reason.DISK
    return _of_stick(error) if way is Way.STICK else None


def _of_stick(error: BoxError) -> Reason | None:
    match error:
        case Refused():  # its reader may say what it likes
            return _OF_STICK.get(error.code, Reason.STICK_UNREADABLE)
        case ZoneAway():
            return Reason.STICK_AWAY
        case Unreadable():
            return Reason.BROKEN_OFF
    return None
