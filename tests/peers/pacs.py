"""A PACS of ours: real DICOM and DICOMweb servers over studies held in memory.

C-ECHO, C-STORE, C-FIND (strict by default: every level asks for the unique keys above it), C-GET and C-MOVE are
pynetdicom's, so that the box does not talk to its own idea of a PACS; QIDO-RS and WADO-RS are aiohttp's. A test adds
and removes instances while it runs, and turns on what real PACS do wrong with `faults`::

    async with PacsPeer() as pacs:
        pacs.add(*datasets)
        pacs.faults.delay_s = 2
        ...  # DICOM on 127.0.0.1:{pacs.port}, DICOMweb under {pacs.url}

By hand: ``python -m tests.peers.pacs --port 11114 --web-port 8042 folder-of-dicom-files``.
"""

import argparse
import asyncio
import contextlib
import copy
import functools
import json
import random
import socket
import ssl
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Self

from aiohttp import web
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    JPEG2000,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)
from pynetdicom import AE, AllStoragePresentationContexts, _config, build_context, evt
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)
from pynetdicom.transport import ThreadedAssociationServer

from tests.peers.ports import free_port

_config.LOG_REQUEST_IDENTIFIERS = False
_config.LOG_RESPONSE_IDENTIFIERS = False

KEYS = {
    "STUDY": (
        "StudyInstanceUID",
        "StudyDate",
        "StudyTime",
        "AccessionNumber",
        "StudyID",
        "StudyDescription",
        "ReferringPhysicianName",
        "PatientID",
        "PatientName",
        "PatientBirthDate",
        "PatientSex",
    ),
    "SERIES": ("SeriesInstanceUID", "Modality", "SeriesNumber", "SeriesDescription", "BodyPartExamined"),
    "IMAGE": ("SOPInstanceUID", "SOPClassUID", "InstanceNumber", "NumberOfFrames", "Rows", "Columns"),
}
ALL_KEYS = tuple(key for keys in KEYS.values() for key in keys)
UNIQUE = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}
LEVELS = tuple(KEYS)
TRANSFER_SYNTAXES = [  # few: pynetdicom copies all of them for each class and each association
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    JPEG2000Lossless,
    JPEG2000,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    RLELossless,
]


@dataclass
class Faults:
    """What the peer does wrong, from now on. All off: a good PACS."""

    delay_s: float = 0  # waits before each answer
    refuse: bool = False  # rejects associations (transient); 503 on the web
    abort_after: int | None = None  # A-ABORT after this many answers of a query; the web closes after as many parts
    cut_after: int | None = None  # the connection dies after this many answers
    status: int | None = None  # queries and retrievals end with this DIMSE status; its use on the web is a 500
    wrong_study: str = ""  # answers also hold an instance of this other study
    shuffle: bool = False  # answers come in any order
    duplicate: bool = False  # each answer comes twice
    empty: bool = False  # optional keys are left out
    repeat: int = 0  # this many further, made-up answers come first
    html: bool = False  # the web answers a portal page, with 200
    redirect: str = ""  # the web redirects here
    endless: bool = False  # the web's multipart has no end, nor does its part
    no_boundary_end: bool = False  # the multipart stops without its closing delimiter
    other_instance: bool = False  # retrievals give another instance than asked
    instead: Dataset | None = None  # retrievals give this
    gives_nothing: bool = False  # retrievals succeed and give nothing
    second_patient: str = ""  # the study is also another patient's


@dataclass
class PacsPeer:
    """Studies in memory, served on two ports of 127.0.0.1. Attributes may be changed while it runs."""

    ae_title: str = "PACS"
    port: int = field(default_factory=free_port)
    web_port: int = field(default_factory=free_port)
    relational: bool = False
    charset: str = "ISO_IR 192"
    ssl_context: ssl.SSLContext | None = None
    destinations: dict[str, tuple[str, int]] = field(default_factory=dict)  # C-MOVE: AE title → address
    faults: Faults = field(default_factory=Faults)
    page_limit: int = 10_000  # most results of one QIDO-RS answer, asked or not
    asked: list[str] = field(default_factory=list)  # what came in: "C-FIND STUDY", "WADO-RS"…
    on_store: Callable[[Dataset], None] | None = None  # called with what C-STORE brings, on the peer's thread
    queries: int = 0  # C-FIND being answered now
    most_queries: int = 0  # and the most at once so far

    def __post_init__(self) -> None:
        self._studies: dict[str, dict[str, Dataset]] = {}  # study UID → SOP Instance UID → instance
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._stack = contextlib.AsyncExitStack()

    # What the PACS holds

    def add(self, *datasets: Dataset) -> None:
        """Take instances in; one with a known SOPInstanceUID replaces the old."""
        with self._lock:
            for ds in datasets:
                self._studies.setdefault(str(ds.StudyInstanceUID), {})[str(ds.SOPInstanceUID)] = ds

    def remove(self, *sop_uids: str) -> None:
        with self._lock:
            for study in self._studies.values():
                for uid in sop_uids:
                    study.pop(uid, None)

    def remove_study(self, study_uid: str) -> None:
        with self._lock:
            del self._studies[study_uid]

    def opened(self, connection: socket.socket) -> None:
        with self._lock:
            self._sockets.append(connection)

    def close_connections(self) -> None:
        """Close what pynetdicom leaves open when the caller hangs up first."""
        with self._lock:
            for connection in self._sockets:
                connection.close()
            self._sockets.clear()

    def querying(self, change: int) -> None:
        with self._lock:
            self.queries += change
            self.most_queries = max(self.most_queries, self.queries)

    def reject(self, note: Dataset) -> None:
        """Keep a rejection note, and hide the instances that it names, as an IOCM image manager does."""
        self.add(note)
        named = {
            str(sop.ReferencedSOPInstanceUID)
            for study in note.CurrentRequestedProcedureEvidenceSequence
            for series in study.ReferencedSeriesSequence
            for sop in series.ReferencedSOPSequence
        }
        self.remove(*named)

    def held(self, study_uid: str = "") -> list[Dataset]:
        """All instances, or those of one study."""
        with self._lock:
            if study_uid not in ("", "*"):
                return [ds for uid in study_uid.split("\\") for ds in self._studies.get(uid, {}).values()]
            return [ds for study in self._studies.values() for ds in study.values()]

    # Life

    @property
    def url(self) -> str:
        """Root of QIDO-RS and WADO-RS."""
        return f"http{'s' if self.ssl_context else ''}://127.0.0.1:{self.web_port}/dicom-web"

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(_dicom(self))
        await self._stack.enter_async_context(_dicomweb(self))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    # Queries

    def find(self, level: str, query: dict[str, str]) -> Iterator[Dataset]:
        """One answer per entity of `level` that matches, with the keys of that level that `query` asks for."""
        top = LEVELS.index(level)
        known = KEYS[level] if not self.relational else [key for name in LEVELS[: top + 1] for key in KEYS[name]]
        entities: dict[str, Dataset] = {}
        filters = [(key, wanted) for key, wanted in query.items() if wanted not in ("", "*")]
        for ds in self.held(query.get("StudyInstanceUID", "")):
            if all(_matches(ds, key, wanted) for key, wanted in filters):
                entities.setdefault(str(ds[UNIQUE[level]].value), ds)
        above = [UNIQUE[name] for name in LEVELS[:top]]
        for ds in entities.values():
            yield self._answer(ds, level, above, [key for key in known if key in query])

    def _answer(self, ds: Dataset, level: str, above: list[str], keys: list[str]) -> Dataset:
        answer = Dataset()
        answer.SpecificCharacterSet = self.charset
        answer.QueryRetrieveLevel = level
        for key in dict.fromkeys([*above, UNIQUE[level], *keys]):
            if key in ds:
                setattr(answer, key, ds[key].value)
            elif not self.faults.empty:
                setattr(answer, key, None)
        if self.faults.empty:
            for key in keys:
                if key not in UNIQUE.values() and key != "SOPClassUID":
                    answer.pop(tag_for_keyword(key), None)
        return answer

    def spoiled(self, answers: list[Dataset]) -> Iterator[Dataset]:
        """`answers` as `faults` have them."""
        for number in range(self.faults.repeat):
            extra = copy.deepcopy(answers[0])
            setattr(extra, UNIQUE[extra.QueryRetrieveLevel], f"2.25.{number + 1}")
            yield extra
        if self.faults.wrong_study and answers:
            stranger = copy.deepcopy(answers[0])
            stranger.StudyInstanceUID = self.faults.wrong_study
            setattr(stranger, UNIQUE[stranger.QueryRetrieveLevel], self.faults.wrong_study)
            answers = [stranger, *answers]
        if self.faults.second_patient and answers and "PatientID" in answers[0]:
            answers = [*answers, copy.deepcopy(answers[0])]
            answers[-1].PatientID = self.faults.second_patient
        if self.faults.shuffle:
            random.Random(len(answers)).shuffle(answers)
        yield from answers
        if self.faults.duplicate:
            yield from answers

    def retrieved(self, query: dict[str, str]) -> list[Dataset]:
        """The instances that a retrieval names, or another of the same study when `faults` say so."""
        if self.faults.gives_nothing:
            return []
        if self.faults.instead is not None:
            return [self.faults.instead]
        uids = {key: query[key] for key in UNIQUE.values() if query.get(key)}
        study = self.held(query.get("StudyInstanceUID", ""))
        found = [ds for ds in study if all(_matches(ds, key, wanted) for key, wanted in uids.items())]
        if self.faults.other_instance and found:
            others = [ds for ds in self.held() if ds.SOPInstanceUID != found[0].SOPInstanceUID]
            return sorted(others, key=lambda ds: bool(ds.SOPClassUID != found[0].SOPClassUID))[:1]
        return found


def part_10(ds: Dataset) -> bytes:
    """`ds` as a Part 10 file; in Explicit VR Little Endian unless it says otherwise."""
    buffer = BytesIO()
    dcmwrite(buffer, _with_meta(ds), enforce_file_format=True)
    return buffer.getvalue()


def _with_meta(ds: Dataset) -> Dataset:
    if not hasattr(ds, "file_meta"):
        ds.file_meta = FileMetaDataset()
    if "TransferSyntaxUID" not in ds.file_meta:
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return ds


def _matches(ds: Dataset, key: str, wanted: str) -> bool:
    return str(ds.get(key) or "") in wanted.split("\\")


# DICOM


@contextlib.asynccontextmanager
async def _dicom(peer: PacsPeer) -> AsyncIterator[None]:
    ae = AE(peer.ae_title)
    ae.maximum_associations = 64
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 60
    ae.add_supported_context(Verification)
    for model in (
        StudyRootQueryRetrieveInformationModelFind,
        StudyRootQueryRetrieveInformationModelGet,
        StudyRootQueryRetrieveInformationModelMove,
    ):
        ae.add_supported_context(model, [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
    for context in AllStoragePresentationContexts:
        ae.add_supported_context(str(context.abstract_syntax), TRANSFER_SYNTAXES, scu_role=True, scp_role=True)
    handlers: list[tuple[Any, ...]] = [
        (evt.EVT_CONN_OPEN, _on_open, [peer]),
        (evt.EVT_REQUESTED, _on_request, [peer]),
        (evt.EVT_C_ECHO, _on_echo, [peer]),
        (evt.EVT_C_STORE, _on_store, [peer]),
        (evt.EVT_C_FIND, _on_find, [peer]),
        (evt.EVT_C_GET, _on_get, [peer]),
        (evt.EVT_C_MOVE, _on_move, [peer]),
    ]
    server = ae.make_server(("127.0.0.1", peer.port), evt_handlers=handlers, ssl_context=peer.ssl_context)
    # Not `start_server`, which looks for its end twice a second only; this is all else that it does.
    ae._servers.append(server)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), name=peer.ae_title, daemon=True)
    thread.start()
    try:
        yield
    finally:
        await asyncio.to_thread(_stop, server, thread)
        peer.close_connections()


def _stop(server: ThreadedAssociationServer, thread: threading.Thread) -> None:
    for association in server.active_associations:
        if association.is_established:
            association.abort()
    server.shutdown()
    thread.join()


def _on_open(event: evt.Event, peer: PacsPeer) -> None:
    peer.opened(event.assoc.dul.socket.socket)
    # pynetdicom writes command and data set apart; with Nagle's algorithm each pair would wait 40 ms.
    event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _on_request(event: evt.Event, peer: PacsPeer) -> None:
    if peer.faults.refuse:
        event.assoc.acse.send_reject(0x02, 0x03, 0x02)
        event.assoc.kill()


def _on_echo(_: evt.Event, peer: PacsPeer) -> int:
    peer.asked.append("C-ECHO")
    return 0x0000


def _on_store(event: evt.Event, peer: PacsPeer) -> int:
    peer.asked.append("C-STORE")
    ds = event.dataset
    ds.file_meta = event.file_meta
    peer.add(ds)
    if peer.on_store is not None:
        peer.on_store(ds)
    return 0x0000


def _query(identifier: Dataset) -> dict[str, str]:
    keys: dict[str, str] = {}
    for element in identifier:
        value = element.value
        keys[element.keyword] = "\\".join(value) if element.VM > 1 else str(value if value is not None else "")
    return keys


def _on_find(event: evt.Event, peer: PacsPeer) -> Iterator[tuple[int, Dataset | None]]:
    peer.querying(1)
    try:
        yield from _answers(event, peer)
    finally:
        peer.querying(-1)


def _answers(event: evt.Event, peer: PacsPeer) -> Iterator[tuple[int, Dataset | None]]:
    query = _query(event.identifier)
    level = query.pop("QueryRetrieveLevel", "")
    peer.asked.append(f"C-FIND {level}")
    above = [UNIQUE[name] for name in LEVELS[: LEVELS.index(level)]] if level in LEVELS else []
    if level not in LEVELS or (not peer.relational and not all(_single(query.get(key, "")) for key in above)):
        yield 0xA900, None  # identifier does not match SOP class: a unique key above is missing (PS3.4 C.4.1.2.2)
        return
    for number, answer in enumerate(peer.spoiled(list(peer.find(level, query)))):
        _misbehave(event, peer.faults, number)
        if event.is_cancelled:
            yield 0xFE00, None
            return
        yield 0xFF00, answer
    time.sleep(peer.faults.delay_s)
    if peer.faults.status is not None:
        yield peer.faults.status, None


def _single(value: str) -> bool:
    return value not in ("", "*") and "\\" not in value


def _misbehave(event: evt.Event, faults: Faults, number: int) -> None:
    time.sleep(faults.delay_s)
    if faults.abort_after is not None and number >= faults.abort_after:
        event.assoc.abort()
    if faults.cut_after is not None and number >= faults.cut_after:
        event.assoc.dul.socket.socket.shutdown(socket.SHUT_RDWR)


def _on_get(event: evt.Event, peer: PacsPeer) -> Iterator[Any]:
    peer.asked.append("C-GET")
    found = peer.retrieved(_query(event.identifier))
    yield len(found)
    yield from _sub_operations(event, peer, found)


def _on_move(event: evt.Event, peer: PacsPeer) -> Iterator[Any]:
    peer.asked.append("C-MOVE")
    found = peer.retrieved(_query(event.identifier))
    address = peer.destinations.get(event.move_destination)
    if address is None:
        yield None, None  # 0xA801: destination unknown
        return
    syntaxes = {(str(ds.SOPClassUID), str(_with_meta(ds).file_meta.TransferSyntaxUID)) for ds in found}
    yield *address, {"contexts": [build_context(*pair) for pair in sorted(syntaxes)]}
    yield len(found)
    yield from _sub_operations(event, peer, found)


def _sub_operations(event: evt.Event, peer: PacsPeer, found: list[Dataset]) -> Iterator[Any]:
    for number, ds in enumerate(found):
        _misbehave(event, peer.faults, number)
        if event.is_cancelled:
            yield 0xFE00, None
            return
        if peer.faults.status is not None:
            yield peer.faults.status, None
            return
        yield 0xFF00, _with_meta(ds)


# DICOMweb


@contextlib.asynccontextmanager
async def _dicomweb(peer: PacsPeer) -> AsyncIterator[None]:
    app = web.Application()
    study, series = "/dicom-web/studies/{StudyInstanceUID}", "/series/{SeriesInstanceUID}"
    routes: list[tuple[str, Callable[..., Any]]] = [
        ("/dicom-web/studies", functools.partial(_qido, peer, "STUDY")),
        (f"{study}/series", functools.partial(_qido, peer, "SERIES")),
        (f"{study}/instances", functools.partial(_qido, peer, "IMAGE")),
        (f"{study}{series}/instances", functools.partial(_qido, peer, "IMAGE")),
        (study, functools.partial(_wado, peer)),
        (f"{study}{series}", functools.partial(_wado, peer)),
        (f"{study}{series}/instances/{{SOPInstanceUID}}", functools.partial(_wado, peer)),
    ]
    app.add_routes([web.get(path, handler) for path, handler in routes])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", peer.web_port, ssl_context=peer.ssl_context)
    await site.start()
    try:
        yield
    finally:
        await runner.cleanup()


async def _unwell(peer: PacsPeer) -> web.Response | None:
    await asyncio.sleep(peer.faults.delay_s)
    if peer.faults.refuse:
        return web.Response(status=503, headers={"Retry-After": "7"})
    if peer.faults.status is not None:
        return web.Response(status=500)
    if peer.faults.redirect:
        return web.Response(status=302, headers={"Location": peer.faults.redirect})
    if peer.faults.html:
        return web.Response(text="<html><body>Please sign in</body></html>", content_type="text/html")
    return None


async def _qido(peer: PacsPeer, level: str, request: web.Request) -> web.StreamResponse:
    peer.asked.append(f"QIDO-RS {level}")
    if (answer := await _unwell(peer)) is not None:
        return answer
    query = dict.fromkeys(ALL_KEYS, "")
    query |= {key: value for key, value in request.query.items() if key in query}
    found = list(peer.spoiled(list(peer.find(level, query | dict(request.match_info)))))
    offset, limit = int(request.query.get("offset", 0)), int(request.query.get("limit", 2**31))
    page = found[offset : offset + min(limit, peer.page_limit)]
    if not page:
        return web.Response(status=204)
    for ds in page:
        ds.SpecificCharacterSet = "ISO_IR 192"  # what DICOM JSON is in (PS3.18 F.2)
    body = json.dumps([ds.to_json_dict() for ds in page], ensure_ascii=False).encode()
    if peer.faults.cut_after is not None:
        return await _cut(request, body, peer.faults.cut_after)
    return web.Response(body=body, content_type="application/dicom+json")


async def _cut(request: web.Request, body: bytes, after: int) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/dicom+json", "Content-Length": str(len(body))})
    await response.prepare(request)
    await response.write(body[:after])
    assert request.transport is not None
    request.transport.abort()
    return response


async def _wado(peer: PacsPeer, request: web.Request) -> web.StreamResponse:
    peer.asked.append("WADO-RS")
    if (answer := await _unwell(peer)) is not None:
        return answer
    found = peer.retrieved(dict(request.match_info))
    if not found:
        return web.Response(status=404)
    boundary = "passevue-pacs-peer"
    response = web.StreamResponse()
    response.headers["Content-Type"] = f'multipart/related; type="application/dicom"; boundary={boundary}'
    await response.prepare(request)
    for number, ds in enumerate(found):
        if peer.faults.abort_after is not None and number >= peer.faults.abort_after:
            assert request.transport is not None
            request.transport.abort()
        file = await asyncio.to_thread(part_10, ds)
        await response.write(f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode() + file)
        while peer.faults.endless:
            await response.write(bytes(1 << 20))
        await response.write(b"\r\n")
    if not peer.faults.no_boundary_end:
        await response.write(f"--{boundary}--\r\n".encode())
    await response.write_eof()
    return response


# By hand


async def _serve(arguments: argparse.Namespace) -> None:
    destinations = {}
    for text in arguments.destination:
        title, _, address = text.partition("=")
        host, _, port = address.rpartition(":")
        destinations[title] = (host, int(port))
    peer = PacsPeer(arguments.ae, arguments.port, arguments.web_port, arguments.relational, destinations=destinations)
    files = [path for root in arguments.files for path in (sorted(root.rglob("*")) if root.is_dir() else [root])]
    peer.add(*[dcmread(path) for path in files if path.is_file()])
    async with peer:
        print(f"PACS {peer.ae_title} on 127.0.0.1:{peer.port}, DICOMweb at {peer.url}, {len(peer.held())} instances")
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.peers.pacs", description="A PACS in memory")
    parser.add_argument("files", nargs="*", type=Path, help="DICOM files, or folders of them")
    parser.add_argument("--ae", default="PACS", help="its AE title")
    parser.add_argument("--port", type=int, default=11114)
    parser.add_argument("--web-port", type=int, default=8042)
    parser.add_argument("--relational", action="store_true", help="answers IMAGE queries without a series")
    parser.add_argument("--destination", action="append", default=[], help="AE=host:port, for C-MOVE")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
