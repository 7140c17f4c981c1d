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

import functools
import tempfile
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
from .pki_authority import ORIGIN, POLICY, AuthorityFolder, begun, key_pem, key_usage, policy, revocation_list, write

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
        self._made = AuthorityFolder(folder, realm)
        with self._made.alone():
            self._root = self._made.authority(f"root-{level}-{realm}", f"AC RACINE IGC-SANTE {level}")
            self._sub = self._made.authority(f"persons-{level}-{realm}", f"AC IGC-SANTE {level} PERSONNES", self._root)
            self.authority = self._made.store(f"authority-{level}-{realm}.pem", self._sub, self._root)
            short = {"FORT": "FO", "STANDARD": "ST", "ELEMENTAIRE": "EL"}[level]
            suffix = "-TEST" if realm == "test" else ""
            self.crl_url = f"http://igc-sante.esante.gouv.fr/CRL/ACI-{short}-PP{suffix}.crl"
            self.crl = folder / f"ACI-{short}-PP{suffix}.crl"
            if not self.crl.exists():
                write(self.crl, revocation_list(self._sub))

    @property
    def root(self) -> x509.Certificate:
        return self._root.certificate

    @property
    def sub_authority(self) -> x509.Certificate:
        return self._sub.certificate

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
        with self._made.alone():
            write(self.crl, revocation_list(self._sub, [one.serial_number for one in certificates]))

    # Making

    def _certify(self, use: Use, profile: Profile, start: datetime, end: datetime, own_key: bool) -> CardKey:
        key = rsa.generate_private_key(65537, 2048) if own_key else self._shared_key(use)
        builder = begun(_subject(profile), key.public_key(), self._sub, start, end)
        builder = _holder_extensions(builder, profile, POLICY[self.realm], self.crl_url)
        builder = _USES[use](builder, profile)
        return CardKey(builder.sign(self._sub.key, hashes.SHA256()), key)

    def _shared_key(self, use: Use) -> rsa.RSAPrivateKey:
        if use not in self._shared:
            path = self.folder / f"card-{use}.key"
            with self._made.alone():
                if not path.exists():
                    write(path, key_pem(rsa.generate_private_key(65537, 2048)), secret=True)
            key = serialization.load_pem_private_key(path.read_bytes(), None)
            assert isinstance(key, rsa.RSAPrivateKey)
            self._shared[use] = key
        return self._shared[use]


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
    builder: x509.CertificateBuilder, profile: Profile, policy_of_realm: tuple[str, str], crl_url: str
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
        .add_extension(policy(*policy_of_realm), critical=False)
        .add_extension(x509.CRLDistributionPoints([point]), critical=False)
    )
    for oid, value in own.items():
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, value), critical=False)
    return builder


def _authentication(builder: x509.CertificateBuilder, profile: Profile) -> x509.CertificateBuilder:
    upn = x509.OtherName(UPN, der.utf8(f"{profile.holder.id_nat}@carte-cps.fr"))
    return (
        builder.add_extension(key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([Eku.CLIENT_AUTH, Eku.SMARTCARD_LOGON]), critical=False)
        .add_extension(x509.SubjectAlternativeName([upn]), critical=False)
    )


def _signature(builder: x509.CertificateBuilder, _profile: Profile) -> x509.CertificateBuilder:
    return builder.add_extension(key_usage(content_commitment=True), critical=True).add_extension(
        x509.ExtendedKeyUsage([Eku.EMAIL_PROTECTION]), critical=False
    )


def _technical(builder: x509.CertificateBuilder, _profile: Profile) -> x509.CertificateBuilder:
    return builder.add_extension(key_usage(digital_signature=True), critical=True).add_extension(
        x509.ExtendedKeyUsage([Eku.CLIENT_AUTH]), critical=False
    )


_USES = {Use.AUTHENTICATION: _authentication, Use.SIGNATURE: _signature, Use.TECHNICAL: _technical}
