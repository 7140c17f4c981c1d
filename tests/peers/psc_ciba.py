"""The phones of the Pro Santé Connect peer: a request rings one, its person answers, the client polls (CIBA).

phones.ask(form)                     # {"auth_req_id": …}
await phones.rang("899700000017")    # the two digits
phones.answer("899700000017", agreed=True)
phones.poll(form)                    # whose session begins; Refusal until then
"""

import asyncio
import secrets
from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any

from tests.peers.psc_faults import Refusal


@dataclass
class Asked:
    """One request. `answer`: None while the person has not answered."""

    login: str
    binding_message: str
    channel: str
    until: float
    answer: bool | None = None
    polled_at: float = 0.0


class Phones:
    """Those of `people`, by their logins. `now` in seconds."""

    def __init__(self, people: Container[str], now: Callable[[], float]) -> None:
        self._people = people
        self._now = now
        self._rings = asyncio.Event()
        self.interval_s = 5
        self.life_s = 120
        self.requests: dict[str, Asked] = {}

    # Of the person

    def answer(self, login: str, *, agreed: bool) -> str:
        """The two digits that they saw. KeyError when nothing was asked."""
        waiting = self._waiting(login)
        if not waiting:
            raise KeyError(f"nobody asked for {login}")
        for one in waiting:
            one.answer = agreed
        return waiting[-1].binding_message

    async def rang(self, login: str, within_s: float) -> str:
        async with asyncio.timeout(within_s):
            while not (waiting := self._waiting(login)):
                self._rings.clear()
                await self._rings.wait()
        return waiting[0].binding_message

    def _waiting(self, login: str) -> list[Asked]:
        return [one for one in self.requests.values() if one.login == login and one.answer is None]

    # Of the client

    def ask(self, form: dict[str, str]) -> dict[str, Any]:
        """Raises: Refusal."""
        if form.get("login_hint") not in self._people:
            raise Refusal("unknown_user_id")
        message = form.get("binding_message", "")
        if len(message) != 2 or not message.isdecimal():
            raise Refusal("invalid_binding_message")
        if form.get("channel") not in ("CARD", "MOBILE") or "scope_all" not in form.get("scope", ""):
            raise Refusal("invalid_request")
        name = secrets.token_urlsafe(24)
        self.requests[name] = Asked(form["login_hint"], message, form["channel"], self._now() + self.life_s)
        self._rings.set()
        return {"auth_req_id": name, "expires_in": self.life_s, "interval": self.interval_s}

    def poll(self, form: dict[str, str]) -> str:
        """The login of who agreed. Raises: Refusal."""
        asked = self.requests.get(form.get("auth_req_id", ""))
        if asked is None:
            raise Refusal("invalid_grant")
        now, last = self._now(), asked.polled_at
        asked.polled_at = now
        if now >= asked.until:
            raise Refusal("expired_token")
        if now - last < self.interval_s - 0.2:
            raise Refusal("slow_down")
        if asked.answer is None:
            raise Refusal("authorization_pending")
        del self.requests[form["auth_req_id"]]
        if not asked.answer:
            raise Refusal("access_denied")
        return asked.login
