"""What tests/image/README.md gives to paste into a shell is whole: each name in it is imported, from where it is."""

import ast
import builtins
import importlib
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "tests/image/README.md"
PASTED = re.findall(r"(?ms)^\.venv/bin/python - <<'END'\n(.*?)^END$", PAGE.read_text(encoding="utf-8"))


def test_there_is_a_fresh_box_and_one_with_a_card() -> None:
    fresh, card = PASTED
    assert "claim-code" in fresh
    assert "slot.insert(card)" in card


@pytest.mark.parametrize("text", PASTED, ids=["fresh", "card"])
def test_what_is_pasted_has_all_its_imports(text: str) -> None:
    known = set(dir(builtins))
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            known |= {importlib.import_module(each.name).__name__ for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = importlib.import_module(str(node.module))
            assert [each.name for each in node.names if not hasattr(module, each.name)] == [], node.module
            known |= {each.name for each in node.names}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            known.add(node.name)
        elif isinstance(node, ast.arg):
            known.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            known.add(node.id)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert used <= known
