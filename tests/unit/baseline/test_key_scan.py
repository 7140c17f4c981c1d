"""Keys and secrets that lie in clear are found; what neighbours sent is never taken for one."""

import os
import sqlite3
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from passevue.baseline.key_scan import HEAD, find_keys, is_private_key
from passevue.baseline.machine import Unmeasurable
from passevue.baseline.secret_scan import find_secrets, report, secret_settings
from tests.peers.pki import Family, Pki

PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
PKCS8, OPENSSL = serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL
PLAIN = serialization.NoEncryption()
OURS = [Path(__file__).parents[3] / folder for folder in ("agent/passevue", "systemd", "hw")]
KEYS = {"rsa": rsa.generate_private_key(65537, 2048), "ec": ec.generate_private_key(ec.SECP256R1())}


def put(root: Path, path: str, content: bytes) -> Path:
    at = root / path
    at.parent.mkdir(parents=True, exist_ok=True)
    at.write_bytes(content)
    return at


def test_what_a_box_is_made_of_holds_nothing_that_looks_like_one() -> None:
    """Of ours: the agent with its pages of text, and what the units come with. The image's test sees all the rest."""
    ours = [path for folder in OURS for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".pyc"]
    assert len(ours) > 300
    assert [path for path in ours if is_private_key(path.read_bytes()[:HEAD], short=False)] == []


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("encoding", [PEM, DER])
@pytest.mark.parametrize("form", [PKCS8, OPENSSL])
def test_a_key_in_any_form_is_found(
    tmp_path: Path, kind: str, encoding: serialization.Encoding, form: serialization.PrivateFormat
) -> None:
    put(tmp_path, "var/lib/passevue/left", KEYS[kind].private_bytes(encoding, form, PLAIN))
    assert find_keys(tmp_path).found == ("/var/lib/passevue/left",)


def test_ed25519_openssh_encrypted_and_pkcs12_are_found(tmp_path: Path, pki: Pki) -> None:
    young = ed25519.Ed25519PrivateKey.generate()
    put(tmp_path, "var/a", young.private_bytes(DER, PKCS8, PLAIN))
    put(tmp_path, "var/b", young.private_bytes(PEM, serialization.PrivateFormat.OpenSSH, PLAIN))
    locked = serialization.BestAvailableEncryption(b"a password beside it")
    put(tmp_path, "var/c", young.private_bytes(PEM, PKCS8, locked))
    put(tmp_path, "etc/d.p12", pki.p12(pki.leaf(Family.ORG_SIGN, "10B0127189"), b"pass").read_bytes())
    assert find_keys(tmp_path).found == ("/var/a", "/var/b", "/var/c", "/etc/d.p12")


def test_a_key_after_its_certificate_is_found(tmp_path: Path, pki: Pki) -> None:
    both = pki.authority.read_bytes() + KEYS["ec"].private_bytes(PEM, PKCS8, PLAIN)
    put(tmp_path, "var/both.pem", both)
    assert find_keys(tmp_path).found == ("/var/both.pem",)


def test_what_is_public_is_no_key(tmp_path: Path, pki: Pki) -> None:
    put(tmp_path, "var/authority.pem", pki.authority.read_bytes())
    put(tmp_path, "var/certificate.der", pki.root.public_bytes(DER))
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    put(tmp_path, "var/public.der", KEYS["rsa"].public_key().public_bytes(DER, public))
    put(tmp_path, "var/list.crl", pki.crl.read_bytes())
    scan = find_keys(tmp_path)
    assert (scan.files, scan.found) == (4, ())


def test_a_neighbour_that_sends_the_words_of_a_key_closes_nothing(tmp_path: Path) -> None:
    words = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n"
    (tmp_path / "var").mkdir()
    with sqlite3.connect(tmp_path / "var/queue.db") as database:
        database.execute("create table t (x)")
        database.execute("insert into t values (?)", (f"\n{words}",))
    database.close()
    put(tmp_path, "var/audit-0000000001.log", f"passevue-audit 1 1 0\n1 0 <x/>\n{words}".encode())
    put(tmp_path, "var/system.journal", b"LPKSHHRH" + f"\n{words}".encode())
    put(tmp_path, "var/image", bytes(128) + b"DICM" + f"\n{words}".encode())
    put(tmp_path, "var/quoted.txt", f"he wrote {words}".encode())
    assert find_keys(tmp_path).found == ()


def test_links_are_not_followed_and_what_vanishes_is_no_matter(tmp_path: Path) -> None:
    outside = put(tmp_path, "usr/key.pem", KEYS["ec"].private_bytes(PEM, PKCS8, PLAIN))
    (tmp_path / "var").mkdir()
    (tmp_path / "var/link").symlink_to(outside)
    (tmp_path / "var/gone").symlink_to("nowhere")
    os.mkfifo(tmp_path / "var/pipe")
    assert find_keys(tmp_path).found == ()


def test_more_files_than_the_time_allows_cannot_be_measured(tmp_path: Path) -> None:
    put(tmp_path, "var/a", b"x")
    with pytest.raises(Unmeasurable):
        find_keys(tmp_path, within_s=-1)


@given(st.binary(max_size=500))
def test_any_bytes_are_a_key_or_not(data: bytes) -> None:
    assert is_private_key(b"\x30" + data) in (True, False)


def test_a_key_far_into_a_long_file_is_not_looked_for() -> None:
    assert not is_private_key(bytes(HEAD) + b"\n-----BEGIN PRIVATE KEY-----")


def process(root: Path, number: int, name: str, environ: str = "", cmdline: str = "") -> None:
    put(root, f"proc/{number}/comm", f"{name}\n".encode())
    put(root, f"proc/{number}/environ", environ.encode())
    put(root, f"proc/{number}/cmdline", cmdline.encode())


def test_secrets_in_environments_and_command_lines_are_named_without_their_values(tmp_path: Path) -> None:
    process(tmp_path, 10, "passevue", "PATH=/usr/bin\0DB_PASSWORD=hunter2\0", "passevue\0run\0--pin=1234\0")
    process(tmp_path, 11, "other", "API_TOKEN=abc\0TOKEN=\0")
    found = sorted(find_secrets(tmp_path))
    assert found == ["other:API_TOKEN", "passevue:--pin", "passevue:DB_PASSWORD"]
    assert "hunter2" not in report(tmp_path)


def test_what_systemd_sets_is_no_secret(tmp_path: Path) -> None:
    process(
        tmp_path, 10, "passevue", "CREDENTIALS_DIRECTORY=/run/credentials/x\0LISTEN_PID=10\0PINE=1\0", "a\0--part\0"
    )
    assert list(find_secrets(tmp_path)) == []


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("server.ssl.key-store-password=changeit\n", "server.ssl.key-store-password"),
        ("drimbox.keystore.password = azerty12\n# else\n", "drimbox.keystore.password"),
        ('{"api_key": "abc123"}', "api_key"),
        ("client_secret: s3cr3t\n", "client_secret"),
        ("<password>azerty12</password>\n", "password"),
        ("passphrase='one two'\n", "passphrase"),
    ],
)
def test_a_password_in_a_file_of_settings_is_named(text: str, named: str) -> None:
    """SECR-02: a DRIMbox prototype is delivered with its keystores' passwords in a properties file."""
    assert secret_settings(f"port = 8443\n{text}name = x\n") == [named]


@pytest.mark.parametrize(
    "text",
    ["password =\n", "# password: azerty12\n", "password = ${KEYSTORE_PASSWORD}\n", "use_token = true\n",
     "token_lifetime = 60\n", "key_path = /run/credentials/key\n", "credential: %d/key\n", "host = db.example\n"],
)  # fmt: skip
def test_a_setting_without_a_secret_is_none(text: str) -> None:
    assert secret_settings(text) == []
