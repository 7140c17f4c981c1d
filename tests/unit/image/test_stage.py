"""What lands in the image: which files, in whose place, and with the rights that they have there whoever builds."""

import importlib
import os
import stat
import struct
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[3]
CONSOLE = Path("usr/lib/systemd/system/sysinit.target.wants/test-console.service")


def _module(name: str) -> ModuleType:
    before = list(sys.path)
    sys.path.insert(0, str(REPOSITORY / "image"))
    module = importlib.import_module(f"making.{name}")
    sys.path[:] = before
    return module


@pytest.fixture
def ground() -> ModuleType:
    return _module("ground")


@pytest.fixture
def stage() -> ModuleType:
    return _module("stage")


def _order(ground: ModuleType, test: bool = False, extra: tuple[Path, ...] = ()) -> Any:
    named = {"profile": "development", "version": "1.0", "name": "x", "keys": Path("/nowhere"), "compression": "lz4"}
    return ground.Order(**named, test=test, extra=extra, epoch=0, fresh=False)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("had", "has"),
    [(0o664, 0o644), (0o600, 0o644), (0o666, 0o644), (0o775, 0o755), (0o700, 0o755), (0o4755, 0o755)],
    ids=oct,
)
def test_a_file_gets_the_usual_mode(ground: ModuleType, tmp_path: Path, had: int, has: int) -> None:
    source = tmp_path / "source"
    source.write_text("x")
    source.chmod(had)
    ground.copy(source, tmp_path / "tree/a/target")
    ground.settle(tmp_path / "tree")
    assert _mode(tmp_path / "tree/a/target") == has


@pytest.mark.parametrize("had", [0o700, 0o2775, 0o1777], ids=oct)
def test_a_folder_gets_the_usual_mode(ground: ModuleType, tmp_path: Path, had: int) -> None:
    folder = tmp_path / "tree/a"
    folder.mkdir(parents=True)
    folder.chmod(had)
    folder.parent.chmod(had)
    ground.settle(folder.parent)
    assert [_mode(folder), _mode(folder.parent)] == [0o755, 0o755]


def test_an_access_list_of_the_checkout_stays_behind(ground: ModuleType, tmp_path: Path) -> None:
    """acl(5) as the kernel keeps it: version 2; for each entry tag, permissions, user."""
    entries = [(0x01, 7, 2**32 - 1), (0x02, 7, 1000), (0x04, 5, 2**32 - 1), (0x10, 7, 2**32 - 1), (0x20, 5, 2**32 - 1)]
    value = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    try:
        os.setxattr(tmp_path, "system.posix_acl_default", value)
    except OSError as err:
        pytest.skip(f"this file system keeps no access lists: {err}")
    (tmp_path / "below").mkdir()
    (tmp_path / "below/file").write_text("x")
    assert os.listxattr(tmp_path / "below/file")
    ground.settle(tmp_path)
    assert [os.listxattr(path) for path in (tmp_path, tmp_path / "below", tmp_path / "below/file")] == [[], [], []]
    assert [_mode(tmp_path / "below"), _mode(tmp_path / "below/file")] == [0o755, 0o644]


def test_a_link_is_laid_out_as_it_is(ground: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/nowhere")
    ground.copy(tmp_path / "link", tmp_path / "tree/link")
    ground.settle(tmp_path / "tree")
    assert os.readlink(tmp_path / "tree/link") == "/nowhere"


def test_a_later_file_takes_the_place_of_an_earlier_one(ground: ModuleType, tmp_path: Path) -> None:
    first, second, target = tmp_path / "first", tmp_path / "second", tmp_path / "target"
    first.symlink_to("/nowhere")
    second.write_text("second")
    ground.copy(first, target)
    ground.copy(second, target)
    ground.copy(second, target)
    assert not target.is_symlink()
    assert target.read_text() == "second"


def test_the_root_console_lands_in_the_image_that_asks_for_it_alone(ground: ModuleType, stage: ModuleType) -> None:
    without, with_it = ({inner for _, inner in stage.landing(_order(ground, test=test))} for test in (False, True))
    assert with_it - without == {CONSOLE, CONSOLE.parents[1] / CONSOLE.name}
    assert not without - with_it


def test_what_lies_in_a_tree_lands_but_for_what_speaks_to_people(ground: ModuleType, stage: ModuleType) -> None:
    landing = list(stage.landing(_order(ground)))
    listed = subprocess.run(["git", "ls-files", *stage.OVERLAYS], cwd=REPOSITORY, capture_output=True, text=True)
    ours = [name for name in listed.stdout.splitlines() if not name.endswith("README.md")]
    assert ours
    assert {REPOSITORY / name for name in ours} <= {source for source, _ in landing}
    assert all(source.is_file() or source.is_symlink() for source, _ in landing)
    places = [inner for _, inner in landing]
    assert len(set(places)) == len(places)


def test_a_tree_laid_over_comes_last(ground: ModuleType, stage: ModuleType, tmp_path: Path) -> None:
    place = Path("usr/bin/passevue")
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / place).write_text("broken")
    landing = list(stage.landing(_order(ground, extra=(tmp_path,))))
    assert landing[-1] == (tmp_path / place, place)
    assert place in [inner for _, inner in landing[:-1]]


@pytest.mark.parametrize("name", ["é.conf", r"var-lib\x2dbar.mount", "two words", "dangling.service"])
def test_a_name_is_taken_as_it_is_spelt(tmp_path: Path, name: str) -> None:
    """In a repository of its own: what `tracked` lists is what lies there, links to nowhere too."""
    making = tmp_path / "image/making"
    making.mkdir(parents=True)
    (making / "ground.py").write_bytes((REPOSITORY / "image/making/ground.py").read_bytes())
    tree = tmp_path / "overlay/etc"
    tree.mkdir(parents=True)
    if name.startswith("dangling"):
        (tree / name).symlink_to("/usr/lib/systemd/system/of-the-image.service")
    else:
        (tree / name).write_text("x")
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    asked = "import sys; sys.path[:0] = ['image']; from making import ground; print(ascii(ground.tracked('overlay')))"
    said = subprocess.run([sys.executable, "-c", asked], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == ascii([f"overlay/etc/{name}"])


def test_nothing_but_the_initrd_lets_mkosi_copy_a_checkout_as_it_lies() -> None:
    """The initrd sets its rights anew (mkosi.finalize.chroot)."""
    listed = subprocess.run(["git", "ls-files", "image"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    taken = {
        (name.partition(found)[0], found)
        for name in listed.stdout.splitlines()
        for found in ("mkosi.extra", "mkosi.skeleton")
        if found in name
    }
    assert taken == {("image/mkosi.images/initrd/", "mkosi.extra")}
