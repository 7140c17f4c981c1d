"""A signed-in person: fresh access tokens for as long as they stay, and the end of it (§ 6).

Rules:
- Access tokens live for 60 s: one with less than 15 s left is renewed before it is given out, once however many ask.
- The refresh token dies of idleness after some minutes: `tend` renews before, for as long as the session is open here.
- Four hours after sign-in it is over, whatever the tokens say. So it is when the far side says `invalid_grant`.
- An unanswered renewal leaves the session as it was: the network may come back before the tokens die.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from passevue.errors import BoxError, SignInError, TrustError
from passevue.national.psc_claims import Professional
from passevue.national.psc_server import Grant, PscServer
from passevue.national.psc_token import IdToken

LEFT_AT_LEAST = timedelta(seconds=15)


class PscSession:
    """One person, from sign-in to leaving. `end` tells Pro Santé Connect; dropping the object does not.

    Attributes:
        person: who it is.
        token: what the identity token said at sign-in: `acr`, `authenticated_at` (AuthnInstant of a VIHF).
        started_at, ends_at: aware.
    """

    def __init__(
        self,
        server: PscServer,
        grant: Grant,
        token: IdToken,
        person: Professional,
        on_over: Callable[["PscSession"], None] = lambda _: None,
    ) -> None:
        self.person = person
        self.token = token
        self.started_at = server.clock()
        self.ends_at = self.started_at + timedelta(hours=server.settings.session_h)
        self._server = server
        self._grant = grant
        self._renewed_at = self.started_at
        self._over = False
        self._on_over = on_over
        self._alone = asyncio.Lock()

    @property
    def over(self) -> bool:
        """Whether nothing more can be done with it. Once true, always true."""
        now, until = self._server.clock(), self._grant.refresh_until
        return self._over or now >= self.ends_at or (until is not None and now >= until)

    async def access_token(self) -> str:
        """A token that lives for 15 s at least (or as long as a new one lives).

        Raises:
            SignInError: `session_over`: the person signs in again.
            NetworkError: it must be renewed, and nobody answers.
        """
        self._check_open()
        if self._grant.access_until - self._server.clock() < LEFT_AT_LEAST:
            await self._renew_once(self._grant)
        return self._grant.access

    async def tend(self) -> None:
        """Called every few seconds: keeps the refresh token alive, and notices the end. Raises as `access_token`."""
        self._check_open()
        until, now = self._grant.refresh_until, self._server.clock()
        if until is not None and now >= self._renewed_at + (until - self._renewed_at) / 2:
            await self._renew_once(self._grant)

    async def end(self) -> None:
        """Leave, here at once and then at Pro Santé Connect.

        Raises:
            NetworkError: over here, and not told there; its tokens die by themselves within minutes.
        """
        grant, was_over = self._grant, self._over
        self._close()
        if not was_over:
            try:
                await self._server.end(grant)
            except SignInError:  # it knew already
                return

    def _check_open(self) -> None:
        if self.over:
            self._close()
            raise SignInError(
                "session_over",
                "the session has ended",
                hint="La session Pro Santé Connect est terminée : reconnectez-vous.",
            )

    def _close(self) -> None:
        if not self._over:
            self._over = True
            self._on_over(self)

    async def _renew_once(self, seen: Grant) -> None:
        """Renew unless another caller just did. Shielded: a caller that goes must not lose a token that rotated."""
        err = await asyncio.shield(self._renew(seen))
        if err is not None:
            raise err
        self._check_open()

    async def _renew(self, seen: Grant) -> BoxError | None:
        """What went wrong is returned: nobody may be there any more to raise it to."""
        async with self._alone:
            if self._grant is not seen or self._over:
                return None
            try:
                self._grant = await self._ask(seen)
                self._renewed_at = self._server.clock()
            except SignInError:  # the refresh token is dead, or the site may no longer ask
                self._close()
            except TrustError as err:
                self._close()
                return err
            except BoxError as err:
                return err
        return None

    async def _ask(self, old: Grant) -> Grant:
        if not old.refresh:
            raise SignInError("invalid_grant", "there is no refresh token")
        form = {"grant_type": "refresh_token", "refresh_token": old.refresh}
        grant = await self._server.grant("refresh", form)
        await self._check_same(grant)
        if not grant.refresh:  # RFC 6749 § 6: no new one, the old one stays
            grant = replace(grant, refresh=old.refresh, refresh_until=old.refresh_until)
        return replace(grant, id_token=grant.id_token or old.id_token)  # may be left out: OpenID Connect Core § 12.2

    async def _check_same(self, grant: Grant) -> None:
        """A renewed identity token is about the same person and the same sign-in (OpenID Connect Core § 12.2)."""
        if not grant.id_token:
            return
        token = await self._server.check(grant)
        if token.sub != self.token.sub:
            raise TrustError(
                "the renewed token names another person",
                hint="La réponse de Pro Santé Connect se contredit : reconnectez-vous.",
            )
