"""N-19: ZIP files that are refused whole, and nothing of them is written anywhere."""

import struct
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given as for_any
from hypothesis import strategies as st

from passevue.document import xdm_zip
from passevue.document.xdm import import_xdm
from passevue.document.xdm_zip import MAX_MEMBERS, Archive
from passevue.errors import Unreadable


def made(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def info(name: str, mode: int = 0o100600) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.external_attr = mode << 16
    return member


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.zip"


def refused(path: Path, complaint: str = "XDM") -> None:
    before = sorted(path.parent.rglob("*"))
    with pytest.raises(Unreadable, match=complaint):
        Archive(path)
    assert sorted(path.parent.rglob("*")) == before


def test_a_good_archive_is_read(path: Path) -> None:
    with Archive(made(path, ("KA/", b""), ("KA/a", b"one"), (info("KA/b", 0o100600), b"two"))) as archive:
        assert archive.names == ("KA/a", "KA/b")
        assert archive.read("KA/b") == b"two"
        assert "KA/c" not in archive
        with pytest.raises(KeyError):
            archive.read("KA/c")


def test_an_archive_with_a_comment_is_read(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", b"one")
        archive.comment = b"made elsewhere"
    with Archive(path) as read:
        assert read.read("a") == b"one"


@pytest.mark.parametrize(
    "name",
    ["../evil", "a/../../evil", "/etc/passwd", "C:/evil", "c:evil", "a//b", "./a", "a/./b", "..", "a\\..\\b", "a\nb"],
)
def test_names_that_lead_out(path: Path, name: str) -> None:
    refused(made(path, (info(name), b"x")), "leads out")


def test_a_name_with_nul(path: Path) -> None:
    made(path, ("aXb", b"x"))
    path.write_bytes(path.read_bytes().replace(b"aXb", b"a\0b"))
    refused(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_duplicate_names_and_case_clashes(path: Path) -> None:
    refused(made(path, ("a/METADATA.XML", b"1"), ("a/METADATA.XML", b"2")), "one name")
    refused(made(path, ("a/METADATA.XML", b"1"), ("a/metadata.xml", b"2")), "one name")
    refused(made(path, ("a", b"1"), ("a/", b"")), "one name")


@pytest.mark.parametrize("mode", [0o120777, 0o020600, 0o060600, 0o010600, 0o140600, 0o040700])
def test_links_and_devices(path: Path, mode: int) -> None:
    refused(made(path, (info("a", mode), b"/etc/passwd")))


def flagged(path: Path, flag: int) -> Path:
    made(path, ("a", b"x"))
    data = bytearray(path.read_bytes())
    data[6:8] = struct.pack("<H", flag)
    at = data.index(b"PK\1\2")
    data[at + 8 : at + 10] = struct.pack("<H", flag)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("flag", [0x1, 0x41, 0x2001])
def test_encrypted_members(path: Path, flag: int) -> None:
    refused(flagged(path, flag))


def test_other_methods(path: Path) -> None:
    refused(made(path, ("a", b"x" * 100), method=zipfile.ZIP_BZIP2), "stored or deflated")
    refused(made(path, ("a", b"x" * 100), method=zipfile.ZIP_LZMA), "stored or deflated")


def test_a_wrong_crc_at_the_end_refuses_everything(path: Path) -> None:
    made(path, ("a", b"first"), ("b", b"second"))
    path.write_bytes(path.read_bytes().replace(b"second", b"secons"))
    refused(path, "CRC")


def test_a_bomb_by_ratio(path: Path) -> None:
    refused(made(path, ("a", bytes(1 << 20)), method=zipfile.ZIP_DEFLATED), "inflates")
    path.unlink()
    with Archive(made(path, ("a", bytes(xdm_zip._FREE_RATIO_BYTES)), method=zipfile.ZIP_DEFLATED)) as archive:
        assert len(archive.read("a")) == xdm_zip._FREE_RATIO_BYTES


def test_a_member_that_lies_about_its_size(path: Path) -> None:
    made(path, ("a", bytes(50_000)), method=zipfile.ZIP_DEFLATED)
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\1\2")
    for said in (10, 60_000):
        data[at + 24 : at + 28] = struct.pack("<L", said)
        path.write_bytes(data)
        refused(path)


def test_too_many_members(path: Path) -> None:
    def numbered(count: int) -> Path:
        return made(path, *((f"a{number}", b"") for number in range(count)))

    with Archive(numbered(MAX_MEMBERS)) as archive:
        assert len(archive.names) == MAX_MEMBERS
    refused(numbered(MAX_MEMBERS + 1), "members")


def test_a_directory_that_lies_about_its_number(path: Path) -> None:
    made(path, *((f"a{number}", b"") for number in range(MAX_MEMBERS + 1)))
    data = bytearray(path.read_bytes())
    data[-14:-10] = struct.pack("<HH", 1, 1)
    path.write_bytes(data)
    refused(path)


def test_members_that_overlap(path: Path) -> None:
    made(path, ("a", b"one"), ("b", b"two"))
    data = bytearray(path.read_bytes())
    second = data.rindex(b"PK\1\2")
    data[second + 42 : second + 46] = struct.pack("<L", 0)
    path.write_bytes(data)
    refused(path)


def test_a_member_with_two_names(path: Path) -> None:
    made(path, ("aaa", b"one"))
    data = bytearray(path.read_bytes())
    data[30:33] = b"bbb"
    path.write_bytes(data)
    refused(path)


def test_an_archive_in_the_archive(path: Path, tmp_path: Path) -> None:
    inner = made(tmp_path / "inner", ("a", b"x")).read_bytes()
    refused(made(path, ("a.ZIP", b"x")), "archive in the archive")
    refused(made(path, ("a", inner)), "archive in the archive")


def test_zip64_and_parts(path: Path) -> None:
    made(path, ("a", b"x"))
    whole = path.read_bytes()
    for at, value in ((-18, b"\1\0"), (-16, b"\1\0"), (-12, b"\xff\xff"), (-10, b"\xff" * 4), (-6, b"\xff" * 4)):
        data = bytearray(whole)
        data[len(data) + at : len(data) + at + len(value)] = value
        path.write_bytes(data)
        refused(path)


def test_a_file_too_large_is_not_even_opened(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(xdm_zip.MAX_ARCHIVE_BYTES + 1)
    refused(path, "at most")


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\5\6", b"PK\5\6" + bytes(18), bytes(1000), b"PK\3\4" + bytes(200)])
def test_what_is_no_archive(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(Unreadable):
        import_xdm(path, {}, "test")


GOOD: list[bytes] = []


def good() -> bytes:
    if not GOOD:
        with tempfile.TemporaryDirectory() as folder:
            GOOD.append(made(Path(folder) / "a", ("IHE_XDM/SS1/CR.TXT", b"x" * 50), ("b", b"y")).read_bytes())
    return GOOD[0]


def mutated(change: tuple[int, bytes]) -> bytes:
    at, junk = change
    return good()[: at % len(good())] + junk + good()[at % len(good()) + len(junk) :]


mutations = st.tuples(st.integers(0, 1000), st.binary(min_size=1, max_size=8)).map(mutated)


@for_any(st.binary(max_size=300) | mutations)
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.zip"
        path.write_bytes(data)
        try:
            with Archive(path) as archive:
                for name in archive.names:
                    archive.read(name)
            import_xdm(path, {}, "test")
        except Unreadable:
            pass
        assert [each.name for each in Path(folder).iterdir()] == ["a.zip"]
