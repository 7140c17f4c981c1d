"""image/rauc/fetched.py with bundles that a real rauc made: what it counts is enough, and little."""

import hashlib
import importlib.util
import json
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.peers.boot_disk import IMAGE, portable_executable

pytestmark = pytest.mark.skipif(not shutil.which("rauc"), reason="rauc is missing")
PROGRAM = IMAGE / "fetched.py"
CHUNK = 4096


def built(folder: Path, version: str, root: bytes) -> Path:
    """What `make image` leaves behind of a root."""
    folder.mkdir()
    root_hash = hashlib.sha256(root).hexdigest()
    (folder / "root.img").write_bytes(root)
    (folder / "verity.img").write_bytes(random.Random(version).randbytes(5 * CHUNK) + bytes(1 << 20))
    (folder / "uki.efi").write_bytes(portable_executable(version, root_hash))
    facts = {"version": version, "profile": "development", "root_hash": root_hash}
    (folder / "image.json").write_text(json.dumps(facts))
    return folder


def some_root() -> bytearray:
    """600 chunks: most as a compressed file system has them, some that squashfs compresses, some zeros."""
    source = random.Random("root")
    return bytearray(
        bytes(50 * CHUNK)
        + source.randbytes(400 * CHUNK)
        + b"".join(bytes([number]) * 3000 + source.randbytes(1096) for number in range(150))
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A box, and its update: four chunks are others, the last of them twice, and all behind the second lie one chunk
    further down.
    """
    ground = tmp_path_factory.mktemp("fetched")
    subprocess.run([IMAGE.parent / "keys", ground / "keys", "development"], check=True, capture_output=True)
    old = some_root()
    new = some_root()
    new[70 * CHUNK + 5] ^= 1
    new[200 * CHUNK : 200 * CHUNK] = random.Random("more").randbytes(CHUNK)
    new[480 * CHUNK + 9] ^= 1
    new[550 * CHUNK : 552 * CHUNK] = random.Random("twice").randbytes(CHUNK) * 2
    running = built(ground / "old", "1.5.0", bytes(old))
    update = built(ground / "new", "1.6.0", bytes(new))
    subprocess.run([sys.executable, IMAGE / "bundle.py", update, "--keys", ground / "keys"], check=True)
    return running, update


@pytest.fixture(scope="module")
def fetched() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fetched", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fetched"] = module
    spec.loader.exec_module(module)
    return module


def asked(*argv: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, PROGRAM, *argv], capture_output=True, text=True)


def test_it_tells_what_is_new_and_the_whole(folders: tuple[Path, Path]) -> None:
    said = asked(*folders)
    assert said.returncode == 0, said.stderr
    assert "root.img: 4 of 601 chunks are new" in said.stdout
    assert "verity.img: 5 of 5 chunks are new" in said.stdout
    assert re.search(r"^uki\.img: [1-9] of \d+ chunks are new$", said.stdout, re.M), "kernel and initrd are the same"
    found = re.search(r"^fetched: ([\d.]+) MB of ([\d.]+) MB, in \d+ pieces$", said.stdout, re.M)
    assert found
    assert float(found[1]) < 0.25 < float(found[2])


def test_a_chunk_costs_little_more_than_itself(folders: tuple[Path, Path], fetched: ModuleType) -> None:
    """With the 128 KiB that RAUC would take by itself, the four of them cost half of this bundle."""
    running, update = folders
    parts = dict(fetched.measure(fetched.of_box(running), update / "passevue-1.6.0.raucb").parts)
    assert fetched.weight(parts["root.img"]) <= 4 * 3 * CHUNK


def test_what_is_counted_is_enough(folders: tuple[Path, Path], fetched: ModuleType, tmp_path: Path) -> None:
    """A bundle of which all else is wiped gives the three images, together with what the box has."""
    running, update = folders
    (whole,) = update.glob("*.raucb")
    slots = fetched.of_box(running)
    data = bytearray(whole.read_bytes())
    kept = {block for _, pieces in fetched.measure(slots, whole).parts for piece in pieces for block in piece}
    for block in range(len(data) // CHUNK):
        if block not in kept:
            data[block * CHUNK : (block + 1) * CHUNK] = bytes(CHUNK)
    assert data != whole.read_bytes()
    (tmp_path / "fetched.raucb").write_bytes(data)
    with whole.open("rb") as complete, (tmp_path / "fetched.raucb").open("rb") as partial:
        theirs, ours = fetched.Squashfs(complete), fetched.Squashfs(partial)
        for name in fetched.IMAGES:
            index = ours.content(f"{name}.block-hash-index")
            wanted = [index[at : at + 32] for at in range(0, len(index), 32)]
            slot = slots[name] + bytes(-len(slots[name]) % CHUNK)
            pieces = [slot[at : at + CHUNK] for at in range(0, len(slot), CHUNK)]
            known = {hashlib.sha256(piece).digest(): piece for piece in (*pieces, bytes(CHUNK))}
            for number in fetched.missing(slots[name], wanted):
                block, offset = divmod(number * CHUNK, ours.block)
                known[wanted[number]] = ours.read(name, block)[offset : offset + CHUNK]
            assert b"".join(known[digest] for digest in wanted) == theirs.content(name)
        for name in fetched.WHOLE:
            assert ours.content(name) == theirs.content(name)
        assert theirs.content("root.img") == (update / "root.img").read_bytes()


def test_what_unsquashfs_finds_is_what_it_finds(
    folders: tuple[Path, Path], fetched: ModuleType, tmp_path: Path
) -> None:
    (bundle,) = folders[1].glob("*.raucb")
    subprocess.run(["unsquashfs", "-q", "-n", "-d", tmp_path / "theirs", bundle], check=True, capture_output=True)
    with bundle.open("rb") as file:
        ours = fetched.Squashfs(file)
        assert set(ours.files) == {path.name for path in (tmp_path / "theirs").iterdir()}
        for path in (tmp_path / "theirs").iterdir():
            assert ours.content(path.name) == path.read_bytes(), path.name


def test_more_than_is_allowed_fails(folders: tuple[Path, Path]) -> None:
    assert asked(*folders, "--most", "1").returncode == 0
    assert asked(*folders, "--most", "0.01").returncode == 1


def test_the_same_version_again_costs_its_tables(folders: tuple[Path, Path], fetched: ModuleType) -> None:
    running = fetched.of_box(folders[1])
    (bundle,) = folders[1].glob("*.raucb")
    assert [new for _, new, _ in fetched.measure(running, bundle).chunks] == [0, 0, 0]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.95])
def test_a_cut_bundle_is_told_not_measured(folders: tuple[Path, Path], tmp_path: Path, share: float) -> None:
    (bundle,) = folders[1].glob("*.raucb")
    data = bundle.read_bytes()
    cut = tmp_path / "cut.raucb"
    cut.write_bytes(data[: int(len(data) * share)])
    said = asked(folders[0], cut)
    assert said.returncode == 2
    assert said.stderr.startswith("fetched: ")
    assert "Traceback" not in said.stderr
