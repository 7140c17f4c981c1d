"""How a command leaves: codes are stable, and told in agent/README.md."""

from enum import IntEnum

from passevue.errors import BoxError, ConfigError, Refused, StoreError


class Exit(IntEnum):
    """What a command's exit code says."""

    DONE = 0
    NO = 1  # done, and the answer is no: refused, not found, broken, someone must act (`status --check`)
    USAGE = 2  # the command was not understood
    CONFIG = 3  # the configuration is wrong
    STORE = 4  # the store cannot be opened, read or written
    OTHER = 5  # anything else of the box's own errors


def exit_code(error: BoxError) -> Exit:
    match error:
        case ConfigError():
            return Exit.CONFIG
        case StoreError():
            return Exit.STORE
        case Refused():
            return Exit.NO
        case _:
            return Exit.OTHER
