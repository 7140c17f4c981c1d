"""Where Pro Santé Connect answers: its discovery document, read, checked and kept (pro-sante-connect.md § 1).

Rules:
- The document is at a name of its own (`wallet-openid-configuration`), and speaks for one issuer: the configured one,
  character by character.
- Every address is https and names a host, nobody's password, no fragment.
- Where mutual TLS has an address of its own (`mtls_endpoint_aliases`, RFC 8705 § 5), it is the one used.
- The last good document is kept on the disk, synced and renamed, for a start while Pro Santé Connect is away; it is
  checked again when read.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from passevue.errors import TrustError, Unreadable
from passevue.national.psc_json import MAX_BYTES, read_object, text

WELL_KNOWN = "/.well-known/wallet-openid-configuration"
_LONGEST_URL = 2000


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Addresses of one issuer; those that the box calls itself are already the mutual TLS ones. "" where optional."""

    issuer: str
    authorization: str
    token: str
    jwks: str
    userinfo: str
    introspection: str
    end_session: str = ""
    revocation: str = ""
    ciba: str = ""


# Name in the document, and whether the box cannot do without.
_NAMES = {
    "authorization": ("authorization_endpoint", True),
    "token": ("token_endpoint", True),
    "jwks": ("jwks_uri", True),
    "userinfo": ("userinfo_endpoint", True),
    "introspection": ("introspection_endpoint", True),
    "end_session": ("end_session_endpoint", False),
    "revocation": ("revocation_endpoint", False),
    "ciba": ("backchannel_authentication_endpoint", False),
}
_WITHOUT_MUTUAL_TLS = {"authorization", "jwks", "end_session"}


def read_discovery(found: Mapping[str, Any], issuer: str) -> Endpoints:
    """What the document says.

    Raises:
        TrustError: it speaks for another issuer.
        Unreadable: an address is missing or is not one.
    """
    said = text(found, "issuer")
    if said != issuer:
        raise TrustError(
            "the discovery document of Pro Santé Connect is another issuer's",
            hint="L'adresse de Pro Santé Connect (psc.issuer) n'est pas celle qu'il annonce : vérifiez le réglage.",
        )
    aliases = found.get("mtls_endpoint_aliases") or {}
    if not isinstance(aliases, dict):
        raise Unreadable("expected an object in mtls_endpoint_aliases")
    addresses = {}
    for field, (name, needed) in _NAMES.items():
        alias = "" if field in _WITHOUT_MUTUAL_TLS else text(aliases, name, _LONGEST_URL)
        addresses[field] = _https(name, alias or text(found, name, _LONGEST_URL), needed=needed)
    return Endpoints(issuer=issuer, **addresses)


def _https(name: str, address: str, *, needed: bool) -> str:
    if not address and not needed:
        return ""
    try:
        parts = urlsplit(address)
        usable = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or "@" in parts.netloc or "#" in address or not address.isascii() or not address.isprintable():
        raise Unreadable(f"expected an https address in {name}")
    return address


class KeptDiscovery:
    """The last good document on the disk. Blocking: called on a thread."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, issuer: str) -> Endpoints | None:
        """What was kept, None when nothing usable was."""
        try:
            with self._path.open("rb") as file:
                return read_discovery(read_object(file.read(MAX_BYTES + 1)), issuer)
        except (OSError, Unreadable, TrustError):
            return None

    def write(self, found: Mapping[str, Any]) -> None:
        """Whole or not at all. Raises: OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        part = self._path.with_name(self._path.name + ".part")
        with part.open("w", encoding="utf-8") as file:
            json.dump(found, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._path)
