"""A PACS over DICOMweb: studies by QIDO-RS, key object notes by WADO-RS or as `notes` gets them (PS3.18 §§ 10.4, 10.6).

Rules (reliability N-15):
- Nothing is followed: no redirect, no BulkDataURI, no address that the PACS gives. Nothing compressed is asked for or
  taken, so that what is counted is what is held.
- Answers are cut at their bound while they come: `MAX_JSON` for rows, `MAX_NOTE` for a note.
- A page is asked for until one brings nothing new: a server may give fewer rows than asked for, and not say so.
- Deadlines: `timeout_s` on the connection and on each silence; `WHOLE` times that on a study.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Protocol

import aiohttp

from passevue import config
from passevue.errors import CabinetError, NetworkError, Unreadable
from passevue.intake.dicomweb_json import MAX_JSON, read_rows
from passevue.intake.dicomweb_multipart import Multipart, PartBegins, PartData, boundary_of
from passevue.intake.pacs_answers import (
    IMAGE_KEYS,
    MAX_INSTANCES,
    SERIES_KEYS,
    STUDY_KEYS,
    Row,
    assembled,
    instances_of,
    is_uid,
    series_of,
    study_of,
)
from passevue.intake.pacs_association import HINT_AWAY
from passevue.intake.pacs_dicom import WHOLE, whole_deadline
from passevue.intake.pacs_notes import MAX_NOTE, Fetch, notes_of, with_notes
from passevue.intake.study import Reference, Series, Study

PAGE = 2_000  # rows asked for at once: some 2 MB
MAX_ROWS = 2 * MAX_INSTANCES
JSON_TYPES = ("application/dicom+json", "application/json")
_BRIEF = 1 << 18  # bytes of JSON read in so little time that a thread costs more
HINT_URL = "Le PACS ne connaît pas ce service : vérifiez l'adresse DICOMweb configurée."
HINT_RIGHTS = "Le PACS refuse l'accès DICOMweb à la box : déclarez-la dans le PACS."


class NoteSource(Protocol):
    """Gives what fetches notes, for as long as the block lasts."""

    def session(self) -> AbstractAsyncContextManager[Fetch]: ...


class DicomWebPacs:
    """`Pacs` over QIDO-RS. `notes` fetches key object notes; without it, WADO-RS of the same server does."""

    def __init__(self, pacs: config.Pacs, tls: ssl.SSLContext | None = None, notes: NoteSource | None = None) -> None:
        if pacs.dicomweb_url is None:
            raise ValueError("a DICOMweb client needs dicomweb_url")
        self._root = str(pacs.dicomweb_url).rstrip("/")
        self._timeout_s = pacs.timeout_s
        self._connections = pacs.max_associations
        self._places = asyncio.Semaphore(pacs.max_associations)
        self._tls = tls
        self._notes: NoteSource = notes or self

    async def find_study(self, study_uid: str) -> Study | None:
        """The whole study, its notes read; None when the PACS has nothing of it.

        Raises:
            NetworkError: the PACS is away, slow, refuses, or cannot answer now.
            CabinetError: its answers make no sense.
        """
        if not is_uid(study_uid):
            raise CabinetError("the study asked for is not named by a UID")
        async with whole_deadline(WHOLE * self._timeout_s):
            async with self._http() as http:
                study = await self._study(http, study_uid)
            if study is None or not notes_of(study):
                return study
            async with self._notes.session() as fetch:
                return await with_notes(study, fetch)

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[Fetch]:
        """Notes by WADO-RS."""
        async with self._http() as http:

            async def fetch(note: Reference) -> bytes:
                return await self._instance(http, note)

            yield fetch

    # QIDO-RS

    async def _study(self, http: aiohttp.ClientSession, study_uid: str) -> Study | None:
        rows = await self._page(http, "/studies", {"StudyInstanceUID": study_uid}, STUDY_KEYS, 0)
        study = study_of(rows, study_uid)
        if study is None:
            return None
        path = f"/studies/{study_uid}/series"
        series = series_of(await self._rows(http, path, "SeriesInstanceUID", SERIES_KEYS), study_uid)
        return assembled(study, await self._with_instances(http, study_uid, series))

    async def _with_instances(
        self, http: aiohttp.ClientSession, study_uid: str, series: Sequence[Series]
    ) -> list[Series]:
        async def whole(one: Series) -> Series:
            path = f"/studies/{study_uid}/series/{one.SeriesInstanceUID}/instances"
            async with places:
                rows = await self._rows(http, path, "SOPInstanceUID", IMAGE_KEYS)
            return replace(one, instances=instances_of(rows, study_uid, one.SeriesInstanceUID))

        places = asyncio.Semaphore(self._connections)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(whole(one)) for one in series]
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _rows(self, http: aiohttp.ClientSession, path: str, unique: str, returned: Sequence[str]) -> list[Row]:
        """All rows, page by page, each `unique` key once."""
        rows: dict[str, Row] = {}
        offset = 0
        while True:
            page = await self._page(http, path, {}, (unique, *returned), offset)
            new = {row.get(unique, ""): row for row in page if row.get(unique, "") not in rows}
            if not new:
                return list(rows.values())
            rows |= new
            offset += len(page)
            if len(rows) > MAX_ROWS:
                raise CabinetError(f"PACS gives more than {MAX_ROWS} rows to one search")

    async def _page(
        self, http: aiohttp.ClientSession, path: str, keys: Mapping[str, str], returned: Sequence[str], offset: int
    ) -> list[Row]:
        query = [*keys.items(), ("limit", str(PAGE)), ("offset", str(offset))]
        query += [("includefield", key) for key in returned]
        async with self._get(http, path, query, JSON_TYPES[0]) as response:
            if response.status == 204:
                return []
            if response.content_type not in JSON_TYPES:
                raise CabinetError("PACS answers a search with another type than DICOM JSON", hint=HINT_URL)
            body = bytearray()
            async for piece in response.content.iter_any():
                body += piece
                if len(body) > MAX_JSON:
                    raise CabinetError(f"PACS answers a search with more than {MAX_JSON} bytes")
        try:
            return list(
                read_rows(bytes(body)) if len(body) < _BRIEF else await asyncio.to_thread(read_rows, bytes(body))
            )
        except Unreadable as err:
            raise CabinetError(f"PACS answers a search with what makes no sense: {err.message}") from err

    # WADO-RS

    async def _instance(self, http: aiohttp.ClientSession, note: Reference) -> bytes:
        path = f"/studies/{note.StudyInstanceUID}/series/{note.SeriesInstanceUID}/instances/{note.SOPInstanceUID}"
        accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
        async with self._get(http, path, [], accept) as response:
            if response.status == 204:
                raise NetworkError("PACS gives no content for a note that it listed")
            try:
                return await _only_part(response)
            except Unreadable as err:
                raise CabinetError(f"PACS answers a retrieval with what makes no sense: {err.message}") from err

    # HTTP

    @contextlib.asynccontextmanager
    async def _http(self) -> AsyncIterator[aiohttp.ClientSession]:
        connector = aiohttp.TCPConnector(limit=self._connections, ssl=self._tls if self._tls is not None else True)
        timeout = aiohttp.ClientTimeout(total=None, connect=self._timeout_s, sock_read=self._timeout_s)
        async with (
            self._places,
            aiohttp.ClientSession(
                connector=connector,
                timeout=timeout,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept-Encoding": "identity", "User-Agent": "passevue"},
            ) as http,
        ):
            yield http

    @contextlib.asynccontextmanager
    async def _get(
        self, http: aiohttp.ClientSession, path: str, query: Sequence[tuple[str, str]], accept: str
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A 200 or 204."""
        with _http_errors(self._timeout_s):
            async with http.get(
                self._root + path, params=query, headers={"Accept": accept}, allow_redirects=False
            ) as response:
                _check_status(response)
                if response.headers.get("Content-Encoding", "identity").lower() != "identity":
                    raise CabinetError("PACS compresses an answer that was asked for as it is")
                yield response


async def _only_part(response: aiohttp.ClientResponse) -> bytes:
    parser = Multipart(boundary_of(response.headers.get("Content-Type", "")), max_part=MAX_NOTE, max_parts=1)
    file = bytearray()
    async for piece in response.content.iter_any():
        for event in parser.feed(piece):
            if isinstance(event, PartBegins) and event.media_type != "application/dicom":
                raise Unreadable("a part is not application/dicom")
            if isinstance(event, PartData):
                file += event.data
    parser.close()
    return bytes(file)


def _check_status(response: aiohttp.ClientResponse) -> None:
    status = response.status
    if status in (200, 204):
        return
    if status in (401, 403):
        raise NetworkError(f"PACS refuses us: HTTP {status}", hint=HINT_RIGHTS)
    if status == 404:
        raise NetworkError("PACS does not know this resource: HTTP 404", hint=HINT_URL)
    if status in (408, 425, 429) or status >= 500:
        raise NetworkError(f"PACS cannot answer now: HTTP {status}", retry_after_s=_retry_after(response))
    raise CabinetError(f"PACS answers HTTP {status}, 200 expected; redirects are not followed", hint=HINT_URL)


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() and len(value) < 6 else None


@contextlib.contextmanager
def _http_errors(timeout_s: float) -> Iterator[None]:
    try:
        yield
    except aiohttp.ConnectionTimeoutError as err:
        raise NetworkError(f"no connection to the PACS within {timeout_s:g} s", hint=HINT_AWAY) from err
    except aiohttp.ServerTimeoutError as err:
        raise NetworkError(f"no answer of the PACS within {timeout_s:g} s", hint=HINT_AWAY) from err
    except (aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError) as err:
        raise NetworkError(
            f"TLS with the PACS fails: {type(err).__name__}",
            hint="Vérifiez le certificat du PACS et le fichier de son autorité.",
        ) from err
    except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, OSError) as err:
        raise NetworkError(f"connection to the PACS lost: {type(err).__name__}", hint=HINT_AWAY) from err
    except aiohttp.ClientError as err:
        raise CabinetError(f"PACS answers what is no HTTP: {type(err).__name__}") from err
