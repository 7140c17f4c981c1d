"""LOG-05: technical logs are kept six months and no longer, within a bound in bytes."""

import re
from datetime import UTC, datetime, timedelta

from passevue.baseline.machine import Machine, Unmeasurable
from passevue.baseline.reading.ini import read_ini
from passevue.baseline.remedies import IMAGE_BUG
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, failed, passed

FOLDERS = ("/usr/lib/systemd/journald.conf.d", "/etc/systemd/journald.conf.d")
KEPT = frozenset({"persistent", "auto"})
LONGEST = timedelta(days=186 + 31)  # six months, and the longest that one journal file spans
_UNITS = {"month": 30.44, "months": 30.44, "week": 7.0, "weeks": 7.0, "w": 7.0, "day": 1.0, "days": 1.0, "d": 1.0,
          "year": 365.25, "years": 365.25, "y": 365.25}  # fmt: skip


def check(machine: Machine) -> Finding:
    settings: dict[str, str] = {}
    for path in (
        "/etc/systemd/journald.conf",
        *(name for folder in FOLDERS for name in machine.glob(f"{folder}/*.conf")),
    ):
        if machine.exists(path):
            settings |= read_ini(machine.read_text(path)).get("Journal", {})
    days = _days(settings.get("MaxRetentionSec", ""))
    if not 150 <= days <= 190:
        return failed(f"MaxRetentionSec={settings.get('MaxRetentionSec', '')} is not six months")
    if not settings.get("SystemMaxUse"):
        return failed("no SystemMaxUse: the journal has no bound")
    if settings.get("Storage", "auto") not in KEPT:
        return failed(f"Storage={settings['Storage']}: the journal is not kept")
    files = machine.glob("/var/log/journal/*/*.journal")
    if not files:
        raise Unmeasurable("no file of the journal is shown")
    oldest = min(machine.stat(path).st_mtime for path in files)
    if machine.now - datetime.fromtimestamp(oldest, UTC) > LONGEST:
        return failed(f"a journal file was last written on {datetime.fromtimestamp(oldest, UTC):%Y-%m-%d}")
    return passed(f"{days:.0f} days, at most {settings['SystemMaxUse']}")


def _days(span: str) -> float:
    """systemd.time(7), as far as it is used for retention: `6month`, `26 weeks`."""
    parts = re.findall(r"(\d+)\s*([a-z]+)", span)
    return sum(int(count) * _UNITS.get(unit, 0.0) for count, unit in parts)


RULE = Rule(
    id="LOG-05",
    slug="retention",
    level=Level.MUST,
    effect=Effect.WARN,
    when=frozenset({When.DAILY}),
    title=Text("Les journaux techniques sont gardés six mois", "Technical logs are kept for six months"),
    why=Text(
        "Moins longtemps, un incident ne s’explique plus ; plus longtemps, rien ne le justifie.",
        "For less, an incident cannot be explained any more; for more, nothing justifies it.",
    ),
    expected="MaxRetentionSec of six months, SystemMaxUse set, no file older",
    remedy=IMAGE_BUG,
    source="PG 7.2.2.5, LOG R24 R25, CLA O-6.5",
    check=check,
)
