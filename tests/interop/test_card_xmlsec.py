"""xmlsec1, which we did not write, verifies VIHF and XAdES signed by a card in a reader."""

import shutil
import subprocess
from base64 import b64decode
from pathlib import Path

import pytest

from tests.interop.card_at_hand import Child, card_at_hand
from tests.peers import pcsc
from tests.peers.card import Kind
from tests.peers.pki_persons import Persons

XMLSEC = shutil.which("xmlsec1")
pytestmark = [
    pytest.mark.skipif(XMLSEC is None, reason="xmlsec1 is not installed (tests/packages.txt)"),
    pytest.mark.skipif(bool(pcsc.why_not()), reason=pcsc.why_not() or "-"),
]

ASSERTION = ("--id-attr:ID", "urn:oasis:names:tc:SAML:2.0:assertion:Assertion")
XADES = (
    "--ignore-manifests",
    *("--id-attr:Id", "http://www.w3.org/2000/09/xmldsig#:Manifest"),
    *("--id-attr:Id", "http://uri.etsi.org/01903/v1.1.1#:SignedProperties"),
)


@pytest.fixture(scope="module")
def persons(tmp_path_factory: pytest.TempPathFactory) -> Persons:
    return Persons(tmp_path_factory.mktemp("persons"))


def verifies(content: bytes, folder: Path, persons: Persons, *options: str) -> bool:
    assert XMLSEC is not None
    file = folder / "signed.xml"
    file.write_bytes(content)
    command = [XMLSEC, "--verify", "--trusted-pem", str(persons.folder / "root-FORT-test.pem"),
               "--untrusted-pem", str(persons.folder / "persons-FORT-test.pem"), *options, str(file)]  # fmt: skip
    return subprocess.run(command, capture_output=True, check=False, timeout=30).returncode == 0


@pytest.mark.parametrize("digest", ["sha256", "sha1"])
@pytest.mark.parametrize("kind", [Kind.CPS3, Kind.CPS4])
def test_vihf_and_xades_of_a_card_verify_and_once_changed_do_not(
    persons: Persons, tmp_path: Path, kind: Kind, digest: str
) -> None:
    with card_at_hand(tmp_path, persons, kind) as (_, pcscd), Child(pcscd, "sign", digest) as child:
        signed = {name: b64decode(value) for name, value in child.next().items()}
    vihf, xades = signed["vihf"], signed["xades"]
    assert b"SN=" in vihf
    assert verifies(vihf, tmp_path, persons, *ASSERTION)
    other = vihf.replace(b"899700367909</saml2:NameID>", b"899700367900</saml2:NameID>")
    assert other != vihf
    assert not verifies(other, tmp_path, persons, *ASSERTION)
    assert verifies(xades, tmp_path, persons, *XADES)
    assert not verifies(xades.replace(b"urn:oid:1.2.3", b"urn:oid:1.2.4"), tmp_path, persons, *XADES)
