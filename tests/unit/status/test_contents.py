"""What the box is made of: told to the site admin, with the two files to take along; to nobody else."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from passevue import __version__
from passevue.errors import StoreError
from passevue.status import contents
from passevue.status.contents import read_contents, read_paper
from tests.peers.front_desk import Browser, FrontDesk
from tests.peers.papers import COMMIT, LICENCES, SBOM, papers

PASSWORD = "le scanner est au sous-sol"
FILES = ("/site/contents/sbom.cdx.json", "/site/contents/licences.txt")


@asynccontextmanager
async def admin(desk: FrontDesk) -> AsyncIterator[Browser]:
    async with desk.browser() as browser:
        code = await asyncio.to_thread((desk.folder / "box/page/claim-code").read_text)
        await browser.get("/sign-in/site")
        await browser.post("/sign-in/site/claim", code=code.strip(), password=PASSWORD, again=PASSWORD)
        assert browser.path == "/site"
        yield browser


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[FrontDesk]:
    async with FrontDesk(tmp_path, serial="7F3A-90C1-22BE", papers=papers(tmp_path / "papers")) as desk:
        yield desk


# The files


def test_components_are_counted_by_where_they_come_from(tmp_path: Path) -> None:
    found = read_contents(papers(tmp_path))
    assert found is not None
    assert (found.debian, found.python, found.carried, found.components) == (2, 2, 3, 7)
    assert (found.version, found.commit, found.format) == ("1.4.2", COMMIT, "CycloneDX 1.6")
    assert [paper.name for paper in found.papers] == ["sbom.cdx.json", "licences.txt"]
    assert found.papers[1].sha256 == hashlib.sha256(LICENCES.encode()).hexdigest()


def test_where_there_is_no_manifest_there_is_nothing_to_tell(tmp_path: Path) -> None:
    assert read_contents(tmp_path) is None
    assert read_contents(tmp_path / "none") is None


def test_an_older_manifest_without_a_commit_or_an_end_is_read(tmp_path: Path) -> None:
    found = read_contents(papers(tmp_path, commit=None, support_end=None, built_at=None))
    assert found is not None
    assert (found.commit, found.support_end, found.built_at) == ("", None, None)


def too_large(folder: Path) -> None:
    with (folder / "sbom.cdx.json").open("r+b") as file:
        file.truncate(contents.MOST + 1)


WRONG: dict[str, Callable[[Path], object]] = {
    "one letter more": lambda folder: (folder / "licences.txt").write_text(LICENCES + "x"),
    "no licences": lambda folder: (folder / "licences.txt").unlink(),
    "no bill": lambda folder: (folder / "sbom.cdx.json").unlink(),
    "a large bill": too_large,
    "a folder": lambda folder: [(folder / "manifest.json").unlink(), (folder / "manifest.json").mkdir()],
    "no manifest": lambda folder: (folder / "manifest.json").write_text("no manifest"),
    "a deep one": lambda folder: (folder / "manifest.json").write_text("[" * 200_000),
    "no hashes": lambda folder: papers(folder, files=None),
    "hashes of something else": lambda folder: papers(folder, files=[]),
    "no version": lambda folder: papers(folder, version=None),
    "a strange end": lambda folder: papers(folder, support_end="soon"),
    "no components": lambda folder: papers(folder, sbom={"bomFormat": "CycloneDX", "specVersion": "1.6"}),
    "components that are none": lambda folder: papers(folder, sbom=SBOM | {"components": [1]}),
    "a list": lambda folder: papers(folder, sbom=[]),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_not_as_it_should_be_is_said_and_not_given(tmp_path: Path, case: str) -> None:
    folder = papers(tmp_path / "papers")
    WRONG[case](folder)
    with pytest.raises(StoreError) as told:
        read_contents(folder)
    assert "prévenez votre support" in told.value.hint


def test_a_file_is_given_as_the_manifest_has_it_or_not_at_all(tmp_path: Path) -> None:
    folder = papers(tmp_path)
    assert json.loads(read_paper(folder, "sbom.cdx.json")) == SBOM
    WRONG["one letter more"](folder)
    with pytest.raises(StoreError):
        read_paper(folder, "licences.txt")


# The page


async def test_the_site_page_leads_there_and_it_tells(desk: FrontDesk) -> None:
    async with admin(desk) as browser:
        assert "/site/contents" in await browser.get("/site")
        assert "/site/contents" in await browser.get("/site/machine")
        text = await browser.get("/site/contents")
    for told in ("1.4.2", COMMIT, "9 août 2028", "20 novembre 2026", "CycloneDX 1.6", *FILES):
        assert told in text, told
    assert "7\N{NO-BREAK SPACE}: 2 paquets Debian, 2 bibliothèques Python, 3 qu’elles emportent" in text
    assert hashlib.sha256(LICENCES.encode()).hexdigest() in text
    assert "développement" not in text
    assert browser.answer is not None
    assert browser.answer.headers["Cache-Control"] == "no-store"


async def test_it_is_there_in_english(desk: FrontDesk) -> None:
    async with admin(desk) as browser:
        text = await browser.get("/site/contents?lang=en")
    assert "This version is supported until 9 August 2028" in text
    assert "7: 2 Debian packages, 2 Python libraries" in text
    assert '<html lang="en">' in text


async def test_both_files_come_whole_as_downloads(desk: FrontDesk) -> None:
    async with admin(desk) as browser:
        assert json.loads(await browser.get(FILES[0])) == SBOM
        assert browser.answer is not None
        assert browser.answer.headers["Content-Type"] == "application/vnd.cyclonedx+json; charset=utf-8"
        assert browser.answer.headers["Content-Disposition"] == 'attachment; filename="passevue-sbom.cdx.json"'
        assert await browser.get(FILES[1]) == LICENCES
        assert browser.answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert browser.answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["/site/contents", *FILES])
async def test_a_stranger_and_a_practitioner_get_nothing(desk: FrontDesk, path: str) -> None:
    async with desk.browser() as browser:
        text = await browser.get(path)
        assert browser.path == "/sign-in"
        desk.hand.put_in(desk.card())
        await browser.sign_in_by_card()
        text += await browser.get(path)
        assert browser.path == "/me"
    assert "1.4.2" not in text
    assert "adduser" not in text


@pytest.mark.parametrize("name", ["manifest.json", "rauc-ca.pem", "..%2f..%2fetc%2fpasswd", "sbom.cdx.json%00"])
async def test_nothing_else_of_that_folder_is_given(desk: FrontDesk, name: str) -> None:
    async with admin(desk) as browser:
        await browser.get(f"/site/contents/{name}")
        assert browser.status == 404


async def test_a_laptop_says_that_it_is_none(tmp_path: Path) -> None:
    async with FrontDesk(tmp_path, papers=tmp_path / "none") as desk, admin(desk) as browser:
        text = await browser.get("/site/contents")
        assert "Ce poste n’est pas le boîtier" in text
        assert __version__ in text
        assert "/site/contents/" not in text
        await browser.get(FILES[0])
        assert browser.path == "/site/contents"


async def test_a_box_that_lost_them_says_so(tmp_path: Path) -> None:
    async with FrontDesk(tmp_path, serial="7F3A-90C1-22BE", papers=tmp_path / "none") as desk, admin(desk) as browser:
        text = await browser.get("/site/contents")
        assert "manque\N{NO-BREAK SPACE}: prévenez votre support" in text
        assert "n’est pas le boîtier" not in text


async def test_a_changed_file_is_not_given_and_the_page_says_why(desk: FrontDesk) -> None:
    await asyncio.to_thread(WRONG["one letter more"], desk.folder / "papers")
    async with admin(desk) as browser:
        text = await browser.get(FILES[1])
        assert browser.path == "/site/contents"
        assert "ne se lit pas" in text
        assert "/site/contents/" not in text


@pytest.mark.parametrize(
    ("days", "tone", "told"),
    [
        (-1, "act", "La maintenance s’est arrêtée"),
        (0, "watch", "prévoyez le passage"),
        (179, "watch", "prévoyez le passage"),
        (180, "fine", "d’ici là"),
    ],
)
async def test_the_end_of_support_is_told_before_it_comes(tmp_path: Path, days: int, tone: str, told: str) -> None:
    async with FrontDesk(tmp_path, papers=tmp_path / "papers") as desk:
        desk.clock.pass_by(hours=36 - desk.clock().astimezone(desk.zone).hour)  # noon: no midnight comes in between
        today = desk.clock().astimezone(desk.zone).date()
        await asyncio.to_thread(papers, tmp_path / "papers", support_end=(today + timedelta(days=days)).isoformat())
        async with admin(desk) as browser:
            text = await browser.get("/site/contents")
    assert f'class="notice {tone}"' in text
    assert told in text


async def test_an_image_for_developers_says_so(tmp_path: Path) -> None:
    folder = papers(tmp_path / "papers", profile="development", commit=None)
    async with FrontDesk(tmp_path, papers=folder) as desk, admin(desk) as browser:
        text = await browser.get("/site/contents")
    assert "développement, pas pour des patients" in text
    assert "non indiquée par cette image" in text
