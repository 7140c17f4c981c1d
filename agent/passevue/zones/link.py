"""One connection between two zones of the box: questions with their answers, and notices, both ways at once.

A frame is a head, the name of a message, its fields as JSON, and bytes that are no JSON (a digest, a signature,
a code):

    kind 1 · name length 1 · number 4 · JSON length 4 · data length 4 · name · JSON · data      (big-endian)

A message is a frozen dataclass; its name is that of its class, its fields are checked against their types when it
comes.

    link = Link(sock, Bounds(), asked=[Asked(Sign, sign)], told=[Told(Left, left)])
    … link.run()                                            # until the far side goes, or cancelled
    signature = await link.ask(Sign(7, KeyUse.AUTH), digest, gives=Signed)

Rules:
- Nothing is believed of a length: a frame above its service's bounds, an unknown name or fields that do not fit end the
  link. So does a far side that reads too slowly, or says nothing for `SILENT_S`: each side says that it lives.
- A question has a deadline. What fails on the far side comes back as its own error (`carried`); what is no error of the
  tree is told there, and here only that it failed.
- `data` that is secret is overwritten here once it has left, and by whoever it was handed to there. What the kernel
  copied is out of reach.
- When the link ends, every question fails with `ZoneAway`, every answer under way is cancelled: nobody waits for it.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Generic, TypeVar

import structlog
from pydantic import TypeAdapter, ValidationError

from passevue.errors import BoxError, Unreadable, ZoneAway
from passevue.zones.carried import Trouble, error_of, trouble_of

HEAD = struct.Struct(">BBIII")
MOST_WAITING = 256  # frames not yet taken by the far side
ALIVE_S = 2.0
SILENT_S = 10.0  # a loop that stands still for so long has its process restarted anyway (WatchdogSec)
INLINE_BYTES = 64 << 10  # of JSON read or written on the loop: about 1 ms

Q = TypeVar("Q")
A = TypeVar("A")

log = structlog.get_logger()


class Kind(IntEnum):
    """What a frame is."""

    ALIVE = 0  # nothing: the sender lives
    ASK = 1
    ANSWER = 2
    TROUBLE = 3  # an answer that is an error
    TELL = 4


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one service lets through."""

    max_json: int = 256 << 10
    max_data: int = 16 << 10
    most_at_once: int = 32  # questions under way from the far side
    timeout_s: float = 10.0  # of a question that names none


@dataclass(frozen=True, slots=True)
class Asked(Generic[Q]):
    """A question that is answered here: `answer(question, data)` gives a message, or one with data."""

    question: type[Q]
    answer: Callable[[Q, bytearray], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Told(Generic[Q]):
    """A notice that is heard here, on the loop, in the order in which it was told."""

    notice: type[Q]
    hear: Callable[[Q], None]


@dataclass(frozen=True, slots=True, repr=False)
class WithData:
    """An answer and the bytes that go along."""

    message: Any
    data: bytes | bytearray


@dataclass(slots=True, repr=False)
class _Frame:
    kind: Kind
    name: str = ""
    number: int = 0
    json: bytes | bytearray = b""
    data: bytes | bytearray = b""
    secret: bool = False


@dataclass(frozen=True, slots=True)
class _Waiting:
    gives: type[Any]
    future: "asyncio.Future[tuple[Any, bytearray]]"


_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {}  # a dozen messages


def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


class Link:
    """One connection. `run` is its life; `ask` and `tell` work while it runs.

    Args:
        sock: a connected, non-blocking stream socket; closed by `run`.
        on_first: called once the far side has said anything: it is there, not only its socket.
    """

    def __init__(
        self,
        sock: socket.socket,
        bounds: Bounds,
        *,
        asked: Iterable[Asked[Any]] = (),
        told: Iterable[Told[Any]] = (),
        on_first: Callable[[], None] = lambda: None,
        silent_s: float = SILENT_S,
    ) -> None:
        self._sock = sock
        self._bounds = bounds
        self._asked = {one.question.__name__: one for one in asked}
        self._told = {one.notice.__name__: one for one in told}
        self._on_first = on_first
        self._silent_s = silent_s
        self._out: asyncio.Queue[_Frame] = asyncio.Queue(MOST_WAITING)
        self._waiting: dict[int, _Waiting] = {}
        self._last_number = 0
        self._under_way = 0
        self._heard_at: float | None = None
        self._over: asyncio.Event = asyncio.Event()

    @property
    def over(self) -> bool:
        return self._over.is_set()

    # What its users do

    async def ask(
        self,
        question: Any,
        data: bytes | bytearray = b"",
        *,
        gives: type[A],
        timeout_s: float | None = None,
        secret: bool = False,
    ) -> tuple[A, bytearray]:
        """The far side's answer, and the bytes that came with it. `secret` data is overwritten once it has left.

        Raises:
            ZoneAway: the link is over, or no answer came in time.
            BoxError: as the far side says.
        """
        self._last_number += 1
        number = self._last_number
        future: asyncio.Future[tuple[Any, bytearray]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = _Waiting(gives, future)
        try:
            self._post(_Frame(Kind.ASK, type(question).__name__, number, _encoded(question), data, secret))
            async with asyncio.timeout(timeout_s or self._bounds.timeout_s):
                return await future
        except TimeoutError as err:
            raise ZoneAway(f"no answer to {type(question).__name__} in time") from err
        finally:
            self._waiting.pop(number, None)

    def tell(self, notice: Any) -> None:
        """Leave `notice` for the far side. Raises: ZoneAway."""
        self._post(_Frame(Kind.TELL, type(notice).__name__, 0, _encoded(notice)))

    # Its life

    async def run(self) -> None:
        """Until the far side goes, breaks the rules or falls silent; or cancelled. Never fails otherwise."""
        self._post(_Frame(Kind.ALIVE))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._write(), name="link-write")
                group.create_task(self._live(), name="link-alive")
                await self._read(group)
        except* _Over as ended:
            reasons = [str(one) for one in _leaves(ended) if str(one)]
            if reasons:
                log.warning("zone_link_cut", reason=reasons[0])
        finally:
            self._end()
        task = asyncio.current_task()
        if task is not None and task.cancelling():  # a task group that ends by an error forgets that it was cancelled
            raise asyncio.CancelledError

    def _end(self) -> None:
        self._over.set()
        for waiting in self._waiting.values():
            if not waiting.future.done():
                waiting.future.set_exception(ZoneAway("the other zone has gone"))
        while not self._out.empty():
            _wipe(self._out.get_nowait())
        self._sock.close()

    def _post(self, frame: _Frame) -> None:
        try:
            if self.over:
                raise ZoneAway("the other zone is away")
            self._check(len(frame.json), len(frame.data))
            self._out.put_nowait(frame)
        except asyncio.QueueFull as err:
            _wipe(frame)
            self._over.set()  # seen by `_live`, which ends it
            raise ZoneAway("the other zone reads nothing") from err
        except BaseException:
            _wipe(frame)
            raise

    def _check(self, json_bytes: int, data_bytes: int) -> None:
        if json_bytes > self._bounds.max_json or data_bytes > self._bounds.max_data:
            raise Unreadable(f"a message of {json_bytes} and {data_bytes} bytes is above the bounds")

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            frame = await self._out.get()
            name = frame.name.encode("ascii")
            head = HEAD.pack(frame.kind, len(name), frame.number, len(frame.json), len(frame.data))
            whole = bytearray(head)  # grown in place: no copy of a secret that cannot be overwritten
            for part in (name, frame.json, frame.data):
                whole += part
            try:
                await loop.sock_sendall(self._sock, whole)
            except OSError as err:
                raise _Over from err
            finally:
                if frame.secret:
                    whole[:] = bytes(len(whole))
                _wipe(frame)

    async def _live(self) -> None:
        """Say now and then that we live; end a link whose far side says nothing."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while True:
            await asyncio.sleep(ALIVE_S)
            if self.over:
                raise _Over("the other zone reads nothing")
            if self._out.empty():
                self._post(_Frame(Kind.ALIVE))
            if loop.time() - (self._heard_at or begun) > self._silent_s:
                heard_before = self._heard_at
                await asyncio.sleep(ALIVE_S)  # it may have been us who stood still: what came meanwhile is read first
                if self._heard_at == heard_before:
                    raise _Over("the other zone says nothing")

    async def _read(self, group: asyncio.TaskGroup) -> None:
        while True:
            frame = await self._next()
            first, self._heard_at = self._heard_at is None, asyncio.get_running_loop().time()
            if first:
                self._on_first()
            match frame.kind:
                case Kind.ASK:
                    self._begin(frame, group)
                case Kind.ANSWER | Kind.TROUBLE:
                    await self._settle(frame)
                case Kind.TELL:
                    self._hear(frame)

    async def _next(self) -> _Frame:
        kind, name_bytes, number, json_bytes, data_bytes = HEAD.unpack(await self._exactly(HEAD.size))
        try:
            self._check(json_bytes, data_bytes)
            name = bytes(await self._exactly(name_bytes)).decode("ascii")
            return _Frame(Kind(kind), name, number, await self._exactly(json_bytes), await self._exactly(data_bytes))
        except (Unreadable, ValueError) as err:
            raise _Over(f"not a frame: {type(err).__name__}") from err

    async def _exactly(self, size: int) -> bytearray:
        """The next `size` bytes, in a buffer of their own."""
        buffer = bytearray(size)
        loop, view, at = asyncio.get_running_loop(), memoryview(buffer), 0
        with view:
            while at < size:
                try:
                    count = await loop.sock_recv_into(self._sock, view[at:])
                except OSError as err:
                    raise _Over from err
                if not count:
                    raise _Over
                at += count
        return buffer

    # What came

    def _begin(self, frame: _Frame, group: asyncio.TaskGroup) -> None:
        asked = self._asked.get(frame.name)
        if asked is None or self._under_way >= self._bounds.most_at_once:
            raise _Over("a question that is none here" if asked is None else "too many questions")
        question = _decoded(asked.question, frame.json)
        self._under_way += 1
        group.create_task(self._answer(asked, question, frame), name=f"zone {frame.name}")

    async def _answer(self, asked: Asked[Any], question: Any, frame: _Frame) -> None:
        """Ask the one who knows, send what he says."""
        data = frame.data if isinstance(frame.data, bytearray) else bytearray(frame.data)
        try:
            found = await asked.answer(question, data)
            message = found.message if isinstance(found, WithData) else found
            text = await asyncio.to_thread(_encoded, message) if self._is_bulky else _encoded(message)
            content = found.data if isinstance(found, WithData) else b""
            answer = _Frame(Kind.ANSWER, type(message).__name__, frame.number, text, content)
            self._check(len(answer.json), len(answer.data))
        except BoxError as err:
            answer = _trouble(frame.number, err)
        except Exception as err:  # ours: told here, the other zone goes on
            log.exception("zone_answer_failed", error_class=type(err).__name__)
            answer = _trouble(frame.number, BoxError("the other zone failed"))
        finally:
            self._under_way -= 1
        with contextlib.suppress(ZoneAway):
            self._post(answer)

    @property
    def _is_bulky(self) -> bool:
        return self._bounds.max_json > 1 << 20

    async def _settle(self, frame: _Frame) -> None:
        waiting = self._waiting.get(frame.number)
        if waiting is None or waiting.future.done():
            return  # given up meanwhile
        if frame.kind is Kind.TROUBLE:
            waiting.future.set_exception(error_of(_decoded(Trouble, frame.json)))
            return
        if len(frame.json) > INLINE_BYTES:
            found = await asyncio.to_thread(_decoded, waiting.gives, frame.json)
        else:
            found = _decoded(waiting.gives, frame.json)
        if not waiting.future.done():
            waiting.future.set_result((found, bytearray(frame.data)))

    def _hear(self, frame: _Frame) -> None:
        told = self._told.get(frame.name)
        if told is None:
            raise _Over("a notice that is none here")
        told.hear(_decoded(told.notice, frame.json))


class _Over(Exception):
    """The link has ended; its text says what was wrong, "" when the far side just went."""


def _trouble(number: int, error: BoxError) -> _Frame:
    return _Frame(Kind.TROUBLE, "Trouble", number, _encoded(trouble_of(error)))


def _encoded(message: Any) -> bytes:
    return _adapter(type(message)).dump_json(message)


def _decoded(kind: type[A], text: bytes | bytearray) -> A:
    try:
        found: A = _adapter(kind).validate_json(text, strict=True)
    except ValidationError as err:
        raise _Over(f"fields that are not those of {kind.__name__}") from err
    return found


def _wipe(frame: _Frame) -> None:
    if frame.secret and isinstance(frame.data, bytearray):
        frame.data[:] = bytes(len(frame.data))


def _leaves(group: BaseExceptionGroup[Any]) -> Iterable[BaseException]:
    for one in group.exceptions:
        if isinstance(one, BaseExceptionGroup):
            yield from _leaves(one)
        else:
            yield one
