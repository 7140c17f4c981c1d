"""Where the image's packages come from: the build machine's apt, whatever way it is written."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).parents[3] / "image/making/apt_sources.py"


@pytest.fixture(scope="module")
def apt_sources() -> ModuleType:
    spec = importlib.util.spec_from_file_location("apt_sources", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def entries(apt_sources: ModuleType, apt: Path, running: str = "bookworm") -> list[tuple[str, str]]:
    return [(source.uri, source.pocket) for source in apt_sources.sources(apt, running)]


def test_a_deb822_file_gives_the_base_its_updates_and_its_security(apt_sources: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d/debian.sources").write_text(
        "# where it was taken\nTypes: deb deb-src\nURIs: https://mirror.example/debian\n"
        "Suites: bookworm bookworm-updates\n bookworm-backports\nComponents: main contrib\n\n"
        "Types: deb\nURIs: https://mirror.example/security\nSuites: bookworm-security\nComponents: main\n"
    )
    assert entries(apt_sources, tmp_path) == [
        ("https://mirror.example/debian", ""),
        ("https://mirror.example/debian", "-updates"),
        ("https://mirror.example/security", "-security"),
    ]


def test_a_one_line_file_is_read_with_its_options(apt_sources: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text(
        "deb [arch=amd64 signed-by=/nowhere.gpg] http://mirror.example/debian bookworm main # comment\n"
        "deb-src http://mirror.example/debian bookworm main\n#deb http://off.example/debian bookworm main\n"
        "deb http://mirror.example/debian bookworm-updates contrib\n"
    )
    (only,) = apt_sources.sources(tmp_path, "bookworm")
    assert (only.uri, only.pocket, only.keyring) == ("http://mirror.example/debian", "", apt_sources.KEYRING)
    assert "Suites: trixie\n" in only.entry("trixie")


def test_third_parties_and_what_is_turned_off_stay_out(apt_sources: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text("deb http://mirror.example/debian bookworm main\n")
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d/other.list").write_text("deb https://other.example/apt cloud-bookworm main\n")
    (tmp_path / "sources.list.d/off.sources").write_text(
        "Enabled: no\nTypes: deb\nURIs: https://off.example\nSuites: bookworm\nComponents: main\n"
    )
    (tmp_path / "sources.list.d/old.list.disabled").write_text("deb https://old.example bookworm main\n")
    assert entries(apt_sources, tmp_path) == [("http://mirror.example/debian", "")]


def test_a_machine_that_names_no_archive_is_told_so(apt_sources: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(apt_sources.NoSources, match="bookworm"):
        apt_sources.sources(tmp_path, "bookworm")


def test_this_machine_gives_sources_of_the_wanted_release(apt_sources: ModuleType, tmp_path: Path) -> None:
    if not Path("/usr/bin/apt-config").exists():
        pytest.skip("this machine has no apt")
    listed = apt_sources.write(tmp_path / "tree", "trixie").read_text()
    assert "Suites: trixie\n" in listed
    assert "bookworm" not in listed.replace("/bookworm", "")
