"""TLS-04: every revocation list that a card's certificate leads to is held, and before its nextUpdate.

Past it, or without one, `card.trust` refuses the certificates of that authority, and no others: so nothing else stops.
"""

from passevue.baseline.certificates import authorities
from passevue.baseline.machine import Machine
from passevue.baseline.places import crl_folder
from passevue.baseline.remedies import FETCH_CRL
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, failed, not_applicable, passed
from passevue.card.crl import der_name, read_dates

MAX_HEAD = 64 << 10  # dates are at the beginning of a list, after its issuer's name


def check(machine: Machine) -> Finding:
    trust = machine.config.trust
    if trust is None:
        return not_applicable("aucune autorité de personnes n’est configurée")
    wrong, ends = [], []
    for authority in authorities(machine, "trust.authority", trust.authority):
        name = authority.subject.rfc4514_string().split(",")[0].removeprefix("CN=")
        path = crl_folder(machine.config) / f"{der_name(authority).hex()[:32]}.crl"
        try:
            _, next_update = read_dates(machine.read_head(path, MAX_HEAD))
        except FileNotFoundError:
            wrong.append(f"{name}: none")
            continue
        if machine.now > next_update:
            wrong.append(f"{name}: ended {next_update:%Y-%m-%d %H:%M}")
        ends.append(next_update)
    if wrong:
        return failed("; ".join(wrong))
    return passed(f"{len(ends)} lists, the first ends {min(ends):%Y-%m-%d %H:%M}" if ends else "no authority")


RULE = Rule(
    id="TLS-04",
    slug="revocation_hard_fail",
    level=Level.MUST,
    effect=Effect.BLOCK,
    when=frozenset({When.PERIODIC, When.EVENT}),
    title=Text("Les listes de révocation sont à jour", "The revocation lists are fresh"),
    why=Text(
        "Sans elles, une carte volée et opposée serait encore crue ; leurs titulaires sont refusés en attendant.",
        "Without them a stolen card that was reported would still be believed; its like are refused meanwhile.",
    ),
    expected="a list of each authority, before its nextUpdate",
    remedy=FETCH_CRL,
    source="TLS R33 R35–R37",
    check=check,
    narrow=True,
    can_flap=True,
    appliance_only=False,
)
