"""Accounts: ACCT-01 to ACCT-05, each on a healthy box, on one that is not, and on garbage."""

import json
from pathlib import Path

import pytest

from passevue.baseline.reading.accounts import joined
from passevue.baseline.rule import Rule, Status
from passevue.baseline.rules.file_rights import RULE as FILE_RIGHTS
from passevue.baseline.rules.no_login import RULE as NO_LOGIN
from passevue.baseline.rules.one_user_per_service import RULE as ONE_USER_PER_SERVICE
from passevue.baseline.rules.support_session import RULE as SUPPORT_SESSION
from passevue.errors import Unreadable
from tests.unit.baseline.a_box import ABox, assert_fails, assert_never_fooled, unit, units

RULES = (
    NO_LOGIN,
    ONE_USER_PER_SERVICE,
    FILE_RIGHTS,
    SUPPORT_SESSION,
)
INDIFFERENT: dict[str, tuple[str, ...]] = {}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.slug)
def test_a_healthy_box_passes(rule: Rule, tmp_path: Path) -> None:
    assert ABox(tmp_path).look(rule).status is Status.PASS


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.slug)
def test_garbage_never_passes(rule: Rule, tmp_path: Path) -> None:
    assert_never_fooled(tmp_path, rule, indifferent=INDIFFERENT.get(rule.id, ()))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("helper:1000:open:/usr/sbin/nologin", "can log in: helper"),
        ("helper:1000:empty:/usr/sbin/nologin", "can log in: helper"),
        ("helper:1000:locked:/bin/bash", "has a shell: helper"),
        ("helper:1000:locked:", "has a shell: helper"),
        ("toor:0:locked:/usr/sbin/nologin", "is root too: toor"),
    ],
)
def test_an_account_that_is_a_door_is_named(line: str, told: str, tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["accounts"] += line + "\n"
    assert_fails(NO_LOGIN, box, told)


def test_an_open_root_fails(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["accounts"] = box.facts["accounts"].replace("root:0:locked", "root:0:empty")
    assert_fails(NO_LOGIN, box, "can log in: root")


def test_no_hash_leaves_the_reading_of_accounts() -> None:
    passwd = (
        "root:x:0:0:root:/root:/usr/sbin/nologin\na:x:7:7::/:/bin/sh\nb::8:8::/:/bin/sh\nc:$y$hash:9:9::/:/bin/sh\n"
    )
    shadow = "root:!*:19000:0:99999:7:::\na:$y$j9T$secret$hash:19000::::::\nb:!:1::::::\n"
    told = joined(passwd, shadow)
    assert told == ("root:0:locked:/usr/sbin/nologin\na:7:open:/bin/sh\nb:8:empty:/bin/sh\nc:9:open:/bin/sh\n")
    assert "secret" not in told


def test_an_account_without_a_line_in_shadow_has_no_password() -> None:
    assert joined("root:x:0:0:root:/root:/bin/sh\n", "daemon:*:1\n") == "root:0:locked:/bin/sh\n"


@pytest.mark.parametrize(("passwd", "shadow"), [("", "a:b"), ("root:x:0", "a:b"), ("root:x:0:0:r:/:/bin/sh", "a")])
def test_cut_account_files_are_not_read(passwd: str, shadow: str) -> None:
    with pytest.raises(Unreadable):
        joined(passwd, shadow)


def test_a_service_as_root_is_named(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["units"] = units(unit("passevue-new.service"))
    assert_fails(ONE_USER_PER_SERVICE, box, "as root: passevue-new.service")


def test_a_service_that_the_manifest_lets_be_root_passes(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["units"] = units(unit("passevue-new.service"))
    box.manifest["root_units"] = ["passevue-new.service"]
    assert box.look(ONE_USER_PER_SERVICE).status is Status.PASS


def test_two_services_of_one_user_fail(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["units"] = units(unit("passevue-new.service", User="passevue-page"))
    assert_fails(ONE_USER_PER_SERVICE, box, "shared by several: passevue-page")


def test_a_dynamic_user_is_one_of_its_own(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["units"] = units(unit("passevue-new.service", DynamicUser="yes", User="passevue-page"))
    assert box.look(ONE_USER_PER_SERVICE).status is Status.PASS


@pytest.mark.parametrize("what", ["unowned", "open_folders", "setuid"])
def test_wrong_rights_on_the_data_fail(what: str, tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["data_rights"] = json.dumps({"files": 9, "unowned": 0, "open_folders": 0, "setuid": 0, what: 3})
    assert_fails(FILE_RIGHTS, box, f"3 {what}")


@pytest.mark.parametrize("name", ["passevue-support.service", "ssh.socket", "sshd@1.service", "cockpit.socket"])
def test_remote_help_is_named(name: str, tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["units"] = units(unit(name, ActiveState="inactive"))
    assert_fails(SUPPORT_SESSION, box, name)


def test_remote_help_that_is_masked_is_none(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["units"] = units(unit("ssh.service", LoadState="masked", ActiveState="inactive"))
    assert box.look(SUPPORT_SESSION).status is Status.PASS
