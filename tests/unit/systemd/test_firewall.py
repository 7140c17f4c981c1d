"""The firewall in a real kernel: who gets in, how often, and where each zone gets to (NET-01 to NET-05)."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.systemd.wires import BOX, BOX6, BOX_OUTSIDE, Wires, impossible

why_not = impossible()
pytestmark = pytest.mark.skipif(bool(why_not), reason=why_not)

ONE_WIRE = """
[ris]
senders = ["192.0.2.10/32", "192.0.2.11/32", "fd00::10/128"]
[modality.callers]
SCANNER = ["192.0.2.31/32"]
[modality.commitment_peers]
SCANNER = "192.0.2.31:104"
[pacs]
host = "192.0.2.20"
[registry]
url = "https://dmp.example/si"
[psc]
issuer = "https://192.0.2.81/auth"
[trust]
[network]
page = ["192.0.2.0/25"]
"""
TWO_WIRES = ONE_WIRE + '[network.inside]\ninterface = "eth0"\n[network.outside]\ninterface = "eth1"\n'


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Wires]:
    with Wires.laid(tmp_path) as wires:
        wires.load()
        yield wires


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Wires]:
    with Wires.laid(tmp_path, two=True) as wires:
        wires.load()
        assert wires.configure(TWO_WIRES) == 0
        wires.configure(None, "--names")
        yield wires


def test_before_anything_is_configured_only_the_page_is_open_and_to_private_networks_alone(one: Wires) -> None:
    one.neighbour.run("ip", "address", "add", "10.1.1.1/24", "dev", "peer0")
    one.box.run("ip", "address", "add", "10.1.1.2/24", "dev", "eth0")
    assert one.come(("10.1.1.1", "10.1.1.2", 443), ("10.1.1.1", "10.1.1.2", 2575), ("10.1.1.1", "10.1.1.2", 11112)) == [
        "open", "silent", "silent",
    ]  # fmt: skip
    assert one.come(("192.0.2.10", BOX, 443)) == ["silent"], "an address of the internet"
    assert one.configure(None) == 0, "without a file passevue-network changes none of this"
    assert one.come(("10.1.1.1", "10.1.1.2", 443), ("10.1.1.1", "10.1.1.2", 2575)) == ["open", "silent"]


def test_each_neighbour_gets_to_its_port_and_no_other(one: Wires) -> None:
    assert one.configure(ONE_WIRE) == 0
    assert one.said == ""
    ris, scanner, stranger = "192.0.2.10", "192.0.2.31", "192.0.2.66"
    assert one.come((ris, BOX, 2575), (ris, BOX, 11112), (ris, BOX, 443)) == ["open", "silent", "open"]
    assert one.come((scanner, BOX, 2575), (scanner, BOX, 11112)) == ["silent", "open"]
    assert one.come((stranger, BOX, 2575), (stranger, BOX, 11112), (stranger, BOX, 443)) == ["silent", "silent", "open"]
    assert one.come((ris, BOX, 22), (ris, BOX, 80), ("192.0.2.99", BOX, 9)) == ["silent", "silent", "silent"]


def test_ipv6_is_under_the_same_rules(one: Wires) -> None:
    one.configure(ONE_WIRE)
    assert one.come(("fd00::10", BOX6, 2575), ("fd00::66", BOX6, 2575), ("fd00::10", BOX6, 11112)) == [
        "open", "silent", "silent",
    ]  # fmt: skip


def test_the_21st_connection_of_one_address_is_reset_and_its_neighbour_still_gets_in(one: Wires) -> None:
    one.configure(ONE_WIRE)
    came = one.come(*[("192.0.2.10", BOX, 2575)] * 22, keep=True)
    assert came == ["open"] * 20 + ["reset"] * 2
    assert one.come(("192.0.2.11", BOX, 2575)) == ["open"]


def test_a_flood_of_connections_is_cut_off(one: Wires) -> None:
    one.configure(ONE_WIRE)
    came = one.come(*[("192.0.2.10", BOX, 2575)] * 400)
    assert came[:200] == ["open"] * 200
    assert "reset" in came[200:]  # how many depends on how fast they come: the allowance fills again
    assert one.come(("192.0.2.11", BOX, 2575)) == ["open"]


def test_each_zone_gets_to_its_own_places_and_no_other(one: Wires) -> None:
    one.configure(ONE_WIRE)
    one.configure(None, "--names")
    scanner, pacs, dmp, psc = ("192.0.2.31", 104), ("192.0.2.20", 104), ("198.51.100.80", 443), ("192.0.2.81", 443)
    one.box.run("ip", "route", "add", "198.51.100.0/24", "via", "192.0.2.99")
    one.neighbour.run("ip", "address", "add", "198.51.100.80/24", "dev", "peer0")
    with one.listening(one.neighbour, [scanner, pacs, dmp, psc, ("192.0.2.66", 443), ("192.0.2.66", 53)]):
        every = [scanner, pacs, dmp, psc, ("192.0.2.66", 443), ("192.0.2.66", 53)]
        assert one.go("passevue-intake", *every) == ["open", *["forbidden"] * 5]
        assert one.go("passevue-national", *every) == ["forbidden", *["open"] * 3, *["forbidden"] * 2]
        assert one.go("passevue-page", *every) == ["forbidden"] * 6
        assert one.go("passevue-host", *every) == ["forbidden"] * 6
        assert one.go("passevue-network", *every) == ["forbidden"] * 6
        assert one.go("systemd-resolve", *every) == [*["forbidden"] * 5, "open"]
        assert one.go("", *every) == ["forbidden"] * 6, "root neither"


def test_only_chronyd_asks_for_the_time_and_only_networkd_for_an_address(one: Wires) -> None:
    for user, ntp in (("_chrony", "open"), ("passevue-national", "forbidden"), ("passevue-intake", "forbidden")):
        assert one.go(user, ("192.0.2.66", 123), kind="udp") == [ntp]
    assert one.go("passevue-intake", ("192.0.2.66", 67), ("192.0.2.66", 53), kind="udp") == ["forbidden", "forbidden"]


def test_names_are_looked_up_by_those_who_need_them_and_not_by_intake(one: Wires) -> None:
    for user, found in (("passevue-national", "open"), ("passevue-page", "open"), ("passevue-intake", "forbidden")):
        assert one.go(user, ("127.0.0.53", 53), kind="udp") == [found]
    assert one.go("passevue-host", ("127.0.0.1", 443)) == ["open"], "the health check asks the page"
    assert one.go("passevue-intake", ("127.0.0.1", 443), ("127.0.0.1", 2575)) == ["forbidden", "forbidden"]


def test_with_two_wires_the_cabinet_comes_in_on_its_own_alone(two: Wires) -> None:
    assert two.come(("192.0.2.10", BOX, 2575), ("192.0.2.10", BOX, 443)) == ["open", "open"]
    two.neighbour.run("ip", "address", "del", "192.0.2.10/24", "dev", "peer0")
    two.neighbour.run("ip", "address", "add", "192.0.2.10/32", "dev", "peer1")
    two.neighbour.run("ip", "route", "add", f"{BOX}/32", "dev", "peer1", "src", "192.0.2.10")
    two.box.run("ip", "route", "add", "192.0.2.10/32", "dev", "eth1")
    assert two.come(("192.0.2.10", BOX, 2575), ("192.0.2.10", BOX, 443)) == ["silent", "silent"], "a RIS from outside"
    assert two.come(("198.51.100.66", BOX_OUTSIDE, 443), ("198.51.100.66", BOX_OUTSIDE, 2575)) == ["silent", "silent"]


def test_with_two_wires_the_registry_is_outside_and_nothing_of_the_cabinet_is(two: Wires) -> None:
    dmp = ("198.51.100.80", 443)
    with two.listening(two.neighbour, [dmp]):
        assert two.go("passevue-national", dmp, ("198.51.100.81", 443)) == ["open", "reset"], "both its addresses"
        two.box.run("ip", "route", "add", "198.51.100.80/32", "via", "192.0.2.99")
        two.neighbour.run("ip", "route", "add", f"{BOX}/32", "dev", "peer0")
        assert two.go("passevue-national", dmp) == ["forbidden"], "by way of the cabinet"


def test_nothing_passes_through_the_box(two: Wires) -> None:
    two.box.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0")  # even then
    two.box.run("ip", "route", "add", "203.0.113.0/24", "via", "198.51.100.99")
    two.neighbour.run("ip", "rule", "add", "from", "192.0.2.66", "lookup", "7")
    two.neighbour.run("ip", "route", "add", "default", "via", BOX, "table", "7")
    assert two.come(("192.0.2.66", "203.0.113.5", 443)) == ["silent"]
    counted = json.loads(two.box.run("/usr/sbin/nft", "-j", "list", "counter", "inet", "passevue", "passing").stdout)
    assert counted["nftables"][1]["counter"]["packets"] >= 1
    assert "nat" not in two.box.run("/usr/sbin/nft", "list", "ruleset").stdout.split()


def test_filling_the_sets_again_keeps_connections_and_forgets_who_left(one: Wires) -> None:
    one.configure(ONE_WIRE)
    assert one.come(("192.0.2.10", BOX, 2575)) == ["open"]
    assert one.configure(ONE_WIRE.replace('"192.0.2.10/32", ', "")) == 0
    assert one.come(("192.0.2.10", BOX, 2575), ("192.0.2.11", BOX, 2575)) == ["silent", "open"]


def test_a_hostile_configuration_opens_nothing(one: Wires) -> None:
    hostile = '[ris]\nsenders = ["0.0.0.0/0", "192.0.2.10/32 }; flush ruleset; #", 7]\n[network]\npage = ["::/0"]\n'
    assert one.configure(hostile) == 0
    assert "ris.senders" in one.said
    assert one.come(("192.0.2.10", BOX, 2575), ("192.0.2.10", BOX, 443)) == ["silent", "silent"]


def test_what_was_filled_in_is_what_the_kernel_holds(one: Wires) -> None:
    one.configure(ONE_WIRE)
    one.configure(None, "--names")
    noted = json.loads(one.box.run("cat", "/run/passevue-network/elements.json").stdout)
    for name, elements in noted.items():
        listed = json.loads(one.box.run("/usr/sbin/nft", "-j", "list", "set", "inet", "passevue", name).stdout)
        held = next(item["set"].get("elem", []) for item in listed["nftables"] if "set" in item)
        assert len(held) == len(elements), name
    assert noted["national_outside4"] == ["192.0.2.81 . 443", "198.51.100.80 . 443", "198.51.100.81 . 443"]


def test_a_name_without_an_address_is_asked_for_again(one: Wires) -> None:
    assert one.configure(ONE_WIRE.replace("dmp.example", "nowhere.example")) == 0
    assert one.configure(None, "--names") == 75
    assert "nowhere.example" in one.said
