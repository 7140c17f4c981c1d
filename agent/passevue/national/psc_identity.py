"""With what the box opens TLS to Pro Santé Connect: an ORG AUTH_CLI certificate, which is its only credential (§ 2).

There is no client secret anywhere (RFC 8705). The certificate is the one of `[psc]` (its CN is then the client_id), or
that of the first structure. Files are read again when they change; a wrong file leaves the old one in use.
"""

import ssl
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from passevue import config
from passevue.config_keys import TokenKeyUri
from passevue.errors import ConfigError, CredentialError
from passevue.national import certificate as igc
from passevue.national.file_stamp import file_stamp
from passevue.national.servers import Servers, bare_context

_MAX_FILE_BYTES = 1 << 20


class PscIdentity:
    """Certificate, key and the context made of them. `load` and `renew` block: on a thread.

    Args:
        certificate: PEM file.
        key: PEM file.
        servers: who is trusted as Pro Santé Connect; None: whoever the system's store certifies, whose lists of
            revocation nobody knows (CERT-04 tells).
        client_id: what CN must be; "" when the certificate is a structure's, which has its own CN.
    """

    def __init__(self, certificate: Path, key: Path, servers: Servers | None = None, client_id: str = "") -> None:
        self._paths = [certificate, key] + ([servers.authority] if servers is not None else [])
        self._certificate = certificate
        self._key = key
        self._servers = servers
        self._client_id = client_id
        self._seen: tuple[object, ...] = ()
        self._held: tuple[x509.Certificate, ssl.SSLContext] | None = None

    @classmethod
    def of(cls, whole: config.Config, servers: Servers | None) -> "PscIdentity":
        """The identity that the configuration names; it has a `[psc]` section."""
        settings = whole.psc
        if settings is None:
            raise ConfigError("psc", "is missing", hint="La section [psc] manque.")
        if settings.certificate is not None and settings.key is not None:
            return cls(settings.certificate, settings.key, servers, settings.client_id)
        first = whole.structures[0]
        if isinstance(first.auth_key, TokenKeyUri):
            raise ConfigError("psc.certificate", "is missing, and the first structure's key stays in its token",
                              hint="Donnez le certificat de [psc] et sa clé : celle de la structure reste dans le "
                              "module de clés.")  # fmt: skip
        return cls(first.auth_certificate, first.auth_key, servers)

    def load(self) -> None:
        """Raises: ConfigError when a file is not what it must be."""
        before = self._stamps()
        if self._servers is not None:
            self._servers.load()
        leaf = self._leaf()
        found = igc.family(leaf)
        if found is not igc.Family.ORG_AUTH_CLI:
            raise ConfigError("psc.certificate", f"expected an ORG AUTH_CLI certificate, got {found or 'another'}",
                              hint="Le certificat de [psc] doit être un ORG AUTH_CLI.")  # fmt: skip
        names = [str(one.value) for one in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        if self._client_id and names != [self._client_id]:
            raise ConfigError("psc.client_id", f"expected the CN of the certificate, {' '.join(names)[:100]!r}",
                              hint="Le client_id doit être le CN du certificat de [psc].")  # fmt: skip
        self._held = (leaf, self._context())
        self._seen = before

    def renew(self) -> bool:
        """Take changed files. True: something new. Raises: ConfigError, and the old ones stay."""
        if self._held is not None and self._stamps() == self._seen:
            return False
        self.load()
        return True

    def context(self, now: datetime) -> ssl.SSLContext:
        """What opens TLS now; another object after each renewal.

        Raises:
            CredentialError: the certificate is not valid at this time.
        """
        if self._held is None:
            raise CredentialError("the certificate for Pro Santé Connect was not read")
        leaf, context = self._held
        if not igc.usable_from(leaf) <= now <= igc.usable_until(leaf):
            raise CredentialError(
                f"the certificate for Pro Santé Connect is valid from {igc.usable_from(leaf):%Y-%m-%d} "
                f"until {igc.usable_until(leaf):%Y-%m-%d}",
                hint="Le certificat de connexion à Pro Santé Connect n'est pas valable à cette date : remplacez-le, "
                "ou vérifiez l'horloge du boîtier.",
            )
        return context

    def _leaf(self) -> x509.Certificate:
        try:
            with self._certificate.open("rb") as file:
                return x509.load_pem_x509_certificate(file.read(_MAX_FILE_BYTES))
        except (OSError, ValueError) as err:
            raise ConfigError(
                "psc.certificate", f"expected a PEM certificate in {self._certificate.name}",
                hint=f"Le fichier {self._certificate.name} est absent ou n'est pas un certificat PEM.",
            ) from err  # fmt: skip

    def _context(self) -> ssl.SSLContext:
        try:
            if self._servers is None:
                context = bare_context()
                context.load_default_certs()
            else:
                context = self._servers.context()
            # An empty password: an encrypted key must fail here, never ask at a terminal.
            context.load_cert_chain(self._certificate, self._key, password="")
        except (ssl.SSLError, OSError) as err:
            raise ConfigError("psc.certificate", f"cannot open TLS with it: {err}",
                              hint="Le certificat, sa clé ou les autorités de [psc] ne vont pas.") from err  # fmt: skip
        return context

    def _stamps(self) -> tuple[object, ...]:
        return tuple(file_stamp(path) for path in self._paths)
