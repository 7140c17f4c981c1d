"""What a board in setup mode is given to enrol: signed the way firmware checks it (UEFI 2.10, 8.2.2)."""

import shutil
import struct
import subprocess
from pathlib import Path
from uuid import UUID

import pytest

REPOSITORY = Path(__file__).parents[3]
GLOBAL = UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c")
IMAGE_SECURITY = UUID("d719b2cb-3d3a-4596-a3bc-dad00e67656f")
PKCS7 = UUID("4aafd29d-68df-49ee-8aa9-347d375665a7")
NON_VOLATILE, BOOT_SERVICE, RUNTIME, TIME_BASED = 0x01, 0x02, 0x04, 0x20
TIME_BYTES, HEAD_BYTES = 16, 24

pytestmark = pytest.mark.skipif(
    shutil.which("sign-efi-sig-list") is None, reason="efitools is not installed (tests/packages.txt)"
)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys") / "set"
    for program in ("keys", "keys-enrol"):
        subprocess.run([REPOSITORY / "image" / program, folder], check=True, capture_output=True)
    return folder


def der(tag: int, content: bytes) -> bytes:
    return bytes([tag, 0x82]) + len(content).to_bytes(2, "big") + content


@pytest.mark.parametrize(
    ("name", "vendor", "signer"), [("PK", GLOBAL, "PK"), ("KEK", GLOBAL, "PK"), ("db", IMAGE_SECURITY, "KEK")]
)
def test_each_variable_is_signed_by_the_one_above(
    keys: Path, tmp_path: Path, name: str, vendor: UUID, signer: str
) -> None:
    whole = (keys / f"enrol/{name}.auth").read_bytes()
    length, _, _ = struct.unpack_from("<IHH", whole, TIME_BYTES)
    assert whole[HEAD_BYTES:][:16] == PKCS7.bytes_le
    signed_data, lists = whole[HEAD_BYTES + 16 : TIME_BYTES + length], whole[TIME_BYTES + length :]
    attributes = struct.pack("<I", NON_VOLATILE | BOOT_SERVICE | RUNTIME | TIME_BASED)
    said = name.encode("utf-16-le") + vendor.bytes_le + attributes + whole[:TIME_BYTES] + lists
    (tmp_path / "said").write_bytes(said)
    oid = bytes.fromhex("06092a864886f70d010702")
    (tmp_path / "signature").write_bytes(der(0x30, oid + der(0xA0, signed_data)))
    checked = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-purpose", "any", "-partial_chain"]
    files = ["-in", tmp_path / "signature", "-content", tmp_path / "said", "-CAfile", keys / f"{signer}.crt"]
    done = subprocess.run([*checked, *files, "-out", "/dev/null"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_variable_holds_the_certificate_of_its_name_alone(keys: Path) -> None:
    owner = UUID((keys / "owner.guid").read_text().strip())
    for name in ("PK", "KEK", "db"):
        whole = (keys / f"enrol/{name}.auth").read_bytes()
        lists = whole[TIME_BYTES + struct.unpack_from("<I", whole, TIME_BYTES)[0] :]
        size, header, one = struct.unpack_from("<III", lists, 16)
        assert (size, header) == (len(lists), 0)
        assert lists[28:44] == owner.bytes_le
        made = subprocess.run(
            ["openssl", "x509", "-in", keys / f"{name}.crt", "-outform", "DER"], check=True, capture_output=True
        )
        assert lists[44 : 28 + one] == made.stdout
