"""The trust in cards, as the box runs it: the store of persons' authorities, and the revocation lists kept fresh.

    crls = open_crls(config, clock)             # of all authorities, not of persons' alone
    … crls.run()                                # a part of the box
    trust = open_card_trust(config, crls)
    await trust.believe(certificate, now)       # what the card desk asks before a code is sent
    trust.states(now)                           # for the page

A card whose issuer has no list yet (a box just unpacked, a network just back) makes one try to fetch it, for a few
seconds, in front of the person who waits.
"""

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from passevue import config
from passevue.card.crl_store import CrlState, CrlStore, crl_folder
from passevue.card.trust import Believed, PersonTrust, Use, read_authorities
from passevue.errors import ConfigError

_FETCH_WITHIN_S = 8.0
_MAX_STORE_BYTES = 1 << 20


class CardTrust:
    """Whether a person's certificate is to be believed."""

    def __init__(self, persons: PersonTrust, crls: CrlStore) -> None:
        self._persons = persons
        self._crls = crls

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


def open_card_trust(settings: config.Config, crls: CrlStore) -> CardTrust | None:
    """What the configuration says; None when it has no `[trust]`: then no card is believed. Blocks.

    Args:
        crls: keeps the lists of these authorities too.

    Raises:
        ConfigError: the store cannot be read, or is of the other realm.
    """
    if settings.trust is None:
        return None
    authorities = read_authorities(read_store("trust.authority", settings.trust.authority), settings.box.realm)
    return CardTrust(PersonTrust(settings.box.realm, authorities, crls.of), crls)


def open_crls(settings: config.Config, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> CrlStore:
    """The revocation lists of all whom this box believes: the DMP's servers, Pro Santé Connect's, persons. Blocks.

    Raises:
        ConfigError: a file of authorities is not one.
    """
    files = {"registry.authority": settings.registry.authority}
    if settings.psc is not None and settings.psc.authority is not None:
        files["psc.authority"] = settings.psc.authority
    if settings.trust is not None:
        files["trust.authority"] = settings.trust.authority

    def whose() -> list[x509.Certificate]:
        """Those of files that can be read now."""
        found: list[x509.Certificate] = []
        for key, path in files.items():
            with contextlib.suppress(ConfigError):
                found += read_certificates(key, path)
        return found

    authorities = [one for key, path in files.items() for one in read_certificates(key, path)]
    return CrlStore(crl_folder(settings), authorities, settings.crl, clock, whose)


def read_certificates(key: str, path: Path) -> list[x509.Certificate]:
    """Raises: ConfigError."""
    try:
        return x509.load_pem_x509_certificates(read_store(key, path))
    except ValueError as err:
        raise ConfigError(key, "expected PEM certificates", hint="Ce n'est pas un fichier PEM.") from err


def read_store(key: str, path: Path) -> bytes:
    """Raises: ConfigError."""
    try:
        with path.open("rb") as file:
            return file.read(_MAX_STORE_BYTES)
    except OSError as err:
        raise ConfigError(
            key, f"cannot read {path.name}: {err.strerror}", hint=f"Déposez le fichier {path.name}."
        ) from err
