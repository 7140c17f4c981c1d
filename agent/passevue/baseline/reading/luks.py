"""The LUKS2 header, as `cryptsetup luksDump --dump-json-metadata` gives it; salts, digests and sealed blobs left out.

`without_secrets` is what leaves root's hands; `read_luks` what the rules read. Facts: a key slot that no token names is
a passphrase or a key file; systemd-cryptenroll names its tokens `systemd-tpm2`, `systemd-recovery`, `systemd-fido2`,
`systemd-pkcs11`. `tpm2_pubkey_pcrs` are the PCRs of the signed policy, `tpm2-pcrs` those bound to their value.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from passevue.errors import Unreadable

_KEPT_OF_TOKEN = ("type", "keyslots", "tpm2-pcrs", "tpm2-pcr-bank", "tpm2-pin", "tpm2_pcrlock", "tpm2_pubkey_pcrs")


@dataclass(frozen=True, slots=True)
class Token:
    kind: str
    slots: tuple[str, ...]
    pcrs: tuple[int, ...] = ()
    signed_pcrs: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Luks:
    """`ciphers` of the data segments; `slots` = bytes of the volume key that each key slot opens."""

    ciphers: tuple[str, ...]
    slots: Mapping[str, int]
    tokens: tuple[Token, ...]


def without_secrets(tree: Any) -> dict[str, Any]:
    """The header's tree, only what `read_luks` needs. Raises: Unreadable."""
    try:
        return {
            "keyslots": {
                name: {"type": slot["type"], "key_size": slot["key_size"]} for name, slot in tree["keyslots"].items()
            },
            "tokens": {
                name: {key: token[key] for key in _KEPT_OF_TOKEN if key in token}
                for name, token in tree["tokens"].items()
            },
            "segments": {
                name: {"type": segment["type"], "encryption": segment.get("encryption", "")}
                for name, segment in tree["segments"].items()
            },
        }
    except (KeyError, TypeError, AttributeError) as err:
        raise Unreadable("a LUKS2 header is not in its form") from err


def read_luks(tree: Any) -> Luks:
    """Raises: Unreadable."""
    try:
        found = Luks(
            ciphers=tuple(
                str(segment["encryption"]) if segment["type"] == "crypt" else f"not encrypted ({segment['type']})"
                for segment in tree["segments"].values()
            ),
            slots={str(name): int(slot["key_size"]) for name, slot in tree["keyslots"].items()},
            tokens=tuple(_token(token) for token in tree["tokens"].values()),
        )
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as err:
        raise Unreadable("a LUKS2 header is not in its form") from err
    if not found.ciphers:
        raise Unreadable("a LUKS2 header has no segment")
    return found


def _token(tree: Any) -> Token:
    return Token(
        kind=str(tree["type"]),
        slots=tuple(str(each) for each in tree["keyslots"]),
        pcrs=tuple(int(each) for each in tree.get("tpm2-pcrs") or ()),
        signed_pcrs=tuple(int(each) for each in tree.get("tpm2_pubkey_pcrs") or ()),
    )
