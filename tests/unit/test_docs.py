"""agent/README.md describes every command, exit code, setting, metric and log event, and none that does not exist."""

import ast
import re
from collections.abc import Iterator
from inspect import signature
from pathlib import Path

import passevue
from passevue.cli.commands import app
from passevue.cli.exits import Exit
from passevue.config_example import settings
from passevue.status import logs
from passevue.status.metrics import Metrics
from tests.unit.status.states import trouble

ROOT = Path(passevue.__file__).parent
TEXT = (ROOT.parent / "README.md").read_text(encoding="utf-8")
LEVELS = {"debug", "info", "warning", "error", "critical", "exception"}


def _section(title: str) -> str:
    found = re.search(rf"(?ms)^##+ {title}$(.*?)(?=^##|\Z)", TEXT)
    assert found, title
    return found[1]


def _first_column(title: str) -> set[str]:
    return set(re.findall(r"(?m)^\| `([^`]+)` \|", _section(title)))


def _commands() -> Iterator[str]:
    for command in app.registered_commands:
        yield f"passevue {command.name}"
    for group in app.registered_groups:
        assert group.typer_instance is not None
        callback = group.typer_instance.registered_callback
        if callback is not None and callback.invoke_without_command is True:
            yield f"passevue {group.name}"
        for command in group.typer_instance.registered_commands:
            assert command.callback is not None
            yield f"passevue {group.name} {command.name or command.callback.__name__.replace('_', '-')}"


def _calls() -> Iterator[tuple[ast.Call, str]]:
    """Every call of a logger in the package, with where it is."""
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS:
                owner = ast.unparse(node.func.value)
                if owner in ("log", "logger", "self._log", "structlog.get_logger()"):
                    yield node, f"{path.relative_to(ROOT)}:{node.lineno}"


def test_every_command_is_described() -> None:
    assert _first_column("Commands") == set(_commands())


def _speaking_json() -> Iterator[str]:
    """Commands with `--json`."""
    for command in app.registered_commands:
        if command.callback and "as_json" in signature(command.callback).parameters:
            yield f"{command.name}"
    for group in app.registered_groups:
        assert group.typer_instance is not None
        callback = group.typer_instance.registered_callback
        if callback is not None and callback.callback and "as_json" in signature(callback.callback).parameters:
            yield f"{group.name}"
        for command in group.typer_instance.registered_commands:
            if command.callback and "as_json" in signature(command.callback).parameters:
                yield f"{group.name} {command.name or command.callback.__name__.replace('_', '-')}"


def _shaped() -> Iterator[str]:
    """Commands of the table of shapes; a word alone is of the group that its row begins with."""
    for row in re.findall(r"(?m)^\| (`[^|]+) \|", _section("JSON shapes")):
        names = re.findall(r"`([^`]+)`", row)
        group = names[0].split()[0] if " " in names[0] else ""
        yield from (name if " " in name or not group else f"{group} {name}" for name in names)


def test_every_shape_that_programs_read_is_described() -> None:
    assert set(_speaking_json()) <= set(_shaped())


def test_every_exit_code_is_described() -> None:
    assert set(re.findall(r"(?m)^\| (\d) \|", _section("Exit codes"))) == {str(code.value) for code in Exit}


def test_every_setting_is_described_with_its_own_words() -> None:
    text = _section("Settings")
    assert _first_column("Settings") == {name for name, _ in settings()}
    for name, field in settings():
        assert f"| {field.description} |" in text, name


def test_every_metric_is_described() -> None:
    text = Metrics().text(trouble()).decode()
    found = set(re.findall(r"(?m)^# TYPE (\w+?)(?:_total|_info)? (?:gauge|counter|histogram)$", text))
    made = {name for name in found if not name.endswith("_created")}
    assert _first_column("Metrics") == made


def test_every_log_event_is_a_constant_word_and_described() -> None:
    events = {"unnamed_event", "library_said"}
    for call, where in _calls():
        assert call.args, where
        event = call.args[0]
        assert isinstance(event, ast.Constant), f"{where}: the event is not a constant"
        assert re.fullmatch(r"[a-z][a-z0-9_]{0,59}", str(event.value)), where
        events.add(str(event.value))
    assert _first_column("Log") == events


def test_every_log_field_that_holds_text_is_one_that_may_be_printed() -> None:
    """A field that is not in `FIELDS` is printed only when it is a number; these are those."""
    numbers = {
        "begin", "bytes", "commitments", "conflict", "count", "due_in_s", "duplicate", "duration_s", "echoes", "end",
        "entry", "exc_info", "first", "handed_back", "in_doubt", "number", "port", "record", "records", "refused",
        "set_aside", "stored", "structures", "studies", "tls", "took_ms", "tries", "waiting",
    }  # fmt: skip
    for call, where in _calls():
        for keyword in call.keywords:
            assert keyword.arg is None or keyword.arg in logs.FIELDS | numbers, f"{where}: {keyword.arg}"
