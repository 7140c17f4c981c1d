"""The configuration's networks: what is read, what is left out, and that both readers of the file agree."""

import re
import tomllib
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passevue import config
from passevue.config_check import contradictions
from passevue.config_example import example
from passevue.network import plan
from passevue.network.files import files
from passevue.network.plan import Far, Plan, Wire, read_plan
from passevue.network.ruleset import elements, fill


def _read(text: str) -> tuple[Plan, tuple[str, ...]]:
    return read_plan(tomllib.loads(text))


def test_without_a_configuration_it_is_a_box_nobody_has_claimed() -> None:
    made, left_out = read_plan({})
    assert left_out == ()
    assert made.inside == Wire()
    assert made.outside is None
    assert made.near["mllp"] == made.near["dicom"] == ()
    assert not any(made.far.values())
    assert made.names == frozenset()


def test_its_defaults_are_those_of_the_configuration() -> None:
    assert tuple(map(ip_network, plan.PAGE)) == config.Surroundings().page
    assert config.Surroundings().time == plan.TIME
    fields = config.Pacs.model_fields
    assert fields["port"].default == 104


def test_the_whole_example_is_read_with_nothing_left_out() -> None:
    whole = re.sub(r"(?m)^#(\w[\w.]* = |\[)", r"\1", example())
    made, left_out = _read(whole)
    assert left_out == ()
    assert made.outside is not None
    assert made.far["national_cabinet"] == (Far("192.168.1.20", 104), Far("192.168.1.20", 443))
    assert Far("dmp.exemple", 443) in made.far["national_outside"]


def test_a_name_is_asked_for_once_and_an_address_never() -> None:
    made, _ = _read('[registry]\nurl = "https://DMP.example:8443/x"\n[psc]\nissuer = "https://192.0.2.1/auth"\n')
    assert made.names == {"dmp.example", "igc-sante.esante.gouv.fr"}
    assert made.far["national_outside"] == (Far("dmp.example", 8443), Far("192.0.2.1", 443))
    assert made.far["page_outside"] == ()


def test_revocation_lists_are_fetched_by_the_host_zone_of_a_box_that_is_configured() -> None:
    assert read_plan({})[0].far["host_outside"] == ()
    made, _ = _read('[registry]\nauthority = "a.pem"\n[crl.urls]\n"AC X" = "http://crl.example/x.crl"\n')
    assert made.far["host_outside"] == (Far("igc-sante.esante.gouv.fr", 80), Far("crl.example", 80))


def test_a_database_elsewhere_is_reached_by_the_zones_that_keep_the_queue() -> None:
    made, _ = _read('[queue]\nurl = "postgresql+psycopg://u:p@db.example/q"\n')
    for zone in ("intake_cabinet", "national_cabinet", "page_cabinet"):
        assert made.far[zone] == (Far("db.example", 5432),)
    assert not any(_read('[queue]\nurl = "sqlite:////x"\n')[0].far.values())


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[ris]\nsenders = ["0.0.0.0/0"]', "ris.senders"),
        ('[ris]\nsenders = "192.168.1.0/24"', "ris.senders"),
        ('[ris]\nsenders = [1, "192.168.1.0/24 ; flush ruleset"]', "ris.senders"),
        ('[modality.callers]\nA = ["::/0"]', "modality.callers.A"),
        ('[registry]\nurl = "ldap://x"', "registry.url"),
        ('[registry]\nurl = "https://a b/"', "registry.url"),
        ('[pacs]\nhost = "a\\nb"', "pacs.host"),
        ("[pacs]\nhost = 7", "pacs.host"),
        ('[pacs]\nhost = "le-pacs-du-centre-de-radiologie-de-la-mer dicom"', "pacs.host"),
        ('[network.inside]\ninterface = "wlan0"', "network.inside.interface"),
        ('[network.inside]\ninterface = "eth0\\n[Match]"', "network.inside.interface"),
        ('[network]\nresolvers = ["8.8.8.8\\nDNS=1.1.1.1"]', "network.resolvers"),
        ('[network]\ntime = ["pool.example\\nallow all"]', "network.time"),
        ('[modality.commitment_peers]\nA = "192.168.1.31"', "modality.commitment_peers"),
        ("network = 3", "network.resolvers"),
    ],
)
def test_what_is_wrong_is_left_out_and_named(text: str, key: str) -> None:
    made, left_out = _read(text)
    assert key in left_out
    script = fill(elements(made, {}))
    assert " 0.0.0.0" not in script
    assert "ruleset" not in script
    assert "\nallow" not in "".join(files(made).values())


def test_no_list_grows_without_bound() -> None:
    made, left_out = read_plan({"ris": {"senders": [f"10.0.{i // 250}.{i % 250}/32" for i in range(1000)]}})
    assert len(made.near["mllp"]) == plan.MOST
    assert left_out == ("ris.senders",)


SECTIONS = "ris modality pacs registry psc trust crl queue network inside outside"
SETTINGS = (
    "senders callers commitment_peers host port dicomweb_url url issuer urls interface addresses gateway routes"
    " resolvers page time time_nts"
)
KEYS = st.sampled_from(f"{SECTIONS} {SETTINGS}".split())
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=40),
    st.sampled_from(["https://a", "1.2.3.4/8", "::1", "en0", "a:b:1"]),
)  # fmt: skip
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6), max_leaves=30
)
SET_LINE = re.compile(r"(flush set|add element) inet passevue [a-z]+(_[a-z]+)?[46]?( \{ [0-9a-z./:,*\" -]+ \})?")
FILE_LINE = re.compile(
    r"|#.*|\[[A-Za-z0-9]+\]|[A-Za-z0-9]+=[0-9A-Za-z*./: -]*|(server|pool) [0-9A-Za-z_.:-]+ iburst( nts)?"
)


@given(st.dictionaries(KEYS, TREES, max_size=8))
def test_any_tree_gives_a_plan_and_only_well_formed_lines(tree: dict[str, Any]) -> None:
    made, _ = read_plan(tree)
    for line in fill(elements(made, {})).splitlines():
        assert SET_LINE.fullmatch(line)
    for content in files(made).values():
        for line in content.splitlines():
            assert FILE_LINE.fullmatch(line), line


# --- sets ------------------------------------------------------------------------------------------------------------


def test_an_address_of_this_machine_or_of_everybody_is_never_let_through() -> None:
    made, _ = _read(
        '[registry]\nurl = "https://dmp.example"\n[ris]\nsenders = ["127.0.0.0/8", "::1/128", "10.0.0.0/8"]\n'
    )
    bad = ["127.0.0.1", "::1", "0.0.0.0", "224.0.0.1", "169.254.1.1", "fe80::1", "203.0.113.4", "2001:db8::4"]
    filled = elements(made, {"dmp.example": [ip_address(each) for each in bad]})
    assert filled["national_outside4"] == ("203.0.113.4 . 443",)
    assert filled["national_outside6"] == ("2001:db8::4 . 443",)
    assert filled["mllp4"] == ("10.0.0.0/8",)
    assert filled["mllp6"] == ()


def test_every_set_is_emptied_before_it_is_filled() -> None:
    filled = elements(read_plan({})[0], {})
    lines = fill(filled).splitlines()
    for name in filled:
        assert f"flush set inet passevue {name}" in lines
        added = [number for number, line in enumerate(lines) if line.startswith(f"add element inet passevue {name} ")]
        assert all(lines[number - 1] == f"flush set inet passevue {name}" for number in added)


def test_one_wire_is_both_sides_and_two_are_one_each() -> None:
    one = elements(read_plan({})[0], {})
    assert one["cabinet"] == one["outside"] == ('"en*"', '"eth*"')
    two = elements(
        read_plan({"network": {"inside": {"interface": "enp1s0"}, "outside": {"interface": "enp2s0"}}})[0], {}
    )
    assert (two["cabinet"], two["outside"]) == (('"enp1s0"',), ('"enp2s0"',))


# --- files -----------------------------------------------------------------------------------------------------------


def test_by_default_the_image_s_own_network_file_stands() -> None:
    assert set(files(read_plan({})[0])) == {"chrony/passevue.sources"}


def test_fixed_addresses_are_written_and_every_other_wire_is_kept_down() -> None:
    inside = {"interface": "eth0", "addresses": ["192.168.1.9/24"], "gateway": "192.168.1.1", "routes": ["10.0.0.0/8"]}
    made = files(read_plan({"network": {"inside": inside, "resolvers": ["192.168.1.1"]}})[0])
    text = made["networkd/10-inside.network"]
    assert "Name=eth0\n" in text
    assert "DHCP=no\n" in text
    assert "Address=192.168.1.9/24\n" in text
    assert "DNS=192.168.1.1\n" in text
    assert "[Route]\nGateway=192.168.1.1\n" in text
    assert "[Route]\nDestination=10.0.0.0/8\nGateway=192.168.1.1\n" in text
    assert "ActivationPolicy=always-down" in made["networkd/80-wired.network"]


def test_with_two_wires_the_way_out_and_the_names_are_the_outsides() -> None:
    inside = {"interface": "eth0", "addresses": ["192.168.1.9/24"], "gateway": "192.168.1.1"}
    made = files(
        read_plan({"network": {"inside": inside, "outside": {"interface": "eth1"}, "resolvers": ["192.0.2.53"]}})[0]
    )
    assert "[Route]" not in made["networkd/10-inside.network"]
    assert "\nDNS=" not in made["networkd/10-inside.network"]
    assert "DNS=192.0.2.53\n" in made["networkd/10-outside.network"]
    assert "UseDNS=no" in made["networkd/10-outside.network"], "those of the configuration alone"
    assert "UseGateway=yes" in made["networkd/10-outside.network"]


def test_time_comes_from_the_configuration_and_what_proves_itself_comes_first() -> None:
    made = files(read_plan({"network": {"time": ["ntp.cabinet.example"], "time_nts": ["nts.example"]}})[0])
    assert made["chrony/passevue.sources"].splitlines()[1:] == [
        "server nts.example iburst nts",
        "server ntp.cabinet.example iburst",
    ]


@pytest.mark.parametrize(
    ("network", "key"),
    [
        ("[network.outside]", "network.inside.interface"),
        ('[network.inside]\naddresses = ["192.168.1.9/24"]', "network.inside.interface"),
        ('[network.inside]\ninterface = "eth0"\ngateway = "192.168.1.1"', "network.inside.gateway"),
        (
            '[network.inside]\ninterface = "eth0"\naddresses = ["192.168.1.9/24"]\nroutes = ["10.0.0.0/8"]',
            "network.inside.gateway",
        ),
        (
            '[network.inside]\ninterface = "eth0"\n[network.outside]\ninterface = "eth0"',
            "network.outside.interface",
        ),
        ('[network]\npage = ["0.0.0.0/0"]', "network.page"),
    ],
)
def test_the_configuration_is_refused_before_it_gets_here(network: str, key: str) -> None:
    found = config.parse(f"{example()}\n{network}".replace("[network]\n#", "#", 1), Path("/x/passevue.toml"), {})
    assert isinstance(found, config.Config), found
    assert key in [wrong.key for wrong in contradictions(found)]
