"""What stands on the box's own screen: where its page is, by what its certificate is known, and the code for who
comes first.

Text and a QR code, for a phone that has no key board to copy 80 bits with. Whoever sees the screen stands at the box:
that is the proof which the claim asks for. Once the box is somebody's, the code is gone from here too.
"""

import base64
import hashlib
import io
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_PEM_BEGIN, _PEM_END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"  # RFC 7468
_NONE = "00000000"  # no gateway
_LOOPBACK = ipaddress.ip_network("127.0.0.0/8")


@dataclass(frozen=True, slots=True)
class Screen:
    """What is shown."""

    serial: str
    version: str
    addresses: tuple[str, ...]
    port: int
    fingerprint: str  # SHA-256 of the page's certificate, hexadecimal; "" without https
    code: str  # "" once the box is claimed


def text(screen: Screen) -> str:
    """Lines of at most 80 columns."""
    urls = [url(address, screen.port) for address in screen.addresses]
    lines = ["", f"  PASSEVUE {screen.version}   boîtier {screen.serial}", ""]
    if urls:
        lines.append("  Page du boîtier :  " + "   ".join(urls[:2]))
    else:
        lines.append("  Pas encore d'adresse : vérifiez le câble du réseau.")
    if screen.fingerprint:
        lines += ["  Empreinte du certificat (SHA-256), à comparer dans le navigateur :", *_grouped(screen.fingerprint)]
    if screen.code:
        lines += ["", f"  Code de première connexion :  {screen.code}", ""]
        lines += _qr(
            "\n".join([*urls[:1], f"SN {screen.serial}", f"SHA256 {screen.fingerprint}", f"CODE {screen.code}"])
        )
    return "\n".join([*lines, ""])


def url(address: str, port: int) -> str:
    host = f"[{address}]" if ":" in address else address
    return f"https://{host}/" if port == 443 else f"https://{host}:{port}/"


def fingerprint(certificate: Path) -> str:
    """Of the first certificate in a PEM file; "" when there is none to read."""
    try:
        pem = certificate.read_text(encoding="ascii")[: 1 << 20]
        first = pem.split(_PEM_BEGIN, 1)[1].split(_PEM_END, 1)[0]
        return hashlib.sha256(base64.b64decode("".join(first.split()), validate=True)).hexdigest()
    except (OSError, ValueError, IndexError):
        return ""


def addresses(fib_trie: str) -> tuple[str, ...]:
    """Our own IPv4 addresses in /proc/net/fib_trie, without loopback (a leaf, then what kinds of route end there)."""
    found: list[str] = []
    leaf = ""
    for line in fib_trie.splitlines():
        words = line.split()
        if words[:1] == ["|--"] and len(words) > 1:
            leaf = words[1]
        elif words[:3] == ["/32", "host", "LOCAL"] and leaf not in found and _shown(leaf):
            found.append(leaf)
    return tuple(found)


def but_of(wire: str, found: Sequence[str], route: str) -> tuple[str, ...]:
    """Without the addresses of a wire on which the page does not answer (NET-07), by /proc/net/route: the networks that
    lie on it, in hexadecimal as the kernel keeps them on this processor.
    """
    lines = [line.split() for line in route.splitlines()[1:]]
    near = [_network(line[1], line[7]) for line in lines if len(line) > 7 and line[0] == wire and line[2] == _NONE]
    return tuple(
        each
        for each in found
        if not any(ipaddress.ip_address(each) in network for network in near if network.prefixlen)
    )


def _network(destination: str, mask: str) -> ipaddress.IPv4Network:
    address, bits = (ipaddress.IPv4Address(bytes.fromhex(each)[::-1]) for each in (destination, mask))
    return ipaddress.IPv4Network(f"{address}/{bits}", strict=False)


def _shown(address: str) -> bool:
    try:
        return ipaddress.ip_address(address) not in _LOOPBACK
    except ValueError:
        return False


def _grouped(digits: str) -> Sequence[str]:
    fours = [digits[at : at + 4].upper() for at in range(0, len(digits), 4)]
    return ["    " + " ".join(fours[:8]), "    " + " ".join(fours[8:])]


def _qr(content: str) -> Sequence[str]:
    """Two modules a character, dark on light as scanners want it, in half blocks that every console font has."""
    import segno  # a third of what this program loads; a box that is somebody's shows no code

    drawn = io.StringIO()
    segno.make(content, error="l", micro=False).terminal(drawn, border=2, compact=True)
    return drawn.getvalue().splitlines()
