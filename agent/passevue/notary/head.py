"""One signed head: a line that says how far the audit trail had come, with the TPM's signature.

    passevue-head 1 <count> <number> <chain> <at> <boot> <uptime> <serial> <version> <index> <key> <before>
        <time> <signature>                                          (all of it one line, one blank between two words)

    count          of this head: 1, 2, 3 …
    number chain   the trail's last record; 0 and zeros while it has none
    at             the box's wall clock, UTC: what it believed, right or wrong
    boot uptime    which start of the machine, and seconds since (CLOCK_BOOTTIME)
    serial version of the box; of the image that ran
    index          the rollback index in the TPM, 0 when it keeps none
    key            SHA-256 of the signing key (DER, SubjectPublicKeyInfo)
    before         SHA-256 of the line before, without its end; zeros before the first
    time           base64: what TPM2_GetTime gave for the SHA-256 of everything before this word and its blank
    signature      base64: ECDSA over the SHA-256 of that, DER

No word has a blank in it, so `cut` and `openssl dgst` check a head as well as this does (README.md).
"""

import base64
import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from passevue.errors import Unreadable
from passevue.notary.attestation import Moment, read_attestation
from passevue.notary.trail import Record

FIRST: Final = "0" * 64
MAX_LINE: Final = 4096  # a real one has 850
_FORM: Final = re.compile(
    rb"passevue-head 1 (?P<count>[1-9]\d{0,17}) (?P<number>\d{1,18}) (?P<chain>[0-9a-f]{64})"
    rb" (?P<at>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ) (?P<boot>[0-9a-f-]{1,40}) (?P<uptime>\d{1,12})"
    rb" (?P<serial>[0-9A-F-]{1,40}) (?P<version>[\w.+~-]{1,40}) (?P<index>\d{1,2})"
    rb" (?P<key>[0-9a-f]{64}) (?P<before>[0-9a-f]{64})"
)


@dataclass(frozen=True, slots=True)
class Head:
    """What is signed."""

    count: int
    end: Record
    at: datetime  # aware UTC, whole seconds
    boot_id: str
    uptime_s: int
    serial: str
    version: str
    index: int
    key: str
    before: str

    def to_bytes(self) -> bytes:
        """The words up to `before`. Raises: Unreadable when a word is not what a reader takes."""
        at = self.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        words = (
            "passevue-head", 1, self.count, self.end.number, self.end.chain, at, self.boot_id, self.uptime_s,
            self.serial or "-", self.version or "-", self.index, self.key, self.before,
        )  # fmt: skip
        data = " ".join(str(word) for word in words).encode("utf-8", "replace")
        if not _FORM.fullmatch(data):
            raise Unreadable("a head has a word that none may have")
        return data


@dataclass(frozen=True, slots=True)
class Signed:
    """A line. `digest` is what the next one says of it."""

    head: Head
    words: bytes
    moment: Moment
    attested: bytes
    signature: bytes
    digest: str


def line(head: Head, attested: bytes, signature: bytes) -> bytes:
    """With its end."""
    return b" ".join((head.to_bytes(), base64.b64encode(attested), base64.b64encode(signature))) + b"\n"


def to_attest(head: Head) -> bytes:
    """The digest that the TPM is given to sign with its time."""
    return hashlib.sha256(head.to_bytes()).digest()


def read_line(data: bytes) -> Signed:
    """A line without its end. Raises: Unreadable. Whether its signature is right is `heads.judge`'s to say."""
    said, *rest = data.rsplit(b" ", 2) if len(data) <= MAX_LINE else [b""]
    words = _FORM.fullmatch(said)
    if words is None or len(rest) != 2:
        raise Unreadable("not a signed head")
    try:
        attested, signature = (base64.b64decode(word, validate=True) for word in rest)
        at = datetime.strptime(words["at"].decode(), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError as err:
        raise Unreadable("a signed head has a word in another form") from err
    head = Head(
        count=int(words["count"]),
        end=Record(int(words["number"]), words["chain"].decode()),
        at=at,
        boot_id=words["boot"].decode(),
        uptime_s=int(words["uptime"]),
        serial=words["serial"].decode(),
        version=words["version"].decode(),
        index=int(words["index"]),
        key=words["key"].decode(),
        before=words["before"].decode(),
    )
    return Signed(head, said, read_attestation(attested), attested, signature, hashlib.sha256(data).hexdigest())
