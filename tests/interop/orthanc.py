"""Starts a real Orthanc with its DICOMweb plugin: ports of the loopback that were free, a folder that goes with it.

    async with orthanc() as pacs:
        pacs.dicom_port, pacs.http_port, pacs.dicomweb_url, pacs.ae_title

By hand: ``python -m tests.interop.orthanc``.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.peers.ports import free_port

PLUGINS = (Path("/usr/share/orthanc/plugins"), Path("/usr/lib/orthanc"))
START_S = 60
STOP_S = 10


@dataclass(frozen=True, slots=True)
class Orthanc:
    """A running one. `modalities` of its configuration are fixed when it starts."""

    ae_title: str
    dicom_port: int
    http_port: int
    process: asyncio.subprocess.Process

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def dicomweb_url(self) -> str:
        return f"{self.url}/dicom-web"


def missing() -> str:
    """Why Orthanc cannot be started here; empty when it can."""
    if program() is None:
        return "Orthanc is not installed (Debian package orthanc)"
    if dicomweb_plugin() is None:
        return "Orthanc's DICOMweb plugin is not installed (Debian package orthanc-dicomweb)"
    return ""


def program() -> str | None:
    return shutil.which("Orthanc", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def dicomweb_plugin() -> Path | None:
    for folder in PLUGINS:
        for path in sorted(folder.glob("libOrthancDicomWeb.so*")):
            return path
    return None


@contextlib.asynccontextmanager
async def orthanc(
    modalities: Mapping[str, tuple[str, int]] | None = None,
    environment: Mapping[str, str] | None = None,
    **settings: Any,
) -> AsyncIterator[Orthanc]:
    """A running Orthanc; `modalities` are AE title → address, where C-MOVE may send.

    `settings` replace keys of its configuration, `environment` is added to ours (dcmtk's `TCP_NODELAY=1`…).
    """
    ports = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="orthanc-") as folder:
        file = Path(folder) / "orthanc.json"
        configuration = configuration_of(Path(folder), *ports, modalities or {}) | settings
        await asyncio.to_thread(file.write_text, json.dumps(configuration))
        log = await asyncio.to_thread(open, Path(folder) / "log", "wb")
        process = await asyncio.create_subprocess_exec(
            program() or "Orthanc",
            str(file),
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        log.close()
        try:
            running = Orthanc(configuration["DicomAet"], *ports, process)
            await answers(running, Path(folder) / "log")
            yield running
        finally:
            await stop(process)


def configuration_of(
    folder: Path, dicom_port: int, http_port: int, modalities: Mapping[str, tuple[str, int]]
) -> dict[str, Any]:
    plugin = dicomweb_plugin()
    return {
        "Name": "Orthanc",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "Plugins": [str(plugin)] if plugin else [],
        "HttpServerEnabled": True,
        "HttpPort": http_port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomServerEnabled": True,
        "DicomAet": "ORTHANC",
        "DicomPort": dicom_port,
        "DicomCheckCalledAet": True,
        "DicomAlwaysAllowStore": True,
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True,
        "DicomAlwaysAllowMove": True,
        "DicomModalities": {
            title: {"AET": title, "Host": host, "Port": port} for title, (host, port) in modalities.items()
        },
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "PublicRoot": "/dicom-web/"},
    }


async def answers(running: Orthanc, log: Path) -> None:
    """Wait until both its services answer."""
    try:
        async with asyncio.timeout(START_S), aiohttp.ClientSession() as http:
            while running.process.returncode is None:
                with contextlib.suppress(aiohttp.ClientError):
                    async with http.get(f"{running.dicomweb_url}/studies?limit=1") as response:
                        if response.status == 200:
                            return
                await asyncio.sleep(0.05)
    except TimeoutError:
        pass
    text = await asyncio.to_thread(log.read_text, errors="replace")
    raise RuntimeError(f"Orthanc does not start: {text[-2000:]}")


async def stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), STOP_S)
        except TimeoutError:
            process.kill()
            await process.wait()


async def main() -> None:
    async with orthanc() as running:
        print(f"{running.ae_title} on 127.0.0.1:{running.dicom_port}, {running.dicomweb_url}")
        await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
