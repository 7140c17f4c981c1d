"""Imports point along the way of a document, and every module has a name a newcomer understands (design.md § 3)."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import passevue

ROOT = Path(passevue.__file__).parent
STAGES = (
    "network",
    "card",
    "stick",
    "intake",
    "document",
    "queue",
    "national",
    "consult",
    "status",
    "notary",
    "baseline",
    "update",
    "provision",
    "fleet",
)
# What each stage may import besides itself. `config*` and `errors` are seen by all; only `box` with its `zones`,
# `cli` and `__main__` see all.
UPSTREAM = {
    "network": set(),
    "card": set(),
    "stick": {"card"},
    "intake": set(),
    "document": {"card", "intake"},
    "queue": {"card", "intake", "document"},
    "national": {"card", "intake", "document", "queue"},
    "consult": {"card", "intake", "document", "queue", "national"},
    "status": {"card", "intake", "document", "queue", "national", "update", "provision", "stick"},
    "notary": {"update"},
    "baseline": {"network", "card", "intake", "document", "queue", "national", "notary"},
    "update": {"card", "intake", "document", "queue"},
    "provision": {"card", "intake", "document", "queue", "update"},
    "fleet": {"card", "intake", "document", "queue", "national", "status", "baseline"},
}
SEEN_BY_ALL = {
    "",
    "config",
    "config_check",
    "config_example",
    "config_files",
    "config_keys",
    "durable",
    "errors",
    "shared",
}
MODULES = sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.py"))
NAMELESS = {"util", "utils", "common", "helper", "helpers", "manager", "misc", "base", "core", "lib"}


def _imports(path: Path) -> Iterator[tuple[str, int]]:
    """The part of the package that each import names, with its line."""
    for node in ast.walk(ast.parse((ROOT / path).read_bytes())):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            names = [
                f"{node.module}.{alias.name}" if node.module == "passevue" else str(node.module) for alias in node.names
            ]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            first, _, rest = name.partition(".")
            if first == "passevue":
                part = rest.partition(".")[0]
                yield ("" if part.startswith("__") else part), node.lineno


def _stage(path: Path) -> str:
    return path.parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", [p for p in MODULES if _stage(p) in STAGES], ids=str)
def test_a_stage_imports_only_what_lies_upstream(path: Path) -> None:
    allowed = UPSTREAM[_stage(path)] | {_stage(path)} | SEEN_BY_ALL
    for part, number in _imports(path):
        assert part in allowed, f"{path}:{number} imports {part}, which lies downstream"


@pytest.mark.parametrize(
    "name", ["config", "config_check", "config_example", "config_files", "config_keys", "durable", "errors", "shared"]
)
def test_what_all_see_sees_no_stage(name: str) -> None:
    for part, number in _imports(Path(f"{name}.py")):
        assert part in SEEN_BY_ALL, f"{name}.py:{number} imports {part}"


def test_nothing_else_lies_at_the_top() -> None:
    top = {_stage(path) for path in MODULES}
    assert top - set(STAGES) <= {
        "__init__",
        "__main__",
        "box",
        "cli",
        "config",
        "config_check",
        "config_example",
        "config_files",
        "config_keys",
        "errors",
        "durable",
        "shared",
        "zones",
    }


def test_names_say_what_a_module_is_for() -> None:
    for path in MODULES:
        if path.parts[:2] == ("baseline", "rules"):  # named as in security-baseline.md § 3
            continue
        for part in path.with_suffix("").parts:
            assert not set(part.split("_")) & NAMELESS, path


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_every_module_says_what_it_is_for(path: Path) -> None:
    tree = ast.parse((ROOT / path).read_bytes())
    assert ast.get_docstring(tree), f"{path} has no docstring"


@pytest.mark.parametrize("stage", [stage for stage in STAGES if (ROOT / stage).is_dir()])
def test_a_stages_init_says_what_comes_in_and_goes_out_and_holds_no_code(stage: str) -> None:
    tree = ast.parse((ROOT / stage / "__init__.py").read_bytes())
    for node in tree.body[1:]:
        exported = isinstance(node, ast.Assign) and [t.id for t in node.targets if isinstance(t, ast.Name)] == [
            "__all__"
        ]
        assert isinstance(node, (ast.Import, ast.ImportFrom)) or exported, f"{stage}/__init__.py:{node.lineno}"
