"""The report: one frozen object for the fleet, the page and `passevue baseline --json` (security-baseline.md § 1).

It holds every rule that is looked at while the box runs; what is proved before release only is not in it. Never patient
data, PINs, tokens, or names of persons.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from passevue.baseline.rule import Effect, Level, Status
from passevue.errors import Unreadable

SCHEMA = 1
NOTHING = "none"  # `worst` when nothing fails
MAX_REPORT_BYTES = 1 << 20  # 76 rules take 40 KiB

# Exit codes of `passevue baseline`, by the worst effect that a failure has.
EXIT = {NOTHING: 0, Effect.WARN: 1, Effect.HOLD: 2, Effect.BLOCK: 3}
EXIT_ENGINE_FAILED = 4
_GRAVITY = (Effect.BLOCK, Effect.HOLD, Effect.WARN)


@dataclass(frozen=True, slots=True)
class Result:
    """One rule, as last looked at.

    `status` is what was measured; `fires` says whether its effect is in force: an `unknown` must fires after three
    tries or five minutes, a rule that can flap after two failures (§ 1.2, § 1.3).
    """

    id: str
    rule: str
    level: Level
    effect: Effect
    status: Status
    observed: str
    expected: str
    remedy: str
    since: datetime
    checked: datetime
    fires: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """Every rule, as the box was at `at`."""

    box: str
    image: str
    boot_id: str
    at: datetime
    results: tuple[Result, ...]

    @property
    def firing(self) -> tuple[Result, ...]:
        return tuple(each for each in self.results if each.fires)

    @property
    def worst(self) -> str:
        effects = {each.effect for each in self.firing}
        return next((effect.value for effect in _GRAVITY if effect in effects), NOTHING)

    @property
    def exit_code(self) -> int:
        return EXIT[self.worst]

    @property
    def counts(self) -> Mapping[str, int]:
        found = Counter(each.status for each in self.results)
        return {status.value: found[status] for status in Status}

    def to_json(self) -> str:
        return json.dumps(
            {
                "schema": SCHEMA,
                "box": self.box,
                "image": self.image,
                "boot_id": self.boot_id,
                "at": _stamp(self.at),
                "worst": self.worst,
                "counts": self.counts,
                "rules": [
                    {**asdict(each), "since": _stamp(each.since), "checked": _stamp(each.checked)}
                    for each in self.results
                ],
            },
            ensure_ascii=False,
        )


def read_report(data: bytes) -> Report:
    """Raises: Unreadable when it is not a report of this schema."""
    if len(data) > MAX_REPORT_BYTES:
        raise Unreadable(f"the baseline report is longer than {MAX_REPORT_BYTES} bytes")
    try:
        tree = json.loads(data)
        if tree["schema"] != SCHEMA:
            raise Unreadable(f"the baseline report has schema {tree['schema']}, not {SCHEMA}")
        return Report(
            box=str(tree["box"]),
            image=str(tree["image"]),
            boot_id=str(tree["boot_id"]),
            at=_time(tree["at"]),
            results=tuple(_result(each) for each in tree["rules"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as err:
        raise Unreadable(f"the baseline report cannot be read: {type(err).__name__}") from err


def _result(tree: Mapping[str, Any]) -> Result:
    return Result(
        id=str(tree["id"]),
        rule=str(tree["rule"]),
        level=Level(tree["level"]),
        effect=Effect(tree["effect"]),
        status=Status(tree["status"]),
        observed=str(tree["observed"]),
        expected=str(tree["expected"]),
        remedy=str(tree["remedy"]),
        since=_time(tree["since"]),
        checked=_time(tree["checked"]),
        fires=tree["fires"] is True,
    )


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _time(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("a time without zone")
    return at
