"""Errors of the tree, carried from one zone to another: by their class's name, their words and their plain facts.

A class of `errors` arrives as itself; a narrower one, which only its own module knows, as the nearest of the tree. No
cause and no traceback goes along.
"""

from dataclasses import dataclass, field

from passevue import errors
from passevue.errors import BoxError

Fact = str | int | float | None

_TREE = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, BoxError)}


@dataclass(frozen=True, slots=True)
class Trouble:
    """An error on its way. `facts` are what its class adds: `code`, `tries_left`, …"""

    kind: str
    message: str
    hint: str = ""
    facts: dict[str, Fact] = field(default_factory=dict)


def trouble_of(error: BoxError) -> Trouble:
    kind = next(each.__name__ for each in type(error).__mro__ if _TREE.get(each.__name__) is each)
    facts = {
        name: value
        for name, value in vars(error).items()
        if name not in ("message", "hint") and isinstance(value, str | int | float | None)
    }
    return Trouble(kind, error.message, error.hint, facts)


def error_of(trouble: Trouble) -> BoxError:
    """The same error, to be raised here; one of an unknown class is a plain BoxError."""
    kind = _TREE.get(trouble.kind, BoxError)
    error = kind.__new__(kind)
    Exception.__init__(error, trouble.message)  # not its own: each takes other arguments, and composes the message
    error.message, error.hint = trouble.message, trouble.hint
    for name, value in trouble.facts.items():
        setattr(error, name, value)
    return error
