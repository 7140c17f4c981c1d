"""ACCT-02, as far as it needs no machine: what two boxes make at their first start from one program is not the same.

tests/image/test_nothing_shared.py compares two whole ones.
"""

import ast
import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

import passevue
from passevue.baseline.rules.credentials_only import random_words
from passevue.provision.first_certificate import first_certificate
from passevue.status.local_account import LocalAccount
from passevue.status.visitor import FormTokens, new_value

AGENT = Path(passevue.__file__).parent
NAMES = {"TRE_A07-StatutVisibiliteDocument"}  # of the ANS, long and mixed enough to be taken for one
PASSWORD = "Tilleuls, portail vert, 3 marches"  # the same at two centres
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


async def first_start(folder: Path) -> dict[str, bytes]:
    """What a box keeps once somebody has claimed it, by name; two of one serial, as if they were each other's copy."""
    (folder / "page").mkdir(parents=True)
    await asyncio.to_thread(first_certificate, folder / "page", "7F3A-90C1-22BE", NOW)
    account = LocalAccount(folder)
    await account.start()
    code = await asyncio.to_thread(account.code_file.read_bytes)
    assert await account.claim(bytearray(code.strip()), bytearray(PASSWORD.encode()), NOW)
    kept = await asyncio.to_thread(lambda: {path.name: path.read_bytes() for path in (folder / "page").iterdir()})
    return kept | {"claim-code, while there was one": code}


async def test_what_two_boxes_keep_from_their_first_start_differs(tmp_path: Path) -> None:
    one, other = await first_start(tmp_path / "one"), await first_start(tmp_path / "other")
    assert one.keys() == other.keys()
    assert {"first.crt", "first.key", "local-account.json"} <= one.keys()
    assert [name for name in one if one[name] == other[name]] == []
    for name in ("first.key", "local-account.json"):  # not in a part either
        lines = {line for line in one[name].splitlines() if len(line) > 32}
        assert not lines & set(other[name].splitlines())


def test_what_stands_for_a_form_or_a_browser_is_each_process_s_own() -> None:
    assert FormTokens().token("a browser") != FormTokens().token("a browser")
    assert new_value() != new_value()


@pytest.mark.parametrize("text", ["m9Xw2cLq7Rz0KdVb4Tn8YhPs6Jf3GaUe", "9f8b7c6d5e4f3a2b1c0d" * 3])
def test_a_key_among_the_words_of_the_program_would_be_seen(text: str) -> None:
    assert random_words(f"x = {text}")


def test_no_secret_is_written_into_the_program() -> None:
    found = [
        (path.relative_to(AGENT), node.lineno)
        for path in sorted(AGENT.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes) and _random(node.value)
    ]
    assert found == []


def _random(value: str | bytes) -> bool:
    return bool(set(random_words(value if isinstance(value, str) else value.decode("latin-1"))) - NAMES)
