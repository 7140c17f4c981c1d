"""C-STORE of a CT of 1,300 JPEG-LS slices (about 160 MB) sent by dcmtk's storescu.

To ours and to three acceptors that we did not write, in turn, each run into an empty folder on the same disk,
TCP_NODELAY=1 TCP_BUFFER_LENGTH=262144 on both sides.

Ours syncs every object before it answers. storescp and pynetdicom's acceptor write files and sync none; Orthanc runs
with its default storage. Ours is measured as a box at rest is: with a spare segment ready.

By hand, one acceptor: python -m tests.bench.bench_dicom pynetdicom|ours PORT FOLDER
"""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench.figure import Figure
from tests.peers.ports import free_port

ENV = {**os.environ, "TCP_NODELAY": "1", "TCP_BUFFER_LENGTH": "262144"}
SLICES = 1300
LANES = 4
RUNS = 5
STORESCU = ("storescu", "-xt", "+sd", "+r", "-aec", "PASSEVUE")
ORTHANC = shutil.which("Orthanc") or "/usr/sbin/Orthanc"


@dataclass(frozen=True)
class Acceptor:
    """How one is started, and when it is ready beyond listening."""

    name: str
    command: Callable[[int, Path], list[str]]
    ready: Callable[[Path], bool] = lambda _: True


def orthanc(port: int, folder: Path) -> list[str]:
    settings = {
        "Name": "bench",
        "StorageDirectory": str(folder),
        "IndexDirectory": str(folder),
        "DicomPort": port,
        "DicomAet": "PASSEVUE",
        "DicomCheckCalledAet": False,
        "DicomAlwaysAllowStore": True,
        "UnknownSopClassAccepted": True,
        "HttpServerEnabled": False,
        "Plugins": [],
    }
    path = folder / "orthanc.json"
    path.write_text(json.dumps(settings))
    return [ORTHANC, str(path)]


def of_this_file(name: str) -> Callable[[int, Path], list[str]]:
    return lambda port, folder: [sys.executable, "-m", "tests.bench.bench_dicom", name, str(port), str(folder)]


OURS = Acceptor("ours", of_this_file("ours"), lambda folder: (folder / "box" / "segments" / "spare").exists())
PEERS = (
    Acceptor("storescp", lambda port, folder: ["storescp", "+xa", "--fork", "-od", str(folder), str(port)]),
    Acceptor("Orthanc", orthanc),
    Acceptor("pynetdicom", of_this_file("pynetdicom")),
)


@dataclass(frozen=True)
class Run:
    """One sending: seconds from the first connection to the last answer, and the acceptor's peak memory."""

    seconds: float
    peak_mib: float


@contextlib.contextmanager
def started(acceptor: Acceptor, place: Path) -> Iterator[tuple[int, int]]:
    """The acceptor on a new folder and port, ready; port and process id."""
    folder, port = place / acceptor.name, free_port()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(acceptor.command(port, folder), env=ENV, **quiet)  # type: ignore[call-overload]
    try:
        deadline = time.monotonic() + 60
        while not (listens(port) and acceptor.ready(folder)):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{acceptor.name} does not start")
            time.sleep(0.1)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def peak_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def send(acceptor: Acceptor, place: Path, folders: list[Path]) -> Run:
    """All `folders` at once, an association each."""
    with started(acceptor, place) as (port, pid):
        began = time.perf_counter()
        senders = [
            subprocess.Popen(
                [*STORESCU, "127.0.0.1", str(port), str(folder)],
                env=ENV,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for folder in folders
        ]
        codes = [sender.wait(300) for sender in senders]
        seconds = time.perf_counter() - began
        if any(codes):
            raise RuntimeError(f"storescu to {acceptor.name} failed")
        return Run(seconds, peak_mib(pid))


def write_study(place: Path) -> Path:
    from tests.peers.modality import file_of, jpegls_study

    root = place / "ct"
    for number, ds in enumerate(jpegls_study("2.25.1300", slices=SLICES)):
        lane = root / str(number * LANES // SLICES)
        lane.mkdir(parents=True, exist_ok=True)
        (lane / f"{number:04d}.dcm").write_bytes(file_of(ds))
    return root


def in_turn(acceptors: tuple[Acceptor, ...], place: Path, folders: list[Path]) -> dict[str, list[Run]]:
    """`RUNS` of each, one after the other, so that all meet the same machine; one round before does not count."""
    runs: dict[str, list[Run]] = {each.name: [] for each in acceptors}
    for number in range(RUNS + 1):
        for acceptor in acceptors:
            run = send(acceptor, place, folders)
            if number:
                runs[acceptor.name].append(run)
    return runs


def rate(runs: list[Run]) -> float:
    """Objects a second, by the median run."""
    return SLICES / statistics.median(run.seconds for run in runs)


def figures() -> Iterator[Figure]:
    missing = [each for each in ("storescu", "storescp", ORTHANC) if not shutil.which(each)]
    if missing:
        print(f"bench of DICOM left out: {', '.join(missing)} not installed")
        return
    place = Path(tempfile.mkdtemp(prefix="passevue-bench-", dir="/var/tmp"))  # /tmp may be memory: syncs must be real
    try:
        study = write_study(place)
        alone = in_turn((OURS, *PEERS), place, [study])
        ours = rate(alone["ours"])
        for name, aim in (("storescp", 1.1), ("Orthanc", 3.0), ("pynetdicom", 5.0)):
            peer = rate(alone[name])
            yield Figure(
                f"C-STORE, 1,300 JPEG-LS slices, synced each, against {name}",
                "objects/s",
                ours,
                f"≥ {aim} × {name}",
                ours / peer >= aim,
                {name: peer},
                ours / peer,
            )
        together = in_turn((OURS, PEERS[0]), place, sorted(study.iterdir()))
        total = rate(together["ours"])
        yield Figure(
            f"C-STORE, the same over {LANES} associations at once",
            "objects/s",
            total,
            "no less than over one",
            total >= ours,
            {"one association": ours, "storescp": rate(together["storescp"])},
            total / ours,
        )
        peak = max(run.peak_mib for run in (*alone["ours"], *together["ours"]))
        yield Figure("C-STORE, resident memory at its peak", "MiB", peak, "≤ 200 MiB", peak <= 200)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def serve_pynetdicom(port: int, folder: Path) -> None:
    """pynetdicom's acceptor as its documentation has it: encoded data sets straight to files."""
    from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt
    from pynetdicom.events import Event

    def store(event: Event) -> int:
        (folder / str(event.request.AffectedSOPInstanceUID)).write_bytes(event.encoded_dataset())
        return 0

    ae = AE("PASSEVUE")
    ae.maximum_pdu_size = 131072
    for context in AllStoragePresentationContexts:
        ae.add_supported_context(context.abstract_syntax, ALL_TRANSFER_SYNTAXES)
    ae.start_server(("127.0.0.1", port), evt_handlers=[(evt.EVT_C_STORE, store)])


def serve_ours(port: int, folder: Path) -> None:
    import uvloop

    from tests.peers.dicom_intake import serve

    with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
        uvloop.run(serve(folder / "box", port, "PASSEVUE"))


if __name__ == "__main__":
    which, port_text, folder_text = sys.argv[1:]
    {"ours": serve_ours, "pynetdicom": serve_pynetdicom}[which](int(port_text), Path(folder_text))
