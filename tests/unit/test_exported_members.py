"""`__all__` is honest: what it names is there, once, and what a package re-exports is named."""

import importlib
import pkgutil

import pytest

import passevue

NAMES = [
    module.name
    for module in pkgutil.walk_packages(passevue.__path__, "passevue.")
    if "migrations" not in module.name and not module.name.endswith("__main__")
]


@pytest.mark.parametrize("name", NAMES)
def test_all_names_what_is_there(name: str) -> None:
    module = importlib.import_module(name)
    exported = getattr(module, "__all__", None)
    if exported is None:
        return
    assert len(exported) == len(set(exported))
    for member in exported:
        assert hasattr(module, member), f"{name}.__all__ names {member}"
