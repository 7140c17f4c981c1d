"""The box as the appliance runs it: four processes, one a trust zone, each a user of its own where that can be.

    async with SplitCabinet(people=True) as cabinet:      # a Cabinet whose box is four processes
        cabinet.box_in_parts.kill(Part.NATIONAL)
        await cabinet.box_in_parts.start(Part.NATIONAL)

As root, each zone runs under a number of its own in one group, on a shared data folder (2770), and reads only its own
keys; as anybody else they are four processes of one user. They are forked from a server that has imported the box.
Where the interpreter itself lies in a folder that only root may read, zones keep the right to read, and no other.
"""

import asyncio
import ctypes
import logging
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
import tomllib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Self

import aiohttp

from passevue.box import Box, Part
from passevue.config import Config
from passevue.intake.key_object import read_key_object
from passevue.queue.listing import Counters
from passevue.queue.retry import Policy
from passevue.queue.states import State
from passevue.queue.store import Store
from passevue.status import logs
from passevue.zones.meeting import Meeting
from tests.demo.people import People
from tests.peers.ans import Ans, lists_of
from tests.peers.cabinet import QUICK, SITE, Cabinet
from tests.peers.disk import ROOMY_IMAGES
from tests.peers.dmp import DmpPeer
from tests.peers.dmp_registry import APPROVED
from tests.peers.front_desk import Browser
from tests.peers.ports import free_port

GROUP = 64_000
USERS = {part: GROUP + 1 + number for number, part in enumerate(Part)}
STARTS_WITHIN_S = 30.0
PR_SET_KEEPCAPS, LINUX_CAPABILITY_VERSION_3, CAP_DAC_READ_SEARCH = 8, 0x20080522, 1 << 2


def live(
    config: Config, policy: Policy, part: Part, folder: Path, users: Mapping[Part, int], environment: dict[str, str]
) -> None:
    """One zone, until killed or terminated."""
    os.environ.update(environment)
    os.umask(0o007)
    with (folder / f"{part}.log").open("a", encoding="utf-8") as log:
        if users:
            become(users[part])
        logs.set_up(log, level=logging.INFO)
        meeting = Meeting(folder / "run", users=users)
        asyncio.run(Box(config, (part,), policy=policy, thresholds=ROOMY_IMAGES, meeting=meeting).run())


def become(user: int) -> None:
    """From root to `user`, in the zones' group and no other."""
    libc = ctypes.CDLL(None, use_errno=True)
    reads = not all(path.stat().st_mode & 0o005 == 0o005 for path in Path(sys.base_prefix).parents)
    libc.prctl(PR_SET_KEEPCAPS, int(reads), 0, 0, 0)
    os.setgroups([])
    os.setgid(GROUP)
    os.setuid(user)
    if reads:
        header = (ctypes.c_uint32 * 2)(LINUX_CAPABILITY_VERSION_3, 0)
        rights = (ctypes.c_uint32 * 6)(CAP_DAC_READ_SEARCH, CAP_DAC_READ_SEARCH, 0, 0, 0, 0)
        if libc.capset(header, rights):
            raise OSError(ctypes.get_errno(), "capset")


class SplitBox:
    """The four processes. `log(part)` is what one of them has said."""

    def __init__(self, config: Config, policy: Policy, folder: Path, environment: dict[str, str]) -> None:
        self.users: Mapping[Part, int] = USERS if os.geteuid() == 0 else {}
        self._config = config
        self._policy = policy
        self._folder = folder
        self._environment = environment
        self._processes: dict[Part, BaseProcess] = {}
        for shared in (folder / "run", config.box.data_dir):
            shared.mkdir(exist_ok=True)
            if self.users:
                os.chown(shared, 0, GROUP)
            shared.chmod(0o2770)

    async def start(self, *parts: Part) -> None:
        """Raises: TimeoutError: a zone did not come up; with what it said."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.peers.split_box"])
        before = {part: self.log(part).count("event=box_ready") for part in parts}
        for part in parts:
            arguments = (self._config, self._policy, part, self._folder, self.users, self._environment)
            process = context.Process(target=live, args=arguments, daemon=True)
            await asyncio.to_thread(process.start)
            self._processes[part] = process
        deadline = time.monotonic() + STARTS_WITHIN_S
        for part in parts:
            while self.log(part).count("event=box_ready") == before[part]:
                if time.monotonic() > deadline or not self._processes[part].is_alive():
                    raise TimeoutError(f"{part} did not start: {self.log(part)[-3000:]}")
                await asyncio.sleep(0.02)

    async def kill(self, *parts: Part) -> None:
        """SIGKILL."""
        for part in parts:
            self._processes[part].kill()
            await asyncio.to_thread(self._processes[part].join)

    async def stop(self, *parts: Part) -> dict[Part, int | None]:
        """SIGTERM, one after the other; how each left."""
        for part in parts:
            self._processes[part].terminate()
            await asyncio.to_thread(self._processes[part].join, 25)
        return {part: self._processes[part].exitcode for part in parts}

    async def stop_together(self) -> dict[Part, int | None]:
        """SIGTERM to all at once, and once: who is nearly gone no longer minds a second."""
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            await asyncio.to_thread(process.join, 25)
        return {part: process.exitcode for part, process in self._processes.items()}

    def alive(self) -> set[Part]:
        return {part for part, process in self._processes.items() if process.is_alive()}

    async def met(self, part: Part, place: str, times: int) -> None:
        """Once `part` has met the other end of `place` that often, its former lives included."""
        deadline = time.monotonic() + STARTS_WITHIN_S
        while len([line for line in self.log(part).splitlines() if "zone_met" in line and place in line]) < times:
            assert time.monotonic() < deadline, self.log(part)[-2000:]
            await asyncio.sleep(0.05)

    def log(self, part: Part) -> str:
        path = self._folder / f"{part}.log"
        return path.read_text(encoding="utf-8") if path.exists() else ""


class SplitCabinet(Cabinet):
    """A centre around a box in four processes. `people`: with a card reader, cards that are believed,
    and Pro Santé Connect."""

    box_in_parts: SplitBox

    def __init__(
        self, *, with_pacs: bool = True, people: bool = False, policy: Policy = QUICK, lists: bool = True
    ) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="pv-", dir="/tmp"))  # short, and open to other users as far as it goes
        self.home.chmod(0o711)
        data = self.home / "data"
        data.mkdir()
        super().__init__(data, self.home / "pki", with_pacs=with_pacs, policy=policy, lists=lists)
        self.ports = {"ris": free_port(), "modality": free_port(), "page": free_port()}
        self.more = {"ris": {"port": self.ports["ris"]}, "page": {"port": self.ports["page"]}}
        self.page = f"http://127.0.0.1:{self.ports['page']}"
        self.people = People(self.home, self.pki, SITE, self.page) if people else None
        if self.people is not None:
            self.dmp = DmpPeer(self.pki, persons=self.people.persons)
        self.kept: Store | None = None
        self.ans = Ans()  # where host fetches revocation lists, unless they are there

    async def __aenter__(self) -> Self:
        if self.people is not None:
            await self.people.open()
            self.people.open_reader_to_all()
            self.more |= tomllib.loads(self.people.sections)
        else:
            await self.ans.__aenter__()
            self.more |= {"crl": {"urls": self.ans.serve_all(lists_of(self.pki))}}
        try:
            return await super().__aenter__()
        except BaseException:
            await self._close_others()
            raise

    async def __aexit__(self, *_: object) -> None:
        await super().__aexit__(*_)
        await self._close_others()

    async def _close_others(self) -> None:
        if self.people is not None:
            await self.people.close()
        else:
            await self.ans.__aexit__()
        shutil.rmtree(self.home, ignore_errors=True)

    def config(self) -> Config:
        found = super().config()
        return found.model_copy(update={"modality": found.modality.model_copy(update={"port": self.ports["modality"]})})

    async def start(self) -> None:
        config = await asyncio.to_thread(self.config)
        environment = self.people.environment if self.people is not None else {}
        self.box_in_parts = SplitBox(config, self.policy, self.home, environment)
        await asyncio.to_thread(self._hand_out_keys)
        await asyncio.to_thread(self._hand_out_lists)
        await self.box_in_parts.start(*Part)
        if self.people is not None:
            await self.box_in_parts.met(Part.PAGE, "in-person", 1)
        self.kept = await Store.open(config.queue, config.box.data_dir)

    def _hand_out_keys(self) -> None:
        """Each zone reads its own and no other's; certificates are everybody's."""
        users = self.box_in_parts.users
        for path in [self.home / "pki", *(self.home / "pki").rglob("*"), *(self.home / "persons").rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
        keys = self.pki.structure(SITE.id)
        for path in (keys.auth_key, keys.sign_key):
            path.chmod(0o600)
            if users:
                os.chown(path, users[Part.NATIONAL], GROUP)

    def _hand_out_lists(self) -> None:
        """Host writes them, its group reads: as on the appliance (systemd/usr/lib/tmpfiles.d)."""
        folder = self.folder / "crl"
        folder.mkdir(exist_ok=True)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o2750 if path.is_dir() else 0o640)
            if users := self.box_in_parts.users:
                os.chown(path, users[Part.HOST], GROUP)
                path.chmod(0o2750 if path.is_dir() else 0o640)

    async def stop(self) -> None:
        if self.kept is not None:
            await self.kept.close()
            self.kept = None
        alive = [part for part in Part if part in self.box_in_parts.alive()]
        await self.box_in_parts.stop(*alive)

    @property
    def running(self) -> Any:
        """What the centre asks of a box: its ports and its store."""
        return self

    async def counters(self) -> Counters:
        assert self.kept is not None
        return await self.kept.counters(datetime(2000, 1, 1, tzinfo=UTC))

    def referenced(self) -> set[str]:
        """Objects in the one manifest that stands."""
        (manifest,) = (
            one
            for one in self.dmp.documents.values()
            if one.mime_type == "application/dicom" and one.status == APPROVED
        )
        return {one.SOPInstanceUID for one in read_key_object(manifest.content).references}

    @asynccontextmanager
    async def browser(self) -> AsyncIterator[Browser]:
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(cookie_jar=jar, timeout=aiohttp.ClientTimeout(30)) as session:
            yield Browser(self.page, session)

    async def number(self) -> int:
        """Of the entry that came last."""
        assert self.kept is not None
        (line,) = await self.kept.entries(most=1)
        return line.number

    async def state(self, number: int) -> State:
        assert self.kept is not None
        shown = await self.kept.show(number)
        assert shown is not None
        return shown.line.state

    async def becomes(self, number: int, state: State, within_s: float = 30) -> None:
        deadline = time.monotonic() + within_s
        while (found := await self.state(number)) is not state:
            assert time.monotonic() < deadline, f"entry {number} is still {found}"
            await asyncio.sleep(0.05)
