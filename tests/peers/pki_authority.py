"""The authorities of a throw-away IGC-Santé, of organisations (`pki`) and of persons (`pki_persons`), kept in a folder.

What is made once is found there again, by other processes too: keys are slow to make. Nothing made here is worth
anything outside a test.
"""

import fcntl
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID, ObjectIdentifier

POLICY = {
    "test": ("1.2.250.1.213.1.7.2.1.1.1.1", "http://igc-sante.esante.gouv.fr/PC%20TEST"),
    "production": ("1.2.250.1.213.1.7.1.1.2.5.1", "http://igc-sante.esante.gouv.fr/PC"),
}
ORIGIN = ObjectIdentifier("1.2.250.1.71.1.2.5")  # one byte in an OCTET STRING: 03 production, 83 test
_BITS = 2048  # the real ones have 4096, which takes seconds to make


@dataclass(frozen=True, slots=True)
class KeyPaths:
    """One certificate and its key. `certificate` holds the leaf, then sub-CA and root for a server."""

    certificate: Path
    key: Path

    def load(self) -> tuple[x509.Certificate, rsa.RSAPrivateKey]:
        key = serialization.load_pem_private_key(self.key.read_bytes(), None)
        assert isinstance(key, rsa.RSAPrivateKey)
        return x509.load_pem_x509_certificate(self.certificate.read_bytes()), key


class Authority(NamedTuple):
    """Who certifies, and with which key."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey


class AuthorityFolder:
    """Where authorities of one realm, `test` or `production`, are kept. Use what makes files under `alone`."""

    def __init__(self, folder: Path, realm: str) -> None:
        self.folder = folder
        self.realm = realm
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def mark(self) -> str:
        """What the names of its authorities begin with."""
        return "TEST " if self.realm == "test" else ""

    @contextmanager
    def alone(self) -> Iterator[None]:
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def authority(self, stem: str, common_name: str, issuer: Authority | None = None) -> Authority:
        """Of that name, without the realm's mark; its own issuer if none is given."""
        paths = KeyPaths(self.folder / f"{stem}.pem", self.folder / f"{stem}.key")
        if paths.certificate.exists() and paths.key.exists():
            return Authority(*paths.load())
        key = rsa.generate_private_key(65537, _BITS)
        subject = name_of(
            (NameOID.COUNTRY_NAME, "FR"),
            (NameOID.ORGANIZATION_NAME, "ASIP-SANTE"),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, "0002 187512751"),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, "IGC-SANTE TEST" if self.realm == "test" else "IGC-SANTE"),
            (NameOID.COMMON_NAME, self.mark + common_name),
        )
        end = datetime.now(UTC) + timedelta(days=20 * 365)
        certificate = (
            begun(subject, key.public_key(), issuer, datetime(2013, 6, 25, tzinfo=UTC), end)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0 if issuer else None), critical=True)
            .add_extension(key_usage(key_cert_sign=True, crl_sign=True), critical=True)
            .add_extension(policy("2.5.29.32.0", POLICY[self.realm][1]), critical=False)
            .sign(issuer.key if issuer else key, hashes.SHA256())
        )
        write(paths.key, key_pem(key), secret=True)
        write(paths.certificate, pem(certificate))
        return Authority(certificate, key)

    def store(self, name: str, *authorities: Authority) -> Path:
        """One PEM file of these, made once."""
        path = self.folder / name
        if not path.exists():
            write(path, b"".join(pem(one.certificate) for one in authorities))
        return path


def begun(
    subject: x509.Name, key: rsa.RSAPublicKey, issuer: Authority | None, start: datetime, end: datetime
) -> x509.CertificateBuilder:
    """What every certificate has."""
    issuer_key = issuer.key.public_key() if issuer else key
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )


def revocation_list(
    issuer: Authority,
    serials: Sequence[int] = (),
    *,
    begin: datetime | None = None,
    end: datetime | None = None,
    number: int | None = None,
    hash_algorithm: hashes.SHA256 | hashes.SHA1 | None = None,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
) -> bytes:
    """DER of a list that names exactly these; of five minutes ago, for a week, unless told otherwise."""
    begin = begin or datetime.now(UTC) - timedelta(minutes=5)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(begin)
        .next_update(end or begin + timedelta(days=7))
        .add_extension(x509.CRLNumber(number if number is not None else int(begin.timestamp())), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    for serial in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(begin).build()
        builder = builder.add_revoked_certificate(entry)
    signed = builder.sign(issuer.key, hash_algorithm or hashes.SHA256())  # type: ignore[arg-type]
    return signed.public_bytes(serialization.Encoding.DER)


def list_name(authority: x509.Certificate) -> str:
    """Of the file in which a box keeps its list: by a digest of its key."""
    spki = authority.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return f"{hashlib.sha256(spki).hexdigest()[:32]}.crl"


def renew_list(path: Path, issuer: Authority) -> None:
    """A list at `path` that holds for some days yet, and names whom it named."""
    serials: list[int] = []
    if path.exists():
        held = x509.load_der_x509_crl(path.read_bytes())
        if held.next_update_utc and held.next_update_utc > datetime.now(UTC) + timedelta(days=3):
            return
        serials = [one.serial_number for one in held]
    write(path, revocation_list(issuer, serials))


def name_of(*pairs: tuple[ObjectIdentifier, str]) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in pairs])


def policy(oid: str, url: str) -> x509.CertificatePolicies:
    return x509.CertificatePolicies([x509.PolicyInformation(ObjectIdentifier(oid), [url])])


def key_usage(**wanted: bool) -> x509.KeyUsage:
    every = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
             "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")  # fmt: skip
    return x509.KeyUsage(**{name: wanted.get(name, False) for name in every})


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def write(path: Path, content: bytes, *, secret: bool = False) -> None:
    """Whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.touch(mode=0o600 if secret else 0o644)
    part.write_bytes(content)
    part.replace(path)
