"""TLS-04: the revocation list of every authority that the box believes is held, and before its nextUpdate.

Past it, or without one, whoever that authority certified is refused, and nobody else: a card by `card.trust`, the DMP's
or Pro Santé Connect's server by `national.servers`. So nothing else stops.
"""

from collections.abc import Iterator
from pathlib import Path

from passevue.baseline.certificates import authorities
from passevue.baseline.machine import Machine
from passevue.baseline.remedies import FETCH_CRL
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, failed, passed
from passevue.card.crl import read_dates
from passevue.card.crl_store import crl_folder, list_path
from passevue.config import Config

MAX_HEAD = 64 << 10  # dates are at the beginning of a list, after its issuer's name


def check(machine: Machine) -> Finding:
    wrong, ends = {}, {}
    for setting, file in _files(machine.config):
        for authority in authorities(machine, setting, file):
            name = authority.subject.rfc4514_string().split(",")[0].removeprefix("CN=")
            path = list_path(crl_folder(machine.config), authority)
            try:
                _, next_update = read_dates(machine.read_head(path, MAX_HEAD))
            except FileNotFoundError:
                wrong[path] = f"{name}: none"
                continue
            if machine.now > next_update:
                wrong[path] = f"{name}: ended {next_update:%Y-%m-%d %H:%M}"
            ends[path] = next_update
    if wrong:
        return failed("; ".join(wrong.values()))
    return passed(f"{len(ends)} lists, the first ends {min(ends.values()):%Y-%m-%d %H:%M}" if ends else "no authority")


def _files(config: Config) -> Iterator[tuple[str, Path]]:
    """Every file of authorities whose lists are asked for, by its setting."""
    yield "registry.authority", config.registry.authority
    if config.psc is not None and config.psc.authority is not None:
        yield "psc.authority", config.psc.authority
    if config.trust is not None:
        yield "trust.authority", config.trust.authority


RULE = Rule(
    id="TLS-04",
    slug="revocation_hard_fail",
    level=Level.MUST,
    effect=Effect.BLOCK,
    when=frozenset({When.PERIODIC, When.EVENT}),
    title=Text("Les listes de révocation sont à jour", "The revocation lists are fresh"),
    why=Text(
        "Sans elles, une carte volée ou un serveur usurpé, pourtant signalés, seraient encore crus : en attendant, "
        "ce que leur autorité certifie est refusé.",
        "Without them a stolen card or the key stolen from a server, though reported, would still be believed: "
        "meanwhile what their authority certifies is refused.",
    ),
    expected="a list of each authority, before its nextUpdate",
    remedy=FETCH_CRL,
    source="TLS R33 R35–R37",
    check=check,
    narrow=True,
    can_flap=True,
    appliance_only=False,
)
