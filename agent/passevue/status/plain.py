"""The summary and the queue's lines as plain JSON: the same for `--json`, `/status.json` and the fleet.

The shapes are documented in agent/README.md and stable: names may be added, none is renamed or dropped. Times are
ISO 8601 in UTC, ages seconds, sizes bytes.
"""

import json
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum, IntEnum
from typing import Any

from passevue.queue.listing import Line, Shown
from passevue.status import words
from passevue.status.summary import Summary


def to_json(summary: Summary) -> str:
    return json.dumps(plain_summary(summary), ensure_ascii=False, indent=2) + "\n"


def plain_summary(summary: Summary) -> dict[str, Any]:
    counters = summary.counters
    return {
        "at": plain(summary.at),
        "box": summary.box,
        "version": summary.version,
        "started_at": plain(summary.started_at),
        "verdict": summary.verdict.word,
        "sentence": f"{words.verdict(summary)}. {words.lead(summary)}",
        "findings": [
            {
                "code": finding.code,
                "verdict": finding.verdict.word,
                "values": dict(finding.values),
                "sentence": words.sentence(finding),
            }
            for finding in summary.findings
        ],
        "queue": {
            "by_state": {state.value: count for state, count in counters.by_state.items()},
            "by_reason": [
                {"state": state.value, "reason": reason, "count": count} for state, reason, count in counters.by_reason
            ],
            "parked": counters.parked,
            "conflicts": counters.conflicts,
            "oldest_received_at": plain(counters.oldest_received_at),
            "oldest_s": None if summary.oldest is None else int(summary.oldest.total_seconds()),
            "settled_today": counters.settled_today,
            "nothing_today": counters.nothing_today,
        },
        "troubles": [plain_line(line) for line in summary.troubles],
        "recent": [plain_line(line) for line in summary.recent],
        "room": None
        if summary.room is None
        else {
            "level": summary.room.level.name.lower(),
            "used_bytes": summary.room.volume.used_bytes,
            "free_bytes": summary.room.volume.free_bytes,
        },
        "certificates": [
            {"setting": each.setting, "ends": plain(each.ends), "days_left": each.days_left(summary.at)}
            for each in summary.certificates
        ],
        "neighbours": [{**plain(word), "health": word.health(summary.at).value} for word in summary.neighbours],
    }


def plain_line(line: Line) -> dict[str, Any]:
    found: dict[str, Any] = plain(line)
    return found


def plain_shown(shown: Shown) -> dict[str, Any]:
    """One entry whole: the line's fields, then the rest."""
    found: dict[str, Any] = plain(shown)
    return {**found.pop("line"), **found}


def plain(value: Any) -> Any:
    """Dataclasses, times and enumerations as what JSON has."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    if isinstance(value, IntEnum):
        return value.name.lower()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    return value
