"""passevue.provision.placing: wherever power goes, or the disk says no, the page finds the old configuration whole or
the new one whole once the box has started again.
"""

import errno
import os
import resource
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from passevue.config import Tls
from passevue.errors import BoxError, StoreError
from passevue.intake.tls import listener_context
from passevue.provision import placing
from passevue.provision.configure import number_in_place
from tests.peers.pki import Pki
from tests.unit.provision.centre import Appliance, Prepared, prepared

GROUP = 4321 if os.geteuid() == 0 else os.getgid()
CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chown", "os.chmod"}


class PowerCut(BaseException):
    """Nothing catches it, and nothing is written after it."""


class Disk:
    """Counts what is changed on it while `watched`; fails at one of these changes. Python tells each (PEP 578)."""

    def __init__(self) -> None:
        self.changes = 0
        self._at: int | None = None
        self._power = False
        self._watched = False
        sys.addaudithook(self._hear)

    @contextmanager
    def watched(self, at: int | None = None, *, power: bool = False) -> Iterator[None]:
        self.changes, self._at, self._power, self._watched = 0, at, power, True
        try:
            yield
        finally:
            self._watched = False

    def _hear(self, event: str, args: tuple[object, ...]) -> None:
        if not self._watched or not (event in CHANGES or (event == "open" and _writes(args))):
            return
        self.changes += 1
        if self._at is not None and self._power and self.changes >= self._at:
            raise PowerCut
        if self.changes == self._at:
            raise OSError(errno.EIO, "the disk says no")


def _writes(args: tuple[object, ...]) -> bool:
    return isinstance(args[2], int) and bool(args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


@pytest.fixture(scope="module")
def disk() -> Disk:
    return Disk()


def zones_group(data_dir: Path) -> None:
    """As `tmpfiles.d/passevue.conf` makes them, and what lies in them."""
    for name, mode in (("config", 0o2750), ("credentials", 0o2700)):
        folder = data_dir / name
        folder.mkdir(exist_ok=True)
        for path in (folder, *folder.iterdir()):
            os.chown(path, -1, GROUP)
        folder.chmod(mode)


class Renewal:
    """A box with one configuration, and the next one: other certificate and key of the page, under the same names."""

    def __init__(self, folder: Path, pki: Pki) -> None:
        self._folder = folder
        (folder / "first").mkdir()
        self.box = Appliance(folder / "box")
        self.old = prepared(pki, self.box.data_dir, pki.server("one.example"))
        self.new = prepared(pki, self.box.data_dir, pki.server("two.example"))
        self.box.data_dir.mkdir()
        zones_group(self.box.data_dir)
        self.box.claim()
        assert self.box.give(self.old.document(6)) == 0
        shutil.rmtree(folder / "first")
        shutil.copytree(self.box.data_dir, folder / "first")

    def again(self) -> None:
        """As it was, the new configuration sent and nothing carried out."""
        shutil.rmtree(self.box.data_dir)
        shutil.copytree(self._folder / "first", self.box.data_dir)
        zones_group(self.box.data_dir)
        self.box.send(self.new.document(7))

    def placed(self) -> Prepared | None:
        """Which of both is in place, whole; None: neither. Whatever zones read is theirs to read."""
        config, keys = self.box.data_dir / "config", self.box.data_dir / "credentials"
        for path in config.glob("*.*"):
            assert path.stat().st_gid == GROUP or path.name.startswith("done-"), path.name
            assert path.stat().st_mode & 0o777 == 0o640 or path.name.startswith("done-"), path.name
        for each in (self.old, self.new):
            files = {name: (config / name).read_bytes() for name in each.files}
            found = {zone: {name: (keys / zone / name).read_bytes() for name in of} for zone, of in each.keys.items()}
            if files == each.files and found == each.keys:
                return each
        return None

    def page_serves(self) -> bool:
        data_dir = self.box.data_dir
        tls = Tls(certificate=data_dir / "config/page.pem", key=data_dir / "credentials/page/page.pem")
        try:
            listener_context(tls)
        except BoxError:
            return False
        return True


@pytest.fixture(scope="module")
def renewal(tmp_path_factory: pytest.TempPathFactory) -> Renewal:
    return Renewal(tmp_path_factory.mktemp("renewal"), Pki(tmp_path_factory.mktemp("pki")))


def _changes(renewal: Renewal, disk: Disk) -> int:
    renewal.again()
    with disk.watched():
        assert renewal.box.work() == 0
    return disk.changes


@pytest.mark.parametrize("power", [True, False], ids=["power goes", "the disk says no once"])
def test_whatever_change_does_not_come_the_page_finds_one_configuration_whole(
    renewal: Renewal, disk: Disk, power: bool
) -> None:
    most = _changes(renewal, disk)
    assert most > 30
    kept = set()
    for at in range(1, most + 1):
        renewal.again()
        with suppress(PowerCut, BoxError, OSError), disk.watched(at, power=power):
            renewal.box.work()
        assert renewal.placed() is not None or placing.Placing(renewal.box.data_dir).waits, at
        renewal.box.work()  # the next start
        found = renewal.placed()
        assert found is not None, at
        assert renewal.page_serves(), at
        assert not list((renewal.box.data_dir / "credentials").glob("placing*")), at
        kept.add(found is renewal.new)
        if found is renewal.new:
            assert number_in_place(renewal.box.data_dir) == 7, at
        if at % 10 == 0:  # slow
            assert renewal.box.give(renewal.new.document(8)) == 0, "given again it is taken"
            assert renewal.placed() is renewal.new, at
    assert kept == {True, False}


@pytest.mark.usefixtures("capsys")  # what is printed goes to no file, which would be bounded too
@pytest.mark.parametrize("most", [1000, 1700])
def test_a_disk_that_takes_no_more_changes_nothing(renewal: Renewal, most: int) -> None:
    renewal.again()
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        assert renewal.box.work() == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert renewal.placed() is renewal.old
    renewal.box.work()
    assert renewal.placed() is renewal.old
    assert not list((renewal.box.data_dir / "credentials").glob("placing*"))


def test_what_was_decided_is_finished_before_the_next_order(renewal: Renewal, disk: Disk) -> None:
    most = _changes(renewal, disk)
    for at in range(1, most + 1):
        renewal.again()
        with pytest.raises(PowerCut), disk.watched(at, power=True):
            renewal.box.work()
        if placing.Placing(renewal.box.data_dir).waits:
            break
    assert renewal.box.give(renewal.new.without("page.pem", "page/page.pem").document(8)) == 0
    assert renewal.placed() is renewal.new
    assert renewal.page_serves()


def test_one_file_is_put_whole_with_its_group(tmp_path: Path, disk: Disk) -> None:
    zones_group(tmp_path)
    path = tmp_path / "config/provisioning.pub"
    placing.put(path, b"old")
    for at in range(1, 10):
        with disk.watched(at), suppress(StoreError):
            placing.put(path, b"new")
        assert path.read_bytes() in (b"old", b"new")
        assert path.stat().st_gid == GROUP
    assert path.read_bytes() == b"new"
