"""What was uploaded and nobody carried out does not stay: it may hold keys."""

import asyncio
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest

from passevue.errors import BoxError, NoRoom, Refused, StoreError, Unreadable, ZoneAway
from passevue.provision.first_certificate import context
from passevue.status.first_page import Box, FirstPage
from passevue.status.local_account import LocalAccount
from passevue.status.refusals import NotTaken, Reason, Way, reason_of
from passevue.status.upload import forgotten
from passevue.update.orders import Orders
from passevue.zones.first import telling

PASSWORD = "une phrase bien longue"


def _drafted(orders: Orders) -> dict[str, str]:
    path, file = orders.draft(".toml")
    file.close()
    return {"document": path.name}


async def test_an_error_takes_what_was_received_with_it(tmp_path: Path) -> None:
    orders = Orders(tmp_path)
    done, failed, left = [await asyncio.to_thread(_drafted, orders) for _ in range(3)]
    async with forgotten(orders, done):
        pass
    with pytest.raises(StoreError):
        async with forgotten(orders, failed):
            raise StoreError("nobody carried it out")
    with pytest.raises(asyncio.CancelledError):
        async with forgotten(orders, left):
            raise asyncio.CancelledError
    assert await asyncio.to_thread(lambda: {path.name for path in orders.folder.iterdir()}) == set(done.values())


@pytest.mark.parametrize(
    ("error", "way", "reason"),
    [
        (NotTaken(Reason.TOO_LARGE, "x"), Way.UPLOAD, Reason.TOO_LARGE),
        (NoRoom("x"), Way.UPLOAD, Reason.NO_ROOM),
        (StoreError("x"), Way.STICK, Reason.DISK),
        (ZoneAway("x"), Way.STICK, Reason.STICK_AWAY),
        (Unreadable("x"), Way.STICK, Reason.BROKEN_OFF),
        (Refused("stick-none", "x"), Way.STICK, Reason.STICK_NONE),
        (Refused("too-large", "x"), Way.STICK, Reason.STICK_UNREADABLE),
        (Refused("password", "x"), Way.UPLOAD, None),
        (Unreadable("x"), Way.UPLOAD, None),
    ],
)
def test_the_trail_has_words_of_a_closed_list_and_none_of_strangers(
    error: BoxError, way: Way, reason: Reason | None
) -> None:
    assert reason_of(error, way) is reason


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    """The first page of a claimed box where no root program runs."""
    account = LocalAccount(tmp_path)
    await account.start()
    code = await asyncio.to_thread((tmp_path / "page/claim-code").read_text)
    assert await account.claim(bytearray(code.strip().encode()), bytearray(PASSWORD.encode()), datetime.now(UTC))
    tls = await asyncio.to_thread(context, tmp_path / "page", "S")
    page = FirstPage(
        Box(tmp_path, "7F3A-90C1-22BE", ""), tls, lambda: datetime.now(UTC), telling(tmp_path), answer_s=0.3
    )
    task = asyncio.create_task(page.run())
    await page.started()
    yield f"https://127.0.0.1:{page.port}"
    task.cancel()
    await asyncio.wait([task])


async def test_a_configuration_that_nobody_answers_for_is_forgotten_and_no_restart_advised(
    url: str, tmp_path: Path
) -> None:
    form = aiohttp.FormData()
    form.add_field("password", PASSWORD)
    for name in ("document", "signature"):
        form.add_field(name, io.BytesIO(b"secret"), filename=name)
    async with (
        aiohttp.ClientSession() as browser,
        browser.post(url + "/configuration", data=form, headers={"Origin": url}, ssl=False) as answer,
    ):
        text = await answer.text()
    assert "Ne le coupez pas" in text
    assert "redémarrez" not in text
    left = await asyncio.to_thread(lambda: {path.name for path in (tmp_path / "orders").iterdir()})
    assert left == {"configure.json"}, "which names files that are gone, and is soon too old"
