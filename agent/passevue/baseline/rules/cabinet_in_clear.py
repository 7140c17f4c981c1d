"""TLS-07: MLLP and DICOM without TLS only with neighbours on a private, narrow network of the centre."""

import contextlib
from collections.abc import Iterator
from ipaddress import ip_network

from passevue.baseline.machine import Machine
from passevue.baseline.remedies import TALK_TO_NEIGHBOUR
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, failed, passed
from passevue.config import Config, Network

WIDEST = {4: 24, 6: 64}  # a network of the centre, not the centre's supplier's


def check(machine: Machine) -> Finding:
    clear = [(setting, network) for setting, network in _clear(machine.config) if not network.is_loopback]
    wide = [
        setting for setting, network in clear if not network.is_private or network.prefixlen < WIDEST[network.version]
    ]
    if wide:
        return failed(f"{len(wide)} of {len(clear)} networks in clear are wide or public, the first in {wide[0]}")
    return passed(f"{len(clear)} networks in clear, each private and narrow" if clear else "nothing in clear")


def _clear(config: Config) -> Iterator[tuple[str, Network]]:
    """Whom the box hears or calls without TLS; a PACS that is named is where the centre's resolver says."""
    if config.ris.tls is None:
        yield from (("ris.senders", network) for network in config.ris.senders)
    if config.modality.tls is None:
        yield from (("modality.callers", network) for each in config.modality.callers.values() for network in each)
    if config.pacs is None:
        return
    web = config.pacs.dicomweb_url
    hosts = {
        "pacs.host": config.pacs.host if config.pacs.tls is None and config.pacs.retrieve != "wado-rs" else None,
        "pacs.dicomweb_url": web.host if web is not None and web.scheme == "http" else None,
    }
    for setting, host in hosts.items():
        with contextlib.suppress(ValueError):
            yield setting, ip_network((host or "").strip("[]"))


RULE = Rule(
    id="TLS-07",
    slug="cabinet_in_clear",
    level=Level.SHOULD,
    effect=Effect.WARN,
    when=frozenset({When.START}),
    title=Text("Les liens en clair restent dans le centre", "Links in clear stay within the centre"),
    why=Text(
        "Comptes rendus et images passent en clair vers ces voisins : leur réseau doit être petit et connu.",
        "Reports and images pass in clear to these neighbours: their network must be small and known.",
    ),
    expected="without TLS: private networks of at most /24 (IPv4) or /64 (IPv6)",
    remedy=TALK_TO_NEIGHBOUR,
    source="HYG 21, PG 5.3.1",
    check=check,
    appliance_only=False,
)
