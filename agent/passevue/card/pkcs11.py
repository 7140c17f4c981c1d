"""Keys behind PKCS#11: SoftHSM2 today, a TPM or an HSM tomorrow, through the library that speaks for them.

    token = Pkcs11Token(library, "passevue", read_pin)
    key = await token.key(KeyName(label="sign"))   # a `SigningKey`: Pkcs11Signer(key), tls_key_of(key, loop)

Rules:
- Each token has one thread and one session for all its keys: PKCS#11 libraries block and take one operation at a time
  a session, and a process logs in to a token once. A library that hangs costs its caller a bounded wait, and its
  thread.
- `read_pin` is asked at each login and nothing of it is kept. A PIN that was refused is not sent again by program:
  `unlatch` is for the person who changed it.
- A token that was pulled, a session that was closed: `CardAbsent`; the next signature logs in anew.
- A key that is not that of its certificate is refused when it is found, before it signs anything.
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
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NoReturn, TypeVar

import pkcs11
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
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
class KeyName:
    """Which key of a token: by CKA_ID, by CKA_LABEL, or both."""

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
    """The thread that speaks with one token; a process has one for each. `close` ends it.

    Args:
        library: the PKCS#11 module.
        label: the token's.
        read_pin: gives the user PIN, or raises a `BoxError`; called on the token's thread.
    """

    def __init__(self, library: Path, label: str, read_pin: Callable[[], str], *, timeout_s: float = 15.0) -> None:
        self._path = library
        self._label = label
        self._read_pin = read_pin
        self._timeout_s = timeout_s
        self._library = _LIBRARIES.setdefault(library, _Library())
        self._session: _Session | None = None
        self._refused = False
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="pkcs11", daemon=True)
        self._thread.start()

    async def key(self, name: KeyName, certificate: x509.Certificate | None = None) -> "Pkcs11Key":
        """Log in, find the key and its certificate.

        Args:
            certificate: that of the key; None: the token holds it.

        Raises:
            CardAbsent: no such token now.
            PinNeeded, PinBlocked: the PIN is refused.
            CredentialError: no such library or key, no certificate, or the key is another's.
        """
        held, raw_rsa = await self.run(lambda: self._find(name, certificate))
        return Pkcs11Key(self, name, held, raw_rsa)

    def unlatch(self) -> None:
        """The PIN was changed by a person: it may be tried once more."""
        self._refused = False

    async def close(self) -> None:
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join, self._timeout_s)

    async def sign(self, name: KeyName, certificate: x509.Certificate, data: bytes, mechanism: Mechanism) -> bytes:
        return await self.run(lambda: self._sign(name, certificate, data, mechanism))

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

    def _find(self, name: KeyName, certificate: x509.Certificate | None) -> tuple[x509.Certificate, bool]:
        session = self._open()
        with self._told():
            found = certificate or _certificate(session.handle, name)
            self._private(session, name, found)
        return found, session.raw_rsa

    def _sign(self, name: KeyName, certificate: x509.Certificate, data: bytes, mechanism: Mechanism) -> bytes:
        session = self._open()
        with self._told():
            return bytes(self._private(session, name, certificate).sign(data, mechanism=mechanism))

    def _private(self, session: "_Session", name: KeyName, certificate: x509.Certificate) -> Any:
        private = session.keys.get((name, certificate))
        if private is None:
            private = session.handle.get_key(**_by(name))
            _check_belongs(private, certificate)
            session.keys[(name, certificate)] = private
        return private

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What python-pkcs11 raises, as ours; whatever it was, the next call begins with a new session."""
        try:
            yield
        except ck.PKCS11Error as err:
            self._drop()
            _raise(err)

    def _open(self) -> "_Session":
        if self._session is None:
            try:
                self._session = self._log_in_anew()
                self._library.in_session.add(id(self))
            except ck.PKCS11Error as err:
                self._refused = self._refused or isinstance(err, _PIN_ERRORS)
                _raise(err)
        return self._session

    def _log_in_anew(self) -> "_Session":
        try:
            return self._log_in()
        except (ck.GeneralError, ck.NoSuchToken, ck.DeviceError):
            if self._library.in_session:
                raise
        library = pkcs11.lib(str(self._path))
        library.reinitialize()
        return self._log_in()

    def _log_in(self) -> "_Session":
        if self._refused:
            raise PinNeeded("the token's PIN was refused before and is not sent again", hint=_CODE)
        token = _token(self._path, self._label)
        session = token.open(user_pin=self._read_pin())
        try:
            return _Session(session, Mechanism.RSA_X_509 in token.slot.get_mechanisms())
        except BaseException:
            with suppress(ck.PKCS11Error):
                session.close()
            raise

    def _drop(self) -> None:
        session, self._session = self._session, None
        self._library.in_session.discard(id(self))
        if session is not None:
            session.keys.clear()
            with suppress(ck.PKCS11Error):
                session.handle.close()


@dataclass(slots=True)
class _Session:
    """What is open, and the keys found in it so far."""

    handle: Any
    raw_rsa: bool
    keys: dict[tuple[KeyName, x509.Certificate], Any] = field(default_factory=dict)


class Pkcs11Key:
    """A `SigningKey` in a token. Made without a look at the token; `Pkcs11Token.key` looks first.

    Args:
        raw_rsa: whether the token does raw RSA, which TLS 1.3 needs and signatures do not.
    """

    def __init__(self, token: Pkcs11Token, name: KeyName, certificate: x509.Certificate, raw_rsa: bool = False) -> None:
        self._token = token
        self._name = name
        self.certificate = certificate
        self.raw_rsa = raw_rsa

    async def sign_digest(self, digest: bytes, hash_name: str) -> bytes:
        return await self._sign(digest_info(digest, hash_name), Mechanism.RSA_PKCS)

    async def decrypt_block(self, block: bytes) -> bytes:
        return await self._sign(block, Mechanism.RSA_X_509)

    async def _sign(self, data: bytes, mechanism: Mechanism) -> bytes:
        return await self._token.sign(self._name, self.certificate, data, mechanism)


class Pkcs11Signer(KeySigner):
    """A `Signer` over a key in a token; a token that comes back works again."""


def _token(path: Path, label: str) -> Any:
    try:
        library = pkcs11.lib(str(path))
    except ck.GeneralError:  # loaded before, and its tokens are not there: not the library's fault
        raise
    except (RuntimeError, OSError) as err:
        raise CredentialError(
            f"cannot load the PKCS#11 library: {type(err).__name__}",
            hint=f"La bibliothèque {path.name} du module de clés est absente ou inutilisable.",
        ) from err
    return library.get_token(token_label=label)


def _by(name: KeyName) -> dict[str, Any]:
    wanted: dict[str, Any] = {"object_class": ObjectClass.PRIVATE_KEY}
    return wanted | ({"id": name.id} if name.id else {}) | ({"label": name.label} if name.label else {})


def _certificate(session: Any, name: KeyName) -> x509.Certificate:
    for found in session.get_objects(name.template(ObjectClass.CERTIFICATE)):
        try:
            return x509.load_der_x509_certificate(bytes(found[Attribute.VALUE]))
        except ValueError as err:
            raise Unreadable("the token's certificate is not X.509", hint=_MISSING) from err
    raise CredentialError("the token holds no certificate for the key", hint=_MISSING)


def _check_belongs(private: Any, certificate: x509.Certificate) -> None:
    """By the modulus, which a library may keep to itself: then the first signature tells."""
    public = certificate.public_key()
    try:
        modulus = int.from_bytes(bytes(private[Attribute.MODULUS]), "big")
    except (ck.AttributeTypeInvalid, ck.AttributeSensitive):
        return
    if not isinstance(public, rsa.RSAPublicKey) or public.public_numbers().n != modulus:
        raise CredentialError(
            "the token's key does not belong to the certificate",
            hint="La clé du module n'est pas celle du certificat : vérifiez son nom et le fichier du certificat.",
        )


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
