"""The row of signed heads: whether it is whole, and where the trail must still say what they say. No I/O.

Rules:
- each line is signed by a key that lies beside it, over its own words, and names the line before by its digest;
- they count up by one; the record that they name never goes back; the TPM's clock only goes on;
- they are signed by one key: another means that the TPM was cleared or is another one;
- a line without an end at the end of the file is one that a power cut tore: none yet.
"""

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from passevue.errors import Unreadable
from passevue.notary.head import FIRST, Signed, read_line

MOST_WRONG: Final = 20
MAX_KEYS: Final = 64
FIRST_WITHIN_S: Final = 3600.0  # of a start: the health gate takes half an hour at most
EVERY_S: Final = 3 * 86_400.0  # the longest without a new one: four are made a day
_PEM: Final = re.compile(rb"-----BEGIN PUBLIC KEY-----\s([A-Za-z0-9+/=\s]{40,400})-----END PUBLIC KEY-----")


@dataclass(frozen=True, slots=True)
class Judged:
    """The heads that can be read, and what is wrong with the row: empty when it is whole."""

    heads: tuple[Signed, ...]
    wrong: tuple[str, ...]

    @property
    def last(self) -> Signed | None:
        return self.heads[-1] if self.heads else None


def whole_lines(data: bytes) -> Iterator[bytes]:
    """Without their ends; not the one that a power cut tore. One by one: ten years of them are 12 MB."""
    start = 0
    while (end := data.find(b"\n", start)) >= 0:
        yield data[start:end]
        start = end + 1


def last_head(data: bytes) -> Signed | None:
    """The last that can be read."""
    end = data.rfind(b"\n")
    while end >= 0:
        start = data.rfind(b"\n", 0, end) + 1
        try:
            return read_line(data[start:end])
        except Unreadable:
            end = start - 1
    return None


def read_keys(data: bytes) -> dict[str, bytes]:
    """The public keys of a PEM file, DER, by their SHA-256. Raises: Unreadable when they are too many."""
    found = {}
    for body in _PEM.findall(data):
        try:
            der = base64.b64decode(b"".join(body.split()), validate=True)
        except ValueError:
            continue
        found[key_id(der)] = der
    if len(found) > MAX_KEYS:
        raise Unreadable(f"more than {MAX_KEYS} keys")
    return found


def key_id(der: bytes) -> str:
    return hashlib.sha256(der).hexdigest()


def judge(data: bytes, keys: Mapping[str, bytes]) -> Judged:
    """`data` is the whole file, `keys` as `read_keys` gives them."""
    found: list[Signed] = []
    wrong: list[str] = []
    last: Signed | None = None
    verifier = _Verifier(keys)
    for number, line in enumerate(whole_lines(data), 1):
        try:
            signed = read_line(line)
            faults = [*_out_of_row(signed, last), *verifier.faults(signed)]
        except Unreadable as err:
            wrong.append(f"line {number}: {err.message}")
            continue
        wrong += [f"head {signed.head.count}: {fault}" for fault in faults]
        found.append(signed)
        last = signed
    if len({signed.head.key for signed in found}) > 1:
        wrong.append("signed by more than one TPM key: the TPM was cleared or replaced")
    return Judged(tuple(found), tuple(wrong[:MOST_WRONG]))


def _out_of_row(signed: Signed, last: Signed | None) -> Iterator[str]:
    head = signed.head
    if head.before != (last.digest if last else FIRST):
        yield "does not follow the line before it"
    if head.count != (last.head.count + 1 if last else 1):
        yield "another number was due"
    if last is None:
        return
    if head.end.number < last.head.end.number:
        yield f"the trail went back to record {head.end.number} from {last.head.end.number}"
    if head.key == last.head.key and signed.moment.order <= last.moment.order:
        yield "the TPM's clock went back"


class _Verifier:
    """Signatures, by the keys that are known; the library is loaded when there is one to check."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._keys = keys

    def faults(self, signed: Signed) -> Iterator[str]:
        der = self._keys.get(signed.head.key)
        if der is None:
            yield "its key is not there"
            return
        if signed.moment.digest != hashlib.sha256(signed.words).digest():
            yield "what the TPM signed is not what it says"
        if not _is_signed(der, signed.signature, signed.attested):
            yield "the signature is wrong"


def _is_signed(der: bytes, signature: bytes, data: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        key = load_der_public_key(der)
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            return False
        key.verify(signature, data, ec.ECDSA(SHA256()))
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


def late(judged: Judged, boot_id: str, uptime_s: float) -> str:
    """Why the last head is too old, "" when it is not. By CLOCK_BOOTTIME, which nobody sets: a wrong clock is no fault
    of the heads."""
    if uptime_s < FIRST_WITHIN_S:
        return ""
    last = judged.last
    if last is None or last.head.boot_id != boot_id:
        return f"no head was signed since the start {uptime_s / 3600:.0f} h ago"
    age_s = uptime_s - last.head.uptime_s
    if not -60 <= age_s <= EVERY_S:
        return f"the last signed head is {age_s / 86_400:.1f} days old"
    return ""


def greatest_index(data: bytes) -> int:
    """The greatest rollback index that any head remembers; signatures are not looked at: the file has one writer."""
    greatest = 0
    for line in whole_lines(data):
        try:
            greatest = max(greatest, read_line(line).head.index)
        except Unreadable:
            continue
    return greatest
