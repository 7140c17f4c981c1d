"""xmlsec1, which we did not write, verifies our VIHF and our XAdES, and refuses them once changed.

It is given the authority's certificates only: chain, signature value and every digest are its own work.
"""

import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from passevue.card.pem_signer import PemSigner, read_pem
from passevue.national.signature import sign_submission_set
from passevue.national.soap import write_request
from passevue.national.vihf import KNOW_HOW, PROFESSIONS, Lps, Role, VihfFacts, build_vihf
from tests.peers.pki import Pki

XMLSEC = shutil.which("xmlsec1")
pytestmark = pytest.mark.skipif(XMLSEC is None, reason="xmlsec1 is not installed (tests/packages.txt)")

SAMPLES = Path(__file__).parents[1] / "samples"
STRUCTURE = "10B0127189"
FACTS = VihfFacts(
    name_id="899700367909",
    structure_id=STRUCTURE,
    sector="SA07",
    subject_id='Kit "d\'Été" & <Cie>',
    roles=(Role("10", PROFESSIONS, "Médecin"), Role("SM44", KNOW_HOW, "Radio-diagnostic (SM)")),
    resource_id="279035121518989^^^&1.2.250.1.213.1.4.10&ISO^NH",
)
ASSERTION = ("--id-attr:ID", "urn:oasis:names:tc:SAML:2.0:assertion:Assertion")
# The manifest names the set and the KOS by urn:oid:, which xmlsec1 cannot fetch: its digest is checked, they are not.
XADES = (
    "--ignore-manifests",
    *("--id-attr:Id", "http://www.w3.org/2000/09/xmldsig#:Manifest"),
    *("--id-attr:Id", "http://uri.etsi.org/01903/v1.1.1#:SignedProperties"),
)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def signer(pki: Pki) -> PemSigner:
    keys = pki.structure(STRUCTURE)
    return read_pem(keys.sign_certificate.read_bytes(), keys.sign_key.read_bytes())


def verifies(content: bytes, folder: Path, pki: Pki, *options: str) -> bool:
    file = folder / "signed.xml"
    file.write_bytes(content)
    assert XMLSEC is not None
    # The root alone is trusted; the sub-CA is handed over, as it is known to the DMP. SHA-1 is what the samples use.
    command = [XMLSEC, "--verify", "--trusted-pem", str(pki.folder / "root.pem"),
               "--untrusted-pem", str(pki.folder / "sub.pem"), *options, str(file)]  # fmt: skip
    return subprocess.run(command, capture_output=True, check=False, timeout=30).returncode == 0


@pytest.mark.parametrize("digest", ["sha1", "sha256"])
async def test_the_vihf_verifies_alone_and_in_its_envelope(
    signer: PemSigner, pki: Pki, tmp_path: Path, digest: str
) -> None:
    assertion = await build_vihf(FACTS, signer, datetime.now(UTC), digest, Lps("Passevue", "0.1", "PVU-0"))
    request = write_request("urn:a", "https://dmp.invalid/registry", assertion, b"<a/>", "urn:uuid:1")
    for content in (assertion, request.chunks[0]):
        assert verifies(content, tmp_path, pki, *ASSERTION)
        assert not verifies(content.replace(b"899700367909", b"899700367900"), tmp_path, pki, *ASSERTION)
        assert not verifies(content.replace(b"INDIRECTE", b"DIRECTE"), tmp_path, pki, *ASSERTION)


@pytest.mark.parametrize("digest", ["sha1", "sha256"])
async def test_the_xades_verifies(signer: PemSigner, pki: Pki, tmp_path: Path, digest: str) -> None:
    now = datetime.now(UTC)
    content = await sign_submission_set(signer, "1.2.9", [("1.2.3", b"kos")], "2.25.7", now, digest)
    assert verifies(content, tmp_path, pki, *XADES)
    assert not verifies(content.replace(b"urn:oid:1.2.3", b"urn:oid:1.2.4"), tmp_path, pki, *XADES)
    assert not verifies(content.replace(b"<SigningTime>2", b"<SigningTime>3"), tmp_path, pki, *XADES)


def test_the_golden_sample_verifies_so_the_options_are_right(tmp_path: Path) -> None:
    assert XMLSEC is not None
    igc = SAMPLES / "igc"
    command = [XMLSEC, "--verify", "--trusted-pem", str(igc / "test_ac_racine_el.pem"),
               "--untrusted-pem", str(igc / "test_aci_el_org.pem"), "--verification-time", "2024-01-01 00:00:00",
               *XADES, str(SAMPLES / "xds/signature_xades_lot.xml")]  # fmt: skip
    done = subprocess.run(command, capture_output=True, check=False, timeout=30, text=True)
    assert done.returncode == 0, done.stderr
