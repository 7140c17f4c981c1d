"""The image has no secret (SECR-02): no key (test_supply.py), and no password in any file of settings."""

from pathlib import Path

from passevue.baseline.secret_scan import secret_settings
from tests.image.test_supply import regular, tree

__all__ = ["tree"]  # the fixture

SETTINGS = frozenset({".cfg", ".conf", ".env", ".ini", ".json", ".properties", ".toml", ".xml", ".yaml", ".yml"})
LONGEST = 1 << 20  # the bill of materials is longer, and its names are packages'
# Names of databases, not of secrets.
NO_SECRET = {("etc/nsswitch.conf", "passwd"), ("usr/share/libc-bin/nsswitch.conf", "passwd")}


def secrets_in(root: Path) -> set[tuple[str, str]]:
    """File and name of each setting with a secret."""
    return {
        (str(path.relative_to(root)), name)
        for path in regular(root)
        if path.suffix in SETTINGS and path.stat().st_size <= LONGEST
        for name in secret_settings(path.read_text(encoding="utf-8", errors="replace"))
    }


def test_no_password_is_in_a_setting_of_the_image(tree: Path) -> None:
    assert secrets_in(tree) - NO_SECRET == set()


def test_one_that_is_put_there_is_found(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/drimbox.properties").write_text("server.ssl.key-store-password=changeit\n")
    assert secrets_in(tmp_path) == {("etc/drimbox.properties", "server.ssl.key-store-password")}
