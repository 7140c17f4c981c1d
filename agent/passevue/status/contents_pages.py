"""What the box is made of, for the site admin.

GET /site/contents                  version, end of support, how many components, the two files
GET /site/contents/sbom.cdx.json    the bill of materials
GET /site/contents/licences.txt     the licences

Not for the whole network: the list of exact versions tells an intruder which flaws to try.
"""

import asyncio
from functools import partial
from pathlib import Path

from aiohttp import web

from passevue.errors import StoreError
from passevue.status import contents, contents_view
from passevue.status.front import Front, see_other
from passevue.status.roles import Role

HOME = "/site/contents"
TYPES = {
    contents.SBOM: "application/vnd.cyclonedx+json; charset=utf-8",
    contents.LICENCES: "text/plain; charset=utf-8",
}


class ContentsPages:
    """Handlers. `on_box`: this is an appliance, which has such files; a laptop has none."""

    def __init__(self, front: Front, *, on_box: bool, folder: Path = contents.FOLDER) -> None:
        self._front = front
        self._on_box = on_box
        self._folder = folder

    def add_to(self, app: web.Application) -> None:
        app.router.add_get(HOME, self._show)
        for name in contents.PAPERS:
            app.router.add_get(f"{HOME}/{name}", partial(self._give, name))

    async def _show(self, request: web.Request) -> web.Response:
        session = self._front.signed_in(request, Role.ADMIN)
        wrong, found = "", None
        try:
            found = await asyncio.to_thread(contents.read_contents, self._folder)
        except StoreError as err:
            wrong = err.hint
        if found is None and self._on_box and not wrong:
            wrong = contents.MISSING
        frame = self._front.frame(request, session=session, events="/session/events")
        return self._front.answer(request, contents_view.page(frame, found, wrong))

    async def _give(self, name: str, request: web.Request) -> web.Response:
        self._front.signed_in(request, Role.ADMIN)
        try:
            data = await asyncio.to_thread(contents.read_paper, self._folder, name)
        except StoreError:  # the page says it in words
            raise see_other(request, HOME) from None
        headers = {
            "Cache-Control": "no-store",
            "Content-Disposition": f'attachment; filename="passevue-{name}"',
            "Content-Type": TYPES[name],
        }
        return web.Response(body=data, headers=headers)
