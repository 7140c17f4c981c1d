"""Templates compiled beforehand are used, and only while they are of the text that is there."""

from pathlib import Path

import pytest
from jinja2.bccache import Bucket

from passevue.status.page_templates import TEMPLATES, Compiled, opened, write

NAMES = set(TEMPLATES.list_templates())


class Watched(Compiled):
    """What was found ready."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.ready: set[str] = set()

    def load_bytecode(self, bucket: Bucket) -> None:
        super().load_bytecode(bucket)
        if bucket.code is not None:
            self.ready.add(bucket.key)


def test_what_was_compiled_is_not_compiled_again(tmp_path: Path) -> None:
    write(tmp_path / "ready")
    watched = Watched(tmp_path / "ready")
    templates = opened(watched)
    assert watched.ready == NAMES
    assert "page.html" in NAMES
    assert templates.get_template("page.html").blocks.keys() == TEMPLATES.get_template("page.html").blocks.keys()


@pytest.mark.parametrize("content", [b"", b"j2", b"\0" * 200, b"of another template"])
def test_what_is_of_another_text_is_compiled_anew(tmp_path: Path, content: bytes) -> None:
    write(tmp_path)
    watched = Watched(tmp_path)
    if content == b"of another template":
        content = watched.file("first.html").read_bytes()
    watched.file("page.html").write_bytes(content)
    templates = opened(watched)
    assert watched.ready == NAMES - {"page.html"}
    assert templates.get_template("page.html").blocks.keys() == TEMPLATES.get_template("page.html").blocks.keys()


def test_without_them_nothing_is_missing_and_nothing_is_written(tmp_path: Path) -> None:
    assert set(opened(Compiled(tmp_path)).list_templates()) == NAMES
    assert not [*tmp_path.iterdir()]
