"""CPS4: a ChipDoc applet behind logical channel 1 (cps-card.md §§ 4, 5, 6).

Facts:
- every command has CLA 01 (11 when chained); CLA 00 gets `6E 00`;
- nothing goes before the card's name was selected on the channel (`69 85`), and after a warm reset not even that before
  the issuer's domain on channel 1 and the applet on channel 0 were: the whole way back of § 4;
- no INTERNAL AUTHENTICATE: PKCS#1 v1.5 is raw RSA by PSO DECIPHER, the software does the padding; PSS by PSO CDS.
"""

from cryptography.hazmat.primitives.asymmetric import rsa

from . import card_rsa
from .card_codes import NOT_VERIFIED, OK
from .card_files import Tree
from .card_os import (
    NO_SUCH_CLASS,
    NO_SUCH_DATA,
    NOT_ALLOWED,
    WRONG_DATA,
    WRONG_LENGTH,
    WRONG_P1P2,
    Answer,
    Apdu,
    Machine,
)
from .card_pkcs15 import CONTACT, MF_NAME
from .card_profile import Profile
from .pki_persons import CardKeys

CHANNEL = 0x01
ISSUER_DOMAIN = bytes.fromhex("A0000001510000")
APPLET = bytes.fromhex("8025000001FF0002")
PKCS1 = {0x0A: "sha1", 0x28: "sha256"}
PSS = {0x15: "sha1", 0x2C: "sha256"}
SIGNATURE_KEY, AUTHENTICATION_KEY = 0x10, 0x20
DECIPHER, SIGN = 0xB8, 0xB6


class Cps4(Machine):
    fci_template = 0x6F

    def __init__(self, profile: Profile, tree: Tree, keys: CardKeys) -> None:
        self.keys: dict[int, rsa.RSAPrivateKey] = {
            SIGNATURE_KEY: keys.signature.key,
            AUTHENTICATION_KEY: keys.authentication.key,
        }
        super().__init__(profile, tree)
        self.handlers |= {
            0x24: self.change,
            0x2C: self.unblock,
            0x22: self.manage_security_environment,
            0x2A: self.perform_security_operation,
        }

    def power_on(self) -> None:
        super().power_on()
        self.to_select: tuple[bytes, ...] = (MF_NAME,)

    def reset(self) -> None:
        super().reset()
        self.to_select = (ISSUER_DOMAIN, APPLET, MF_NAME)

    @property
    def t1(self) -> bool:
        return False

    def class_refusal(self, apdu: Apdu) -> int:
        by_name = apdu.data if (apdu.ins, apdu.p1) == (0xA4, 0x04) else b""
        if apdu.cla == 0 and by_name == APPLET:
            return 0
        if apdu.cla & ~0x10 != CHANNEL:
            return NO_SUCH_CLASS
        if not self.to_select or by_name in (self.to_select[0], ISSUER_DOMAIN):
            return 0
        return NOT_ALLOWED

    def select(self, apdu: Apdu) -> Answer:
        if apdu.p1 == 0x04 and apdu.data in (ISSUER_DOMAIN, APPLET, MF_NAME):
            self._step(apdu.data)
            if apdu.data != MF_NAME:
                return Answer()
        return super().select(apdu)

    def _step(self, name: bytes) -> None:
        """The way back: domain, applet, name, in this order; the domain begins it anew."""
        if name == ISSUER_DOMAIN:
            self.to_select = (APPLET, MF_NAME)
        elif self.to_select[:1] == (name,):
            self.to_select = self.to_select[1:]

    def select_p2(self, apdu: Apdu) -> frozenset[int]:
        return frozenset({0x00, 0x04, 0x0C}) if apdu.p1 == 0x08 else frozenset({0x04, 0x0C})

    # Codes

    def change(self, apdu: Apdu) -> Answer:
        """The new PIN alone: the old one was verified, or the unblocking code was."""
        if apdu.p1p2 != 0x0101:
            return Answer(WRONG_P1P2)
        if not (self.codes.pin.verified or self.codes.unblocking.verified):
            return Answer(NOT_VERIFIED)
        status = self.codes.pin.replace(apdu.data)
        if status == OK:
            self.codes.unblocking.verified = False
        return Answer(status)

    def unblock(self, apdu: Apdu) -> Answer:
        if apdu.p1p2 != 0x0381 or apdu.data:
            return Answer(WRONG_P1P2 if apdu.p1p2 != 0x0381 else WRONG_LENGTH)
        return Answer(self.codes.unblock_verified())

    # Keys

    def manage_security_environment(self, apdu: Apdu) -> Answer:
        """`81 B6` with `91 02 alg key+80` to sign, `41 B8` with `83 01 key` for raw RSA."""
        if apdu.p1p2 == 0x81B6 and len(apdu.data) == 4 and apdu.data[:2] == b"\x91\x02":
            return self._choose(SIGN, apdu.data[2], apdu.data[3] & 0x7F)
        if apdu.p1p2 == 0x41B8 and len(apdu.data) == 3 and apdu.data[:2] == b"\x83\x01":
            return self._choose(DECIPHER, 0, apdu.data[2])
        return Answer(WRONG_DATA if apdu.p1p2 in (0x81B6, 0x41B8) else WRONG_P1P2)

    def _choose(self, template: int, algorithm: int, key: int) -> Answer:
        if self.directory != CONTACT or key not in self.keys:
            return Answer(NO_SUCH_DATA)
        if template == SIGN and algorithm not in (PSS if key == AUTHENTICATION_KEY else PKCS1 | PSS):
            return Answer(WRONG_DATA)
        self.environment.references[template] = (algorithm, key)
        return Answer()

    def perform_security_operation(self, apdu: Apdu) -> Answer:
        template = {0x9E9A: SIGN, 0x8086: DECIPHER}.get(apdu.p1p2)
        if template is None:
            return Answer(WRONG_P1P2)
        if self.directory != CONTACT or template not in self.environment.references:
            return Answer(NOT_ALLOWED)
        if not self.codes.pin.verified:
            return Answer(NOT_VERIFIED)
        algorithm, key = self.environment.references[template]
        if template == SIGN:
            return self._sign(self.keys[key], algorithm, apdu.data)
        return self._raw(key, apdu.data)

    def _sign(self, key: rsa.RSAPrivateKey, algorithm: int, digest: bytes) -> Answer:
        name = (PKCS1 | PSS)[algorithm]
        if len(digest) != card_rsa.digest_size(name):
            return Answer(WRONG_LENGTH)
        sign = card_rsa.sign_pss if algorithm in PSS else card_rsa.sign_digest
        return Answer(OK, sign(key, name, digest))

    def _raw(self, key: int, block: bytes) -> Answer:
        if key != AUTHENTICATION_KEY:
            return Answer(NOT_ALLOWED)
        if len(block) != 256:
            return Answer(WRONG_LENGTH)
        try:
            return Answer(OK, card_rsa.raw(self.keys[key], block))
        except ValueError:
            return Answer(WRONG_DATA)
