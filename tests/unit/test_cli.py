"""The commands people type, against a real store: what they print, what they change, how they leave."""

import asyncio
import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from passevue.cli.commands import app
from passevue.cli.exits import Exit
from passevue.config import Config, load
from passevue.config_example import example
from passevue.document.request import Action, Task
from passevue.errors import CredentialError, Refused
from passevue.intake.received import Kind, Received
from passevue.queue.retry import Phase, Policy, after
from passevue.queue.states import PICKED
from passevue.queue.store import Store
from passevue.status.audit_trail import verify
from passevue.status.folders import audit_folder
from tests.peers.disk import ROOMY

SECRET = b"MSH|^~\\&|what came in"


@dataclass
class Site:
    """A box's configuration and data on a temporary path."""

    path: Path
    config: Config

    def type(self, *words: str) -> Result:
        return CliRunner().invoke(app, [*words], env={"PASSEVUE_CONFIG": str(self.path), "COLUMNS": "200"})

    def json(self, *words: str) -> Any:
        done = self.type(*words, "--json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    path = tmp_path / "passevue.toml"
    path.write_text(example().replace('"/var/lib/passevue"', '"data"'), encoding="utf-8")
    return Site(path, load(path))


@pytest.fixture
def with_store(site: Site) -> Callable[[Callable[[Store], Any]], Any]:
    def run(work: Callable[[Store], Any]) -> Any:
        async def go() -> Any:
            store = await Store.open(site.config.queue, site.config.box.data_dir, limits=ROOMY)
            try:
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(go())

    return run


async def _put(store: Store, count: int = 1, study: str = "2.25.7") -> list[int]:
    numbers = []
    for index in range(count):
        came = Received(Kind.REPORT, SECRET + bytes([65 + index]), "RIS|X", "10.0.0.1", f"c{study}{index}", _now())
        numbers.append((await store.put(came, [Task(Action.PUBLISH, f"{study}.{index}")])).number)
    return numbers


async def _leave(store: Store, error: Exception) -> None:
    """The dispatcher takes what is due, and building it ends with `error`."""
    for taken in await store.take([(0, 10)], 10, PICKED):
        await store.leave(taken, after(error, Phase.BUILD, taken.facts, 0.5, Policy()))


def _now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def waiting(site: Site, with_store: Callable[..., Any]) -> Site:
    with_store(lambda store: _put(store, 3))
    return site


@pytest.fixture
def aside(site: Site, with_store: Callable[..., Any]) -> Site:
    async def work(store: Store) -> None:
        await _put(store)
        await _leave(store, Refused("XDSUnknownPatientId", "unknown", hint="Vérifiez l’identité du patient."))

    with_store(work)
    return site


@pytest.fixture
def held(site: Site, with_store: Callable[..., Any]) -> Site:
    async def work(store: Store) -> None:
        await _put(store, 2)
        await _leave(store, CredentialError("no key"))

    with_store(work)
    return site


# --- status --------------------------------------------------------------------------------------------------------


def test_status_says_how_the_box_is(aside: Site) -> None:
    told = aside.type("status")
    assert told.exit_code == 0
    assert "Une action est attendue" in told.stdout
    assert "Vérifiez l’identité du patient." in told.stdout


def test_status_as_json_is_the_summary(aside: Site) -> None:
    found = aside.json("status")
    assert found["verdict"] == "act"
    assert found["queue"]["by_state"]["set_aside"] == 1
    assert found["troubles"][0]["reason"] == "XDSUnknownPatientId"


def test_status_can_answer_a_script(aside: Site) -> None:
    assert aside.type("status", "--check").exit_code == Exit.NO


def test_status_works_while_the_box_has_the_store_open(waiting: Site) -> None:
    async def while_open() -> Result:
        store = await Store.open(waiting.config.queue, waiting.config.box.data_dir, roles={"intake", "national"})
        try:
            return await asyncio.to_thread(waiting.type, "status", "--json")
        finally:
            await store.close()

    told = asyncio.run(while_open())
    assert json.loads(told.stdout)["queue"]["by_state"]["waiting"] == 3


def test_a_box_that_never_ran_is_told_so_and_nothing_is_made(site: Site) -> None:
    told = site.type("status")
    assert told.exit_code == Exit.STORE
    assert "a-t-il déjà été lancé" in told.stderr
    assert not site.config.box.data_dir.exists()


# --- queue: looking ------------------------------------------------------------------------------------------------


def test_the_list_shows_numbers_and_reasons_and_nothing_of_the_content(aside: Site) -> None:
    told = aside.type("queue", "list")
    assert re.search(r"\b1\b.*publication.*mis de côté.*Vérifiez l’identité.*XDSUnknownPatientId", told.stdout)
    assert "2.25.7" not in told.stdout
    assert "MSH" not in told.stdout


def test_a_section_of_the_configuration_in_a_hint_is_shown(site: Site, with_store: Callable[..., Any]) -> None:
    async def work(store: Store) -> None:
        await _put(store)
        await _leave(store, Refused("X", "unknown", hint="Voyez [psc]."))

    with_store(work)
    assert "Voyez [psc]." in site.type("queue", "list").stdout
    assert "Voyez [psc]." in site.type("status").stdout


def test_the_list_can_be_cut_and_continued(waiting: Site) -> None:
    assert [line["number"] for line in waiting.json("queue", "list", "--most", "2")] == [3, 2]
    assert [line["number"] for line in waiting.json("queue", "list", "--below", "2")] == [1]
    assert waiting.json("queue", "list", "--state", "settled") == []


def test_an_entry_is_shown_whole_but_for_its_content(aside: Site) -> None:
    told = aside.type("queue", "show", "1")
    assert "XDSUnknownPatientId" in told.stdout
    found = aside.json("queue", "show", "1")
    assert found["state"] == "set_aside"
    assert len(found["content_sha256"]) == 64
    assert "2.25.7" not in json.dumps(found)


def test_an_entry_that_does_not_exist_is_a_no(aside: Site) -> None:
    for words in (("show", "99"), ("retry", "99"), ("close", "99", "--why", "x"), ("export", "99", "out")):
        told = aside.type("queue", *words)
        assert told.exit_code == Exit.NO, told.output
        assert "La demande 99 n’existe pas." in told.stderr


# --- queue: acting -------------------------------------------------------------------------------------------------


def _acts(site: Site) -> list[str]:
    text = "".join(path.read_text() for path in sorted(audit_folder(site.config).glob("audit-*.log")))
    return re.findall(r'EventTypeCode csd-code="queue-([\w-]+)"', text)


def test_a_retry_puts_the_entry_back_and_is_audited(aside: Site) -> None:
    assert aside.json("queue", "retry", "1", "--why", "corrigé") == {"act": "retry", "numbers": [1], "count": 1}
    found = aside.json("queue", "show", "1")
    assert found["state"] == "waiting"
    assert found["acts"][0]["why"] == "corrigé"
    assert found["acts"][0]["by"].startswith("account:")
    assert _acts(aside) == ["retry"]
    assert verify(audit_folder(aside.config)).wrong == ()


def test_what_waits_can_not_be_retried(waiting: Site) -> None:
    told = waiting.type("queue", "retry", "1")
    assert told.exit_code == Exit.NO
    assert "n’est pas mise de côté" in told.stderr


def test_held_entries_are_released_by_number_or_all(held: Site) -> None:
    assert held.json("queue", "release", "1")["count"] == 1
    assert held.json("queue", "release", "--all")["count"] == 2
    assert {line["state"] for line in held.json("queue", "list")} == {"waiting"}
    assert _acts(held) == ["release", "release"]


@pytest.mark.parametrize("words", [(), ("1", "--all")])
def test_releasing_wants_numbers_or_all(held: Site, words: tuple[str, ...]) -> None:
    assert held.type("queue", "release", *words).exit_code == Exit.USAGE


def test_closing_wants_a_reason_and_is_final(waiting: Site) -> None:
    assert waiting.type("queue", "close", "2").exit_code == Exit.USAGE
    assert waiting.type("queue", "close", "2", "--why", " ").exit_code == Exit.NO
    assert waiting.type("queue", "close", "2", "--why", "doublon").exit_code == Exit.DONE
    assert waiting.json("queue", "show", "2")["state"] == "closed"
    assert waiting.type("queue", "retry", "2").exit_code == Exit.NO


def test_an_export_holds_the_bytes_and_says_what_they_are(waiting: Site, tmp_path: Path) -> None:
    told = waiting.type("queue", "export", "1", str(tmp_path / "out"))
    assert told.exit_code == 0
    assert "identité du patient" in told.stderr
    (path,) = (tmp_path / "out").iterdir()
    assert path.read_bytes() == SECRET + b"A"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert _acts(waiting) == ["export"]


def test_without_an_audit_trail_nothing_is_done(aside: Site) -> None:
    audit_folder(aside.config).parent.mkdir(exist_ok=True)
    audit_folder(aside.config).write_text("in the way")
    told = aside.type("queue", "retry", "1")
    assert told.exit_code == Exit.STORE
    assert "rien n'a été fait" in told.stderr
    assert aside.json("queue", "show", "1")["state"] == "set_aside"


# --- audit ---------------------------------------------------------------------------------------------------------


def test_a_whole_trail_is_told_whole_and_a_changed_one_is_not(aside: Site) -> None:
    aside.type("queue", "retry", "1")
    found = aside.json("audit", "verify")
    assert (found["whole"], found["records"]) == (True, 1)
    (path,) = audit_folder(aside.config).glob("audit-*.log")
    path.write_bytes(path.read_bytes().replace(b"queue-retry", b"queue-close"))
    told = aside.type("audit", "verify")
    assert told.exit_code == Exit.NO
    assert "record 1 is not what was written" in told.stderr


def test_no_trail_yet_is_whole(site: Site) -> None:
    assert site.json("audit", "verify")["records"] == 0


# --- config --------------------------------------------------------------------------------------------------------


def test_the_example_goes_to_standard_output_as_it_is(site: Site) -> None:
    assert site.type("config", "example").stdout == example()


def test_check_names_every_wrong_key(site: Site) -> None:
    site.path.write_text(example().replace("#port = 2575", "prot = 1").replace("#lanes = 4", "lanes = 0"))
    told = site.type("config", "check", str(site.path))
    assert told.exit_code == Exit.CONFIG
    assert "ris.prot" in told.stderr
    assert "queue.lanes" in told.stderr
    found = site.type("config", "check", str(site.path), "--json")
    assert {each["key"] for each in json.loads(found.stdout)} == {"ris.prot", "queue.lanes"}


def test_a_wrong_configuration_stops_every_command(site: Site) -> None:
    site.path.write_text("[box]\n")
    for words in (("status",), ("queue", "list"), ("audit", "verify"), ("run",), ("xdm", "export", "x")):
        told = site.type(*words)
        assert told.exit_code == Exit.CONFIG, words
        assert "Traceback" not in told.output


def test_hostile_text_in_the_file_does_not_reach_the_terminal(site: Site) -> None:
    site.path.write_text(example() + '"\\u001b]0;x\\u0007[red]" = 1\n', encoding="utf-8")
    told = site.type("config", "check", str(site.path))
    assert "\x1b]" not in told.output
    assert "[red]" in told.stderr


# --- xdm -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def empty(site: Site, with_store: Callable[..., Any]) -> Site:
    with_store(lambda store: store.counters())
    return site


def test_nothing_published_is_nothing_exported(empty: Site, tmp_path: Path) -> None:
    assert empty.json("xdm", "export", str(tmp_path / "out")) == {"files": []}


def test_an_archive_that_is_none_is_refused_whole(empty: Site, tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04 not a zip")
    told = empty.type("xdm", "import", str(tmp_path / "x.zip"))
    assert told.exit_code == Exit.NO
    assert "refusée en entier" in told.stderr
    assert empty.type("xdm", "import", str(tmp_path / "absent.zip")).exit_code == Exit.USAGE


# --- running -------------------------------------------------------------------------------------------------------


def test_help_is_there_for_every_command(site: Site) -> None:
    for words in _commands():
        told = site.type(*words, "--help")
        assert told.exit_code == 0, words


def _commands() -> Iterator[tuple[str, ...]]:
    yield ()
    for command in app.registered_commands:
        yield (str(command.name),)
    for group in app.registered_groups:
        yield (str(group.name),)
        assert group.typer_instance is not None
        for command in group.typer_instance.registered_commands:
            assert command.callback is not None
            yield str(group.name), command.name or command.callback.__name__.replace("_", "-")


def test_the_person_behind_sudo_is_the_one_named(aside: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can have been called through sudo")
    monkeypatch.setenv("SUDO_USER", "dr-martin")
    aside.type("queue", "retry", "1")
    assert aside.json("queue", "show", "1")["acts"][0]["by"] == "account:dr-martin"


def test_times_are_the_centres_and_recent(aside: Site) -> None:
    line = aside.json("queue", "list")[0]
    assert _now() - datetime.fromisoformat(line["received_at"]) < timedelta(minutes=1)
