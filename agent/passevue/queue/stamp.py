"""Times as the store keeps them: whole microseconds since 1970, UTC. Never floats: two engines must agree."""

from datetime import UTC, datetime, timedelta

__all__ = ["SECOND", "moment", "moment_or_none", "stamp"]

SECOND = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def stamp(when: datetime) -> int:
    """Of an aware datetime."""
    return (when - _EPOCH) // _MICROSECOND


def moment(value: int) -> datetime:
    return _EPOCH + timedelta(microseconds=value)


def moment_or_none(value: int | None) -> datetime | None:
    return None if value is None else moment(value)
