"""Network: NET-01 to NET-08, each on a healthy box, on one that is not, and on garbage."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from passevue.baseline.machine import Unmeasurable
from passevue.baseline.reading.ruleset import read_ruleset
from passevue.baseline.rule import Rule, Status
from passevue.baseline.rules.cabinet_peers import RULE as CABINET_PEERS
from passevue.baseline.rules.default_drop import RULE as DEFAULT_DROP
from passevue.baseline.rules.egress_list import RULE as EGRESS_LIST
from passevue.baseline.rules.ipv6_same import RULE as IPV6_SAME
from passevue.baseline.rules.known_peers_only import RULE as KNOWN_PEERS_ONLY
from passevue.baseline.rules.name_resolution import RULE as NAME_RESOLUTION
from passevue.baseline.rules.no_routing import RULE as NO_ROUTING
from passevue.baseline.rules.page_inside_only import RULE as PAGE_INSIDE_ONLY
from passevue.errors import Unreadable
from tests.unit.baseline.a_box import NOW, SOCKETS, ABox, assert_fails, assert_never_fooled, recorded, sysctls

RULES = (
    DEFAULT_DROP,
    EGRESS_LIST,
    CABINET_PEERS,
    NO_ROUTING,
    IPV6_SAME,
    NAME_RESOLUTION,
    PAGE_INSIDE_ONLY,
)
INDIFFERENT: dict[str, tuple[str, ...]] = {}
SHIPPED = Path(__file__).parents[3] / "systemd" / "etc" / "nftables.conf"
EMPTY = json.dumps({"nftables": [{"metainfo": {"version": "1.1.3"}}]})


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.slug)
def test_a_healthy_box_passes(rule: Rule, tmp_path: Path) -> None:
    assert ABox(tmp_path).look(rule).status is Status.PASS


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.slug)
def test_garbage_never_passes(rule: Rule, tmp_path: Path) -> None:
    assert_never_fooled(tmp_path, rule, indifferent=INDIFFERENT.get(rule.id, ()))


Object = dict[str, Any]


def change(box: ABox, fact: str, alter: Callable[[str, Object], Object | None]) -> None:
    """Every object of a ruleset as `alter` gives it back; None leaves it out."""
    objects = [next(iter(each.items())) for each in json.loads(box.facts[fact])["nftables"]]
    altered = [(kind, alter(kind, body)) for kind, body in objects]
    box.facts[fact] = json.dumps({"nftables": [{kind: body} for kind, body in altered if body is not None]})


def elements(box: ABox, name: str, *found: object) -> None:
    def alter(kind: str, body: Object) -> Object:
        return {**body, "elem": list(found)} if kind == "set" and body["name"] == name else body

    change(box, "ruleset_sets", alter)


def test_a_flushed_firewall_fails(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["ruleset"] = EMPTY
    assert_fails(DEFAULT_DROP, box, "input does not drop by default")


@pytest.mark.parametrize("hook", ["input", "forward", "output"])
def test_a_chain_that_accepts_by_default_fails(hook: str, tmp_path: Path) -> None:
    box = ABox(tmp_path)
    change(box, "ruleset", lambda _, body: {**body, "policy": "accept"} if body.get("hook") == hook else body)
    assert_fails(DEFAULT_DROP, box, f"{hook} does not drop")


def test_a_chain_for_one_protocol_alone_is_not_enough(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    change(box, "ruleset", lambda _, body: {**body, "family": "ip"} if body.get("hook") == "input" else body)
    assert_fails(DEFAULT_DROP, box, "input does not drop")


ANYTHING: Object = {"family": "inet", "table": "passevue", "chain": "input", "handle": 999, "expr": [{"accept": None}]}


def test_a_rule_more_fails(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    ruleset = json.loads(box.facts["ruleset"])
    box.facts["ruleset"] = json.dumps({"nftables": [*ruleset["nftables"], {"rule": ANYTHING}]})
    assert_fails(DEFAULT_DROP, box, "not the 68 of the signed file")


def without_rule(handle: int, kind: str, body: Object) -> Object | None:
    return None if kind == "rule" and body["handle"] == handle else body


def test_each_rule_counts_and_so_does_its_place(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    whole = box.facts["ruleset"]
    rules = [body["handle"] for each in json.loads(whole)["nftables"] for kind, body in each.items() if kind == "rule"]
    shapes = {read_ruleset(json.loads(whole)).shape}
    for handle in rules:
        box.facts["ruleset"] = whole
        left_out = partial(without_rule, handle)
        change(box, "ruleset", left_out)
        shapes.add(read_ruleset(json.loads(box.facts["ruleset"])).shape)
    assert len(shapes) == len(rules) + 1
    objects = json.loads(whole)["nftables"]
    at = next(number for number, each in enumerate(objects) if "rule" in each)
    objects[at], objects[at + 1] = objects[at + 1], objects[at]
    assert read_ruleset({"nftables": objects}).shape not in shapes


def test_counts_and_handles_mean_nothing(tmp_path: Path) -> None:
    box = ABox(tmp_path)

    def alter(kind: str, body: Object) -> Object:
        told = {"packets": 7, "bytes": 700} if kind == "counter" else {}
        return {**body, "handle": 4000 + len(body), **told}

    change(box, "ruleset", alter)
    assert box.look(DEFAULT_DROP).status is Status.PASS


@pytest.mark.parametrize("changed", [{"prio": 300}, {"dev": "enp1s0"}, {"policy": "accept"}])
def test_where_a_chain_stands_counts(changed: Object, tmp_path: Path) -> None:
    box = ABox(tmp_path)
    change(box, "ruleset", lambda kind, body: {**body, **changed} if kind == "chain" and "hook" in body else body)
    assert box.look(DEFAULT_DROP).status is Status.FAIL


def test_a_table_that_sleeps_fails(tmp_path: Path) -> None:
    """`flags dormant`: everything is listed, nothing is done. (nft 1.0.6 says so with the table's name.)"""
    box = ABox(tmp_path)
    change(box, "ruleset", lambda kind, body: {**body, "flags": "passevue"} if kind == "table" else body)
    assert_fails(DEFAULT_DROP, box, "of the signed file")


def test_another_table_fails(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    ruleset = json.loads(box.facts["ruleset"])
    more = {
        "chain": {"family": "inet", "table": "other", "name": "a", "type": "filter", "hook": "input", "policy": "drop"}
    }
    box.facts["ruleset"] = json.dumps({"nftables": [*ruleset["nftables"], more]})
    assert_fails(DEFAULT_DROP, box, "of the signed file")


def test_what_nft_loads_from_the_signed_file_is_the_signed_file(tmp_path: Path) -> None:
    """The two forms that the rule compares, of nft itself on the file as it is now."""
    unshare, nft = shutil.which("unshare"), shutil.which("nft", path="/usr/sbin:/usr/bin:/sbin")
    if unshare is None or nft is None:
        pytest.skip("nft or unshare is not installed")
    file = tmp_path / "nftables.conf"
    file.write_text(SHIPPED_USER.sub(r"\1 0", SHIPPED.read_text(encoding="utf-8")), encoding="utf-8")
    script = f"{nft} -f {file} && {nft} -j --terse list ruleset"
    inside = [unshare, "--user", "--map-root-user", "--net"] if os.geteuid() else [unshare, "--net"]
    live = subprocess.run([*inside, "sh", "-c", script], capture_output=True, check=False)
    if live.returncode and b"Operation not permitted" in live.stderr:
        pytest.skip("this machine lets nobody make a network namespace")
    assert live.returncode == 0, live.stderr.decode()
    signed = subprocess.run([*inside, nft, "-j", "--echo", "-f", str(file)], capture_output=True, check=True)
    box = ABox(tmp_path)
    box.facts |= {"ruleset": live.stdout.decode(), "ruleset_signed": signed.stdout.decode()}
    assert box.look(DEFAULT_DROP).status is Status.PASS
    assert box.look(NO_ROUTING).status is Status.PASS
    assert box.look(IPV6_SAME).status is Status.PASS


SHIPPED_USER = re.compile(r"(skuid) (?:[\w-]+|\{[^}]*\})")  # accounts of the box are not on this machine


def test_a_destination_that_the_configuration_does_not_name_fails(tmp_path: Path) -> None:
    for name, address, port in [
        ("national_outside4", "203.0.113.66", 8443),
        ("national_cabinet4", "192.168.10.41", 4242),
        ("intake_cabinet4", "192.168.10.40", 4242),
        ("page_cabinet4", "192.168.10.40", 5432),
    ]:
        box = ABox(tmp_path)
        elements(box, name, {"concat": [address, port]})
        assert_fails(EGRESS_LIST, box, f"{name[:-1]}: {address} port {port}")


def test_what_a_name_means_may_change(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    elements(box, "national_outside4", {"concat": ["198.51.100.7", 443]}, {"concat": ["198.51.100.8", 443]})
    assert box.look(EGRESS_LIST).status is Status.PASS


def test_nothing_reachable_is_safe(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    change(box, "ruleset_sets", lambda _, body: {name: value for name, value in body.items() if name != "elem"})
    assert box.look(EGRESS_LIST).status is Status.PASS


@pytest.mark.parametrize("name", ["mllp4", "dicom4", "mllp6", "dicom6"])
def test_a_sender_too_many_fails(name: str, tmp_path: Path) -> None:
    box = ABox(tmp_path)
    stranger = "2001:db8::66" if name.endswith("6") else "192.168.10.66"
    elements(box, name, stranger)
    assert_fails(CABINET_PEERS, box, f"{name[:-1]}: 1 networks too many")


def test_a_sender_too_few_fails(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    elements(box, "dicom4")
    assert_fails(CABINET_PEERS, box, "dicom: 0 networks too many, 1 missing")


def test_the_same_addresses_in_other_words_pass(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    elements(box, "dicom4", {"range": ["192.168.10.30", "192.168.10.31"]})
    assert box.look(CABINET_PEERS).status is Status.PASS


def test_a_configuration_that_the_firewall_cannot_use_is_no_measure(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.config  # noqa: B018 (as the box read it, before)
    box.site.write_text(
        box.site.read_text(encoding="utf-8").replace('"192.168.10.20"', '"0.0.0.0/0"'), encoding="utf-8"
    )
    with pytest.raises(Unmeasurable):
        CABINET_PEERS.check(box.handed(box.facts))  # type: ignore[misc]


def test_a_missing_set_is_no_empty_one(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    change(box, "ruleset_sets", lambda _, body: None if body.get("name") == "mllp6" else body)
    for rule in (CABINET_PEERS,):
        with pytest.raises(Unreadable):
            box.look(rule)


@pytest.mark.parametrize(
    "name", ["net__ipv4__ip_forward", "net__ipv4__conf__enp1s0__forwarding", "net__ipv6__conf__all__forwarding",
             "net__ipv4__conf__all__mc_forwarding"]
)  # fmt: skip
def test_forwarding_anywhere_fails(name: str, tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["sysctls"] = sysctls(**{name: "1"})
    assert_fails(NO_ROUTING, box, f"on: {name.replace('__', '.')}")


@pytest.mark.parametrize(
    "line",
    [
        "br0 1 bridge bridge",
        "tun0 65534 - tun_flags",
        "wg0 65534 wireguard -",
        "bond0 1 bond bonding",
        "vxlan0 1 vxlan -",
        "enp2s0 1 - brport,device",
        "dummy0 1 - -",
        "sit0 776 - -",
        "eth0.5 1 vlan -",
        "ppp0 512 ppp -",
    ],
)
def test_an_interface_that_joins_fails(line: str, tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["links"] += line + "\n"
    assert_fails(NO_ROUTING, box, f"not a wired port: {line.split()[0]}")


def test_address_translation_fails(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    change(box, "ruleset", lambda _, body: {**body, "type": "nat"} if body.get("hook") == "forward" else body)
    assert_fails(NO_ROUTING, box, "translates")
    box = ABox(tmp_path)
    masquerade = {**ANYTHING, "expr": [{"masquerade": None}]}
    ruleset = json.loads(box.facts["ruleset"])
    box.facts["ruleset"] = json.dumps({"nftables": [*ruleset["nftables"], {"rule": masquerade}]})
    assert_fails(NO_ROUTING, box, "translates")


def test_ipv6_beside_the_rules_fails(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    change(box, "ruleset", lambda _, body: {**body, "family": "ip"} if "family" in body else body)
    assert_fails(IPV6_SAME, box, "input does not drop it")


def test_ipv6_turned_off_everywhere_passes(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["sysctls"] = sysctls(**SWITCHES)
    box.facts["ruleset"] = EMPTY
    assert box.look(IPV6_SAME).observed == "IPv6 is off"
    box.facts["sysctls"] = sysctls(**{**SWITCHES, "net__ipv6__conf__enp1s0__disable_ipv6": "0"})
    assert_fails(IPV6_SAME, box, "IPv6 is on")


SWITCHES = {f"net__ipv6__conf__{each}__disable_ipv6": "1" for each in ("all", "default", "enp1s0", "lo")}


@pytest.mark.parametrize("name", ["llmnr", "mdns"])
@pytest.mark.parametrize("state", ["yes", "resolve"])
def test_asking_neighbours_for_names_fails(name: str, state: str, tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts[name] = f"Global: no\nLink 2 (enp1s0): {state}\n"
    assert_fails(NAME_RESOLUTION, box, f"{name} is on")


@pytest.mark.parametrize("port", [5353, 5355])
def test_an_open_port_of_such_names_fails(port: int, tmp_path: Path) -> None:
    box = ABox(tmp_path)
    more = {"proto": "udp", "address": "::", "port": port, "units": ["systemd-resolved.service"]}
    box.facts["sockets"] = json.dumps([*SOCKETS, more])
    assert_fails(NAME_RESOLUTION, box, f"port {port} is open")


def test_other_resolvers_than_those_of_the_configuration_fail(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.site.write_text(
        box.site.read_text(encoding="utf-8") + '\n[network]\nresolvers = ["192.168.10.1"]\n', encoding="utf-8"
    )
    assert box.look(NAME_RESOLUTION).status is Status.PASS
    box.facts["dns"] = "Global: 9.9.9.9\nLink 2 (enp1s0): 192.168.10.1\n"
    assert_fails(NAME_RESOLUTION, box, "1 resolvers are not of the configuration")


TWO_WIRES = """
[network.inside]
interface = "enp1s0"
[network.outside]
interface = "enp2s0"
"""


def test_the_page_stays_on_the_inside_wire(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.site.write_text(box.site.read_text(encoding="utf-8") + TWO_WIRES, encoding="utf-8")
    assert_fails(PAGE_INSIDE_ONLY, box, "one wire, the configuration says two")
    elements(box, "outside", "enp2s0")
    assert_fails(PAGE_INSIDE_ONLY, box, "not that of the configuration")
    elements(box, "cabinet", "enp1s0")
    assert box.look(PAGE_INSIDE_ONLY).observed.startswith("two wires")


def test_a_network_of_browsers_that_nobody_configured_fails(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    elements(box, "page4", {"prefix": {"addr": "203.0.113.0", "len": 24}})
    assert_fails(PAGE_INSIDE_ONLY, box, "1 networks that the configuration does not name")


def test_no_images_are_served_yet(tmp_path: Path) -> None:
    assert ABox(tmp_path).look(KNOWN_PEERS_ONLY).status is Status.NOT_APPLICABLE
    assert_never_fooled(tmp_path, KNOWN_PEERS_ONLY)


def test_a_national_listener_without_a_check_of_peers_fails(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    more = {"proto": "tcp", "address": "::", "port": 8443, "units": ["init.scope", "passevue-national.service"]}
    box.facts["sockets"] = json.dumps([*SOCKETS, more])
    assert_fails(KNOWN_PEERS_ONLY, box, "the national zone listens on tcp/8443")


def test_the_recorded_rules_are_of_this_firewall() -> None:
    """Recorded answers grow old: whoever changes the firewall records them anew."""
    sets = {key[2] for key in read_ruleset(json.loads(recorded("ruleset_signed.json"))).sets}
    assert sets == set(re.findall(r"^\tset (\w+)", SHIPPED.read_text(encoding="utf-8"), re.M))


@pytest.mark.parametrize("rule", [EGRESS_LIST, CABINET_PEERS, PAGE_INSIDE_ONLY], ids=lambda rule: rule.slug)
def test_a_firewall_seen_before_the_configuration_says_nothing_about_it(rule: Rule, tmp_path: Path) -> None:
    """Else every new configuration would hold sign-ins and images until the next round of facts."""
    box = ABox(tmp_path)
    box.site.write_text(recorded("site.toml").replace("192.168.10.20", "192.168.77.20"), encoding="utf-8")
    at = NOW.timestamp() - 30  # the facts are of 100 seconds ago
    os.utime(box.site, (at, at))
    with pytest.raises(Unmeasurable):
        box.look(rule)
    for seconds in (200, -30):  # long seen; or of a clock that was set back since
        at = NOW.timestamp() - seconds
        os.utime(box.site, (at, at))
        box.look(rule)
