"""Opens a ZIP from outside, or refuses it whole (N-19): nothing is extracted to the disk, members are read by name.

Refused: names that climb, are absolute, clash in case or come twice; links and devices; encryption; methods other than
stored and deflated; bombs (size, ratio, number); members that overlap; a wrong CRC; an archive in the archive; ZIP64.

Facts: `zipfile` reads the whole central directory before one can look at it, so its size is taken from the end record
first; it cuts names at NUL and turns `\\` round, so the name is judged as it was written (`orig_filename`).
"""

import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from passevue.errors import Unreadable

MAX_ARCHIVE_BYTES = 512 << 20
MAX_MEMBERS = 2_000
MAX_MEMBER_BYTES = 32 << 20
MAX_INFLATED_BYTES = 512 << 20
MAX_RATIO = 100
_FREE_RATIO_BYTES = 64 << 10  # a small member may well be all zeros
_MAX_DIRECTORY_BYTES = 1 << 20
_END = struct.Struct("<4s4H2LH")
_LOCAL = struct.Struct("<4s5H3L2H")
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_ERRORS = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    struct.error,
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    NotImplementedError,
    OverflowError,
)


class Archive:
    """Members of a ZIP that passed every check, by name; a context manager.

    Raises:
        Unreadable: at the opening, for anything that the module says.
    """

    def __init__(self, path: Path) -> None:
        try:
            _check_end_record(path)
            self._zip = zipfile.ZipFile(path)
        except _ERRORS as err:
            raise Unreadable("XDM: not a ZIP archive") from err
        try:
            self._members = self._checked()
        except _ERRORS as err:
            self._zip.close()
            raise Unreadable("XDM: a member cannot be read, or its CRC is wrong") from err
        except Unreadable:
            self._zip.close()
            raise

    def __enter__(self) -> "Archive":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._zip.close()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the files, folders left out."""
        return tuple(self._members)

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def read(self, name: str) -> bytes:
        """One member.

        Raises:
            KeyError: no such member.
            Unreadable: the file changed since it was opened.
        """
        try:
            return self._zip.read(self._members[name])
        except _ERRORS as err:
            raise Unreadable("XDM: a member cannot be read") from err

    def _checked(self) -> dict[str, zipfile.ZipInfo]:
        infos = self._zip.infolist()
        if len(infos) > MAX_MEMBERS:
            raise Unreadable(f"XDM: expected at most {MAX_MEMBERS} members, got {len(infos)}")
        seen: set[str] = set()
        for info in infos:
            _check_name(info.orig_filename, seen)
            _check_kind(info)
            _check_size(info)
        if sum(info.file_size for info in infos) > MAX_INFLATED_BYTES:
            raise Unreadable(f"XDM: expected at most {MAX_INFLATED_BYTES} bytes inflated")
        self._check_layout(infos)
        self._check_content(infos)
        return {info.orig_filename: info for info in infos if not info.is_dir()}

    def _check_layout(self, infos: list[zipfile.ZipInfo]) -> None:
        """Each member has its own bytes, and its local header tells the same name as the directory."""
        file = self._zip.fp
        assert file is not None  # noqa: S101 - open as long as we are
        end = 0
        for info in sorted(infos, key=lambda info: info.header_offset):
            if info.header_offset < end:
                raise Unreadable("XDM: members overlap")
            file.seek(info.header_offset)
            signature, _version, flags, *_rest, name_length, extra_length = _LOCAL.unpack(file.read(_LOCAL.size))
            written = file.read(name_length)
            if signature != b"PK\3\4" or flags & _ENCRYPTED:
                raise Unreadable("XDM: a local header is not one, or says encrypted")
            if written != info.orig_filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437"):
                raise Unreadable("XDM: a member has two names")
            end = info.header_offset + _LOCAL.size + name_length + extra_length + info.compress_size
        if end > self._zip.start_dir:
            raise Unreadable("XDM: a member overlaps the directory")

    def _check_content(self, infos: list[zipfile.ZipInfo]) -> None:
        """Read everything once, so that a wrong CRC at the end refuses what came before too."""
        for info in infos:
            with self._zip.open(info) as member:
                first = member.read(4)
                if first in (b"PK\3\4", b"PK\5\6"):
                    raise Unreadable("XDM: an archive in the archive")
                size = len(first) + sum(map(len, iter(_chunks(member.read), b"")))
            if size != info.file_size:
                raise Unreadable("XDM: a member lies about its size")


def _chunks(read: Callable[[int], bytes]) -> Callable[[], bytes]:
    return lambda: read(1 << 20)


def _check_end_record(path: Path) -> None:
    size = path.stat().st_size
    if size > MAX_ARCHIVE_BYTES:
        raise Unreadable(f"XDM: expected an archive of at most {MAX_ARCHIVE_BYTES} bytes, got {size}")
    with path.open("rb") as file:
        file.seek(max(0, size - (1 << 16) - _END.size))
        tail = file.read()
    at = len(tail) - _END.size
    if at < 0 or tail[at : at + 4] != b"PK\5\6" or tail[-2:] != b"\0\0":
        at = tail.rfind(b"PK\5\6")  # a comment follows; looked for as zipfile does
    if at < 0 or len(tail) - at < _END.size:
        raise Unreadable("XDM: not a ZIP archive")
    _, disk, start_disk, here, total, directory_size, offset, _ = _END.unpack_from(tail, at)
    if disk or start_disk or here != total or total == 0xFFFF or 0xFFFFFFFF in (directory_size, offset):
        raise Unreadable("XDM: expected a ZIP of one part, without ZIP64")
    if total > MAX_MEMBERS or directory_size > _MAX_DIRECTORY_BYTES:
        raise Unreadable(f"XDM: expected at most {MAX_MEMBERS} members, got {total}")


def _check_name(name: str, seen: set[str]) -> None:
    parts = name.removesuffix("/").split("/")
    if any(part in ("", ".", "..") for part in parts) or "\\" in name or ":" in name or not name.isprintable():
        raise Unreadable("XDM: a member's name leads out of the archive, or is none")
    key = name.removesuffix("/").casefold()
    if key in seen:
        raise Unreadable("XDM: two members have one name, case aside")
    seen.add(key)


def _check_kind(info: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise Unreadable("XDM: a link or a device")
    if info.is_dir() != (kind == stat.S_IFDIR) and kind != 0:
        raise Unreadable("XDM: a folder that says it is a file, or the other way round")
    if info.flag_bits & _ENCRYPTED:
        raise Unreadable("XDM: encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Unreadable("XDM: expected members stored or deflated")
    if info.orig_filename.casefold().endswith(".zip"):
        raise Unreadable("XDM: an archive in the archive")


def _check_size(info: zipfile.ZipInfo) -> None:
    if info.file_size > MAX_MEMBER_BYTES:
        raise Unreadable(f"XDM: expected members of at most {MAX_MEMBER_BYTES} bytes")
    if info.file_size > max(_FREE_RATIO_BYTES, MAX_RATIO * info.compress_size):
        raise Unreadable(f"XDM: a member inflates more than {MAX_RATIO} times")
    if info.is_dir() and info.file_size:
        raise Unreadable("XDM: a folder that holds bytes")
