"""Keys behind PKCS#11: SoftHSM2 today, a TPM or an HSM tomorrow, through the library that speaks for them.

    token = Pkcs11Token(Place(library, token="passevue", label="sign"), read_pin)
    key = await token.key()                        # a `SigningKey`: Pkcs11Signer(key), tls_key_of(key, loop)

Rules:
- Each token has one thread: PKCS#11 libraries block and take one operation at a time a session. A library that hangs
  costs its caller a bounded wait, and its thread.
- `read_pin` is asked at each login and nothing of it is kept. A PIN that was refused is not sent again by program:
  `unlatch` is for the person who changed it.
- A token that was pulled, a session that was closed: `CardAbsent`; the next signature logs in anew.
- Only CKM_RSA_PKCS and CKM_RSA_X_509 are asked for, which every library has, even where the card signs a DigestInfo
  only (OpenSC on a CPS3). Digests are made here.

Facts:
- A PKCS#11 library is initialised once in a process, whoever loads it first; python-pkcs11 keeps that. Tokens of one
  library take turns, so that it can be initialised anew while nobody is inside.
- SoftHSM2 does not see a token come back that it once missed (CKR_GENERAL_ERROR for ever): it must be initialised
  anew. That closes every session of the library, so it is done only when no token of ours has one.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NoReturn, TypeVar

import pkcs11
from cryptography import x509
from pkcs11 import Attribute, Mechanism, ObjectClass
from pkcs11 import exceptions as ck

from passevue.card.digest_info import digest_info
from passevue.card.key_signer import KeySigner
from passevue.errors import CardAbsent, CardFault, CredentialError, PinBlocked, PinNeeded, Unreadable

T = TypeVar("T")

_GONE = "Le module de clés ne répond plus : vérifiez qu'il est branché, puis réessayez."
_CODE = "Le code du module de clés est refusé : corrigez-le avant qu'il ne se bloque."
_LOCKED = "Le code du module de clés est bloqué : faites-le débloquer par votre installateur."
_MISSING = "La clé attendue n'est pas dans le module de clés : vérifiez la configuration."
_SLOW = "Le module de clés ne répond pas à temps : redémarrez le boîtier si cela dure."
_PIN_ERRORS = (ck.PinIncorrect, ck.PinInvalid, ck.PinLenRange, ck.PinExpired)
_ABSENT_ERRORS = (
    ck.DeviceError,
    ck.DeviceRemoved,
    ck.GeneralError,
    ck.KeyHandleInvalid,
    ck.NoSuchToken,
    ck.ObjectHandleInvalid,
    ck.SessionClosed,
    ck.SessionHandleInvalid,
    ck.SlotIDInvalid,
    ck.TokenNotPresent,
    ck.TokenNotRecognised,
    ck.UserNotLoggedIn,
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a key is. By CKA_ID, by CKA_LABEL, or both; `token` is the token's label."""

    library: Path
    token: str
    id: bytes = b""
    label: str = ""

    def template(self, kind: ObjectClass) -> dict[Attribute, Any]:
        wanted: dict[Attribute, Any] = {Attribute.CLASS: kind}
        if self.id:
            wanted[Attribute.ID] = self.id
        if self.label:
            wanted[Attribute.LABEL] = self.label
        return wanted


class _Library:
    """One loaded library: whose turn it is, and which tokens have a session."""

    def __init__(self) -> None:
        self.turn = threading.Lock()
        self.in_session: set[int] = set()


_LIBRARIES: dict[Path, _Library] = {}  # a process loads each once, for good


class Pkcs11Token:
    """The thread that speaks with one token. `close` ends it.

    Args:
        read_pin: gives the user PIN; called on the token's thread.
        certificate: that of the key, when the token does not hold it.
    """

    def __init__(
        self,
        place: Place,
        read_pin: Callable[[], str],
        *,
        certificate: x509.Certificate | None = None,
        timeout_s: float = 15.0,
    ) -> None:
        self._place = place
        self._read_pin = read_pin
        self._certificate = certificate
        self._timeout_s = timeout_s
        self._library = _LIBRARIES.setdefault(place.library, _Library())
        self._held: _Held | None = None
        self._refused = False
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="pkcs11", daemon=True)
        self._thread.start()

    async def key(self) -> "Pkcs11Key":
        """Log in, find the key and its certificate.

        Raises:
            CardAbsent: no such library, token or key now.
            PinNeeded, PinBlocked: the PIN is refused.
            CredentialError: no certificate, or not an RSA key.
        """
        held = await self.run(self._open)
        return Pkcs11Key(self, held.certificate, held.raw_rsa)

    def unlatch(self) -> None:
        """The PIN was changed by a person: it may be tried once more."""
        self._refused = False

    async def close(self) -> None:
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join, self._timeout_s)

    async def sign(self, data: bytes, mechanism: Mechanism) -> bytes:
        return await self.run(lambda: self._sign(data, mechanism))

    async def run(self, work: Callable[[], T]) -> T:
        future: Future[T] = Future()
        if not self._thread.is_alive():
            raise CardAbsent("the token was closed", hint=_GONE)
        self._jobs.put((future, work))
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.wrap_future(future)
        except TimeoutError as err:
            raise CardFault(f"the token did not answer within {self._timeout_s:g} s", hint=_SLOW) from err

    # On the thread

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, work = job
            if not future.set_running_or_notify_cancel():
                continue
            try:
                with self._library.turn:
                    result = work()
                future.set_result(result)
            except BaseException as err:
                future.set_exception(err)
            job = None
            del future, work  # nothing of the last one is held while waiting for the next
        with self._library.turn:
            self._drop()

    def _sign(self, data: bytes, mechanism: Mechanism) -> bytes:
        held = self._open()
        try:
            return bytes(held.private.sign(data, mechanism=mechanism))
        except ck.PKCS11Error as err:
            self._drop()
            _raise(err)

    def _open(self) -> "_Held":
        if self._held is None:
            try:
                self._held = self._log_in_anew()
                self._library.in_session.add(id(self))
            except ck.PKCS11Error as err:
                self._refused = self._refused or isinstance(err, _PIN_ERRORS)
                _raise(err)
        return self._held

    def _log_in_anew(self) -> "_Held":
        try:
            return self._log_in()
        except (ck.GeneralError, ck.NoSuchToken, ck.DeviceError):
            if self._library.in_session:
                raise
        library = pkcs11.lib(str(self._place.library))
        library.reinitialize()
        return self._log_in()

    def _log_in(self) -> "_Held":
        if self._refused:
            raise PinNeeded("the token's PIN was refused before and is not sent again", hint=_CODE)
        token = _token(self._place)
        session = token.open(user_pin=self._read_pin())
        try:
            private = session.get_key(**_by(self._place))
            raw_rsa = Mechanism.RSA_X_509 in token.slot.get_mechanisms()
            return _Held(session, private, self._certificate or _certificate(session, self._place), raw_rsa)
        except BaseException:
            with suppress(ck.PKCS11Error):
                session.close()
            raise

    def _drop(self) -> None:
        held, self._held = self._held, None
        self._library.in_session.discard(id(self))
        if held is not None:
            with suppress(ck.PKCS11Error):
                held.session.close()


@dataclass(frozen=True, slots=True)
class _Held:
    session: Any
    private: Any
    certificate: x509.Certificate
    raw_rsa: bool


class Pkcs11Key:
    """A `SigningKey` in a token."""

    def __init__(self, token: Pkcs11Token, certificate: x509.Certificate, raw_rsa: bool) -> None:
        self._token = token
        self.certificate = certificate
        self.raw_rsa = raw_rsa

    async def sign_digest(self, digest: bytes, hash_name: str) -> bytes:
        return await self._token.sign(digest_info(digest, hash_name), Mechanism.RSA_PKCS)

    async def decrypt_block(self, block: bytes) -> bytes:
        return await self._token.sign(block, Mechanism.RSA_X_509)


class Pkcs11Signer(KeySigner):
    """A `Signer` over a key in a token; a token that comes back works again."""


def _token(place: Place) -> Any:
    try:
        library = pkcs11.lib(str(place.library))
    except ck.GeneralError:  # loaded before, and its tokens are not there: not the library's fault
        raise
    except (RuntimeError, OSError) as err:
        raise CredentialError(
            f"cannot load the PKCS#11 library: {type(err).__name__}",
            hint=f"La bibliothèque {place.library.name} du module de clés est absente ou inutilisable.",
        ) from err
    return library.get_token(token_label=place.token)


def _by(place: Place) -> dict[str, Any]:
    wanted: dict[str, Any] = {"object_class": ObjectClass.PRIVATE_KEY}
    return wanted | ({"id": place.id} if place.id else {}) | ({"label": place.label} if place.label else {})


def _certificate(session: Any, place: Place) -> x509.Certificate:
    for found in session.get_objects(place.template(ObjectClass.CERTIFICATE)):
        try:
            return x509.load_der_x509_certificate(bytes(found[Attribute.VALUE]))
        except ValueError as err:
            raise Unreadable("the token's certificate is not X.509", hint=_MISSING) from err
    raise CredentialError("the token holds no certificate for the key", hint=_MISSING)


def _raise(err: ck.PKCS11Error) -> NoReturn:
    """What python-pkcs11 raises, as ours."""
    name = type(err).__name__
    if isinstance(err, ck.PinLocked):
        raise PinBlocked("the token's PIN is locked", hint=_LOCKED) from err
    if isinstance(err, _PIN_ERRORS):
        raise PinNeeded(f"the token refuses its PIN: {name}", hint=_CODE) from err
    if isinstance(err, ck.NoSuchKey | ck.MultipleObjectsReturned):
        raise CredentialError(f"expected one key in the token: {name}", hint=_MISSING) from err
    if isinstance(err, _ABSENT_ERRORS):
        raise CardAbsent(f"the token is gone: {name}", hint=_GONE) from err
    raise CardFault(f"the token does not sign: {name}", hint=_GONE) from err
