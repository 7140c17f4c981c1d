"""Sign-in by the phone or the workstation's card: CIBA in poll mode (§ 4).

Rules:
- The two digits that the person sees here are those on the phone: `binding_message` is shown until the answer comes.
- Polled no faster than `interval`, five seconds slower for each `slow_down`, until the request's end and no later.
- One open request per person: nobody's phone is made to ring again and again by a stranger who knows an identifier.
- A poll that gets no answer is a poll to repeat: the request lives on at Pro Santé Connect.
"""

import asyncio
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NoReturn

from passevue.errors import NetworkError, SignInError, Unreadable
from passevue.national.psc_json import seconds, text
from passevue.national.psc_server import SCOPE, Grant, PscServer
from passevue.national.psc_token import IdToken
from passevue.national.psc_wire import AWAY

GRANT_TYPE = "urn:openid:params:grant-type:ciba"
EXPIRES_IN_S = 120.0
INTERVAL_S = 5.0
SLOWER_BY_S = 5.0
MAX_OPEN = 32
_LONGEST_S = 600.0
_LONGEST_INTERVAL_S = 60.0
_ID_NAT = re.compile(r"[0-9A-Za-z][0-9A-Za-z./_-]{0,63}")


class Channel(StrEnum):
    """How the person answers."""

    MOBILE = "MOBILE"  # e-CPS on the phone
    CARD = "CARD"  # a CPS at the workstation, by CPS-Gestion


@dataclass(frozen=True, slots=True, repr=False)
class CibaRequest:
    """One request that waits for its person. `binding_message` is for the screen; `id` is not."""

    id: str
    id_nat: str
    binding_message: str
    interval_s: float
    ends_at: datetime


class Ciba:
    """The requests that wait."""

    def __init__(self, server: PscServer) -> None:
        self._server = server
        self._open: dict[str, datetime] = {}

    async def begin(self, id_nat: str, channel: Channel = Channel.MOBILE) -> CibaRequest:
        """Ask the person known as `id_nat` (8 and RPPS).

        Raises:
            SignInError: unknown, already asked, or not an identifier.
            CredentialError, NetworkError, TrustError: as every call.
        """
        if not _ID_NAT.fullmatch(id_nat):
            raise SignInError(
                "unknown_user_id", "not a national identifier",
                hint="Cet identifiant n'en est pas un : saisissez votre identifiant national (8 suivi du RPPS).",
            )  # fmt: skip
        self._reserve(id_nat)
        try:
            return await self._ask(id_nat, channel)
        except BaseException:
            self._open.pop(id_nat, None)
            raise

    async def finish(self, request: CibaRequest) -> tuple[Grant, IdToken]:
        """Waits for the person's answer: the checked grant.

        Raises:
            SignInError: `access_denied`, `expired_token` or another definitive word.
            TrustError: a token is wrong.
        """
        try:
            grant = await self._poll(request)
            return grant, await self._server.check(grant)
        finally:
            self._open.pop(request.id_nat, None)

    def _reserve(self, id_nat: str) -> None:
        now = self._server.clock()
        self._open = {one: until for one, until in self._open.items() if until > now}
        if id_nat in self._open:
            raise SignInError(
                "already_asked", "this person has a request open",
                hint="Une demande est déjà en cours sur votre téléphone : répondez-y, ou attendez deux minutes.",
            )  # fmt: skip
        if len(self._open) >= MAX_OPEN:
            raise SignInError("too_many", f"{MAX_OPEN} requests are open", hint="Trop de demandes en cours : attendez.")
        self._open[id_nat] = now + timedelta(seconds=EXPIRES_IN_S)

    async def _ask(self, id_nat: str, channel: Channel) -> CibaRequest:
        binding_message = f"{secrets.randbelow(100):02d}"
        form = {
            "scope": SCOPE,
            "login_hint": id_nat,
            "binding_message": binding_message,
            "acr_values": self._server.settings.acr,
            "channel": channel.value,
        }
        found = await self._server.ask_ciba(form)
        try:
            request_id = text(found, "auth_req_id")
            life_s = seconds(found, "expires_in", EXPIRES_IN_S, _LONGEST_S)
            interval_s = max(seconds(found, "interval", INTERVAL_S, _LONGEST_INTERVAL_S), 1.0)
        except Unreadable as err:
            raise NetworkError(f"the answer was not understood: {err.message}", hint=AWAY) from err
        if not request_id:
            raise NetworkError("expected auth_req_id", hint=AWAY)
        ends_at = self._server.clock() + timedelta(seconds=life_s)
        self._open[id_nat] = ends_at
        return CibaRequest(request_id, id_nat, binding_message, interval_s, ends_at)

    async def _poll(self, request: CibaRequest) -> Grant:
        interval_s = request.interval_s
        form = {"grant_type": GRANT_TYPE, "auth_req_id": request.id}
        while True:
            left = (request.ends_at - self._server.clock()).total_seconds()
            if left <= 0:
                _expired()
            await asyncio.sleep(min(interval_s, left))
            try:
                return await self._server.grant("ciba_poll", form, patient=False)
            except NetworkError:
                continue
            except SignInError as err:
                if err.code == "slow_down":
                    interval_s = min(interval_s + SLOWER_BY_S, _LONGEST_INTERVAL_S)
                elif err.code != "authorization_pending":
                    raise


def _expired() -> NoReturn:
    raise SignInError(
        "expired_token", "nobody answered in time",
        hint="Le délai pour approuver la connexion est passé : recommencez.",
    )  # fmt: skip
