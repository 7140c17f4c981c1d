"""What lands in the image has the rights that it has there, whatever umask the checkout was made with."""

import stat
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def ground() -> ModuleType:
    before = list(sys.path)
    sys.path.insert(0, str(REPOSITORY / "image"))
    from making import ground as module

    sys.path[:] = before
    return module


@pytest.mark.parametrize(
    ("had", "has"),
    [(0o664, 0o644), (0o600, 0o644), (0o666, 0o644), (0o775, 0o755), (0o700, 0o755), (0o4755, 0o755)],
    ids=oct,
)
def test_a_file_lands_with_the_usual_mode(ground: ModuleType, tmp_path: Path, had: int, has: int) -> None:
    source = tmp_path / "source"
    source.write_text("x")
    source.chmod(had)
    ground.copy(source, tmp_path / "there/target")
    assert stat.S_IMODE((tmp_path / "there/target").stat().st_mode) == has


def test_a_later_tree_takes_the_place_of_an_earlier_one(ground: ModuleType, tmp_path: Path) -> None:
    first, second, target = tmp_path / "first", tmp_path / "second", tmp_path / "target"
    first.symlink_to("/nowhere")
    second.write_text("second")
    ground.copy(first, target)
    ground.copy(second, target)
    ground.copy(second, target)
    assert not target.is_symlink()
    assert target.read_text() == "second"


def test_nothing_but_the_initrd_lets_mkosi_copy_a_checkout_as_it_lies() -> None:
    """The initrd sets its rights anew (mkosi.finalize.chroot)."""
    listed = subprocess.run(["git", "ls-files", "image"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    as_it_lies = {name.partition("mkosi.extra")[0] for name in listed.stdout.splitlines() if "mkosi.extra/" in name}
    assert as_it_lies == {"image/mkosi.images/initrd/"}
