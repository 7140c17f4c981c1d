"""A certificate revocation list: read, checked and indexed, without ever being held as objects (RFC 5280 § 5).

    crl = read_crl(data, authority, now)       # `data`: bytes, or a file mapped into memory
    crl.revoked(certificate.serial_number)

Rules:
- A list that names where it lies speaks of the certificates that name that place too, and of no others: an authority
  may have several (RFC 5280 § 6.3.3 (b) (2) (i)).
- A list is taken whole or not at all: signed by `authority` itself with SHA-2 and RSA, in strict DER, with nextUpdate,
  every entry read. What narrows it in a way that this box does not follow (a delta, an indirect list, some reasons
  only, a critical extension unknown here) is refused.
- Bounded: `MOST_ENTRIES`, and whatever its caller allows in bytes. Serials are kept sorted in one block of bytes:
  20 MB for a million of them, looked up in twenty steps.
- Meant for a thread: the digest releases the interpreter; the reading gives way to others as any Python code does.
"""

import hashlib
import heapq
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from mmap import mmap

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from passevue.errors import TrustError, Unreadable

MOST_ENTRIES = 1_000_000  # persons' cards ever revoked in France: some hundred thousand at a time
CLOCK_SKEW = timedelta(minutes=5)
_LONGEST_SERIAL = 20  # octets, RFC 5280 § 4.1.2.2
_PIECE = 1 << 20
_RUN = 2048  # sorted at once: `sorted` gives way to nobody, a million would hold the event loop for half a second
_TURN = 256  # entries after which the interpreter is left to the event loop: 1 ms of reading
_GIVE_WAY_S = 50e-6  # a wait of nothing takes it back before the loop's thread has woken, which waits anew from then on

_INTEGER, _BIT_STRING, _OCTET_STRING, _OID, _BOOLEAN = 0x02, 0x03, 0x04, 0x06, 0x01
_SEQUENCE, _UTC_TIME, _GENERALIZED_TIME, _EXTENSIONS = 0x30, 0x17, 0x18, 0xA0
_HASHES: dict[bytes, tuple[str, hashes.HashAlgorithm]] = {
    bytes.fromhex("2a864886f70d01010b"): ("sha256", hashes.SHA256()),
    bytes.fromhex("2a864886f70d01010c"): ("sha384", hashes.SHA384()),
    bytes.fromhex("2a864886f70d01010d"): ("sha512", hashes.SHA512()),
}
_CRL_NUMBER, _DELTA, _SCOPE = bytes.fromhex("551d14"), bytes.fromhex("551d1b"), bytes.fromhex("551d1c")
_CERTIFICATE_ISSUER = bytes.fromhex("0603551d1d")  # with its header, as an entry's extension begins
_ONLY_USERS, _ONLY_AUTHORITIES, _WHERE = 0x81, 0x82, 0xA0
_FULL_NAME, _URI = 0xA0, 0x86

Buffer = bytes | memoryview | mmap


@dataclass(frozen=True, slots=True)
class Crl:
    """One list. Times are aware.

    `for_users` and `for_authorities` say which certificates it speaks of, and so does `places`: its own addresses, by
    which certificates name it; empty when it names none.
    """

    this_update: datetime
    next_update: datetime
    number: int | None
    count: int
    for_users: bool = True
    for_authorities: bool = True
    serials: bytes = field(default=b"", repr=False)
    width: int = 1
    places: frozenset[str] = frozenset()

    def speaks_of(self, certificate: x509.Certificate, *, user: bool) -> bool:
        """Whether a certificate that is not on it is not revoked; `user`: it is not an authority's."""
        named = frozenset(places_of(certificate))
        here = not self.places or not named or bool(self.places & named)
        return here and (self.for_users if user else self.for_authorities)

    def revoked(self, serial: int) -> bool:
        """Whether the certificate of that serial number is on the list."""
        if serial.bit_length() > self.width * 8:
            return False
        wanted = serial.to_bytes(self.width, "big")
        low, high = 0, self.count
        while low < high:
            middle = (low + high) // 2
            at = middle * self.width
            if self.serials[at : at + self.width] < wanted:
                low = middle + 1
            else:
                high = middle
        return low < self.count and self.serials[low * self.width : (low + 1) * self.width] == wanted


class Standing(StrEnum):
    """What the list of its issuer makes of a certificate."""

    GOOD = "good"
    REVOKED = "revoked"
    ABSENT = "absent"  # no list, or none that speaks of such certificates
    FUTURE = "future"  # the list is of later than now: the clock is wrong
    ENDED = "ended"  # the list is past its nextUpdate


def places_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """The addresses in its CRLDistributionPoints."""
    try:
        points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    return tuple(
        name.value
        for point in points
        for name in point.full_name or ()
        if isinstance(name, x509.UniformResourceIdentifier)
    )


def standing(crl: Crl | None, certificate: x509.Certificate, now: datetime, *, user: bool) -> Standing:
    """How the certificate stands now by the list of its issuer; `user`: it is not an authority's.

    Nothing is good without a list that holds now (TLS-04). Once revoked, always revoked: also by a list that has ended.
    """
    if crl is None or not crl.speaks_of(certificate, user=user):
        return Standing.ABSENT
    if crl.this_update > now + CLOCK_SKEW:
        return Standing.FUTURE
    if crl.revoked(certificate.serial_number):
        return Standing.REVOKED
    return Standing.ENDED if now > crl.next_update else Standing.GOOD


def read_crl(data: Buffer, authority: x509.Certificate, now: datetime) -> Crl:
    """The list in `data`, which `authority` signed.

    Raises:
        Unreadable: not a list as RFC 5280 has it, or of a kind not followed here, or too long.
        TrustError: signed by another, not by anyone, with an old algorithm, or from the future.
    """
    with memoryview(data) as view:
        try:
            return _read(view, authority, now)
        except (IndexError, ValueError, OverflowError) as err:
            raise Unreadable(f"expected a CRL: {type(err).__name__}") from err


def read_dates(head: Buffer) -> tuple[datetime, datetime]:
    """thisUpdate and nextUpdate of the list that begins with `head`: of one that was verified when it was kept.

    Raises:
        Unreadable: it does not begin as a list of RFC 5280 does.
    """
    with memoryview(head) as view:
        try:
            tbs = _Reader(view, _content_at(view, _content_at(view, 0)), len(view))
            tbs.take(_INTEGER, optional=True)
            tbs.take(_SEQUENCE)
            tbs.take(_SEQUENCE)
            return tbs.time(), tbs.time()
        except (IndexError, ValueError, OverflowError) as err:
            raise Unreadable(f"expected a CRL: {type(err).__name__}") from err


def _content_at(view: memoryview, at: int) -> int:
    """Where the content of the SEQUENCE at `at` begins, whether or not all of it is there."""
    if view[at] != _SEQUENCE:
        raise Unreadable("expected a CRL")
    return at + 2 + (view[at + 1] & 0x7F if view[at + 1] & 0x80 else 0)


def _read(view: memoryview, authority: x509.Certificate, now: datetime) -> Crl:
    whole = _Reader(view, 0, len(view))
    outer = whole.enter(_SEQUENCE)
    whole.end()
    begin = outer.at
    tbs = outer.enter(_SEQUENCE)
    signed = view[begin : outer.at]
    algorithm = bytes(outer.take(_SEQUENCE))
    signature = bytes(outer.take(_BIT_STRING))
    outer.end()
    tbs.take(_INTEGER, optional=True)
    if bytes(tbs.take(_SEQUENCE)) != algorithm:
        raise Unreadable("the CRL names two signature algorithms")
    issuer = tbs.whole(_SEQUENCE)
    if bytes(issuer) != authority.subject.public_bytes():
        raise TrustError("the CRL is of another authority", hint=_WRONG_SIGNER)
    _check_signature(signed, algorithm, signature, authority)
    this_update, next_update = tbs.time(), tbs.time()
    if this_update > now + CLOCK_SKEW:
        raise TrustError(f"the CRL is of {this_update:%Y-%m-%d %H:%M}, after now", hint=_CLOCK)
    entries = tbs.enter(_SEQUENCE, optional=True)
    width, count, serials = _index(entries)
    number, users, authorities, places = _extensions(tbs)
    return Crl(this_update, next_update, number, count, users, authorities, serials, width, places)


_WRONG_SIGNER = (
    "La liste de révocation reçue n'est pas signée par l'IGC-Santé : elle est ignorée. Prévenez l'exploitant."
)
_CLOCK = "La liste de révocation est datée du futur : l'horloge du boîtier retarde, vérifiez la date et l'heure."


def _check_signature(signed: memoryview, algorithm: bytes, signature: bytes, authority: x509.Certificate) -> None:
    reader = _Reader(memoryview(algorithm), 0, len(algorithm))
    name, hash_algorithm = _HASHES.get(bytes(reader.take(_OID)), ("", None))
    public = authority.public_key()
    if hash_algorithm is None or not isinstance(public, rsa.RSAPublicKey):
        raise TrustError("the CRL is not signed with RSA and SHA-2", hint=_WRONG_SIGNER)
    if signature[:1] != b"\x00":
        raise Unreadable("the CRL's signature is not whole octets")
    digest = hashlib.new(name)
    for at in range(0, len(signed), _PIECE):
        digest.update(signed[at : at + _PIECE])
    try:
        public.verify(signature[1:], digest.digest(), padding.PKCS1v15(), Prehashed(hash_algorithm))
    except InvalidSignature as err:
        raise TrustError("the CRL's signature is not its authority's", hint=_WRONG_SIGNER) from err


def _index(entries: "_Reader") -> tuple[int, int, bytes]:
    """Width, count and sorted block of the serials. Never one object an entry: to let go of a million takes 50 ms."""
    runs: list[bytes] = []
    found: list[bytes] = []
    count, width = 0, 1
    while entries.more():
        serial = _serial(entries.enter(_SEQUENCE))
        found.append(serial.rjust(_LONGEST_SERIAL, b"\x00"))
        count, width = count + 1, max(width, len(serial))
        if count > MOST_ENTRIES:
            raise Unreadable(f"the CRL has more than {MOST_ENTRIES} entries")
        if not count % _TURN:
            time.sleep(_GIVE_WAY_S)
        if len(found) == _RUN or not entries.more():
            runs.append(b"".join(sorted(found)))
            found.clear()
    block = bytearray()
    for number, serial in enumerate(heapq.merge(*map(_apart, runs))):
        block += serial[-width:]
        if not number % _TURN:
            time.sleep(_GIVE_WAY_S)
    return width, count, bytes(block)


def _serial(entry: "_Reader") -> bytes:
    """Of one entry, without leading zeroes."""
    serial = bytes(entry.take(_INTEGER)).lstrip(b"\x00")
    if len(serial) > _LONGEST_SERIAL:
        raise Unreadable(f"a serial number in the CRL is longer than {_LONGEST_SERIAL} bytes")
    entry.take(_UTC_TIME if entry.tag() == _UTC_TIME else _GENERALIZED_TIME)
    if entry.more() and _CERTIFICATE_ISSUER in bytes(entry.take(_SEQUENCE)):
        raise Unreadable("an indirect CRL is not followed here")
    entry.end()
    return serial


def _apart(run: bytes) -> Iterator[bytes]:
    return (run[at : at + _LONGEST_SERIAL] for at in range(0, len(run), _LONGEST_SERIAL))


def _extensions(tbs: "_Reader") -> tuple[int | None, bool, bool, frozenset[str]]:
    """cRLNumber; whether it speaks of users, of authorities; where it lies."""
    number, users, authorities = None, True, True
    places: frozenset[str] = frozenset()
    wrapped = tbs.enter(_EXTENSIONS, optional=True)
    tbs.end()
    listed = wrapped.enter(_SEQUENCE) if wrapped.more() else wrapped
    while listed.more():
        one = listed.enter(_SEQUENCE)
        name = bytes(one.take(_OID))
        critical = bytes(one.take(_BOOLEAN, optional=True)) == b"\xff"
        value = one.enter(_OCTET_STRING)
        if name == _CRL_NUMBER:
            number = int.from_bytes(value.take(_INTEGER), "big")
        elif name == _SCOPE:
            users, authorities, places = _scope(value.enter(_SEQUENCE))
        elif name == _DELTA or critical:
            raise Unreadable("a CRL of a kind that is not followed here")
    return number, users, authorities, places


def _scope(scope: "_Reader") -> tuple[bool, bool, frozenset[str]]:
    """IssuingDistributionPoint: what it narrows the list to."""
    only = set()
    places: frozenset[str] = frozenset()
    while scope.more():
        tag = scope.tag()
        value = bytes(scope.take(tag))
        if tag not in (_WHERE, _ONLY_USERS, _ONLY_AUTHORITIES):
            raise Unreadable("a CRL of some reasons, of attributes or of others is not followed here")
        if tag == _WHERE:
            places = frozenset(_places(value))
        elif value == b"\xff":
            only.add(tag)
    return _ONLY_AUTHORITIES not in only, _ONLY_USERS not in only, places


def _places(name: bytes) -> Iterator[str]:
    """The addresses in a DistributionPointName."""
    full = _Reader(memoryview(name), 0, len(name)).enter(_FULL_NAME, optional=True)
    while full.more():
        tag = full.tag()
        value = bytes(full.take(tag))
        if tag == _URI:
            yield value.decode("ascii", "replace")


class _Reader:
    """Strict DER between two offsets: definite lengths in their shortest form, nothing beyond the end."""

    __slots__ = ("at", "stop", "view")

    def __init__(self, view: memoryview, at: int, stop: int) -> None:
        self.view, self.at, self.stop = view, at, stop

    def more(self) -> bool:
        return self.at < self.stop

    def end(self) -> None:
        if self.at != self.stop:
            raise Unreadable("something follows where a CRL ends")

    def tag(self) -> int:
        return self.view[self.at] if self.at < self.stop else -1

    def take(self, tag: int, *, optional: bool = False) -> memoryview:
        """Content of the next element."""
        if self.tag() != tag:
            if optional:
                return self.view[0:0]
            raise Unreadable(f"expected element {tag:02X} in the CRL, got {self.tag():02X}")
        begin, after = self._bounds()
        self.at = after
        return self.view[begin:after]

    def whole(self, tag: int) -> memoryview:
        """The next element with its header."""
        begin = self.at
        self.take(tag)
        return self.view[begin : self.at]

    def enter(self, tag: int, *, optional: bool = False) -> "_Reader":
        """A reader of the content of the next element; of nothing, when it is optional and absent."""
        if self.tag() != tag and optional:
            return _Reader(self.view, self.stop, self.stop)
        if self.tag() != tag:
            raise Unreadable(f"expected element {tag:02X} in the CRL, got {self.tag():02X}")
        begin, after = self._bounds()
        self.at = after
        return _Reader(self.view, begin, after)

    def time(self) -> datetime:
        tag = self.tag()
        text = bytes(self.take(_GENERALIZED_TIME if tag == _GENERALIZED_TIME else _UTC_TIME)).decode("ascii")
        if tag == _UTC_TIME:  # RFC 5280 § 4.1.2.5.1
            text = ("20" if text[:2] < "50" else "19") + text
        if len(text) != len("20260101000000Z"):
            raise Unreadable("a time in the CRL has another form")
        return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)

    def _bounds(self) -> tuple[int, int]:
        first = self.view[self.at + 1]
        begin, length = self.at + 2, first
        if first >= 0x80:
            count = first & 0x7F
            length = int.from_bytes(self.view[begin : begin + count], "big")
            if not 1 <= count <= 4 or length < 0x80 or self.view[begin] == 0:
                raise Unreadable("a length in the CRL has another form than DER's")
            begin += count
        if begin + length > self.stop:
            raise Unreadable("the CRL is cut")
        return begin, begin + length


def der_name(certificate: x509.Certificate) -> bytes:
    """The key under which an authority's list is kept: a digest of its public key."""
    spki = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(spki).digest()
