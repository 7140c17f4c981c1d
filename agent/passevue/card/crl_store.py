"""The revocation lists of some authorities: fetched, kept on the disk, used until their end (igc-sante.md § 4).

    crls = CrlStore(crl_folder(config), authorities, config.crl, clock)
    … crls.run()                 # a part of the box: what the disk has, then each list every six hours
    crls.of(authority)           # the list held, or None
    crls.states(now)             # for the page

Rules:
- Fetched in clear over HTTP, which is allowed for lists alone (TLS-06): nothing is believed but the signature. Streamed
  to a file beside the others, read there, renamed over the old one only when it is whole, signed, and not older.
- Whatever comes instead, the list held stays, until its nextUpdate; past it `trust` refuses.
- Bounded in bytes, in time, in entries; no redirect, no proxy, no compression.
- A list without which its authority's certificates are refused is asked for every minute, another one after a quarter
  of an hour.

Facts: where a list lies is known by the name of its authority; a certificate may say otherwise, `crl.urls` has
the last word. Files are named by a digest of the authority's key; a file's time is when it was last fetched. Other
zones of the box read them (`read_kept`); none but this one writes them.
"""

import asyncio
import contextlib
import os
import random
import threading
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import BinaryIO

import structlog
from cryptography import x509
from cryptography.x509.oid import NameOID

from passevue import config
from passevue.card.clear_get import pieces
from passevue.card.crl import Crl, der_name, places_of, read_crl
from passevue.durable import sync_folder
from passevue.errors import BoxError, NetworkError, TrustError, Unreadable

_PLACE = "http://igc-sante.esante.gouv.fr/CRL"
_FILES = {
    "AC RACINE IGC-SANTE ELEMENTAIRE": "ACR-EL",
    "AC RACINE IGC-SANTE STANDARD": "ACR-ST",
    "AC RACINE IGC-SANTE FORT": "ACR-FO",
    "AC IGC-SANTE ELEMENTAIRE PERSONNES": "ACI-EL-PP",
    "AC IGC-SANTE STANDARD PERSONNES": "ACI-ST-PP",
    "AC IGC-SANTE FORT PERSONNES": "ACI-FO-PP",
    "AC IGC-SANTE ELEMENTAIRE ORGANISATIONS": "ACI-EL-ORG",
}
_RETRY = timedelta(minutes=15)
_RETRY_WANTED = timedelta(minutes=1)  # something waits for it
_AGING = timedelta(hours=24)  # four fetches missed
_LOOK_S = 60.0

log = structlog.get_logger()


class CrlLevel(StrEnum):
    """How a list stands."""

    FRESH = "fresh"  # fetched within a day, before nextUpdate
    AGING = "aging"  # still valid, not fetched for a day: alert
    STALE = "stale"  # past nextUpdate: its authority's certificates are refused
    ABSENT = "absent"  # never received: the same


@dataclass(frozen=True, slots=True)
class CrlState:
    """One list, for the page. `error` is why the last fetch failed, in French; empty when it did not."""

    authority: str
    level: CrlLevel
    this_update: datetime | None
    next_update: datetime | None
    fetched_at: datetime | None
    count: int
    error: str


@dataclass(slots=True)
class _Kept:
    authority: x509.Certificate
    name: str
    url: str
    path: Path
    crl: Crl | None = None
    fetched_at: datetime | None = None
    tried_at: datetime | None = None
    error: str = ""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class CrlStore:
    """The lists of `authorities`, in `folder`.

    `clock` gives an aware now; `whose`, where given, the authorities as they are now: it blocks, and what it adds is
    kept from then on.
    """

    name = "crl"

    def __init__(
        self,
        folder: Path,
        authorities: Sequence[x509.Certificate],
        settings: config.Crl,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        whose: Callable[[], Sequence[x509.Certificate]] | None = None,
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._clock = clock
        self._whose = whose
        self._kept: dict[bytes, _Kept] = {}
        self._add(authorities)

    def _add(self, authorities: Sequence[x509.Certificate]) -> None:
        """Keep their lists too."""
        new = {der_name(one): one for one in authorities if der_name(one) not in self._kept}
        self._kept |= {key: _kept(self._folder, one, self._settings.urls) for key, one in new.items()}
        for one in authorities if new else ():
            self.learn(one)

    def of(self, authority: x509.Certificate) -> Crl | None:
        """The list held of `authority`, whatever its age."""
        kept = self._kept.get(der_name(authority))
        return kept.crl if kept is not None else None

    def learn(self, certificate: x509.Certificate) -> None:
        """Where the list of its issuer lies, by the word of a `certificate` whose chain was checked."""
        for kept in self._kept.values():
            if kept.authority.subject == certificate.issuer and kept.name not in self._settings.urls:
                kept.url = _http_point(certificate) or kept.url

    async def ensure(self, authority: x509.Certificate, within_s: float) -> None:
        """Fetch the list of `authority` now if none is held that still counts; give up quietly after `within_s`."""
        kept = self._kept.get(der_name(authority))
        if kept is None or (kept.crl is not None and self._clock() <= kept.crl.next_update):
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s), kept.turn:
                if kept.crl is None or self._clock() > kept.crl.next_update:
                    await self._try(kept)

    def states(self, now: datetime) -> tuple[CrlState, ...]:
        return tuple(_state(kept, now) for kept in self._kept.values())

    async def load(self) -> None:
        """Take what the disk has; what is not what was written is dropped, and fetched anew."""
        await asyncio.to_thread(self._prepare)
        for kept in self._kept.values():
            with contextlib.suppress(BoxError, OSError):
                kept.crl, kept.fetched_at = await asyncio.to_thread(_from_disk, kept, self._clock())

    async def run(self) -> None:
        """Take what the disk has, then fetch what is due, until cancelled."""
        await self.load()
        while True:
            if self._whose is not None:
                self._add(await asyncio.to_thread(self._whose))
            await self.refresh()
            await asyncio.sleep(_LOOK_S * random.uniform(0.8, 1.2))

    async def refresh(self, *, all_of_them: bool = False) -> None:
        """Fetch each list that is due once; a failure is kept for `states` and logged, never raised."""
        every = timedelta(hours=self._settings.refresh_h)
        for kept in self._kept.values():
            async with kept.turn:
                if all_of_them or _due(kept, self._clock(), every):
                    await self._try(kept)

    async def _try(self, kept: _Kept) -> None:
        kept.tried_at = self._clock()
        told = bool(kept.error)
        try:
            await self._fetch(kept)
        except BoxError as err:
            kept.error, cause = err.hint or _NO_LIST, err.message
        except OSError as err:
            kept.error, cause = _DISK, type(err).__name__
        if kept.error and not told:
            log.warning("crl_refused", title=kept.name, error=cause)

    async def _fetch(self, kept: _Kept) -> None:
        part = kept.path.with_suffix(".part")
        try:
            await self._download(kept.url, part)
            crl = await asyncio.to_thread(_take, part, kept, self._clock())
        finally:
            await asyncio.to_thread(part.unlink, missing_ok=True)
        changed = kept.crl is None or crl.this_update != kept.crl.this_update
        kept.crl, kept.fetched_at, kept.error = crl, self._clock(), ""
        if changed:
            log.info("crl_fetched", title=kept.name, count=crl.count)

    async def _download(self, url: str, part: Path) -> None:
        try:
            async with asyncio.timeout(self._settings.timeout_s), contextlib.aclosing(pieces(url)) as coming:
                await self._stream(coming, part)
        except NetworkError as err:
            raise NetworkError(err.message, hint=_AWAY) from err
        except TimeoutError as err:
            raise NetworkError("no CRL came in time", hint=_AWAY) from err

    async def _stream(self, coming: AsyncGenerator[bytes], part: Path) -> None:
        size = 0
        file = await asyncio.to_thread(_open_part, part)
        try:
            async for piece in coming:
                size += len(piece)
                if size > self._settings.max_bytes:
                    raise Unreadable(f"the CRL is longer than {self._settings.max_bytes} bytes", hint=_HUGE)
                await asyncio.to_thread(file.write, piece)
        finally:
            await asyncio.to_thread(file.close)

    def _prepare(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        for left in self._folder.glob("*.part"):
            left.unlink(missing_ok=True)


_NO_LIST = "Ce qui est arrivé n'est pas une liste de révocation : elle est ignorée. Prévenez l'exploitant."
_DISK = "Le disque du boîtier refuse la liste de révocation : libérez de la place."
_AWAY = "La liste de révocation n'est pas arrivée : vérifiez l'accès du boîtier au réseau."
_HUGE = "La liste de révocation reçue est démesurée : elle est ignorée. Prévenez l'exploitant."
_OLDER = "La liste de révocation reçue est plus ancienne que celle du boîtier : elle est ignorée."
_ENDED = "La liste de révocation reçue est déjà périmée : elle est ignorée."


def _kept(folder: Path, authority: x509.Certificate, urls: Mapping[str, str]) -> _Kept:
    names = authority.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    name = str(names[0].value) if names else ""
    plain = name.removeprefix("TEST ")
    file = _FILES.get(plain, plain.replace(" ", "-")) + ("-TEST" if plain != name else "")
    return _Kept(authority, name, urls.get(name, f"{_PLACE}/{file}.crl"), list_path(folder, authority))


def crl_folder(whole: config.Config) -> Path:
    """Where the lists of this box's realm are kept."""
    return whole.box.data_dir / "crl" / whole.box.realm


def list_path(folder: Path, authority: x509.Certificate) -> Path:
    """The file of its list in `folder`."""
    return folder / f"{der_name(authority).hex()[:32]}.crl"


def read_kept(path: Path, authority: x509.Certificate) -> Crl:
    """A list that lies on the disk, verified, whatever its age. Blocks.

    Raises:
        OSError: there is none. Unreadable, TrustError: it is not one that `authority` signed.
    """
    return _read(path, authority, datetime.max.replace(tzinfo=UTC) - timedelta(days=1))


def _http_point(certificate: x509.Certificate) -> str:
    """The first HTTP address in its CRLDistributionPoints; empty when there is none."""
    return next((place for place in places_of(certificate) if place.startswith(("http://", "https://"))), "")


def _due(kept: _Kept, now: datetime, every: timedelta) -> bool:
    retry = _RETRY if kept.crl is not None and now <= kept.crl.next_update else _RETRY_WANTED
    if kept.tried_at is not None and timedelta() <= now - kept.tried_at < retry:
        return False
    fetched = kept.fetched_at
    return fetched is None or kept.crl is None or not timedelta() <= now - fetched < every or now > kept.crl.next_update


def _state(kept: _Kept, now: datetime) -> CrlState:
    crl = kept.crl
    if crl is None:
        level = CrlLevel.ABSENT
    elif now > crl.next_update:
        level = CrlLevel.STALE
    elif kept.fetched_at is None or now - kept.fetched_at > _AGING:
        level = CrlLevel.AGING
    else:
        level = CrlLevel.FRESH
    begin, end, count = (crl.this_update, crl.next_update, crl.count) if crl is not None else (None, None, 0)
    return CrlState(kept.name, level, begin, end, kept.fetched_at, count, kept.error)


# On a thread

_READING = threading.Lock()  # two threads that read long lists at once leave the event loop without the interpreter


def _open_part(part: Path) -> BinaryIO:
    """The group reads it where the folder lets it in; nobody but this user writes."""
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    os.fchmod(handle, 0o640)
    return os.fdopen(handle, "wb")


def _read(path: Path, authority: x509.Certificate, now: datetime) -> Crl:
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            raise Unreadable("the CRL is empty")
        data = mmap(file.fileno(), 0, access=ACCESS_READ)
        try:
            with _READING:
                return read_crl(data, authority, now)
        finally:
            with contextlib.suppress(BufferError):  # an error still looks at it: unmapped when that is forgotten
                data.close()


def _from_disk(kept: _Kept, now: datetime) -> tuple[Crl, datetime]:
    """Raises: OSError when there is none; Unreadable, TrustError when it is not what was written."""
    crl = read_kept(kept.path, kept.authority)
    fetched = datetime.fromtimestamp(kept.path.stat().st_mtime, UTC)
    return crl, min(fetched, now)


def _take(part: Path, kept: _Kept, now: datetime) -> Crl:
    """Read what came; keep it if it is better than what is held."""
    crl = _read(part, kept.authority, now)
    held = kept.crl
    if crl.next_update <= now:
        raise TrustError(f"the CRL that came ended on {crl.next_update:%Y-%m-%d %H:%M}", hint=_ENDED)
    if held is not None and (crl.this_update < held.this_update or (crl.number or 0) < (held.number or 0)):
        raise TrustError(f"the CRL that came is older than the one held: {crl.this_update:%Y-%m-%d %H:%M}", hint=_OLDER)
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(kept.path)
    sync_folder(kept.path.parent)
    return crl
