"""Services: SERV-01, SERV-02 and SERV-05, each on a healthy box, on one that is not, and on garbage."""

import json
from pathlib import Path

import pytest

from passevue.baseline.reading.sockets import read_proc_net, to_tree, unit_of
from passevue.baseline.rule import Rule, Status
from passevue.baseline.rules.listeners import RULE as LISTENERS
from passevue.baseline.rules.units import RULE as UNITS
from passevue.baseline.rules.watchdogs import RULE as WATCHDOGS
from passevue.errors import Unreadable
from tests.unit.baseline.a_box import ENABLED, SOCKETS, ABox, assert_fails, assert_never_fooled, unit, units

RULES = (
    LISTENERS,
    UNITS,
    WATCHDOGS,
)
INDIFFERENT = {"SERV-02": ("failed: nothing",)}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.slug)
def test_a_healthy_box_passes(rule: Rule, tmp_path: Path) -> None:
    assert ABox(tmp_path).look(rule).status is Status.PASS


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.slug)
def test_garbage_never_passes(rule: Rule, tmp_path: Path) -> None:
    assert_never_fooled(tmp_path, rule, indifferent=INDIFFERENT.get(rule.id, ()))


def listening(**changed: object) -> str:
    return json.dumps([*SOCKETS, {"proto": "tcp", "address": "::", "port": 443, "units": ["nc.service"], **changed}])


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"port": 4444}, "tcp/4444 of nc.service"),
        ({"proto": "udp"}, "udp/443 of nc.service"),
        ({"units": ["nc.service"]}, "tcp/443 of nc.service"),
        ({"units": ["passevue-page.service", "nc.service"]}, "tcp/443 of passevue-page.service+nc.service"),
        ({"units": []}, "tcp/443 of nobody"),
        ({"proto": "udp", "port": 53, "units": ["systemd-resolved.service"]}, "udp/53 of systemd-resolved.service"),
    ],
)
def test_a_listener_that_is_not_listed_is_named(changed: dict[str, object], told: str, tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["sockets"] = listening(**changed)
    assert_fails(LISTENERS, box, f"not listed: {told}")


def test_a_listener_on_one_address_of_a_listed_one_passes(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["sockets"] = listening(address="192.168.10.2", units=["passevue-page.service"])
    assert box.look(LISTENERS).status is Status.PASS


def test_a_listed_listener_that_is_silent_is_told_and_opens_nothing(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["sockets"] = json.dumps(SOCKETS[1:])
    assert box.look(LISTENERS).observed == "4 sockets, 5 listed, silent: tcp/2575"


def test_a_manifest_without_listeners_lets_nothing_pass(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.manifest["listeners"] = []
    with pytest.raises(Unreadable):
        box.look(LISTENERS)


PROC_NET = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 3500007F:0035 00000000:0000 0A 00000000:00000000 00:00000000 00000000   101        0 5001 1 0000000000000000 100 0
   1: 00000000:0A0F 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 5002 1 0000000000000000 100 0
   2: 020AA8C0:0A0F 140AA8C0:D431 01 00000000:00000000 00:00000000 00000000   900        0 5003 1 0000000000000000 20 4
"""
PROC_NET6 = """\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when
   0: 00000000000000000000000000000000:01BB 00000000000000000000000000000000:0000 0A 00000000:00000000 0:0 0 0 0 61 1
   1: 0000000000000000FFFF00000100007F:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 0:0 0 0 0 62 1
"""


def test_the_kernel_table_gives_what_listens_and_nothing_else() -> None:
    assert read_proc_net(PROC_NET, "tcp") == {5001: ("127.0.0.53", 53), 5002: ("0.0.0.0", 2575)}
    assert to_tree("tcp", read_proc_net(PROC_NET, "tcp"), {5001: ["b", "a", "a"]})[1] == {
        "proto": "tcp",
        "address": "127.0.0.53",
        "port": 53,
        "units": ["a", "b"],
    }


def test_addresses_of_version_6_are_read_word_by_word() -> None:
    assert read_proc_net(PROC_NET6, "tcp6") == {
        61: ("::", 443),
        62: ("127.0.0.1", 8080),
    }


@pytest.mark.parametrize(
    "text", ["", "sl\n", PROC_NET[:-40], PROC_NET.replace("5002", "x"), PROC_NET.replace("0A0F", "")]
)
def test_a_table_in_another_form_is_not_read(text: str) -> None:
    with pytest.raises(Unreadable):
        read_proc_net(text, "tcp")


@pytest.mark.parametrize(
    ("cgroup", "unit_name"),
    [
        ("0::/system.slice/passevue-page.service\n", "passevue-page.service"),
        ("1:name=systemd:/x.service\n0::/init.scope\n", "init.scope"),
        ("0::/system.slice/a.service/b.service/payload\n", "b.service"),
        ("0::/\n", "?"),
        ("", "?"),
    ],
)
def test_a_process_belongs_to_its_deepest_unit(cgroup: str, unit_name: str) -> None:
    assert unit_of(cgroup) == unit_name


def test_a_unit_more_less_or_failed_is_named(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["enabled"] += "ssh.service enabled enabled\n"
    box.facts["failed"] = "passevue-host.service loaded failed failed Passevue host\n"
    box.manifest["units"] = [*ENABLED, "rauc.service"]
    assert_fails(UNITS, box, "not listed: ssh.service; not enabled: rauc.service; failed: passevue-host.service")


def test_no_hardware_watchdog_fails(tmp_path: Path) -> None:
    for manager in (
        "RuntimeWatchdogUSec=0\nWatchdogLastPingTimestamp=Sat 2026-11-21 10:00:01 UTC\n",
        "RuntimeWatchdogUSec=infinity\nWatchdogLastPingTimestamp=Sat 2026-11-21 10:00:01 UTC\n",
        "RuntimeWatchdogUSec=30s\nWatchdogLastPingTimestamp=\n",
        "RuntimeWatchdogUSec=30s\nWatchdogLastPingTimestamp=n/a\n",
    ):
        box = ABox(tmp_path)
        box.facts["manager"] = manager
        assert_fails(WATCHDOGS, box, "no hardware watchdog")


@pytest.mark.parametrize("value", ["0", "infinity"])
def test_a_service_without_watchdog_is_named(value: str, tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["units"] = units(unit("passevue-new.service", WatchdogUSec=value))
    assert_fails(WATCHDOGS, box, "passevue-new.service")
