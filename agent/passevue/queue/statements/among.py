"""`IN` as both engines take it in one statement."""

from collections.abc import Sequence
from typing import TypeVar

from sqlalchemy import ColumnElement, or_

T = TypeVar("T")


def among(column: ColumnElement[T], values: Sequence[T]) -> ColumnElement[bool]:
    """`column IN (…)`, without SQLAlchemy's IN, which is only written out at each execution."""
    return or_(*(column == value for value in values))
