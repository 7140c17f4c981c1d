"""Readers, as the event loop sees them: events of cards coming and going, and sessions with one card.

With `reader_session` the only modules that know that PC/SC wants threads.

    readers = Readers()
    …  readers.run()                                   # a part of the box; owns the watching thread
    async for event in readers.events():               # ReaderIn, CardIn, CardOut, ReaderOut: see `seats`
        async with readers.session(event) as session:  # a thread for this card, until the block ends
            cps = await session.identify()
            await session.verify(code)
            signature = await session.sign(KeyUse.AUTH, digest)

Rules:
- One thread waits in SCardGetStatusChange over all readers and their list; SCardCancel ends it. When pcscd goes, every
  reader is out; the thread asks again, less and less often, until it is back.
- A session has one thread and one PC/SC context, holds a transaction from its first byte to its last, and always
  ends with reset and unpower: nothing verified is left for the next program. One session at a time on a reader.
- Removal closes: the session of that card refuses everything from then on (CARD-02), whatever is in the reader.
- No call waits for ever. A call above `exchange_s` has its socket cut (`pcsc.Context.cut`); if even that does not
  help its thread is left behind as a daemon and its caller gets an error.
- Nothing is sent twice: an exchange that failed is an error, not a second try.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager, suppress
from types import MappingProxyType
from weakref import WeakValueDictionary

import structlog

from passevue.card.pcsc import Context, Look, ServiceAway, pause
from passevue.card.reader_session import ReaderSession
from passevue.card.seats import CardIn, CardOut, Event, Insertions, ReaderIn, ReaderOut, Seats, differences, seats_after
from passevue.errors import CardAbsent, CardError, CardFault

__all__ = ["CardIn", "CardOut", "Event", "ReaderIn", "ReaderOut", "ReaderSession", "Readers"]

EXCHANGE_S = 10.0  # one call of PC/SC; a signature takes 1 s, powering a card up to 3 s
WAIT_FOR_READER_S = 15.0  # for another session on the same reader to end
_STOP_S = 2.0
_SETTLE_S = 0.01

log = structlog.get_logger()


class Readers:
    """All readers of this machine. `run` is its life; `events` and `session` work while it runs."""

    def __init__(self, *, exchange_s: float = EXCHANGE_S, wait_s: float = WAIT_FOR_READER_S) -> None:
        self._exchange_s = exchange_s
        self._wait_s = wait_s
        self._seats: Seats = MappingProxyType({})
        self._known = asyncio.Event()
        self._listeners: set[asyncio.Event] = set()
        self._sessions: dict[str, ReaderSession] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # of who waits or works
        self._service_up = False

    @property
    def service_up(self) -> bool:
        """Whether pcscd answers."""
        return self._service_up

    @property
    def seats(self) -> Seats:
        """Readers and cards as last seen."""
        return self._seats

    async def run(self) -> None:
        """Watch until cancelled. An error of ours on the thread ends it."""
        watch = _Watch(asyncio.get_running_loop(), self._take)
        watch.start()
        try:
            await asyncio.wrap_future(watch.failed)
        finally:
            await watch.stop()
            self._service_up = False
            self._show(MappingProxyType({}))

    async def first_look(self) -> Seats:
        """Wait until pcscd was asked once, whatever it said; then what is there."""
        await self._known.wait()
        return self._seats

    async def events(self) -> AsyncIterator[Event]:
        """What happens, beginning with what is there. See `seats` for what a slow listener gets."""
        changed = asyncio.Event()
        changed.set()
        self._listeners.add(changed)
        seen: Seats = {}
        try:
            while True:
                await changed.wait()
                changed.clear()
                current = self._seats
                for event in differences(seen, current):
                    yield event
                seen = current
        finally:
            self._listeners.discard(changed)

    @asynccontextmanager
    async def session(self, card: CardIn | str) -> AsyncIterator["ReaderSession"]:
        """The card of that insertion, or whichever is in the reader of that name, for as long as the block lasts.

        Raises:
            CardAbsent: no such reader, no card, or no longer that one.
            CardFault: it does not answer, or another program holds it.
            ServiceAway: pcscd does not answer.
        """
        reader = card if isinstance(card, str) else card.reader
        lock = self._locks.setdefault(reader, asyncio.Lock())
        try:
            async with asyncio.timeout(self._wait_s):
                await lock.acquire()
        except TimeoutError:
            hint = "La carte est déjà utilisée par le boîtier : réessayez dans un instant."
            raise CardFault("another session holds the reader", hint=hint) from None
        try:
            session = ReaderSession(reader, self._insertion(card), self._exchange_s)
            self._sessions[reader] = session
            try:
                await session.open()
                self._still(session)
                yield session
            finally:
                self._sessions.pop(reader, None)
                await session.close()
        finally:
            lock.release()

    def _insertion(self, card: CardIn | str) -> int:
        reader = card if isinstance(card, str) else card.reader
        seat = self._seats.get(reader)
        if seat is None:
            if not self._service_up:
                raise ServiceAway("pcscd does not answer")
            raise CardAbsent("no such reader", hint="Aucun lecteur de ce nom n’est branché.")
        if not seat.insertion or (isinstance(card, CardIn) and card.insertion != seat.insertion):
            raise CardAbsent("the card is not in the reader")
        return seat.insertion

    def _still(self, session: ReaderSession) -> None:
        """The card that was powered is the one that was meant."""
        seat = self._seats.get(session.reader)
        if seat is None or seat.insertion != session.insertion:
            session.lose()
            raise CardAbsent("the card was pulled, or another was put in")

    def _take(self, seats: Seats, *, up: bool) -> None:
        """On the loop: what the thread saw."""
        if up != self._service_up:
            self._service_up = up
            if up:
                log.info("card_service_back")
            else:
                log.warning("card_service_away")
        for event in differences(self._seats, seats):
            _tell(event)
        self._known.set()
        self._show(seats)

    def _show(self, seats: Seats) -> None:
        before, self._seats = self._seats, seats
        for event in differences(before, seats):
            if isinstance(event, CardOut) and (session := self._sessions.get(event.reader)) is not None:
                session.lose()
        for listener in self._listeners:
            listener.set()


def _tell(event: Event) -> None:
    """Nothing of the card itself: its ATR says its generation, its number says whose."""
    match event:
        case ReaderIn():
            log.info("reader_in")
        case ReaderOut():
            log.warning("reader_out")
        case CardIn():
            log.info("card_in", number=event.insertion)
        case CardOut():
            log.info("card_out", number=event.insertion)


class _Watch:
    """The thread that waits for PC/SC, and how it is ended."""

    def __init__(self, loop: asyncio.AbstractEventLoop, take: Callable[..., None]) -> None:
        self._loop = loop
        self._take = take
        self._stop = threading.Event()
        self._context: Context | None = None
        self._insertions = Insertions()
        self._thread = threading.Thread(target=self._run, name="pcsc-watch", daemon=True)
        self._ended = asyncio.Event()
        self.failed: Future[None] = Future()

    def start(self) -> None:
        self._thread.start()

    async def stop(self) -> None:
        """SCardCancel, until it is heard: it may come before the wait. If pcscd is deaf, its socket is cut."""
        self._stop.set()
        threading.Thread(target=self._cancel, name="pcsc-cancel", daemon=True).start()
        for last in (False, True):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), _STOP_S)
                break
            if not last:
                Context.cut_begun() if self._context is None else self._context.cut()

    def _cancel(self) -> None:
        while self._thread.is_alive():
            if (context := self._context) is not None:
                context.cancel()
            self._thread.join(0.02)

    def _run(self) -> None:
        tries = 0
        try:
            while not self._stop.is_set():
                try:
                    with self._client() as context:
                        tries = 0
                        self._look(context)
                except CardError:  # pcscd went, or is not there yet
                    self._post({}, up=False)
                    pause(self._stop, tries)
                    tries += 1
        except BaseException as error:
            self._loop_call(self._fail, error)
        finally:
            self._loop_call(self._ended.set)

    def _look(self, context: Context) -> None:
        seats: Seats = {}
        looks = self._listed(context, ())
        while not self._stop.is_set():
            after = seats_after(seats, looks, self._insertions)
            self._post(after, up=True)
            seats = after
            known = [look for look in looks if look.known]
            try:
                looks = context.wait(known)
            except CardAbsent:  # a reader went between the list and the wait: the list says which
                looks = tuple(known)
                self._stop.wait(_SETTLE_S)
            looks = self._listed(context, looks)

    def _listed(self, context: Context, looks: tuple[Look, ...]) -> tuple[Look, ...]:
        """`looks` without the readers that went, with those that came."""
        names = context.readers()
        held = {look.reader: look for look in looks if look.known}
        kept = tuple(held[name] for name in names if name in held)
        fresh = [name for name in names if name not in held]
        with suppress(CardAbsent):  # it went at once
            return kept + context.look(fresh)
        return kept

    @contextmanager
    def _client(self) -> Iterator[Context]:
        """A context, until it fails or the watch ends."""
        context = self._context = Context()
        try:
            yield context
        finally:
            self._context = None
            context.release()

    def _post(self, seats: Seats, *, up: bool) -> None:
        self._loop_call(lambda: self._take(MappingProxyType(dict(seats)), up=up))

    def _fail(self, error: BaseException) -> None:
        if not self.failed.done():
            self.failed.set_exception(error)

    def _loop_call(self, call: Callable[..., None], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(call, *arguments)
