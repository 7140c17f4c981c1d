"""APP-03: the configuration on the disk is valid, root's, closed to others; another one is audited by its hash."""

import hashlib

from passevue.baseline.machine import Machine, Unmeasurable
from passevue.baseline.remedies import CONFIG
from passevue.baseline.rule import Effect, Event, Finding, Function, Level, Rule, Text, When, failed, passed
from passevue.config import parse, read
from passevue.config_check import contradictions
from passevue.errors import ConfigError

CLOSED_ON_BOX = 0o137  # nothing beyond 0640
CLOSED_ELSEWHERE = 0o022  # others do not write it


def check(machine: Machine) -> Finding:
    path = machine.config_path
    if path is None:
        raise Unmeasurable("it is not known which file the configuration came from")
    try:
        text = read(path)
    except ConfigError as err:
        return failed(err.message)
    found = parse(text, path, {})
    wrong = found if isinstance(found, list) else list(contradictions(found))
    if wrong:
        return failed(f"{len(wrong)} settings are wrong, the first is {wrong[0].key}")
    seen = path.stat()
    if machine.appliance and seen.st_uid != machine.stat("/").st_uid:
        return failed(f"owned by uid {seen.st_uid}")
    if seen.st_mode & (CLOSED_ON_BOX if machine.appliance else CLOSED_ELSEWHERE):
        return failed(f"mode {seen.st_mode & 0o777:04o}")
    return passed(f"valid, SHA-256 {hashlib.sha256(text.encode()).hexdigest()[:16]}")


RULE = Rule(
    id="APP-03",
    slug="config_sane",
    level=Level.MUST,
    effect=Effect.HOLD,
    when=frozenset({When.START, When.EVENT}),
    title=Text("La configuration est valide et protégée", "The configuration is valid and protected"),
    why=Text(
        "Une configuration fausse, ou que d’autres peuvent écrire, détourne les envois.",
        "A wrong configuration, or one that others may write, leads submissions astray.",
    ),
    expected="valid against its schema, owned by root, mode 0640 or less",
    remedy=CONFIG,
    source="CR 7.6, CRA f",
    check=check,
    holds=frozenset({Function.SIGN_IN, Function.CONSULTATION}),
    on=frozenset({Event.CONFIG}),
    tells_observed=True,
    appliance_only=False,
    proof="tests/unit/test_config.py",
)
