"""What neighbours said, across processes, restarts and damaged files."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passevue.status.neighbours import Health, Neighbour, Neighbours, Word, merge, read, write
from tests.unit.status.states import NOW


async def test_what_one_process_hears_another_can_read(tmp_path: Path) -> None:
    register = Neighbours(tmp_path, "intake")
    register.heard(Neighbour.RIS, "ORU^R01", NOW)
    register.breaker(Neighbour.DMP, is_open=True)
    task = asyncio.create_task(register.run())
    await asyncio.sleep(0.2)
    task.cancel()
    words = {word.neighbour: word for word in await asyncio.to_thread(read, tmp_path)}
    assert words[Neighbour.RIS].ok_at == NOW
    assert words[Neighbour.DMP].health(NOW) is Health.DOWN
    assert words[Neighbour.PACS].health(NOW) is Health.QUIET


def test_the_later_word_counts_whoever_heard_it(tmp_path: Path) -> None:
    old = Word(Neighbour.PACS, failed_at=NOW, failing_since=NOW, what="NetworkError")
    new = Word(Neighbour.PACS, ok_at=NOW + timedelta(seconds=1), what="C-FIND")
    for registers in (((old,), (new,)), ((new,), (old,))):
        assert merge(*registers)[2] == new
    write(tmp_path / "neighbours-a.json", [old])
    write(tmp_path / "neighbours-b.json", [new])
    assert read(tmp_path)[2] == new


def test_failing_is_counted_from_its_first_failure() -> None:
    register = Neighbours(Path("/nowhere"))
    for second in range(3):
        register.failed(Neighbour.DMP, "NetworkError", NOW + timedelta(seconds=second))
    word = register.words()[3]
    assert (word.failing_since, word.failed_at) == (NOW, NOW + timedelta(seconds=2))
    register.heard(Neighbour.DMP, "TD2.1a", NOW + timedelta(seconds=3))
    assert register.words()[3].failing_since is None


def test_words_of_a_message_do_not_get_in() -> None:
    register = Neighbours(Path("/nowhere"))
    register.failed(Neighbour.RIS, "PID^5 is DURAND's é", NOW)
    assert register.words()[0].what == "?"


def test_nothing_written_yet_is_everyone_quiet(tmp_path: Path) -> None:
    assert [word.health(NOW) for word in read(tmp_path / "absent")] == [Health.QUIET] * 4


_JSON = st.sampled_from(
    [
        b'[{"neighbour":"ris","ok_at":null,"failed_at":null,"failing_since":null,"what":"x","breaker_open":false}]',
        b'[{"neighbour":"dmp","ok_at":"2026-01-01T00:00:00","failed_at":0,"failing_since":null,"what":1}]',
        b"[" * 90_000,
        b"null",
        b"[1]",
        b'{"a":[]}',
        b'[{"neighbour":[]}]',
        b"\xff",
        b"[NaN]",
    ]
)


@given(data=_JSON | st.binary(max_size=50))
def test_any_file_is_read_or_counts_for_nothing(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp() / "any-neighbours"
    folder.mkdir(exist_ok=True)
    (folder / "neighbours-x.json").write_bytes(data)
    assert len(read(folder)) == 4
