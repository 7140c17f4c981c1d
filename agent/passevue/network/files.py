"""What networkd and chrony read, from the plan.

    files(plan)      # {"networkd/10-inside.network": "…", "chrony/passevue.sources": "…"}

With fixed addresses or two wires, every wire that is not named is kept down: `80-wired.network` of the image, which
asks DHCP on any, is covered by one of the same name.
"""

from collections.abc import Iterator

from passevue.network.plan import Address, Plan, Wire

_HEAD = "# Made by passevue-network from the configuration at start; changes here are lost.\n"
_QUIET = """\
IPv6LinkLocalAddressGenerationMode=stable-privacy
LinkLocalAddressing=ipv6
LLDP=no
LLMNR=no
MulticastDNS=no
"""


def files(plan: Plan) -> dict[str, str]:
    """Name and content of each file."""
    made = {"chrony/passevue.sources": _HEAD + "".join(_sources(plan))}
    wires = {"inside": plan.inside}
    if plan.outside is not None:
        wires["outside"] = plan.outside
    named = {side: wire for side, wire in wires.items() if wire.interface}
    for side, wire in named.items():
        # With two, the way out and the names are the outside's; DHCP inside gives an address and no more.
        leads = side == "outside" or plan.outside is None
        made[f"networkd/10-{side}.network"] = _HEAD + "".join(_network(wire, plan.resolvers if leads else (), leads))
    if named:
        made["networkd/80-wired.network"] = _HEAD + "[Match]\nName=en* eth*\n\n[Link]\nActivationPolicy=always-down\n"
    elif plan.resolvers:
        made["networkd/80-wired.network"] = _HEAD + "".join(_network(Wire("en* eth*"), plan.resolvers, leads=True))
    return made


def _network(wire: Wire, resolvers: tuple[Address, ...], leads: bool) -> Iterator[str]:
    yield f"[Match]\nName={wire.interface}\nType=ether\n\n[Network]\n"
    yield f"DHCP={'no' if wire.addresses else 'yes'}\n"
    if wire.addresses:
        yield "IPv6AcceptRA=no\n"
    yield _QUIET
    for address in wire.addresses:
        yield f"Address={address}\n"
    for resolver in resolvers:
        yield f"DNS={resolver}\n"
    if wire.addresses:
        if wire.gateway is not None:
            if leads:
                yield f"\n[Route]\nGateway={wire.gateway}\n"
            for route in wire.routes:
                yield f"\n[Route]\nDestination={route}\nGateway={wire.gateway}\n"
        return
    own = "no" if resolvers or not leads else "yes"
    gateway = "yes" if leads else "no"
    yield "\n[DHCPv4]\nClientIdentifier=mac\nSendHostname=no\n"
    yield f"UseDNS={own}\nUseDomains=no\nUseGateway={gateway}\nUseHostname=no\nUseTimezone=no\n"
    yield f"\n[DHCPv6]\nUseDNS={own}\nUseDomains=no\nUseHostname=no\n"
    yield f"\n[IPv6AcceptRA]\nUseDNS={own}\nUseDomains=no\nUseGateway={gateway}\n"


def _sources(plan: Plan) -> Iterator[str]:
    for name in plan.time_nts:
        yield f"server {name} iburst nts\n"
    for name in plan.time:
        # A name may stand for several servers; an address is one.
        yield f"{'pool' if 'pool' in name.split('.') else 'server'} {name} iburst\n"
