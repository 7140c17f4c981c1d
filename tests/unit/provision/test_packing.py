"""`passevue config pack`: what a centre prepares is what root on a box takes."""

import base64
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from passevue.errors import Unreadable
from passevue.provision import package, packing
from passevue.provision.package import Package
from tests.peers.pki import Pki
from tests.unit.provision.centre import SIGNER, Appliance, prepared


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a centre has: passevue.toml, certificates, keys, and the key that signs."""
    pki = Pki(tmp_path / "pki")
    centre = prepared(pki, packing.DATA_DIR, pki.server("127.0.0.1"))
    made = tmp_path / "centre"
    made.mkdir()
    (made / "passevue.toml").write_text(centre.configuration)
    for name, content in centre.files.items():
        (made / name).write_bytes(content)
    for keys in centre.keys.values():
        for name, content in keys.items():
            (made / f"key_{name}").write_bytes(content)
    pem = SIGNER.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (made / "centre.key").write_bytes(pem)
    return made


def passevue(folder: Path, *argv: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "passevue", "config", "pack", "passevue.toml", *argv]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env={"COLUMNS": "200"})


def test_what_the_command_writes_is_what_root_on_an_appliance_puts_in_place(folder: Path, tmp_path: Path) -> None:
    said = passevue(folder, "--number", "7", "--signing-key", "centre.key")
    assert said.returncode == 0, said.stderr
    assert "4 certificats, 3 clés" in said.stdout
    assert "clés en clair" in said.stdout
    document = (folder / "boitier-7.toml").read_bytes()
    package.verify(document, (folder / "boitier-7.toml.sig").read_bytes(), SIGNER.public_key())
    assert {path.stat().st_mode & 0o777 for path in folder.glob("boitier-*")} == {0o600}

    box = Appliance(tmp_path / "box")
    box.data_dir.mkdir()
    box.claim()
    here = document.replace(str(packing.DATA_DIR).encode(), str(box.data_dir).encode())  # the test's, not the box's
    assert box.give(here) == 0
    assert (box.data_dir / "config/auth.pem").read_bytes() == (folder / "auth.pem").read_bytes()
    assert (box.data_dir / "credentials/page/page.pem").read_bytes() == (folder / "key_page.pem").read_bytes()
    assert box.give(here) != 0, "a number that was there"


def test_what_is_not_there_is_told_and_left_to_the_box(folder: Path) -> None:
    for name in ("key_auth.pem", "auth.pem", "authority.pem"):
        (folder / name).unlink()
    said = passevue(folder, "--number", "8", "--serial", "7F3A-90C1-22BE", "--output", "neuf.toml")
    assert said.returncode == 0, said.stderr
    assert "À signer" in said.stdout
    for name in ("key_auth.pem", "auth.pem", "authority.pem"):
        assert f"{name} n'est pas dans ce dossier" in said.stdout
    found = package.read((folder / "neuf.toml").read_bytes())
    assert (found.number, found.serial, set(found.files)) == (8, "7F3A-90C1-22BE", {"sign.pem", "page.pem"})
    assert not (folder / "neuf.toml.sig").exists()


def _another_key(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "key_page.pem").write_bytes(pem)


def _another_port(folder: Path) -> None:
    path = folder / "passevue.toml"
    path.write_text(path.read_text().replace("port = 443", "port = 8443"))


def _torn(folder: Path) -> None:
    path = folder / "passevue.toml"
    path.write_text(path.read_text() + "[")


def _binary(folder: Path) -> None:
    (folder / "sign.pem").write_bytes(b"\x30\x82\xff\xfe" * 100)


def _huge(folder: Path) -> None:
    (folder / "page.pem").write_bytes(b"x" * (2 << 20))


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (_another_key, "n’est pas celle du certificat page.pem"),
        (_another_port, "page.port est 443"),
        (_torn, "Corrigez la ligne"),
        (_binary, "sign.pem ne se lit pas"),
        (_huge, "page.pem ne se lit pas, est trop grand"),
    ],
)
def test_what_a_box_would_refuse_is_refused_here(folder: Path, break_it: Callable[[Path], None], words: str) -> None:
    break_it(folder)
    said = passevue(folder, "--number", "7", "--signing-key", "centre.key")
    assert said.returncode != 0
    assert words in " ".join(said.stderr.split())
    assert not list(folder.glob("boitier-*"))


def test_nothing_is_written_over_and_nothing_without_the_right_key(folder: Path) -> None:
    (folder / "boitier-7.toml").write_text("kept")
    said = passevue(folder, "--number", "7")
    assert said.returncode != 0
    assert "existe déjà" in said.stderr
    assert (folder / "boitier-7.toml").read_text() == "kept"
    said = passevue(folder, "--number", "9", "--signing-key", "key_auth.pem")
    assert said.returncode != 0
    assert "Ed25519" in said.stderr
    assert not (folder / "boitier-9.toml").exists()
    assert passevue(folder, "--number", "0").returncode != 0


def test_a_signature_is_what_openssl_makes(folder: Path) -> None:
    passevue(folder, "--number", "7", "--signing-key", "centre.key")
    command = ["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", "centre.key", "-in", "boitier-7.toml"]
    theirs = subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout
    assert base64.b64decode((folder / "boitier-7.toml.sig").read_bytes()) == theirs


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_any_text_comes_out_as_it_went_in_or_not_at_all(text: str) -> None:
    made = Package(1, text, {"a.pem": text.encode()}, {"page": {"b.pem": text.encode()}})
    try:
        found = package.read(packing._document(made))
    except Unreadable:
        assert any(ord(each) < 32 or ord(each) == 127 for each in text)
        return
    assert found == made


def test_a_configuration_with_three_quotes_or_other_lines_stays_as_it_is() -> None:
    for text in ("x = '''y'''\n", "x = 1\r\n", "a'", ""):
        document = packing._document(Package(1, text))
        assert tomllib.loads(document.decode())["configuration"] == text
