"""The TLS with which we call the PACS, over DIMSE or HTTPS: BCP 195 (RFC 9325; DICOM PS3.15 B.9).

The PACS's certificate must be of `authority`, or of an authority of the system when none is configured, and bear the
host name that is configured. Ours is shown when the PACS asks for one.
"""

import ssl

from passevue import config
from passevue.errors import ConfigError
from passevue.intake.tls import CIPHERS_OF_TLS_1_2


def pacs_context(pacs: config.Pacs) -> ssl.SSLContext:
    """The context of our calls. Reads files: not for the event loop.

    Raises:
        ConfigError: a file is missing or is not what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS_OF_TLS_1_2)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    try:
        if pacs.authority is not None:
            context.load_verify_locations(pacs.authority)
        else:
            context.load_default_certs()
    except (ssl.SSLError, OSError) as err:
        raise ConfigError(
            "pacs.authority",
            f"no PEM certificate of an authority can be read in {pacs.authority}: {err}",
            hint="Vérifiez le fichier de l'autorité du PACS.",
        ) from err
    if pacs.tls is not None:
        try:
            # An empty password: an encrypted key must fail here, never stop the start to ask at a terminal.
            context.load_cert_chain(pacs.tls.certificate, pacs.tls.key, password="")
        except (ssl.SSLError, OSError) as err:
            raise ConfigError(
                "pacs.tls.certificate",
                f"{pacs.tls.certificate} and {pacs.tls.key} are not a certificate and its unencrypted key: {err}",
                hint="Le certificat et sa clé ne vont pas ensemble, ou la clé est protégée par un mot de passe.",
            ) from err
    return context
