"""What instances of a storage class are, as a key object's item names them (PS3.3 C.17.3.2.1, classes of PS3.4 B.5).

A table, for a library's dictionary of all UIDs takes 6 MiB in each process that loads it. A test holds the one beside
the other, class by class.
"""

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_IMAGES = frozenset(
    f"{_STORAGE}{last}"
    for last in (
        "1", "1.1", "1.1.1", "1.2", "1.2.1", "1.3", "1.3.1", "2", "2.1", "2.2", "3", "3.1", "4", "4.1", "4.3", "4.4",
        "5", "6", "6.1", "6.3", "7", "7.1", "7.2", "7.3", "7.4", "12.1", "12.1.1", "12.2", "12.2.1", "12.3", "13.1.1",
        "13.1.2", "13.1.3", "13.1.4", "13.1.5", "14.1", "14.2", "20", "30", "66.4", "77.1", "77.1.1", "77.1.1.1",
        "77.1.2", "77.1.2.1", "77.1.3", "77.1.4", "77.1.4.1", "77.1.5.1", "77.1.5.2", "77.1.5.4", "77.1.5.5",
        "77.1.5.6", "77.1.5.7", "77.1.6", "77.1.7", "77.1.8", "77.1.9", "77.2", "81.1", "82.1", "128", "128.1", "130",
        "481.1", "481.23", "481.24", "501.1", "501.2.1", "501.2.2", "601.1", "601.2",
    )
) | {"1.2.840.10008.5.1.1.29", "1.2.840.10008.5.1.1.30"}  # hardcopy, of old  # fmt: skip
_WAVEFORMS = f"{_STORAGE}9."


def value_type(sop_class_uid: str) -> str:
    """`IMAGE`, `WAVEFORM` or `COMPOSITE`: what is not known to be one of the others, private classes among it."""
    if sop_class_uid in _IMAGES:
        return "IMAGE"
    return "WAVEFORM" if sop_class_uid.startswith(_WAVEFORMS) else "COMPOSITE"
