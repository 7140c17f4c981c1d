"""A throw-away IGC-Santé: root, sub-CA ORGANISATIONS, and the three leaf families of a DRIMbox (igc-sante.md §§ 1-4).

Everything is made here, kept in one folder, and found there again by the next `Pki(folder)`: keys are slow to make.
The shape is the real one (order of the DN, KU, EKU, policies, origin byte, PrivateKeyUsagePeriod, CRL); only the keys
of the authorities are shorter. Nothing made here is worth anything outside a test.

    pki = Pki(tmp_path)
    pki.authority                    # PEM: root and sub-CA, what the box trusts
    keys = pki.structure("10B0127189")
    keys.auth_certificate, keys.auth_key, keys.sign_certificate, keys.sign_key
    pki.server("127.0.0.1").certificate   # leaf, then its chain
    pki.leaf(Family.ORG_SIGN, "10B0127189", not_after=long_ago)   # and whatever must be refused
    pki.lists                        # folder of both authorities' revocation lists, as a box keeps them
    pki.revoke(certificate)          # a new list of the sub-CA

By hand: `python -m tests.peers.pki FOLDER STRUCT_ID HOST`.
"""

import hashlib
import ipaddress
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID as Eku
from cryptography.x509.oid import NameOID

from .pki_authority import (
    ORIGIN,
    POLICY,
    Authority,
    AuthorityFolder,
    KeyPaths,
    begun,
    key_pem,
    key_usage,
    list_name,
    name_of,
    pem,
    policy,
    renew_list,
    revocation_list,
    write,
)

CRL_URL = {
    "test": "http://igc-sante.esante.gouv.fr/CRL/ACI-EL-ORG-TEST.crl",
    "production": "http://igc-sante.esante.gouv.fr/CRL/ACI-EL-ORG.crl",
}


class Family(StrEnum):
    """Offers of the IGC-Santé that a DRIMbox uses (igc-sante.md § 2)."""

    ORG_AUTH_CLI = "ORG-AUTH_CLI"
    ORG_SIGN = "ORG-SIGN"
    SERV_SSL_SERV = "SERV-SSL_SERV"


_EKU = {
    Family.ORG_AUTH_CLI: [Eku.CLIENT_AUTH],
    Family.ORG_SIGN: [Eku.EMAIL_PROTECTION],
    Family.SERV_SSL_SERV: [Eku.SERVER_AUTH, Eku.CLIENT_AUTH],
}


@dataclass(frozen=True, slots=True)
class StructurePaths:
    """The four files of one structure, named as in the configuration's `[[structures]]`."""

    id: str
    name: str
    auth_certificate: Path
    auth_key: Path
    sign_certificate: Path
    sign_key: Path

    def as_config(self) -> dict[str, Any]:
        """Keyword arguments of `passevue.config.Structure`."""
        return {name: getattr(self, name) for name in StructurePaths.__slots__}


class Pki:
    """The authority of one realm, `test` or `production`, in one folder."""

    def __init__(self, folder: Path, realm: str = "test") -> None:
        self.folder = folder
        self.realm = realm
        self._made = AuthorityFolder(folder, realm)
        with self._made.alone():
            self._root = self._made.authority("root", "AC RACINE IGC-SANTE ELEMENTAIRE")
            self._sub = self._made.authority("sub", "AC IGC-SANTE ELEMENTAIRE ORGANISATIONS", self._root)
            self.authority = self._made.store("authority.pem", self._sub, self._root)
            self.lists = folder / "crl"
            self.lists.mkdir(exist_ok=True)
            self.crl = self.lists / list_name(self._sub.certificate)
            for one in (self._root, self._sub):
                renew_list(self.lists / list_name(one.certificate), one)

    def authorities(self) -> tuple[Authority, Authority]:
        """Root and sub-CA, with the keys that sign their lists."""
        return self._root, self._sub

    @property
    def root(self) -> x509.Certificate:
        return self._root.certificate

    @property
    def sub_authority(self) -> x509.Certificate:
        return self._sub.certificate

    def structure(self, struct_id: str, name: str = "CABINET DE RADIOLOGIE DU PORT") -> StructurePaths:
        """Both organisation certificates of one structure; `struct_id` is a StructIdNat."""
        auth = self.leaf(Family.ORG_AUTH_CLI, struct_id, organisation=name)
        sign = self.leaf(Family.ORG_SIGN, struct_id, organisation=name)
        return StructurePaths(struct_id, name, auth.certificate, auth.key, sign.certificate, sign.key)

    def server(self, host: str, names: Sequence[str] = ()) -> KeyPaths:
        """A server's certificate for `host` (and other `names`), with its chain."""
        return self.leaf(
            Family.SERV_SSL_SERV, "318751275100020", common_name=host, names=(host, *names), organisation="ASIP-SANTE"
        )

    def leaf(
        self,
        family: Family,
        struct_id: str,
        *,
        common_name: str = "DRIMbox",
        organisation: str = "CABINET DE RADIOLOGIE DU PORT",
        names: Sequence[str] = (),
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        key_usage_until: datetime | None = None,
        origin: int | None = None,
    ) -> KeyPaths:
        """One certificate, made once for the same arguments; the optional ones make what must be refused."""
        wanted = json.dumps([family, struct_id, common_name, organisation, list(names), str(not_before), str(not_after),
                             str(key_usage_until), origin])  # fmt: skip
        stem = f"{family}-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"
        paths = KeyPaths(self.folder / f"{stem}.pem", self.folder / f"{stem}.key")
        with self._made.alone():
            if paths.certificate.exists() and paths.key.exists():
                return paths
            key = rsa.generate_private_key(65537, 2048)
            start = not_before or datetime.now(UTC) - timedelta(days=1)
            end = not_after or start + timedelta(days=3 * 365)
            if not_after and not not_before:
                start = not_after - timedelta(days=3 * 365)
            subject = name_of(
                (NameOID.COUNTRY_NAME, "FR"),
                (NameOID.STATE_OR_PROVINCE_NAME, "Côte-d'Or (21)"),
                (NameOID.ORGANIZATION_NAME, organisation[:40]),
                (NameOID.ORGANIZATIONAL_UNIT_NAME, struct_id),
                (NameOID.COMMON_NAME, common_name),
            )
            builder = begun(subject, key.public_key(), self._sub, start, end)
            builder = self._leaf_extensions(builder, family, names, start, key_usage_until or end, origin)
            certificate = builder.sign(self._sub.key, hashes.SHA256())
            chain = pem(self._sub.certificate) + pem(self._root.certificate) if family is Family.SERV_SSL_SERV else b""
            write(paths.key, key_pem(key), secret=True)
            write(paths.certificate, pem(certificate) + chain)
        return paths

    def p12(self, paths: KeyPaths, password: bytes, *, legacy: bool = False) -> Path:
        """The same key and certificate as PKCS#12; `legacy` uses the 3DES of older deliveries."""
        certificate, key = paths.load()
        encryption: serialization.KeySerializationEncryption = serialization.BestAvailableEncryption(password)
        if legacy:
            encryption = (
                serialization.PrivateFormat.PKCS12.encryption_builder()
                .kdf_rounds(2048)
                .key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC)
                .hmac_hash(hashes.SHA1())
                .build(password)
            )
        path = paths.certificate.with_suffix(".legacy.p12" if legacy else ".p12")
        write(path, pkcs12.serialize_key_and_certificates(b"DRIMbox", key, certificate, None, encryption), secret=True)
        return path

    def revoke(self, *certificates: x509.Certificate) -> None:
        """A new CRL that names exactly these."""
        with self._made.alone():
            write(self.crl, revocation_list(self._sub, [one.serial_number for one in certificates]))

    # Making

    def _leaf_extensions(
        self,
        builder: x509.CertificateBuilder,
        family: Family,
        names: Sequence[str],
        start: datetime,
        key_usage_until: datetime,
        origin: int | None,
    ) -> x509.CertificateBuilder:
        byte = origin if origin is not None else (0x83 if self.realm == "test" else 0x03)
        point = x509.DistributionPoint([x509.UniformResourceIdentifier(CRL_URL[self.realm])], None, None, None)
        builder = (
            builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=False)
            .add_extension(
                key_usage(
                    digital_signature=True,
                    content_commitment=family is Family.ORG_SIGN,
                    key_encipherment=family is Family.SERV_SSL_SERV,
                ),
                critical=True,
            )
            .add_extension(policy(*POLICY[self.realm]), critical=False)
            .add_extension(x509.ExtendedKeyUsage(_EKU[family]), critical=False)
            .add_extension(x509.CRLDistributionPoints([point]), critical=False)
            .add_extension(x509.UnrecognizedExtension(ORIGIN, bytes([4, 1, byte])), critical=False)
        )
        if family is Family.ORG_SIGN:
            period = x509.PrivateKeyUsagePeriod(not_before=start, not_after=key_usage_until)
            builder = builder.add_extension(period, critical=False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([_alternative(n) for n in names]), False)
        return builder


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


if __name__ == "__main__":
    made = Pki(Path(sys.argv[1]))
    print(made.authority)
    for file in made.structure(sys.argv[2]).as_config().values():
        print(file)
    print(made.server(sys.argv[3], ("localhost",)).certificate)
