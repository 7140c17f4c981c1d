"""The trust zones by name, and the user that each runs as on the appliance (design.md § 4)."""

import grp
import os
import pwd
from enum import StrEnum


class Part(StrEnum):
    """A trust zone that a process can be."""

    INTAKE = "intake"  # RIS, modalities, images: hostile input, no key
    NATIONAL = "national"  # dispatcher, registry: the structures' keys
    PAGE = "page"  # status page, sign-in: people
    HOST = "host"  # card readers, USB, revocation lists: the machine


def user_of(part: Part) -> int:
    """The user that runs `part`; on a machine without zone users, the one of this process."""
    try:
        return pwd.getpwnam(f"passevue-{part}").pw_uid
    except KeyError:
        return os.geteuid()


def group() -> int:
    """The group that all zones share; -1 (which `chown` leaves as it is) on a machine without."""
    try:
        return grp.getgrnam("passevue").gr_gid
    except KeyError:
        return -1
