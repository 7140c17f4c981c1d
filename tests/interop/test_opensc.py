"""OpenSC 0.23 reads and uses the virtual CPS3: files, codes, authentication key (cps-card.md § 8).

What it cannot do with a real card it cannot do here either: the signature key (its code for it is compiled out with
OpenSSL 3), cards by the antenna, CPS4. From 0.24 on it cannot log in: those tests are left out then, and say so.
"""

import hashlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils

from tests.peers.card import Kind, Profile, VirtualCard
from tests.peers.pcsc import Pcscd, why_not

SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
AUTHENTICATION = "e828bd080f8025000001ff001002"
SIGNATURE = "e828bd080f8025000001ff001001"
PATIENCE = 60


def _missing() -> str:
    for program in ("pkcs15-tool", "pkcs11-tool", "opensc-tool"):
        if shutil.which(program) is None:
            return f"{program} is not installed (Debian package opensc)"
    return why_not()


def _version() -> tuple[int, ...]:
    said = subprocess.run(["opensc-tool", "--info"], capture_output=True, text=True, check=False, timeout=PATIENCE)
    found = re.search(r"(\d+)\.(\d+)", said.stdout + said.stderr)
    return tuple(int(part) for part in found.groups()) if found else ()


pytestmark = pytest.mark.skipif(bool(_missing()), reason=_missing() or "-")
logs_in = pytest.mark.skipif(
    not _missing() and _version() != (0, 23), reason="OpenSC from 0.24 on cannot log in to a CPS (cps-card.md § 8)"
)


@pytest.fixture(scope="module")
def pcscd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pcscd]:
    with Pcscd(tmp_path_factory.mktemp("pcscd")) as pcscd:
        yield pcscd


@pytest.fixture
def card(pcscd: Pcscd) -> Iterator[VirtualCard]:
    card = VirtualCard()
    _put_in(pcscd, card)
    yield card
    pcscd.slots[0].link.remove()


def _put_in(pcscd: Pcscd, card: VirtualCard) -> None:
    pcscd.slots[0].link.insert(card)
    deadline = time.monotonic() + PATIENCE
    while card.power_ons == 0 and time.monotonic() < deadline:
        time.sleep(0.02)


def run(pcscd: Pcscd, *command: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | pcscd.program_environment | {"LC_ALL": "C.UTF-8"}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False, errors="replace"
    )  # data objects go to standard output as they are


def sign(pcscd: Pcscd, folder: Path, key: str, content: bytes, pin: str = "1234") -> tuple[str, bytes]:
    """What pkcs11-tool said, and the signature if it made one."""
    (folder / "in").write_bytes(content)
    (folder / "out").unlink(missing_ok=True)
    said = run(pcscd, "pkcs11-tool", "--slot-index", "0", "--login", "--pin", pin, "--sign", "-m", "RSA-PKCS",
               "--id", key, "-i", str(folder / "in"), "-o", str(folder / "out"))  # fmt: skip
    return said.stderr, (folder / "out").read_bytes() if said.returncode == 0 else b""


def test_opensc_dumps_a_cps3(pcscd: Pcscd, card: VirtualCard) -> None:
    dump = run(pcscd, "pkcs15-tool", "--dump").stdout
    for line in (
        "PIN [Code porteur de la carte CPX]",
        "Flags          : [0x830], initialized, needs-padding, exchangeRefData",
        "Length         : min_len:4, max_len:4, stored_len:8",
        "Private RSA Key [CPS_PRIV_SIG]",
        "Usage          : [0x200], nonRepudiation",
        "Private RSA Key [CPS_PRIV_AUT]",
        "Object Flags   : [0x07], private, modifiable",
        "Usage          : [0x06], decrypt, sign",
        "Access Rules   : pso_decrypt:01; int_auth:01;",
        "Key ref        : 130 (0x82)",
        "Path           : e828bd080f8025000001ff0010::",
        f"ID             : {AUTHENTICATION}",
        "X.509 Certificate [Certificat d'Authentification CPS]",
        "Path           : e828bd080f8025000001ff0010::a002",
        "Data object 'CPS_INFO_PS'",
        "Data object 'CPS_ACTIVITY_03_PS'",
    ):
        assert line in dump
    assert "CPS_ACTIVITY_02_PS" not in dump


def test_opensc_reads_the_certificates(pcscd: Pcscd, card: VirtualCard) -> None:
    for key, expected in ((AUTHENTICATION, card.keys.authentication), (SIGNATURE, card.keys.signature)):
        pem = run(pcscd, "pkcs15-tool", "--read-certificate", key).stdout.encode()
        assert x509.load_pem_x509_certificate(pem) == expected.certificate


@logs_in
def test_opensc_signs_with_the_authentication_key(pcscd: Pcscd, card: VirtualCard, tmp_path: Path) -> None:
    digest = hashlib.sha256(b"a handshake").digest()
    said, signature = sign(pcscd, tmp_path, AUTHENTICATION, SHA256_INFO + digest)
    assert signature, said
    key = card.keys.authentication.certificate.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    key.verify(signature, digest, padding.PKCS1v15(), utils.Prehashed(hashes.SHA256()))


@logs_in
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_verifies_what_opensc_had_signed(pcscd: Pcscd, card: VirtualCard, tmp_path: Path) -> None:
    message = tmp_path / "message"
    message.write_bytes(b"a handshake")
    _, signature = sign(pcscd, tmp_path, AUTHENTICATION, SHA256_INFO + hashlib.sha256(b"a handshake").digest())
    (tmp_path / "signature").write_bytes(signature)
    public = card.keys.authentication.certificate.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (tmp_path / "public.pem").write_bytes(public)
    said = run(pcscd, "openssl", "dgst", "-sha256", "-verify", str(tmp_path / "public.pem"), "-signature",
               str(tmp_path / "signature"), str(message))  # fmt: skip
    assert said.stdout.strip() == "Verified OK"


@logs_in
def test_opensc_deciphers_with_the_authentication_key(pcscd: Pcscd, card: VirtualCard, tmp_path: Path) -> None:
    public = card.keys.authentication.key.public_key()
    (tmp_path / "in").write_bytes(public.encrypt(b"a session key", padding.PKCS1v15()))
    said = run(pcscd, "pkcs15-crypt", "--decipher", "--pkcs1", "--key", AUTHENTICATION, "--pin", "1234", "--raw",
               "-i", str(tmp_path / "in"), "-o", str(tmp_path / "out"))  # fmt: skip
    assert said.returncode == 0, said.stderr
    assert (tmp_path / "out").read_bytes() == b"a session key"


@logs_in
def test_opensc_cannot_use_the_signature_key(pcscd: Pcscd, card: VirtualCard, tmp_path: Path) -> None:
    said, signature = sign(pcscd, tmp_path, SIGNATURE, SHA256_INFO + bytes(32))
    assert not signature
    assert "CKR_" in said


@logs_in
def test_opensc_reads_a_situation_with_the_pin_only(pcscd: Pcscd, card: VirtualCard) -> None:
    read = ("pkcs15-tool", "--raw", "--read-data-object", "CPS_ACTIVITY_01_PS")
    assert "CABINET DE RADIOLOGIE DU PORT" in run(pcscd, *read, "--verify-pin", "--pin", "1234").stdout
    card.reset()
    assert "CABINET" not in run(pcscd, *read).stdout


@logs_in
def test_a_wrong_pin_costs_one_try_and_three_block(pcscd: Pcscd, card: VirtualCard, tmp_path: Path) -> None:
    for left in (2, 1, 0):
        said, _ = sign(pcscd, tmp_path, AUTHENTICATION, SHA256_INFO + bytes(32), pin="9999")
        assert "CKR_PIN_" in said
        assert card.machine.codes.pin.left == left
    said, signature = sign(pcscd, tmp_path, AUTHENTICATION, SHA256_INFO + bytes(32))
    assert not signature
    assert "CKR_PIN_LOCKED" in said


@pytest.mark.parametrize("kind", [Kind.CPS3_CONTACTLESS, Kind.CPS4])
def test_opensc_does_not_know_the_other_cards(pcscd: Pcscd, kind: Kind) -> None:
    _put_in(pcscd, VirtualCard(Profile(kind=kind)))
    said = run(pcscd, "pkcs15-tool", "--dump")
    pcscd.slots[0].link.remove()
    assert said.returncode != 0
    assert "CPS_PRIV" not in said.stdout
