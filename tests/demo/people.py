"""The people of the demonstration: a reader with a virtual CPS, revocation lists, phones of Pro Santé Connect."""

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path

import aiohttp

from tests.peers.ans import Ans, lists_of
from tests.peers.card import Holder, Profile, Situation, VirtualCard
from tests.peers.front_desk import Browser
from tests.peers.pcsc import Pcscd, why_not
from tests.peers.pki import Pki
from tests.peers.pki_persons import Persons
from tests.peers.psc import PscPeer
from tests.peers.ris import Site

CODE = "1234"
MAUD = "899700000017"  # the doctor whom the Pro Santé Connect peer knows, with one situation at `SITE`


class People:
    """Open it before the box starts; `sections` and `environment` are for the box."""

    def __init__(self, folder: Path, pki: Pki, site: Site, page: str) -> None:
        self._persons = Persons(folder / "persons")
        self._ans = Ans()
        self.psc = PscPeer(pki, structure=site.id)
        self.psc.phones.interval_s = 1
        self._lists = lists_of(self._persons) | lists_of(pki)
        self._pki, self._site, self._page = pki, site, page.rstrip("/")
        self.without_reader = why_not()
        self._folder = tempfile.TemporaryDirectory(prefix="passevue-")  # short: it holds a socket
        self._pcscd = None if self.without_reader else Pcscd(Path(self._folder.name))

    async def open(self) -> None:
        for number, lists in enumerate(self._lists.values()):
            self._ans.serve(f"/CRL/{number}.crl", lists.make())
        await self._ans.__aenter__()
        await self.psc.__aenter__()
        if self._pcscd is not None:
            await asyncio.to_thread(self._pcscd.start)

    async def close(self) -> None:
        if self._pcscd is not None:
            await asyncio.to_thread(self._pcscd.close)
        self._folder.cleanup()
        await self.psc.__aexit__(None, None, None)
        await self._ans.__aexit__(None, None, None)

    @property
    def environment(self) -> dict[str, str]:
        return {} if self._pcscd is None else self._pcscd.program_environment

    def open_reader_to_all(self) -> None:
        """A zone that is another user may reach the card service."""
        if self._pcscd is not None:
            Path(self._folder.name).chmod(0o755)
            self._pcscd.socket.chmod(0o666)

    @property
    def sections(self) -> str:
        names = ", ".join(f'"{name}" = "{self._ans.url(f"/CRL/{at}.crl")}"' for at, name in enumerate(self._lists))
        return f"""
[trust]
authority = "{self._persons.authority.resolve()}"

[crl]
urls = {{ {names} }}

[psc]
issuer = "{self.psc.issuer}"
client_id = "{self.psc.client_id}"
authority = "{self._pki.authority.resolve()}"
redirect_url = "{self._page}/psc/retour"
"""

    @property
    def persons(self) -> Persons:
        """Whose cards the DMP takes."""
        return self._persons

    def put_card_in(self) -> None:
        assert self._pcscd is not None
        situation = Situation(self._site.name, self._site.id, self._site.sector)
        profile = replace(Profile(holder=Holder(situations=(situation,))), category="test")
        self._pcscd.slots[0].link.insert(VirtualCard(profile, self._persons.card_keys(profile)))

    def pull_card(self) -> None:
        assert self._pcscd is not None
        self._pcscd.slots[0].link.remove()

    async def obey(self, order: str) -> str:
        """What a word typed in the terminal does, and what is said back."""
        if order == "approuver":
            try:
                return f"approuvé, nombre {self.psc.approve(MAUD)}"
            except KeyError:
                return "aucun téléphone ne sonne"
        if order not in ("carte", "retirer"):
            return "les mots sont : carte, retirer, approuver"
        if self._pcscd is None:
            return self.without_reader
        if order == "carte":
            await asyncio.to_thread(self.put_card_in)
            return "la carte est dans le lecteur"
        await asyncio.to_thread(self.pull_card)
        return "la carte est ôtée"

    def browser(self, session: aiohttp.ClientSession) -> Browser:
        return Browser(self._page, session)
