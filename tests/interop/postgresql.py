"""A real PostgreSQL cluster of Debian's package, in a folder of its own, on a socket of its own, for as long as a test.

`initdb` refuses root: under root everything is run as `postgres`, else as whoever runs the tests. Nothing listens on
the network. By hand: `python -m tests.interop.postgresql` prints an address and runs until interrupted.
"""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

import psycopg

USER = "passevue"


def found() -> Path | None:
    """The folder of the newest server's programs, or None when the package is not installed."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parent.parent.name))
    if folders:
        return folders[-1].parent
    program = shutil.which("initdb")
    return Path(program).resolve().parent if program else None


class Cluster:
    """A running server with `new_database()`; ended and deleted at exit."""

    def __init__(self) -> None:
        programs = found()
        if programs is None:
            raise FileNotFoundError("PostgreSQL is not installed (Debian package postgresql)")
        self._programs = programs
        self._folder = Path(tempfile.mkdtemp(prefix="passevue-pg-"))
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Cluster":
        owner = _owner()
        if owner is not None:
            os.chown(self._folder, owner.pw_uid, owner.pw_gid)
        data = self._folder / "data"
        initdb = [self._programs / "initdb", "-D", data, "-U", USER, "-A", "trust", "-E", "UTF8", "--no-locale", "-N"]
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, **_as(owner))  # type: ignore[call-overload]
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Returns when it takes connections; after `stop` the databases are still there."""
        server = [self._programs / "postgres", "-D", self._folder / "data", "-k", self._folder,
                  "-c", "listen_addresses=", "-c", "max_connections=60"]  # fmt: skip
        with (self._folder / "log").open("wb") as log:
            self._server = subprocess.Popen(server, stdout=log, stderr=log, **_as(_owner()))  # type: ignore[call-overload]
        self._wait()

    def stop(self) -> None:
        if self._server is None:
            return
        self._server.send_signal(signal.SIGINT)  # fast shutdown: it does not wait for clients
        try:
            self._server.wait(20)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        self._server = None

    def new_database(self) -> str:
        """An empty database; its address as `queue.url` takes it."""
        name = f"queue_{secrets.token_hex(6)}"
        with psycopg.connect(self._address("postgres"), autocommit=True) as conn:
            conn.execute(f'CREATE DATABASE "{name}"')
        return f"postgresql://{USER}@/{name}?host={self._folder}"

    def _address(self, database: str) -> str:
        return f"host={self._folder} user={USER} dbname={database}"

    def _wait(self) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self._address("postgres")).close()
                return
            except psycopg.OperationalError:
                assert self._server is not None
                if self._server.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


def _owner() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise LookupError("neither postgres nor nobody is a user here")


def _as(owner: pwd.struct_passwd | None) -> dict[str, object]:
    base: dict[str, object] = {"cwd": "/", "env": {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}}
    if owner is None:
        return base
    return {**base, "user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": ()}


if __name__ == "__main__":
    with Cluster() as running:
        print(running.new_database(), flush=True)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            print("ended")
