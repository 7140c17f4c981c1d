"""Which servers of the national network may be spoken to: their authorities, and what the lists say of them (TLS-04).

    servers = Servers("registry.authority", path, crl_folder(config), clock)
    servers.load()               # blocks
    context = servers.context()  # what opens TLS to them
    … servers.run()              # a part of the box: follows the files

Rules:
- After each handshake the server's chain is built among the authorities of the file, and each certificate of it looked
  for in its issuer's list: before a byte of a request is written. Before every further piece it is asked whether the
  lists, or the time, have changed since: a connection that is kept open outlives no revocation.
- No list that holds now, no connection. Absent, ended or of later than now: a `CredentialError`, which passes once the
  host has fetched it. Revoked: a `TrustError`. Both hold what waits, and burn no try.
- The host fetches the lists and keeps them on the disk; here they are read, verified again, and never written. One that
  cannot be believed, or is older than what is held, changes nothing.

Facts:
- OpenSSL can look at lists itself, but takes them as PEM only, makes an object of each entry, sorts them within a
  handshake, and drops an old one only with its context: seconds and hundreds of megabytes at the size of the real ones.
- `sslobject_class` is the way into a handshake that `ssl` documents. An `SSLError` from there ends the connection like
  one of OpenSSL's, and asyncio writes nothing more. It is called wherever the connection lives: any thread.
"""

import asyncio
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
from cryptography import x509

from passevue.card.crl import Crl, Standing, standing
from passevue.card.crl_store import list_path, read_kept
from passevue.card.igc import common_name, issuer_of
from passevue.errors import BoxError, ConfigError, CredentialError, TrustError
from passevue.national.file_stamp import file_stamp

CIPHERS_OF_TLS_1_2 = "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-CHACHA20-POLY1305"
LOOK_EVERY_S = 2.0
_LONGEST_CHAIN = 4
_MAX_FILE_BYTES = 1 << 20

log = structlog.get_logger()


def bare_context() -> ssl.SSLContext:
    """What TLS to the national network is, without authorities and certificate yet (TLS-01, TLS-02, TLS-05)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS_OF_TLS_1_2)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    return context


class ServerRefused(ssl.SSLCertVerificationError):
    """The server is not vouched for: `why`, as ours."""

    def __init__(self, why: BoxError) -> None:
        super().__init__(1, "the server is not vouched for")
        self.why = why


@dataclass(frozen=True, slots=True)
class _Known:
    """What is on the disk, as one object: replaced whole, so that any thread may look."""

    authorities: tuple[x509.Certificate, ...] = ()
    crls: dict[Path, Crl] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Vouched:
    """A server was found good by `known`, which says so until `until`."""

    known: _Known
    until: datetime


class Servers:
    """The servers that one file of authorities certifies.

    Args:
        setting: its key in the configuration.
        authority: PEM file of who certifies them, roots included.
        lists: folder where the host keeps revocation lists.
        clock: aware now.
    """

    def __init__(
        self, setting: str, authority: Path, lists: Path, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.authority = authority
        self._setting = setting
        self._lists = lists
        self._clock = clock
        self._known = _Known()
        self._seen: dict[Path, object] = {}  # stamps of the files as they were read, or could not be
        self._looking = threading.Lock()

    def load(self) -> None:
        """Read what is on the disk. Blocks. Raises: ConfigError: no file of authorities."""
        try:
            self.look()
        except (OSError, ValueError) as err:
            raise ConfigError(
                self._setting, f"expected PEM certificates in {self.authority.name}",
                hint=f"Le fichier {self.authority.name} est absent ou n'est pas un fichier PEM.",
            ) from err  # fmt: skip

    async def run(self) -> None:
        """Follow the files until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await asyncio.to_thread(self.look)
            except (OSError, ValueError) as err:
                log.warning("authorities_not_renewed", setting=self._setting, error_class=type(err).__name__)

    def context(self) -> ssl.SSLContext:
        """A client context that trusts these authorities alone and leaves a server that is not vouched for. Blocks.

        Raises:
            OSError: the file cannot be read, or holds no certificate (`ssl.SSLError`).
        """
        context = bare_context()
        context.load_verify_locations(self.authority)
        context.sslobject_class = _guarded(self)
        return context

    def vouch(self, der: bytes) -> _Vouched:
        """The server whose certificate this is, which TLS has found to be of these authorities, is good now.

        Raises:
            TrustError: it, or one of its authorities, is revoked.
            CredentialError: the lists, or the clock, do not allow to say.
        """
        known, now = self._known, self._clock()
        certificate = x509.load_der_x509_certificate(der)
        ends = []
        for step in range(_LONGEST_CHAIN):
            issuer = issuer_of(certificate, known.authorities)
            if issuer is None:
                raise CredentialError(
                    f"an authority of the server is not in {self._setting}",
                    hint=f"Une autorité du serveur manque dans le fichier « {self._setting} » : sans elle, ses listes "
                    "de révocation ne se vérifient pas. Ajoutez-la.",
                )
            ends.append(self._good_until(certificate, issuer, known, now, user=step == 0))
            if issuer.subject == issuer.issuer:
                return _Vouched(known, min(ends))
            certificate = issuer
        raise TrustError(f"expected a chain of at most {_LONGEST_CHAIN} certificates")

    def still(self, der: bytes, before: _Vouched) -> _Vouched:
        """As `vouch`, for who was vouched for `before`: costs nothing while nothing has changed."""
        return before if before.known is self._known and self._clock() <= before.until else self.vouch(der)

    def _good_until(
        self, certificate: x509.Certificate, issuer: x509.Certificate, known: _Known, now: datetime, *, user: bool
    ) -> datetime:
        crl = known.crls.get(list_path(self._lists, issuer))
        found, name = standing(crl, certificate, now, user=user), common_name(issuer.subject)
        if found is Standing.REVOKED:
            raise TrustError("the server's certificate is revoked", hint=_REVOKED)
        if crl is None or found is Standing.ABSENT:
            raise CredentialError(f"no CRL of {name} is held", hint=_NO_LIST.format(name))
        if found is Standing.FUTURE:
            raise CredentialError(f"the CRL of {name} is of later than now", hint=_CLOCK_BEHIND)
        if found is Standing.ENDED:
            raise CredentialError(
                f"the CRL of {name} ended on {crl.next_update:%Y-%m-%d %H:%M}",
                hint=_ENDED.format(name, crl.next_update),
            )
        return crl.next_update

    # The disk

    def look(self) -> None:
        """Take what has changed. Blocks. Raises: OSError, ValueError: the file of authorities is not one; all stays."""
        with self._looking:
            self._look()

    def _look(self) -> None:
        authorities, crls = self._known.authorities, dict(self._known.crls)
        changed = False
        stamp = file_stamp(self.authority)
        if not authorities or stamp != self._seen.get(self.authority):
            self._seen[self.authority] = stamp
            authorities, changed = self._read_authorities(), True
        for authority in authorities:
            path = list_path(self._lists, authority)
            stamp = file_stamp(path)
            if stamp is None or stamp == self._seen.get(path):
                continue
            self._seen[path] = stamp
            crl = _newer(path, authority, crls.get(path))
            if crl is not None:
                crls[path], changed = crl, True
        if changed:
            self._known = _Known(authorities, crls)

    def _read_authorities(self) -> tuple[x509.Certificate, ...]:
        with self.authority.open("rb") as file:
            return tuple(x509.load_pem_x509_certificates(file.read(_MAX_FILE_BYTES)))


def _newer(path: Path, authority: x509.Certificate, held: Crl | None) -> Crl | None:
    """What is in the file, where that is better than what is held."""
    name = common_name(authority.subject)
    try:
        crl = read_kept(path, authority)
    except (BoxError, OSError) as err:
        error = err.message if isinstance(err, BoxError) else type(err).__name__
        log.warning("crl_refused", title=name, error=error)
        return None
    if held is not None and crl.this_update < held.this_update:
        log.warning("crl_refused", title=name, error="it is older than the one held")
        return None
    log.info("crl_read", title=name, count=crl.count)
    return crl


def _guarded(servers: Servers) -> type[ssl.SSLObject]:
    """Connections that write to a server only while `servers` vouches for it."""

    class Guarded(ssl.SSLObject):
        _der = b""
        _vouched: _Vouched | None = None

        def do_handshake(self) -> None:
            super().do_handshake()
            self._der = self.getpeercert(binary_form=True) or b""
            try:
                self._vouched = servers.vouch(self._der)
            except BoxError as err:
                raise ServerRefused(err) from err
            except ValueError as err:  # DER that cryptography does not read
                raise ServerRefused(TrustError(f"the server's certificate is malformed: {err}", hint=_REVOKED)) from err

        def write(self, data: Any) -> int:
            if self._vouched is None:
                raise ServerRefused(TrustError("nothing is written before the handshake"))
            try:
                self._vouched = servers.still(self._der, self._vouched)
            except BoxError as err:
                raise ServerRefused(err) from err
            return super().write(data)

    return Guarded


_REVOKED = (
    "Le certificat du serveur national est révoqué, ou son autorité : rien ne lui est envoyé. Les envois reprendront "
    "d'eux-mêmes quand il en montrera un autre. Prévenez la maintenance."
)
_NO_LIST = (
    "La liste de révocation de l'autorité « {0} » n'a pas encore été reçue : sans elle, rien n'est envoyé. Vérifiez "
    "l'accès du boîtier au réseau de l'IGC-Santé, ou son adresse dans « crl.urls »."
)
_ENDED = (
    "La liste de révocation de l'autorité « {0} » est périmée depuis le {1:%d/%m/%Y} : rien n'est envoyé sans une "
    "nouvelle. Vérifiez l'accès du boîtier au réseau de l'IGC-Santé."
)
_CLOCK_BEHIND = (
    "Une liste de révocation est datée du futur : l'horloge du boîtier retarde, vérifiez la date et l'heure."
)
