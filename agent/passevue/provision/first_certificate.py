"""The certificate of the page of a box that nobody has configured: its own, made at the first start, kept in the
page's folder.

    <data_dir>/page/first.crt  first.key     EC P-256, twenty years, for the box's serial; the key 0600

A browser does not know it. Its print is on the box's screen: who compares it speaks with this box and no other.
"""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from passevue.update.row_file import write_synced

LIFE = timedelta(days=20 * 365)


def first_certificate(folder: Path, serial: str, now: datetime | None = None) -> tuple[Path, Path]:
    """Certificate and key, made when one of them is missing.

    Raises:
        StoreError: they cannot be kept.
    """
    certificate, key = folder / "first.crt", folder / "first.key"
    if not (certificate.exists() and key.exists()):
        made = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Passevue {serial}")])
        at = now or datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(made.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(at - timedelta(days=1))
            .not_valid_after(at + LIFE)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("passevue.local")]), critical=False)
        )
        pem = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_synced(key, pem, 0o600)
        write_synced(certificate, builder.sign(made, hashes.SHA256()).public_bytes(Encoding.PEM), 0o644)
    return certificate, key


def context(folder: Path, serial: str) -> ssl.SSLContext:
    """TLS for the first page: as every listener of ours. Raises: StoreError."""
    certificate, key = first_certificate(folder, serial)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    made.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    made.load_cert_chain(certificate, key)
    return made
