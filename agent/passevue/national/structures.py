"""The key store: for each structure in whose name the box speaks, what signs and what opens TLS (igc-sante.md § 6).

Rules:
- Keys that do not fit are refused when they are read (`ConfigError`, which names the key of the configuration): wrong
  realm, wrong family, wrong structure, key of another certificate. Dates are judged at each use (`CredentialError`):
  time passes, and intake goes on meanwhile.
- One context per structure: TLS 1.2 or 1.3, the DMP's suites that are AEAD, only the configured authorities, names and
  revocation checked (`servers`).
- `run` watches the files: a renewed certificate is taken without a restart; a wrong one is told, and the old one stays.
- A key that stays in a PKCS#11 token (`token_keys`) is asked for when something is to be signed, not before.

Facts: `ssl` reads key files from paths only, so files are read twice, and both readings must be of the same content.
"""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import structlog
from cryptography import x509

from passevue import config
from passevue.card.pem_signer import read_key
from passevue.card.signer import Signer
from passevue.config_keys import TokenKeyUri
from passevue.errors import BoxError, ConfigError, CredentialError, TrustError, Unreadable
from passevue.national import certificate as igc
from passevue.national.file_stamp import file_stamp
from passevue.national.servers import Servers
from passevue.national.token_keys import TokenKeys, TokenTls

WARN_DAYS = (90, 30, 7)
WATCH_EVERY_S = 60.0
_MAX_FILE_BYTES = 1 << 20

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class StructureKeys:
    """What speaks for one structure; all of it new objects whenever the files changed.

    Attributes:
        ssl_context: opens TLS; without certificate and key where these are `tls`.
        tls: what opens TLS with a key that stays in a token; None: the context does.
    """

    id: str
    name: str
    sector: str
    sign: Signer
    auth_certificate: x509.Certificate
    ssl_context: ssl.SSLContext
    tls: TokenTls | None = None


@dataclass(frozen=True, slots=True)
class CertificateState:
    """One certificate for the status page.

    `level` is the tightest of 90, 30, 7 days that `until` is within, 0 when it has ended, None when all is well.
    """

    structure_id: str
    role: str
    serial: str
    until: datetime
    days_left: int
    level: int | None


@dataclass(frozen=True, slots=True)
class _Files:
    """The four places of one structure, each under its name in the configuration."""

    auth_certificate: Path
    auth_key: Path | TokenKeyUri
    sign_certificate: Path
    sign_key: Path | TokenKeyUri


class Structures:
    """Keys by StructIdNat.

    Args:
        structures: from the configuration.
        servers: who is spoken to; its file of authorities, of one realm and never both, certifies structures too.
        realm: `test` or `production`.
        credentials_dir: where relative key files are.
        clock: aware now.
    """

    def __init__(
        self,
        structures: Sequence[config.Structure],
        servers: Servers,
        realm: str,
        credentials_dir: Path | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = {one.id: one for one in structures}
        self._order = tuple(one.id for one in structures)
        self._servers = servers
        self._authority = servers.authority
        self._realm = realm
        self._credentials_dir = credentials_dir
        self._clock = clock
        self._keys: dict[str, StructureKeys] = {}
        self._seen: dict[str, tuple[object, ...]] = {}
        self._tokens = TokenKeys()
        self.problem: BoxError | None = None  # why the last renewal was not taken; None when all is well

    def load(self) -> None:
        """Read every file; blocking, before the loop starts or on a thread.

        Raises:
            ConfigError: a file is missing, or is not what it must be.
        """
        self._servers.load()
        if len(self._settings) != len(self._order):
            raise ConfigError("structures", "one id is given twice", hint="Donnez un identifiant par structure.")
        for position, struct_id in enumerate(self._order):
            self._load_one(position, self._settings[struct_id])

    def open_context(self) -> ssl.SSLContext:
        """What opens TLS to the DMP, with no certificate of its own yet. Blocks. Raises: OSError."""
        return self._servers.context()

    @property
    def default(self) -> str:
        """StructIdNat of the first structure of the configuration."""
        return self._order[0]

    def __contains__(self, struct_id: str) -> bool:
        return struct_id in self._settings

    def get(self, struct_id: str) -> StructureKeys:
        """What speaks for `struct_id`, now.

        Raises:
            CredentialError: not one of ours, or one of its certificates is not valid at this time.
        """
        keys = self._keys.get(struct_id)
        if keys is None:
            raise CredentialError(
                "no certificates for the structure that the report names",
                hint="Le compte rendu désigne une structure dont le boîtier n'a pas les certificats : ajoutez-la.",
            )
        now = self._clock()
        for role, held in (
            (igc.Family.ORG_AUTH_CLI, keys.auth_certificate),
            (igc.Family.ORG_SIGN, keys.sign.certificate),
        ):
            _check_dates(role, held, now)
        return keys

    def states(self) -> tuple[CertificateState, ...]:
        """Every certificate held, for the status page."""
        now = self._clock()
        return tuple(
            _state(keys.id, role, held, now)
            for keys in self._keys.values()
            for role, held in (("AUTH_CLI", keys.auth_certificate), ("SIGN", keys.sign.certificate))
        )

    async def run(self) -> None:
        """Watch the files until cancelled, then close the tokens."""
        try:
            while True:
                await asyncio.sleep(WATCH_EVERY_S)
                await self.renew()
        finally:
            await self.close()

    async def close(self) -> None:
        """Leave the tokens; nothing that they hold is used any more."""
        await self._tokens.close()

    async def renew(self) -> bool:
        """Take what changed on the disk. A wrong file changes nothing and is kept in `problem`. True: something new."""
        try:
            changed = await asyncio.to_thread(self._renew)
        except BoxError as err:
            if self.problem is None or self.problem.message != err.message:
                log.warning("certificates_not_renewed", reason=type(err).__name__)
            self.problem = err
            return False
        self.problem = None
        return changed > 0

    def _renew(self) -> int:
        """How many were taken anew. One whose files are wrong keeps none of the others from it; the first is raised."""
        changed: list[int] = []
        wrong: list[BoxError] = []
        for position, struct_id in enumerate(self._order):
            settings = self._settings[struct_id]
            if self._fingerprint(self._files(settings)) == self._seen.get(struct_id):
                continue
            try:
                self._servers.load()  # before a context believes new authorities, whose lists are not looked at yet
                self._load_one(position, settings)
                changed.append(position)
            except BoxError as err:
                wrong.append(err)
        if changed:
            log.info("certificates_renewed", structures=len(changed))
        if wrong:
            raise wrong[0]
        return len(changed)

    # Reading one structure

    def _files(self, settings: config.Structure) -> _Files:
        return _Files(
            settings.auth_certificate,
            self._secret(settings.auth_key),
            settings.sign_certificate,
            self._secret(settings.sign_key),
        )

    def _secret(self, place: Path | TokenKeyUri) -> Path | TokenKeyUri:
        if self._credentials_dir is None:
            return place
        return place.among(self._credentials_dir) if isinstance(place, TokenKeyUri) else self._credentials_dir / place

    def _fingerprint(self, files: _Files) -> tuple[object, ...]:
        places = (files.auth_certificate, files.auth_key, files.sign_certificate, files.sign_key, self._authority)
        return tuple(file_stamp(place.pin if isinstance(place, TokenKeyUri) else place) for place in places)

    def _load_one(self, position: int, settings: config.Structure) -> None:
        prefix = f"structures.{position}"
        files = self._files(settings)
        before = self._fingerprint(files)
        authorities = self._authorities()
        auth = self._read_certificates(f"{prefix}.auth_certificate", files.auth_certificate)
        sign = self._read_certificates(f"{prefix}.sign_certificate", files.sign_certificate)
        self._check(f"{prefix}.auth_certificate", settings.id, auth[0], igc.Family.ORG_AUTH_CLI, authorities)
        self._check(f"{prefix}.sign_certificate", settings.id, sign[0], igc.Family.ORG_SIGN, authorities)
        signer = self._signer(f"{prefix}.sign_key", sign[0], files.sign_key)
        context, tls = self._opener(prefix, auth, files)
        if self._fingerprint(files) != before:
            raise CredentialError("certificate files changed while they were read")
        self._keys[settings.id] = StructureKeys(
            settings.id, settings.name, settings.sector, signer, auth[0], context, tls
        )
        self._seen[settings.id] = before

    def _authorities(self) -> list[x509.Certificate]:
        content = _read("registry.authority", self._authority)
        try:
            authorities = x509.load_pem_x509_certificates(content)
        except ValueError as err:
            raise ConfigError("registry.authority", "expected PEM certificates") from err
        wanted = self._realm == "test"
        if any(igc.is_test_authority(one) is not wanted for one in authorities):
            raise ConfigError(
                "registry.authority",
                f"expected only authorities of the {self._realm} realm",
                hint="Les autorités de test et de production ne se mélangent jamais : vérifiez « box.realm ».",
            )
        return authorities

    def _read_certificates(self, key: str, path: Path) -> list[x509.Certificate]:
        try:
            return x509.load_pem_x509_certificates(_read(key, path))
        except ValueError as err:
            raise ConfigError(key, f"expected a PEM certificate: {err}") from err

    def _signer(self, key: str, certificate: x509.Certificate, place: Path | TokenKeyUri) -> Signer:
        try:
            if isinstance(place, TokenKeyUri):
                return self._tokens.signer(place, certificate)
            return read_key(certificate, _read(key, place))
        except (Unreadable, TrustError, CredentialError) as err:
            _wrong(key, err)

    def _check(
        self,
        key: str,
        struct_id: str,
        held: x509.Certificate,
        family: igc.Family,
        authorities: Sequence[x509.Certificate],
    ) -> None:
        """Import checks of igc-sante.md § 6, but for the dates of the leaf."""
        found = igc.family(held)
        if found is not family:
            raise ConfigError(key, f"expected an {family} certificate, got {found or 'another family'}",
                              hint=f"Ce fichier doit être le certificat {family} de la structure.")  # fmt: skip
        try:
            unit = igc.structure_id(held)
            igc.check_chain(held, authorities, self._clock())
        except TrustError as err:
            _wrong(key, err)
        if unit != struct_id:
            raise ConfigError(key, f"expected OU {struct_id!r}, got {unit!r}",
                              hint="Ce certificat est celui d'une autre structure.")  # fmt: skip
        if igc.is_test(held) not in (None, self._realm == "test"):
            raise ConfigError(key, f"expected a certificate of the {self._realm} realm",
                              hint="Certificat de test en production, ou l'inverse.")  # fmt: skip

    def _opener(
        self, prefix: str, certificates: Sequence[x509.Certificate], files: _Files
    ) -> tuple[ssl.SSLContext, TokenTls | None]:
        try:
            context = self.open_context()
            if isinstance(files.auth_key, TokenKeyUri):
                return context, self._tokens.tls(files.auth_key, certificates[0], certificates[1:])
            self._signer(f"{prefix}.auth_key", certificates[0], files.auth_key)  # says better what is wrong with it
            # An empty password: an encrypted key must fail here, never ask at a terminal.
            context.load_cert_chain(files.auth_certificate, files.auth_key, password="")
        except (ssl.SSLError, OSError) as err:
            raise ConfigError(f"{prefix}.auth_certificate", f"cannot open TLS with it: {err}") from err
        return context, None


def _check_dates(role: str, held: x509.Certificate, now: datetime) -> None:
    start, end = igc.usable_from(held), igc.usable_until(held)
    if now < start:
        raise CredentialError(
            f"{role} certificate is not valid before {start:%Y-%m-%d %H:%M}",
            hint="Un certificat n'est pas encore valable, ou l'horloge du boîtier retarde : vérifiez la date.",
        )
    if now > end:
        raise CredentialError(
            f"{role} certificate ended on {end:%Y-%m-%d %H:%M}",
            hint=f"Le certificat {role} a expiré le {end:%d/%m/%Y} : commandez et installez le nouveau.",
        )


def _state(struct_id: str, role: str, held: x509.Certificate, now: datetime) -> CertificateState:
    until = igc.usable_until(held)
    days = (until - now).days
    within = [limit for limit in WARN_DAYS if days < limit]
    level = 0 if now > until else min(within, default=None)
    return CertificateState(struct_id, role, f"{held.serial_number:x}", until, days, level)


def _wrong(key: str, err: BoxError) -> NoReturn:
    raise ConfigError(key, err.message, hint=err.hint) from err


def _read(key: str, path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
    except OSError as err:
        raise ConfigError(
            key, f"cannot read {path.name}: {err.strerror}", hint=f"Déposez le fichier {path.name}."
        ) from err
    if len(content) > _MAX_FILE_BYTES:
        raise ConfigError(key, f"expected at most {_MAX_FILE_BYTES} bytes in {path.name}")
    return content
