"""Key objects from their bytes: what they say, and what no true note says (N-07, N-08)."""

import contextlib
import random
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from passevue.errors import Unreadable
from passevue.intake import key_object as module
from passevue.intake.key_object import is_key_image_note, is_manifest, is_rejection, read_aside, read_key_object
from tests.peers.invented import file_of, key_object, rejection_note, study

SAMPLES = Path(__file__).parents[2] / "samples" / "kos"
IMAGES = study("2.25.10", slices=3, series=2)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_a_note_says_its_title_text_and_images(syntax: str) -> None:
    note = key_object(IMAGES[:4], "113000", text="lésion du côté gauche", transfer_syntax=syntax)
    read = read_key_object(file_of(note))
    assert (read.title, read.title_meaning, read.description) == ("113000", "Of Interest", "lésion du côté gauche")
    assert read.StudyInstanceUID == "2.25.10"
    assert read.SOPInstanceUID == note.SOPInstanceUID
    assert [each.SOPInstanceUID for each in read.references] == [each.SOPInstanceUID for each in IMAGES[:4]]
    assert {each.SeriesInstanceUID for each in read.references} == {each.SeriesInstanceUID for each in IMAGES[:4]}


@pytest.mark.parametrize("charset", ["ISO_IR 192", "ISO_IR 100", "ISO_IR 101"])
def test_text_follows_its_character_set(charset: str) -> None:
    note = key_object(IMAGES[:1], "113000", text="é")
    note.SpecificCharacterSet = note.ContentSequence[0].SpecificCharacterSet = charset
    assert read_key_object(file_of(note)).description == "é"


@pytest.mark.parametrize("text", [b"\x1b", b"\x1b$B", b"\x1b$B\x1b(B", b"\x1b\x1b\x1b(J\x1b$)C\xff", b"\xff\xfe"])
def test_escapes_at_the_end_of_a_text_are_no_obstacle(text: bytes) -> None:
    file = file_of(key_object(IMAGES[:1], "113000", text="abcdefghij")).replace(b"abcdefghij", text.ljust(10))
    for charset in (b"ISO 2022 IR 87", b"\\ISO 2022 IR 149"):
        at = file.index(b"\x08\x00\x05\x00CS")
        value = charset.ljust(len(charset) + len(charset) % 2)
        patched = file[: at + 6] + len(value).to_bytes(2, "little") + value + file[at + 18 :]
        assert isinstance(read_key_object(patched).description, str)


def test_an_unknown_character_set_is_no_obstacle() -> None:
    note = key_object(IMAGES[:1], "113000", text="plain")
    file = file_of(note).replace(b"ISO_IR 100", b"ISO_IR 999")
    assert read_key_object(file).description.startswith("plain")


async def test_a_long_note_is_not_read_on_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []

    def read(file: bytes) -> object:
        threads.append(threading.current_thread() is threading.main_thread())
        return read_key_object(file)

    monkeypatch.setattr(module, "read_key_object", read)
    for images in (IMAGES[:4], study("2.25.10", slices=2_000)):
        assert len((await read_aside(file_of(key_object(images, "113000")))).references) == len(images)
    assert threads == [True, False]


def test_the_samples_are_manifests() -> None:
    for name in ("ko.dcm", "kos.dcm"):
        read = read_key_object((SAMPLES / name).read_bytes())
        assert is_manifest(read.title)
        assert read.references


def test_titles_are_of_one_kind_at_most() -> None:
    for number in range(112990, 113060):
        title = str(number)
        assert is_rejection(title) + is_key_image_note(title) + is_manifest(title) <= 1
    assert [t for t in map(str, range(113000, 113045)) if is_rejection(t)] == ["113001", "113037", "113038", "113039"]
    assert not is_rejection("113010")
    assert not is_key_image_note("113010")


def test_a_title_of_another_scheme_is_none() -> None:
    note = rejection_note(IMAGES)
    note.ConceptNameCodeSequence[0].CodingSchemeDesignator = "99LOCAL"
    assert read_key_object(file_of(note)).title == ""


def test_several_studies_may_be_named() -> None:
    other = study("2.25.11", slices=1)
    read = read_key_object(file_of(rejection_note([*IMAGES, *other])))
    assert {each.StudyInstanceUID for each in read.references} == {"2.25.10", "2.25.11"}


def refused(note: Dataset) -> str:
    with pytest.raises(Unreadable) as caught:
        read_key_object(file_of(note))
    return caught.value.message


def test_contradictions_are_refused() -> None:
    empty, elsewhere, itself, other = (rejection_note(IMAGES) for _ in range(4))
    empty.CurrentRequestedProcedureEvidenceSequence = []
    assert "without evidence" in refused(empty)
    elsewhere.StudyInstanceUID = "2.25.12"
    assert "its own study" in refused(elsewhere)
    first = itself.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    first.ReferencedSOPInstanceUID = itself.SOPInstanceUID
    assert "names itself" in refused(itself)
    other.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    assert "SOP class" in refused(other)


@pytest.mark.parametrize("bad", ["../../../../etc/cron.d/x", "1." + "2" * 70, "1.2.abc", "01.2", "1..2", ""])
def test_uids_that_are_none_are_refused(bad: str) -> None:
    file = file_of(rejection_note(IMAGES))
    at = file.index(b"\x20\x00\x0d\x00UI")
    length = int.from_bytes(file[at + 6 : at + 8], "little")
    value = bad.encode() + b"\0" * (len(bad) % 2)
    patched = file[: at + 6] + len(value).to_bytes(2, "little") + value + file[at + 8 + length :]
    with pytest.raises(Unreadable, match="not a UID"):
        read_key_object(patched)


def nested(depth: int) -> Dataset:
    note = rejection_note(IMAGES)
    inner = Dataset()
    inner.ValueType = "TEXT"
    for _ in range(depth - 1):
        outer = Dataset()
        outer.ContentSequence = Sequence([inner])
        inner = outer
    note.ContentSequence = [inner]
    return note


def test_bound_of_the_depth() -> None:
    assert read_key_object(file_of(nested(31))).references
    assert read_key_object(file_of(nested(32))).references
    assert "deeper" in refused(nested(33))


def test_a_million_references_are_refused_in_bounded_time() -> None:
    file = file_of(rejection_note(IMAGES[:1]))
    item = b"\xfe\xff\x00\xe0\x00\x00\x00\x00"
    grown = b"\x40\x00\x75\xa3SQ\x00\x00" + (len(item) * 1_000_000).to_bytes(4, "little") + item * 1_000_000
    with pytest.raises(Unreadable, match="elements"):
        read_key_object(file[: file.index(b"\x40\x00\x75\xa3SQ")] + grown)


@pytest.mark.parametrize("extra", [0, 1])
def test_bound_of_the_file(extra: int) -> None:
    base = file_of(rejection_note(IMAGES[:1]))
    tail = (32 << 20) + 2 * extra - len(base) - 12  # a private element that nobody reads
    file = base + b"\xe1\x7f\x10\x10OB\0\0" + tail.to_bytes(4, "little") + bytes(tail)
    assert len(file) == (32 << 20) + 2 * extra
    if extra:
        with pytest.raises(Unreadable, match="at most"):
            read_key_object(file)
    else:
        assert read_key_object(file).references


@pytest.mark.parametrize("file", [b"", b"\0" * 128 + b"DICM", b"MZ" + bytes(200), bytes(1000)])
def test_what_is_no_file_is_refused(file: bytes) -> None:
    with pytest.raises(Unreadable):
        read_key_object(file)


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32), changes=st.integers(0, 6), cut=st.floats(0, 1))
def test_any_bytes_are_read_or_refused_with_our_own_error(seed: int, changes: int, cut: float) -> None:
    chance = random.Random(seed)
    file = bytearray(GOOD[chance.randrange(len(GOOD))])
    for _ in range(changes):
        file[chance.randrange(132, len(file))] = chance.choice((0, 0xFF, chance.randrange(256)))
    if cut < 0.5:
        del file[int(len(file) * (1 - cut)) :]
    with contextlib.suppress(Unreadable):
        read_key_object(bytes(file))
    assert read_key_object(GOOD[0]).SOPInstanceUID


@settings(max_examples=100)
@given(st.binary(max_size=4000))
def test_noise_is_refused(noise: bytes) -> None:
    with pytest.raises(Unreadable):
        read_key_object(GOOD[0][:132] + noise)


GOOD = [
    file_of(key_object(IMAGES[:2], "113000", text="fuzz", transfer_syntax=syntax))
    for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)
]
