"""KERN-02: settings of the network, for `all` and `default`, IPv4 and, where it is there, IPv6.

`rp_filter` of an interface is the greater of its own and of `all`; 1 is strict.
"""

from passevue.baseline.machine import Machine
from passevue.baseline.reading.settings import read_sysctls, wrong_sysctls
from passevue.baseline.remedies import IMAGE_BUG
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, failed, passed

WANTED = {
    **{
        f"net.ipv4.conf.{each}.{name}": value
        for each in ("all", "default")
        for name, value in {
            "accept_redirects": "0",
            "accept_source_route": "0",
            "arp_filter": "1",
            "forwarding": "0",
            "route_localnet": "0",
            "rp_filter": "1",
            "secure_redirects": "0",
            "send_redirects": "0",
        }.items()
    },
    **{
        f"net.ipv6.conf.{each}.{name}": "?0"
        for each in ("all", "default")
        for name in ("accept_redirects", "accept_source_route", "forwarding")
    },
    "net.ipv4.icmp_ignore_bogus_error_responses": "1",
    "net.ipv4.tcp_syncookies": "1",
}


def check(machine: Machine) -> Finding:
    wrong = wrong_sysctls(read_sysctls(machine.facts.text("sysctls")), WANTED)
    return failed(" ".join(wrong)) if wrong else passed(f"{len(WANTED)} settings")


RULE = Rule(
    id="KERN-02",
    slug="sysctl_net",
    level=Level.MUST,
    effect=Effect.WARN,
    when=frozenset({When.START, When.DAILY}),
    title=Text("Le réseau est réglé pour ne suivre personne", "The network is set to follow nobody"),
    why=Text(
        "Un voisin ne doit pas pouvoir détourner le trafic du boîtier.",
        "A neighbour must not be able to divert the box’s traffic.",
    ),
    expected=(
        "forwarding, redirects, source routing, route_localnet = 0; rp_filter, arp_filter, syncookies, bogus errors = 1"
    ),
    remedy=IMAGE_BUG,
    source="BP R12(I), CIS 3.3",
    check=check,
)
