"""USB sticks made on the host, plugged into the running box, and the site admin who has them read at the page.

    stick = await asyncio.to_thread(made, tmp_path / "stick.raw", {"next.raucb": bundle})
    await plugged(box, stick)
    async with admin_of(box) as admin:
        await admin.post("/site/machine/update/stick")

The stick is QEMU's `usb-storage`: a far end of the bulk-only transport that somebody else wrote.
"""

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import ClientSession, ClientTimeout, CookieJar, TCPConnector

from tests.image.configured import FORM_S, PASSWORD
from tests.image.machine import Machine
from tests.peers.front_desk import Browser
from tests.peers.stick import ran

PARTITION = 1 << 20


def made(image: Path, files: Mapping[str, Path]) -> Path:
    """With a partition table and FAT32, as a shop sells it."""
    room = sum(file.stat().st_size for file in files.values())
    size = max(room + room // 8, 40 << 20) >> 20 << 20
    with image.open("wb") as file:
        file.truncate(PARTITION + size)
    ran(["sfdisk", "-q", str(image)], b"start=2048, type=c\n")
    ran(["mkfs.vfat", "-F", "32", "--offset", str(PARTITION // 512), str(image), str(size >> 10)])
    for name, source in files.items():
        ran(["mcopy", "-i", f"{image}@@{PARTITION}", str(source), f"::{name}"])
    return image


async def plugged(box: Machine, stick: Path, id: str = "stick") -> None:
    await box.add_drive(stick, f"{id}-drive", read_only=True)
    await box.plug("usb-storage", id=id, drive=f"{id}-drive")


@asynccontextmanager
async def admin_of(box: Machine) -> AsyncIterator[Browser]:
    """Signed in at the box's page with the site's password."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # its certificate is its own
    async with ClientSession(
        cookie_jar=CookieJar(unsafe=True), timeout=ClientTimeout(FORM_S), connector=TCPConnector(ssl=context)
    ) as session:
        browser = Browser(f"https://127.0.0.1:{box.ports['page']}", session)
        await browser.get("/sign-in/site")
        await browser.post("/sign-in/site", password=PASSWORD)
        assert "/site" in browser.path, browser.path
        await browser.get("/site/machine")
        yield browser
