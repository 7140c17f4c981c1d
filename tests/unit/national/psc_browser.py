"""A browser as far as Pro Santé Connect's redirects need one."""

import html
import re
import ssl
from urllib.parse import parse_qsl, urlsplit

import aiohttp

from passevue.national.psc import Psc, PscSession
from tests.peers.pki import Pki
from tests.peers.psc import PscPeer

_HIDDEN = re.compile(r'type="hidden" name="([^"]+)" value="([^"]*)"')
MEDECIN = "899700000017"


async def visit(url: str, pki: Pki) -> dict[str, str]:
    """What the browser brings back: the query of the callback."""
    context = ssl.create_default_context(cafile=pki.authority)
    connector = aiohttp.TCPConnector(ssl=context)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get(url, allow_redirects=False) as response,
    ):
        assert response.status == 302, await response.text()
        return dict(parse_qsl(urlsplit(response.headers["Location"]).query))


async def sign_in(psc: Psc, peer: PscPeer, pki: Pki, login: str = MEDECIN) -> PscSession:
    peer.auto_approve = login
    request = await psc.begin_code()
    return await psc.finish_code(request, await visit(request.url, pki))


async def choose(url: str, login: str, pki: Pki) -> dict[str, str]:
    """The same on the page that the peer shows when nobody is approved beforehand: press a person's button."""
    context = ssl.create_default_context(cafile=pki.authority)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        async with session.get(url) as response:
            page = await response.text()
        fields = {name: html.unescape(value) for name, value in _HIDDEN.findall(page)}
        assert f'value="{login}"' in page
        address = url.partition("?")[0]
        async with session.post(address, data={**fields, "login": login}, allow_redirects=False) as response:
            assert response.status == 302, await response.text()
            return dict(parse_qsl(urlsplit(response.headers["Location"]).query))
