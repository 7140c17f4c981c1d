"""`passevue admin`, typed by root at the box: what it leaves is the box's own to read, and says who typed."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from passevue.cli.commands import app
from passevue.config import load
from passevue.config_example import example
from passevue.status.folders import audit_folder

BOX = 65_534


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where another account may go, unlike tmp_path."""
    made = Path(tempfile.mkdtemp(prefix="passevue-admin-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another account")
def test_root_leaves_nothing_that_the_box_cannot_read(folder: Path) -> None:
    settings = folder / "passevue.toml"
    settings.write_text(example().replace('"/var/lib/passevue"', '"data"'), encoding="utf-8")
    config = load(settings)
    data = config.box.data_dir
    data.mkdir(mode=0o700)
    os.chown(data, BOX, BOX)
    for words in (["admin", "code"], ["admin", "reset"]):
        done = CliRunner().invoke(app, words, env={"PASSEVUE_CONFIG": str(settings), "SUDO_USER": "camille"})
        assert done.exit_code == 0, done.output
    assert os.geteuid() == 0
    left = [data / "page", data / "page" / "claim-code", *audit_folder(config).rglob("*")]
    assert len(left) >= 4
    assert {(one.stat().st_uid, one.stat().st_gid) for one in left} == {(BOX, BOX)}
    trail = "".join(one.read_text("utf-8") for one in audit_folder(config).glob("audit-*.log"))
    assert 'UserID="account:camille"' in trail
