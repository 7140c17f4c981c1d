"""The box's own images on a real disk: kept, found again after whatever ended the box, folded (F-05)."""

import asyncio
import os
from pathlib import Path

import pytest

from passevue.errors import StoreError
from tests.peers.dicom_intake import SEGMENT_BYTES
from tests.peers.invented import data_set_of, image, key_image_note, study
from tests.unit.intake.kept_images import BIG, opened, put, segments


async def test_objects_are_there_after_a_restart(tmp_path: Path) -> None:
    everything = [*study("2.25.30", slices=5), image("2.25.30", "IPP-INVENTE-1", "ACC-INVENTE-1", series=7, **BIG)]
    async with opened(tmp_path) as images:
        for ds in everything:
            assert not (await put(images, ds)).duplicate
        before = await images.find_study("2.25.30")
    async with opened(tmp_path) as images:
        assert await images.find_study("2.25.30") == before
        for ds in everything:
            assert (await images.open(ds.SOPInstanceUID)).endswith(data_set_of(ds))
            assert (await put(images, ds)).duplicate


@pytest.mark.parametrize("how", ["missing", "garbage", "truncated"])
async def test_the_index_is_made_again_from_the_segments(tmp_path: Path, how: str) -> None:
    everything = [*study("2.25.31", slices=5), key_image_note(study("2.25.31", slices=5)[:1], "ici")]
    async with opened(tmp_path) as images:
        for ds in everything:
            await put(images, ds)
        await put(images, image("2.25.31", "IPP-INVENTE-1", "ACC-INVENTE-1", seed=3))  # a conflict
        before, totals = await images.find_study("2.25.31"), await images.totals()
    index = tmp_path / "index.sqlite"
    if how == "missing":
        index.unlink()
    else:
        content = index.read_bytes()
        index.write_bytes(os.urandom(len(content)) if how == "garbage" else content[: len(content) // 2])
    async with opened(tmp_path) as images:
        assert await images.find_study("2.25.31") == before
        assert await images.totals() == totals
        assert [each.conflict for each in await images.versions(everything[0].SOPInstanceUID)] == [False, True]


async def test_an_index_that_lags_catches_up(tmp_path: Path) -> None:
    first, second = study("2.25.32", slices=2)
    async with opened(tmp_path) as images:
        await put(images, first)
    old = (tmp_path / "index.sqlite").read_bytes()
    async with opened(tmp_path) as images:
        await put(images, second)
    (tmp_path / "index.sqlite").write_bytes(old)
    async with opened(tmp_path) as images:
        assert (await images.totals())[0] == 2


async def test_a_torn_last_batch_is_not_seen(tmp_path: Path) -> None:
    first, second = study("2.25.33", slices=2)
    async with opened(tmp_path) as images:
        await put(images, first)
        at = (await put(images, second)).stored
    (tmp_path / "index.sqlite").unlink()
    path = segments(tmp_path)[0]
    content = bytearray(path.read_bytes())
    content[at.offset + at.length - 10] ^= 0xFF  # the blocks did not all reach the disk
    path.write_bytes(content)
    async with opened(tmp_path) as images:
        assert await images.find(first.SOPInstanceUID) is not None
        assert await images.find(second.SOPInstanceUID) is None
        assert not (await put(images, second)).duplicate


async def test_a_segment_cut_anywhere_gives_what_is_whole(tmp_path: Path) -> None:
    everything = study("2.25.34", slices=4)
    async with opened(tmp_path) as images:
        ends = [(await put(images, ds)).stored for ds in everything]
    path = segments(tmp_path)[0]
    content = path.read_bytes()
    for cut in range(0, len(content), 1777):
        (tmp_path / "index.sqlite").unlink()
        path.write_bytes(content[:cut])
        async with opened(tmp_path) as images:
            count = (await images.totals())[0]
        whole = sum(each.offset + each.length <= cut // 4096 * 4096 for each in ends)
        assert whole <= count <= sum(each.offset + each.length <= cut for each in ends)
        for leftover in segments(tmp_path):
            leftover.unlink()


async def test_a_damaged_record_does_not_hide_the_next_ones(tmp_path: Path) -> None:
    everything = study("2.25.35", slices=3)
    async with opened(tmp_path) as images:
        stored = [(await put(images, ds)).stored for ds in everything]
    (tmp_path / "index.sqlite").unlink()
    path = segments(tmp_path)[0]
    content = bytearray(path.read_bytes())
    content[stored[1].record + 20] ^= 1  # bit rot in a header (F-07)
    path.write_bytes(content)
    async with opened(tmp_path) as images:
        assert (await images.totals())[0] == 2
        assert await images.find(everything[2].SOPInstanceUID) is not None
        assert path.with_suffix(".damaged").exists()


async def test_a_full_segment_is_followed_by_the_next(tmp_path: Path) -> None:
    everything = study("2.25.37", slices=14, size=690)  # 0.95 MB each
    async with opened(tmp_path) as images:
        for ds in everything:
            await put(images, ds)
        assert len(segments(tmp_path)) == 2
    async with opened(tmp_path) as images:
        assert (await images.totals())[0] == 14


async def test_two_boxes_cannot_share_a_folder(tmp_path: Path) -> None:  # F-38
    async with opened(tmp_path):
        with pytest.raises(StoreError, match="another box"):
            async with opened(tmp_path):
                pass


async def test_leftovers_of_a_crash_are_removed(tmp_path: Path) -> None:
    async with opened(tmp_path) as images:
        await put(images, image("2.25.38", "IPP", "ACC", **BIG))
    (tmp_path / "spool" / "x.part").write_bytes(b"half an object")
    (tmp_path / "files" / "y.dcm").write_bytes(b"its record never reached the disk")
    async with opened(tmp_path) as images:
        assert not list((tmp_path / "spool").iterdir())
        assert len(list((tmp_path / "files").iterdir())) == 1
        assert (await images.totals())[0] == 1


async def test_the_same_object_many_times_at_once_is_one(tmp_path: Path) -> None:
    ds, other = image("2.25.55", "IPP", "ACC"), image("2.25.55", "IPP", "ACC", seed=1)
    async with opened(tmp_path) as images:
        kept = await asyncio.gather(*(put(images, each) for each in [ds, other] * 20))
        assert sum(not each.duplicate for each in kept) == 2
        versions = await images.versions(ds.SOPInstanceUID)
    assert sorted(each.conflict for each in versions) == [False, True]


async def test_a_large_object_again_is_folded_and_another_is_a_conflict(tmp_path: Path) -> None:
    async with opened(tmp_path) as images:
        assert not (await put(images, image("2.25.56", "IPP", "ACC", **BIG))).duplicate
        assert (await put(images, image("2.25.56", "IPP", "ACC", **BIG))).duplicate
        assert (await put(images, image("2.25.56", "IPP", "ACC", seed=1, **BIG))).conflict
        assert len(list((tmp_path / "files").iterdir())) == 2


async def test_no_file_is_named_after_a_uid(tmp_path: Path) -> None:
    async with opened(tmp_path) as images:
        await put(images, image("2.25.57", "IPP", "ACC"))
        await put(images, image("2.25.57", "IPP", "ACC", series=2, **BIG))
    names = [name for _, folders, files in os.walk(tmp_path) for name in (*folders, *files)]
    assert not [name for name in names if "2.25" in name]


async def test_a_spare_segment_is_made_and_taken(tmp_path: Path) -> None:
    spare = tmp_path / "segments" / "spare"
    async with opened(tmp_path) as images:
        for _ in range(200):
            if spare.exists():
                break
            await asyncio.sleep(0.05)
        assert spare.stat().st_size == SEGMENT_BYTES
        made = spare.stat().st_ino
        await put(images, image("2.25.58", "IPP", "ACC"))
        assert segments(tmp_path)[0].stat().st_ino == made
