"""What a UID may look like (PS3.5 § 9.1): at most 64 of digits and dots, no component with a leading zero.

A UID is never made into a path, whatever it looks like.
"""

import re

MAX_UID = 64
UID = re.compile(r"(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))+")


def is_uid(value: str) -> bool:
    return len(value) <= MAX_UID and UID.fullmatch(value) is not None
