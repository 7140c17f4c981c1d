"""Keys in files: PEM and PKCS#12, good, foreign and damaged."""

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from passevue.card.pem_signer import PemSigner, read_pem, read_pkcs12
from passevue.errors import TrustError, Unreadable
from tests.peers.pki import Family, KeyPaths, Pki


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def paths(pki: Pki) -> KeyPaths:
    return pki.leaf(Family.ORG_SIGN, "10B0127189")


@pytest.mark.parametrize(("name", "kind"), [("sha1", hashes.SHA1()), ("sha256", hashes.SHA256())])
async def test_a_signature_verifies_with_the_certificate(
    paths: KeyPaths, name: str, kind: hashes.HashAlgorithm
) -> None:
    signer = read_pem(paths.certificate.read_bytes(), paths.key.read_bytes())
    value = await signer.sign(b"text", name)
    key = signer.certificate.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    key.verify(value, b"text", padding.PKCS1v15(), kind)


async def test_a_long_key_signs_too(pki: Pki) -> None:
    certificate, _ = pki.leaf(Family.ORG_SIGN, "10B0127189").load()
    with pytest.raises(TrustError):
        PemSigner(certificate, rsa.generate_private_key(65537, 3072))


def test_a_key_of_another_certificate_is_refused(pki: Pki, paths: KeyPaths) -> None:
    other = pki.leaf(Family.ORG_SIGN, "10B0127189", common_name="autre")
    with pytest.raises(TrustError):
        read_pem(paths.certificate.read_bytes(), other.key.read_bytes())


def test_a_key_that_is_not_rsa_is_refused(paths: KeyPaths) -> None:
    curve = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(Unreadable, match="RSA"):
        read_pem(paths.certificate.read_bytes(), curve)


@pytest.mark.parametrize("part", ["dmp1", "dmq1", "iqmp"])
@pytest.mark.parametrize("change", [2, 1 << 40, -4])
def test_a_key_that_is_damaged_inside_is_refused(paths: KeyPaths, part: str, change: int) -> None:
    """Its public half is still the certificate's. OpenSSL mends one fault by the exponent: both are wrong here."""
    whole = paths.load()[1].private_numbers()
    parts = {name: getattr(whole, name) for name in ("p", "q", "d", "dmp1", "dmq1", "iqmp")}
    parts[part] += change
    parts["d"] += 2
    key = rsa.RSAPrivateNumbers(public_numbers=whole.public_numbers, **parts).private_key(
        unsafe_skip_rsa_key_validation=True
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with pytest.raises(Unreadable, match="damaged"):
        read_pem(paths.certificate.read_bytes(), pem)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_key_or_our_own_error(paths: KeyPaths, content: bytes) -> None:
    for certificate, key in ((content, content), (paths.certificate.read_bytes(), content)):
        with pytest.raises(Unreadable):
            read_pem(certificate, key)
    with pytest.raises(Unreadable):
        read_pkcs12(content, b"secret")


@pytest.mark.parametrize("legacy", [False, True])
def test_pkcs12_opens_with_its_password_3des_too(pki: Pki, paths: KeyPaths, legacy: bool) -> None:
    content = pki.p12(paths, b"secret", legacy=legacy).read_bytes()
    signer, others = read_pkcs12(content, b"secret")
    assert signer.certificate == paths.load()[0]
    assert others == ()


def test_pkcs12_with_a_wrong_password_says_so(pki: Pki, paths: KeyPaths) -> None:
    with pytest.raises(Unreadable) as raised:
        read_pkcs12(pki.p12(paths, b"secret").read_bytes(), b"wrong")
    assert "mot de passe" in raised.value.hint


def test_pkcs12_encrypted_with_rc2_opens_or_says_how_to_convert_it(paths: KeyPaths, tmp_path: Path) -> None:
    """As the oldest deliveries are; made by openssl's legacy provider."""
    made = tmp_path / "rc2.p12"
    rc2 = ["-legacy", "-certpbe", "PBE-SHA1-RC2-40", "-keypbe", "PBE-SHA1-RC2-40"]
    files = ["-in", str(paths.certificate), "-inkey", str(paths.key), "-out", str(made)]
    command = ["openssl", "pkcs12", "-export", *rc2, "-passout", "pass:secret", *files]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("openssl has no legacy provider on this machine")
    hint = ""
    try:
        signer, _ = read_pkcs12(made.read_bytes(), b"secret")
        assert signer.certificate == paths.load()[0]
    except Unreadable as err:
        hint = err.hint
    assert hint == "" or "openssl pkcs12 -legacy" in hint
