"""The part of a throw-away IGC-Santé that certifies people: root and sub-CA FORT PERSONNES, and a card's certificates.

The shape is the real one (igc-sante.md §§ 4, 5): DN as C, title, then one RDN of CN + SN + GN; origin, card type, card
number, profession and know-how as extensions. Kept in one folder, found there again, as in `pki.py`.

    persons = Persons(tmp_path)
    persons.authority                         # PEM: sub-CA and root, what the box trusts
    keys = persons.card_keys(Profile())       # authentication, signature, technical: certificate and key of each
    persons.revoke(keys.authentication.certificate)
    persons.crl                               # DER

Facts:
- A CPS in production and one of test differ by their authority and by one byte (80 or 00), nothing else.
- Keys are made once per folder and shared by all its cards, as they take the time: certificates differ, so a reader
  that finds a certificate by its key's identifier in the card is right, one that compares moduli across cards is not.
  `own_keys=True` makes new ones.
"""

import fcntl
import functools
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID as Eku
from cryptography.x509.oid import NameOID, ObjectIdentifier

from . import card_der as der
from .card_profile import Profile
from .pki import AUTHORITY_BITS, ORIGIN, POLICY, KeyPaths, _key_pem, _key_usage, _name, _pem, _policy, _write

CARD_TYPE = ObjectIdentifier("1.2.250.1.71.1.2.2")  # INTEGER of table G02
CARD_NUMBER = ObjectIdentifier("1.2.250.1.71.1.2.3")  # PrintableString issuer/number
PROFESSION = ObjectIdentifier("1.2.250.1.71.1.2.7")  # INTEGER of table G15
KNOW_HOW = ObjectIdentifier("1.2.250.1.71.4.2.5")  # SEQUENCE OF UTF8String
UPN = ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
ORIGIN_BYTE = {"test": 0x80, "production": 0x00}  # table G01
LEVELS = ("FORT", "STANDARD", "ELEMENTAIRE")


class Use(StrEnum):
    """What a card's key is for."""

    AUTHENTICATION = "authentication"
    SIGNATURE = "signature"
    TECHNICAL = "technical"


@dataclass(frozen=True, slots=True)
class CardKey:
    """One key pair of a card. `der` is the certificate as the card's file holds it."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)


@dataclass(frozen=True, slots=True)
class CardKeys:
    authentication: CardKey
    signature: CardKey
    technical: CardKey


class Persons:
    """The persons' authority of one realm, `test` or `production`, in one folder."""

    def __init__(self, folder: Path, realm: str = "test", level: str = "FORT") -> None:
        assert level in LEVELS
        self.folder = folder
        self.realm = realm
        self.level = level
        self._shared: dict[Use, rsa.RSAPrivateKey] = {}
        folder.mkdir(parents=True, exist_ok=True)
        test = "TEST " if realm == "test" else ""
        with self._alone():
            self._root = self._authority(f"root-{level}-{realm}", f"{test}AC RACINE IGC-SANTE {level}", None)
            self._sub = self._authority(f"persons-{level}-{realm}", f"{test}AC IGC-SANTE {level} PERSONNES", self._root)
            self.authority = folder / f"authority-{level}-{realm}.pem"
            if not self.authority.exists():
                _write(self.authority, _pem(self._sub[0]) + _pem(self._root[0]))
            short = {"FORT": "FO", "STANDARD": "ST", "ELEMENTAIRE": "EL"}[level]
            suffix = "-TEST" if realm == "test" else ""
            self.crl_url = f"http://igc-sante.esante.gouv.fr/CRL/ACI-{short}-PP{suffix}.crl"
            self.crl = folder / f"ACI-{short}-PP{suffix}.crl"
            if not self.crl.exists():
                self._write_crl(())

    @property
    def root(self) -> x509.Certificate:
        return self._root[0]

    @property
    def sub_authority(self) -> x509.Certificate:
        return self._sub[0]

    def card_keys(
        self,
        profile: Profile,
        *,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        own_keys: bool = False,
    ) -> CardKeys:
        """The three key pairs of one card, certified for its holder; dates default to a card in its first year."""
        start = not_before or datetime.now(UTC) - timedelta(days=120)
        end = not_after or start + timedelta(days=3 * 365)

        def made(use: Use) -> CardKey:
            return self._certify(use, profile, start, end, own_keys)

        return CardKeys(made(Use.AUTHENTICATION), made(Use.SIGNATURE), made(Use.TECHNICAL))

    def revoke(self, *certificates: x509.Certificate) -> None:
        """A new CRL that names exactly these."""
        with self._alone():
            self._write_crl([certificate.serial_number for certificate in certificates])

    # Making

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _authority(
        self, stem: str, common_name: str, issuer: tuple[x509.Certificate, rsa.RSAPrivateKey] | None
    ) -> tuple[x509.Certificate, rsa.RSAPrivateKey]:
        paths = KeyPaths(self.folder / f"{stem}.pem", self.folder / f"{stem}.key")
        if paths.certificate.exists() and paths.key.exists():
            return paths.load()
        key = rsa.generate_private_key(65537, AUTHORITY_BITS)
        name = _name(
            (NameOID.COUNTRY_NAME, "FR"),
            (NameOID.ORGANIZATION_NAME, "ASIP-SANTE"),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, "0002 187512751"),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, "IGC-SANTE TEST" if self.realm == "test" else "IGC-SANTE"),
            (NameOID.COMMON_NAME, common_name),
        )
        start = datetime(2013, 6, 25, tzinfo=UTC)
        end = datetime.now(UTC) + timedelta(days=20 * 365)
        certificate = (
            self._builder(name, key.public_key(), issuer, start, end)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0 if issuer else None), critical=True)
            .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
            .add_extension(_policy("2.5.29.32.0", POLICY[self.realm][1]), critical=False)
            .sign(issuer[1] if issuer else key, hashes.SHA256())
        )
        _write(paths.key, _key_pem(key), secret=True)
        _write(paths.certificate, _pem(certificate))
        return certificate, key

    def _certify(self, use: Use, profile: Profile, start: datetime, end: datetime, own_key: bool) -> CardKey:
        key = rsa.generate_private_key(65537, 2048) if own_key else self._shared_key(use)
        builder = self._builder(_subject(profile), key.public_key(), self._sub, start, end)
        builder = _holder_extensions(builder, profile, POLICY[self.realm], self.crl_url)
        builder = _USES[use](builder, profile)
        return CardKey(builder.sign(self._sub[1], hashes.SHA256()), key)

    def _shared_key(self, use: Use) -> rsa.RSAPrivateKey:
        if use not in self._shared:
            path = self.folder / f"card-{use}.key"
            with self._alone():
                if not path.exists():
                    _write(path, _key_pem(rsa.generate_private_key(65537, 2048)), secret=True)
            key = serialization.load_pem_private_key(path.read_bytes(), None)
            assert isinstance(key, rsa.RSAPrivateKey)
            self._shared[use] = key
        return self._shared[use]

    def _builder(
        self,
        subject: x509.Name,
        key: rsa.RSAPublicKey,
        issuer: tuple[x509.Certificate, rsa.RSAPrivateKey] | None,
        start: datetime,
        end: datetime,
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer[0].subject if issuer else subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(end)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer[1].public_key() if issuer else key),
                critical=False,
            )
        )

    def _write_crl(self, serials: Sequence[int]) -> None:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._sub[0].subject)
            .last_update(now - timedelta(minutes=5))
            .next_update(now + timedelta(days=7))
            .add_extension(x509.CRLNumber(int(now.timestamp())), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._sub[1].public_key()), critical=False
            )
        )
        for serial in serials:
            revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
            builder = builder.add_revoked_certificate(revoked)
        _write(self.crl, builder.sign(self._sub[1], hashes.SHA256()).public_bytes(serialization.Encoding.DER))


@functools.cache
def of_process(realm: str = "test") -> Persons:
    """One authority for whoever in this process does not care which; gone with the process."""
    folder = tempfile.TemporaryDirectory(prefix="passevue-persons-")
    _KEPT.append(folder)
    return Persons(Path(folder.name), realm)


@functools.cache
def keys_of_process(profile: Profile) -> CardKeys:
    """Keys for this card by that authority, the same ones each time: a card that is made often is made quickly."""
    return of_process(profile.category).card_keys(profile)


_KEPT: list[tempfile.TemporaryDirectory[str]] = []


def _subject(profile: Profile) -> x509.Name:
    holder = profile.holder

    def one(oid: ObjectIdentifier, value: str) -> x509.NameAttribute[str]:
        return x509.NameAttribute(oid, value)

    person = [
        one(NameOID.COMMON_NAME, holder.id_nat),
        one(NameOID.SURNAME, holder.family),
        one(NameOID.GIVEN_NAME, holder.given),
    ]
    return x509.Name(
        [
            x509.RelativeDistinguishedName([one(NameOID.COUNTRY_NAME, "FR")]),
            x509.RelativeDistinguishedName([one(NameOID.TITLE, holder.title)]),
            x509.RelativeDistinguishedName(person),
        ]
    )


def _holder_extensions(
    builder: x509.CertificateBuilder, profile: Profile, policy: tuple[str, str], crl_url: str
) -> x509.CertificateBuilder:
    point = x509.DistributionPoint([x509.UniformResourceIdentifier(crl_url)], None, None, None)
    holder = profile.holder
    own = {
        ORIGIN: der.octets(bytes([ORIGIN_BYTE[profile.category]])),
        CARD_TYPE: der.integer(0),
        # The published sample has ten digits after the stroke; what its first two say is not known.
        CARD_NUMBER: der.tlv(0x13, f"{profile.issuer}/26{profile.number}".encode()),
        PROFESSION: der.integer(holder.profession),
        KNOW_HOW: der.sequence(*(der.utf8(code) for code in holder.know_how)),
    }
    builder = (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=False)
        .add_extension(_policy(*policy), critical=False)
        .add_extension(x509.CRLDistributionPoints([point]), critical=False)
    )
    for oid, value in own.items():
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, value), critical=False)
    return builder


def _authentication(builder: x509.CertificateBuilder, profile: Profile) -> x509.CertificateBuilder:
    upn = x509.OtherName(UPN, der.utf8(f"{profile.holder.id_nat}@carte-cps.fr"))
    return (
        builder.add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([Eku.CLIENT_AUTH, Eku.SMARTCARD_LOGON]), critical=False)
        .add_extension(x509.SubjectAlternativeName([upn]), critical=False)
    )


def _signature(builder: x509.CertificateBuilder, _profile: Profile) -> x509.CertificateBuilder:
    return builder.add_extension(_key_usage(content_commitment=True), critical=True).add_extension(
        x509.ExtendedKeyUsage([Eku.EMAIL_PROTECTION]), critical=False
    )


def _technical(builder: x509.CertificateBuilder, _profile: Profile) -> x509.CertificateBuilder:
    return builder.add_extension(_key_usage(digital_signature=True), critical=True).add_extension(
        x509.ExtendedKeyUsage([Eku.CLIENT_AUTH]), critical=False
    )


_USES = {Use.AUTHENTICATION: _authentication, Use.SIGNATURE: _signature, Use.TECHNICAL: _technical}
