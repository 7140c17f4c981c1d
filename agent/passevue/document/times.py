"""HL7 time stamps (`YYYY[MM[DD[HH[MM[SS[.f]]]]]][±ZZZZ]`), and the forms that XDS and DICOM want of them.

XDS dates are UTC (rule EX_3.1-1070 of the DMP guide); a time stamp without an offset is in the time zone of the centre;
a mere date stays a date, as no hour is known to move it by.
"""

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

_STAMP = re.compile(
    r"(?P<digits>\d{4}(?:\d{2}(?:\d{2}(?:\d{2}(?:\d{2}(?:\d{2}(?:\.\d{1,6})?)?)?)?)?)?)(?P<offset>[+-]\d{4})?",
    re.ASCII,
)


def utc_stamp(moment: datetime) -> str:
    """`YYYYMMDDHHMMSS` in UTC of an aware moment."""
    return moment.astimezone(UTC).strftime("%Y%m%d%H%M%S")


def utc_of(stamp: str, timezone: str) -> str:
    """An HL7 time stamp in UTC, as precise as it came; empty when it is not one.

    `timezone` is the IANA name for stamps without an offset.
    """
    found = _STAMP.fullmatch(stamp.strip())
    if found is None:
        return ""
    digits = found["digits"].partition(".")[0]
    if len(digits) <= 8:
        return digits if _is_date(digits) else ""
    padded = digits.ljust(14, "0")
    try:
        moment = datetime.strptime(padded + (found["offset"] or ""), "%Y%m%d%H%M%S" + ("%z" if found["offset"] else ""))
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=ZoneInfo(timezone))
        return utc_stamp(moment)[: max(len(digits), 12)]
    except (ValueError, OverflowError):
        return ""


_DATE_FORM = {4: "%Y", 6: "%Y%m", 8: "%Y%m%d"}


def _is_date(digits: str) -> bool:
    try:
        datetime.strptime(digits, _DATE_FORM[len(digits)])
    except (ValueError, KeyError):
        return False
    return True


def whole_date(stamp: str) -> str:
    """`YYYYMMDD` when the stamp holds a whole, real date; empty when the date is partial or none."""
    digits = stamp.strip()[:8]
    return digits if len(digits) == 8 and digits.isascii() and digits.isdigit() and _is_date(digits) else ""
