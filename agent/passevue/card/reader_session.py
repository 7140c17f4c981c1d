"""One card on a thread of its own: what `Readers.session` gives. With `reader`, the modules that know PC/SC wants
threads.

Work is queued to the thread and awaited; the loop never waits for the card. Whoever stops waiting (a cancelled task)
does not stop the card: what was begun ends, then the card is reset.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TypeVar

from cryptography import x509

from passevue.card.codes import Secret
from passevue.card.cps import Cps, CpsKey, Generation, KeyUse, Padding, PinState
from passevue.card.pcsc import Connection, Context, now
from passevue.card.pkcs15 import Pkcs15
from passevue.card.session import CardSession
from passevue.errors import CardAbsent, CardError, CardFault

TICK_S = 0.1
CLOSE_S = 5.0
MOST_LEFT_BEHIND = 8  # threads that hang in a call which even cutting did not end

T = TypeVar("T")
Job = tuple[Callable[[CardSession], object], "Future[object]"]
_left_behind: list[threading.Thread] = []


class Wire:
    """`apdu.Channel` over a PC/SC connection, with what another thread must see of it."""

    def __init__(self, connection: Connection, clock: "Clock") -> None:
        self._connection = connection
        self._clock = clock
        self.gone = False

    def exchange(self, apdu: bytes | bytearray) -> bytes:
        if self.gone:
            raise CardAbsent("the card was pulled")
        return self._clock.timed(lambda: self._connection.exchange(apdu))


class Clock:
    """Since when a call of PC/SC has been waiting; `late` when it was ended for that."""

    def __init__(self) -> None:
        self.since: float | None = None
        self.late = False

    def timed(self, call: Callable[[], T], *, late: CardError | None = None) -> T:
        """What `call` gives; `late`, or that nothing answered, when it was ended for taking too long."""
        self.since = now()
        try:
            return call()
        except CardError as error:
            raise (late or self._lateness()) if self.late else error from None
        finally:
            self.since = None

    def _lateness(self) -> CardFault:
        hint = "La carte ou le lecteur ne répond plus : retirez la carte, débranchez puis rebranchez le lecteur."
        return CardFault("the card or its reader did not answer in time", hint=hint)

    def over(self, seconds: float) -> bool:
        since = self.since
        return since is not None and now() - since > seconds


class ReaderSession:
    """A card at work. Each coroutine runs on the card's thread, in order; see `session.CardSession` for what they
    raise.

    `gone` is set when the card is pulled. `insertion` is that of the card, as in its `CardIn`.
    """

    def __init__(self, reader: str, insertion: int, exchange_s: float) -> None:
        self.reader = reader
        self.insertion = insertion
        self.gone = asyncio.Event()
        self._exchange_s = exchange_s
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="card", daemon=True)
        self._opened: Future[None] = Future()
        self._clock = Clock()
        self._context: Context | None = None
        self._wire: Wire | None = None
        self._closed = False
        self._ended = asyncio.Event()
        self._running: Future[object] | None = None
        self._watchdog: asyncio.TimerHandle | None = None

    # What is asked of the card

    async def identify(self) -> Cps:
        return await self.run(lambda card: card.identify())

    async def objects(self) -> Pkcs15 | None:
        return await self.run(lambda card: card.objects())

    async def pin_state(self) -> PinState | None:
        return await self.run(lambda card: card.pin_state())

    async def unblocking_state(self) -> PinState | None:
        return await self.run(lambda card: card.unblocking_state())

    async def verify(self, pin: Secret, *, last_try: bool = False) -> None:
        """The code, once; a `bytearray` is overwritten, even when this is cancelled before the card is asked."""
        await self._with_secrets(lambda card: card.verify(pin, last_try=last_try), pin)

    async def change(self, old: Secret, new: Secret, *, last_try: bool = False) -> None:
        await self._with_secrets(lambda card: card.change(old, new, last_try=last_try), old, new)

    async def unblock(self, code: Secret, new: Secret, *, last_try: bool = False) -> None:
        await self._with_secrets(lambda card: card.unblock(code, new, last_try=last_try), code, new)

    async def situations(self) -> Cps:
        return await self.run(lambda card: card.situations())

    async def sign(
        self, use: KeyUse, digest: bytes, hash_name: str = "sha256", scheme: Padding = Padding.PKCS1
    ) -> bytes:
        return await self.run(lambda card: card.sign(use, digest, hash_name, scheme))

    async def decrypt_block(self, use: KeyUse, block: bytes) -> bytes:
        return await self.run(lambda card: card.decrypt_block(use, block))

    async def prove(self, use: KeyUse) -> None:
        await self.run(lambda card: card.prove(use))

    async def key(self, use: KeyUse) -> "SessionKey":
        """One of its keys, as `cps_signer` takes it.

        Raises:
            CardFault: the card has none for that use.
        """
        cps = await self.identify()
        key = cps.key(use)
        if key is None:
            raise CardFault(f"the card has no {use} key", hint="Cette carte n’a pas la clé demandée.")
        return SessionKey(self, key, cps.generation)

    async def run(self, work: Callable[[CardSession], T]) -> T:
        """Any work with the card, on its thread."""
        return await asyncio.wrap_future(self.submit(work))

    def submit(self, work: Callable[[CardSession], T]) -> "Future[T]":
        """As `run`, to be waited for on another thread than the loop's."""
        if self._closed or self.gone.is_set():
            raise CardAbsent("the card was pulled" if self.gone.is_set() else "the session is over")
        future: Future[T] = Future()
        self._jobs.put((work, future))  # type: ignore[arg-type]
        return future

    async def _with_secrets(self, work: Callable[[CardSession], None], *secrets: Secret) -> None:
        try:
            future = self.submit(work)
        except CardAbsent:
            _wipe(secrets)
            raise
        future.add_done_callback(lambda _done: _wipe(secrets))
        await asyncio.wrap_future(future)

    # Its life, called by `Readers`

    async def open(self) -> None:
        """Power the card and keep everyone else out.

        Raises:
            CardAbsent, CardFault, ServiceAway: see `Readers.session`.
        """
        if len(_hanging()) >= MOST_LEFT_BEHIND:
            hint = "Le lecteur ne répond plus : débranchez-le, rebranchez-le, ou redémarrez le boîtier."
            raise CardFault("too many calls to readers hang", hint=hint)
        self._thread.start()
        self._watch()
        await asyncio.wrap_future(self._opened)

    def lose(self) -> None:
        """The card was pulled: refuse everything from now on."""
        self.gone.set()
        if self._wire is not None:
            self._wire.gone = True

    async def close(self) -> None:
        """Reset and unpower the card, end the thread. Never fails; a thread that hangs is left behind."""
        self._closed = True
        self._jobs.put(None)
        if self._thread.ident is None:  # never begun
            return
        try:
            await asyncio.wait_for(self._ended.wait(), self._exchange_s + 2 * CLOSE_S)
        except TimeoutError:
            _left_behind.append(self._thread)
        if self._watchdog is not None:
            self._watchdog.cancel()

    def _watch(self) -> None:
        """On the loop, while the thread lives: end a call that takes too long."""
        if self._clock.over(self._exchange_s) and not self._clock.late:
            self._clock.late = True
            if self._context is not None:
                self._context.cut()
            else:
                Context.cut_begun()
        elif self._clock.late and self._clock.over(self._exchange_s + CLOSE_S):
            self._give_up()
            return
        if not self._ended.is_set():
            self._watchdog = self._loop.call_later(TICK_S, self._watch)

    def _give_up(self) -> None:
        """Even cutting did not end it: whoever waits gets an error, the thread stays behind."""
        self._closed = True
        _left_behind.append(self._thread)
        self._ended.set()
        hangs = CardFault("the reader hangs")
        _fail(self._opened, hangs)
        if self._running is not None:
            _fail(self._running, hangs)
        self._drain(hangs)
        self._jobs.put(None)  # should the call come back after all

    # On the card's thread

    def _work(self) -> None:
        try:
            self._with_context()
        finally:
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                self._loop.call_soon_threadsafe(self._ended.set)

    def _with_context(self) -> None:
        try:
            context = self._clock.timed(Context)
        except BaseException as error:
            _fail(self._opened, error)
            return
        self._context = context
        try:
            self._with(context)
        finally:
            context.release()

    def _with(self, context: Context) -> None:
        try:
            connection = self._clock.timed(lambda: context.connect(self.reader), late=_held())
        except BaseException as error:
            _fail(self._opened, error)
            return
        try:
            self._serve(connection)
        finally:
            with suppress(CardError):
                self._clock.timed(connection.end)

    def _serve(self, connection: Connection) -> None:
        try:
            self._clock.timed(connection.transaction, late=_held())
            atr = self._clock.timed(connection.atr)
        except BaseException as error:
            _fail(self._opened, error)
            return
        wire = self._wire = Wire(connection, self._clock)
        wire.gone = self.gone.is_set()
        card = CardSession(wire, atr, connection.protocol)
        _settle(self._opened, None)
        while (job := self._jobs.get()) is not None:
            work, future = job
            if not future.set_running_or_notify_cancel():
                continue
            self._running = future
            try:
                result = work(card)
            except BaseException as error:
                _fail(future, error)
            else:
                _settle(future, result)
            self._running = None
        self._drain(CardAbsent("the session is over"))

    def _drain(self, why: CardError) -> None:
        """Nothing more is done of what waits. Called on either thread."""
        with suppress(Empty):
            while True:
                if (job := self._jobs.get_nowait()) is not None:
                    _fail(job[1], why)


class SessionKey:
    """One key of the card in a session: what `cps_signer.CardKey` asks for."""

    def __init__(self, session: ReaderSession, key: CpsKey, generation: Generation) -> None:
        self._session = session
        self._key = key
        self._raw_rsa = generation is Generation.CPS4 and key.use is KeyUse.AUTH

    @property
    def certificate(self) -> x509.Certificate:
        return self._key.certificate

    @property
    def raw_rsa(self) -> bool:
        return self._raw_rsa

    async def sign_digest(self, digest: bytes, hash_name: str) -> bytes:
        return await self._session.sign(self._key.use, digest, hash_name)

    async def decrypt_block(self, block: bytes) -> bytes:
        return await self._session.decrypt_block(self._key.use, block)


def _settle(future: "Future[T]", result: T) -> None:
    with suppress(Exception):  # given up meanwhile
        future.set_result(result)


def _fail(future: "Future[T]", error: BaseException) -> None:
    with suppress(Exception):
        future.set_exception(error)


def _held() -> CardFault:
    """pcscd lets nobody connect while another program has a transaction, and looks the same when a card is mute."""
    hint = "La carte ne répond pas, ou un autre programme l’utilise : fermez-le, sinon retirez la carte et remettez-la."
    return CardFault("the card did not answer in time, or another program holds it", hint=hint)


def _wipe(secrets: tuple[Secret, ...]) -> None:
    for secret in secrets:
        if isinstance(secret, bytearray):
            secret[:] = bytes(len(secret))


def _hanging() -> list[threading.Thread]:
    _left_behind[:] = [thread for thread in _left_behind if thread.is_alive()]
    return _left_behind
