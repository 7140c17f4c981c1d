"""The version stands in two places: read at each start from the program, at each build from the project."""

import tomllib
from pathlib import Path

import passevue

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_program_and_project_have_the_same_version() -> None:
    assert tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["version"] == passevue.__version__
