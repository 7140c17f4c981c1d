"""The site's account: nobody's until claimed, then one password's, and only what is on the disk counts."""

import asyncio
import json
import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from passevue.errors import Refused, StoreError
from passevue.status.local_account import LocalAccount, check_password

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
PASSWORD = b"le scanner est au sous-sol"


@pytest.fixture
def account(tmp_path: Path) -> LocalAccount:
    account = LocalAccount(tmp_path)
    account.prepare()
    return account


async def claim(account: LocalAccount) -> None:
    code = await asyncio.to_thread(account.code)
    assert await account.claim(bytearray(code.encode()), bytearray(PASSWORD), NOON)


async def test_what_is_given_is_wiped_whatever_happens(account: LocalAccount) -> None:
    code, password = bytearray(b"WRONG"), bytearray(PASSWORD)
    assert not await account.claim(code, password, NOON)
    assert not any(code + password)
    right, bad = bytearray(account.code_file.read_bytes()), bytearray(b"short")
    with pytest.raises(Refused):
        await account.claim(right, bad, NOON)
    assert not any(right + bad)
    await claim(account)
    given = bytearray(PASSWORD)
    assert await account.fits(given)
    assert not any(given)


async def test_neither_the_password_nor_a_plain_digest_of_it_is_kept(account: LocalAccount, tmp_path: Path) -> None:
    await claim(account)

    def kept() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (tmp_path / "page").iterdir()}

    found = await asyncio.to_thread(kept)
    assert set(found) == {"local-account.json"}
    assert PASSWORD not in b"".join(found.values())
    assert json.loads(found["local-account.json"])["n"] == 1 << 15
    modes = [stat.S_IMODE(os.stat(tmp_path / "page" / name).st_mode) for name in ("", *found)]
    assert modes == [0o700, 0o600]


async def test_preparing_again_keeps_the_code_and_makes_none_once_claimed(account: LocalAccount) -> None:
    code = await asyncio.to_thread(account.code)
    await account.start()
    assert await asyncio.to_thread(account.code) == code
    await claim(account)
    await account.start()
    assert await asyncio.to_thread(account.code) == ""


async def test_a_reset_is_seen_by_another_process(account: LocalAccount, tmp_path: Path) -> None:
    await claim(account)
    before = await account.generation()
    code = await asyncio.to_thread(LocalAccount(tmp_path).reset)
    assert await account.generation() != before
    assert not await account.fits(bytearray(PASSWORD))
    assert await account.claim(bytearray(code.lower().encode()), bytearray(PASSWORD), NOON)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"null", b'{"salt": 1}', b"\xff" * 100, b'{"n": 1}', b"x" * 10_000]
)
async def test_a_damaged_file_lets_nobody_in_and_cannot_be_claimed_over(
    account: LocalAccount, tmp_path: Path, content: bytes
) -> None:
    code = await asyncio.to_thread(account.code)
    await asyncio.to_thread((tmp_path / "page" / "local-account.json").write_bytes, content)
    assert not await account.fits(bytearray(PASSWORD))
    assert not await account.fits(bytearray())
    assert not await account.claim(bytearray(code.encode()), bytearray(PASSWORD), NOON)


async def test_a_file_with_weakened_parameters_is_not_believed(account: LocalAccount, tmp_path: Path) -> None:
    await claim(account)
    path = tmp_path / "page" / "local-account.json"
    found = json.loads(await asyncio.to_thread(path.read_text))
    await asyncio.to_thread(path.write_text, json.dumps({**found, "n": 2}))
    assert not await account.fits(bytearray(PASSWORD))


async def test_a_link_in_place_of_the_code_is_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "page"
    folder.mkdir()
    (tmp_path / "known").write_text("AAAA-AAAA-AAAA-AAAA")
    (folder / "claim-code").symlink_to(tmp_path / "known")
    account = LocalAccount(tmp_path)
    await account.start()
    assert not await account.claim(bytearray(b"AAAA-AAAA-AAAA-AAAA"), bytearray(PASSWORD), NOON)
    assert not (folder / "claim-code").is_symlink()


async def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "page").write_text("in the way")
    with pytest.raises(StoreError):
        await LocalAccount(tmp_path).start()


@pytest.mark.parametrize("password", [b"", b"short", b"\xff" * 20, b"a" * 12, b"aabbaabbaabbaabb", "é".encode() * 200])
def test_passwords_that_will_not_do(password: bytes) -> None:
    with pytest.raises(Refused):
        check_password(password)


def test_a_sentence_will_do() -> None:
    check_password("le scanner est au sous-sol, près de l’échographe".encode())
