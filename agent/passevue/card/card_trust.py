"""The trust in cards, as the box runs it: the store of persons' authorities, and their revocation lists kept fresh.

    trust = open_card_trust(config, clock)
    … trust.run()                               # a part of the box
    await trust.believe(certificate, now)       # what the card desk asks before a code is sent
    trust.states(now)                           # for the page

A card whose issuer has no list yet (a box just unpacked, a network just back) makes one try to fetch it, for a few
seconds, in front of the person who waits.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from cryptography import x509

from passevue import config
from passevue.card.crl_store import CrlState, CrlStore
from passevue.card.trust import Believed, PersonTrust, Use, read_authorities
from passevue.errors import ConfigError

_FETCH_WITHIN_S = 8.0
_MAX_STORE_BYTES = 1 << 20


class CardTrust:
    """Whether a person's certificate is to be believed. `name` and `run` make it a part of the box."""

    name = "crl"

    def __init__(self, persons: PersonTrust, crls: CrlStore) -> None:
        self._persons = persons
        self._crls = crls

    async def run(self) -> None:
        await self._crls.run()

    def states(self, now: datetime) -> tuple[CrlState, ...]:
        return self._crls.states(now)

    async def believe(self, certificate: x509.Certificate, now: datetime, use: Use = Use.AUTH) -> Believed:
        """
        Raises:
            TrustError: it is not what it should be, and waiting does not change that.
            CredentialError: its dates, the clock, or the lists do not allow it now.
        """
        found = self._persons.identify(certificate, use, now)
        self._crls.learn(certificate)
        for issuer in (found.issuer, found.root):
            await self._crls.ensure(issuer, _FETCH_WITHIN_S)
        return self._persons.believe(certificate, use, now)

    async def __call__(self, certificate: x509.Certificate, now: datetime, use: Use = Use.AUTH) -> None:
        """`believe`, for whoever wants only to know that nothing is wrong."""
        await self.believe(certificate, now, use)


def open_card_trust(
    settings: config.Config, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> CardTrust | None:
    """What the configuration says; None when it has no `[trust]`: then no card is believed.

    Raises:
        ConfigError: the store cannot be read, or is of the other realm.
    """
    if settings.trust is None:
        return None
    path = settings.trust.authority
    try:
        with path.open("rb") as file:
            pem = file.read(_MAX_STORE_BYTES)
    except OSError as err:
        raise ConfigError(
            "trust.authority", f"cannot read {path.name}: {err.strerror}", hint=f"Déposez le fichier {path.name}."
        ) from err
    authorities = read_authorities(pem, settings.box.realm)
    crls = CrlStore(settings.box.data_dir / "crl" / settings.box.realm, authorities, settings.trust, clock)
    return CardTrust(PersonTrust(settings.box.realm, authorities, crls.of), crls)
