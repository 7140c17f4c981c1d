"""The TLS of our listeners towards the cabinet: HL7 v2 and DICOM speak the same profile.

BCP 195 (RFC 9325; DICOM PS3.15 B.9): TLS 1.2 or 1.3, forward secrecy and authenticated encryption only, no compression,
no renegotiation. With `client_authority` set, a neighbour without a certificate of that authority gets no connection;
which addresses and applications may then speak is decided elsewhere.
"""

import ssl
from pathlib import Path

from passevue.config import Tls
from passevue.errors import ConfigError

# RFC 9325 § 4.2: the suites recommended for TLS 1.2, and ChaCha20 for processors without AES instructions.
CIPHERS_OF_TLS_1_2 = ":".join(
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-CHACHA20-POLY1305",
    )
)


def listener_context(tls: Tls) -> ssl.SSLContext:
    """The context of one listener.

    Raises:
        ConfigError: a file is missing or is not what it should be; the key of the section `tls` is named.
    """
    context = bare_listener_context()
    _load_own_certificate(context, tls)
    if tls.client_authority is not None:
        _ask_for_certificates(context, tls.client_authority)
    return context


def bare_listener_context() -> ssl.SSLContext:
    """What every listener has in common, without a certificate yet (TLS-01, TLS-02, TLS-05)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS_OF_TLS_1_2)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    return context


def _load_own_certificate(context: ssl.SSLContext, tls: Tls) -> None:
    for key, path in (("tls.certificate", tls.certificate), ("tls.key", tls.key)):
        if not path.is_file():
            raise ConfigError(key, f"no file at {path}", hint=f"Déposez le fichier {path.name} ou corrigez son chemin.")
    try:
        # An empty password: an encrypted key must fail here, never stop the start to ask at a terminal.
        context.load_cert_chain(tls.certificate, tls.key, password="")
    except (ssl.SSLError, OSError) as err:
        raise ConfigError(
            "tls.certificate",
            f"{tls.certificate} and {tls.key} are not a certificate and its unencrypted key: {err}",
            hint="Le certificat et sa clé ne vont pas ensemble, ou la clé est protégée par un mot de passe.",
        ) from err


def _ask_for_certificates(context: ssl.SSLContext, authority: Path) -> None:
    try:
        context.load_verify_locations(authority)
    except (ssl.SSLError, OSError) as err:
        raise ConfigError(
            "tls.client_authority",
            f"no PEM certificate of an authority can be read in {authority}: {err}",
            hint=f"Vérifiez le fichier {authority.name} de l'autorité des voisins.",
        ) from err
    context.verify_mode = ssl.CERT_REQUIRED
