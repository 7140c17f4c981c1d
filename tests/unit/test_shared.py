"""What is made in a folder that several users write is theirs; anywhere else it is its user's alone."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from passevue.shared import is_shared, make_folder, open_shared, put_in_place, read_owned, read_shared

NEW = os.O_WRONLY | os.O_CREAT


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o007, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(0o2770)
    return folder


@pytest.mark.usefixtures("umask")
def test_files_and_folders_of_a_shared_folder_are_its_groups(shared: Path) -> None:
    make_folder(shared / "a" / "b")
    os.close(open_shared(shared / "a" / "b" / "file", NEW))
    put_in_place(shared / "a" / "word", b"said")
    assert [mode(shared / name) for name in ("a", "a/b", "a/b/file", "a/word")] == [0o2770, 0o2770, 0o660, 0o660]
    assert (shared / "a" / "word").read_bytes() == b"said"
    assert sorted(os.listdir(shared / "a")) == ["b", "word"]


@pytest.mark.usefixtures("umask")
def test_elsewhere_they_are_their_users_alone(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    os.close(open_shared(tmp_path / "a" / "b" / "file", NEW))
    assert [mode(tmp_path / name) for name in ("a", "a/b", "a/b/file")] == [0o700, 0o700, 0o600]
    assert not is_shared(tmp_path / "a")


def test_what_is_there_keeps_its_mode(shared: Path) -> None:
    (shared / "file").touch()
    (shared / "file").chmod(0o640)
    (shared / "own").mkdir()
    (shared / "own").chmod(0o700)
    os.close(open_shared(shared / "file", NEW))
    make_folder(shared / "own")
    assert [mode(shared / name) for name in ("file", "own")] == [0o640, 0o700]


def test_a_file_that_must_be_new_is_refused_when_it_is_not(shared: Path) -> None:
    os.close(open_shared(shared / "file", NEW | os.O_EXCL))
    with pytest.raises(FileExistsError):
        open_shared(shared / "file", NEW | os.O_EXCL)


def test_links_are_not_followed_when_asked_not_to(shared: Path) -> None:
    (shared / "link").symlink_to(shared / "elsewhere")
    with pytest.raises(OSError, match=r"loop|symbolic|links"):
        open_shared(shared / "link", NEW | os.O_NOFOLLOW)


def test_what_is_read_is_a_plain_file_and_bounded(shared: Path) -> None:
    put_in_place(shared / "word", b"said")
    (shared / "link").symlink_to(shared / "word")
    os.mkfifo(shared / "pipe")
    assert read_shared(shared / "word", 3) == b"sai"
    for name in ("link", "pipe", ".", "none"):
        with pytest.raises(OSError):
            read_shared(shared / name, 3)


def test_nobody_is_held_up_by_what_lies_where_they_write(shared: Path) -> None:
    os.mkfifo(shared / f"word.{os.getpid()}.new")
    put_in_place(shared / "word", b"said")
    assert (shared / "word").read_bytes() == b"said"


@pytest.mark.usefixtures("umask")
def test_an_owned_file_is_read_by_all_zones_and_written_by_one(shared: Path) -> None:
    put_in_place(shared / "word", b"said", owned=True)
    assert mode(shared / "word") == 0o640
    assert read_owned(shared / "word", 9, os.geteuid()) == b"said"
    with pytest.raises(OSError, match="owner's alone"):
        read_owned(shared / "word", 9, os.geteuid() + 1)
    put_in_place(shared / "word", b"said")
    with pytest.raises(OSError, match="owner's alone"):
        read_owned(shared / "word", 9, os.geteuid())
