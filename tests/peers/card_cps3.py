"""CPS3: an IAS-ECC card, logical channel 0 (cps-card.md §§ 4, 5, 6)."""

from cryptography.hazmat.primitives.asymmetric import rsa

from . import card_der as der
from . import card_hash, card_rsa
from .card_codes import NOT_VERIFIED, OK
from .card_files import MF, Path, Tree
from .card_os import NO_SUCH_DATA, NOT_ALLOWED, WRONG_DATA, WRONG_LENGTH, WRONG_P1P2, Answer, Apdu, Machine
from .card_pkcs15 import CONTACT, CONTACTLESS
from .card_profile import Profile
from .pki_persons import CardKeys

# Control reference templates (ISO/IEC 7816-4 table 54) and the card's algorithm bytes (§ 6).
AUTHENTICATION, CONFIDENTIALITY, SIGNATURE, HASH = 0xA4, 0xB8, 0xB6, 0xAA
HASHES = {0x10: "sha1", 0x40: "sha256"}
SIGNATURES = {0x12: "sha1", 0x42: "sha256"}
RSA_PKCS, RSA_PKCS_DECIPHER = 0x02, 0x1A
LONGEST_AUTHENTICATION = 102  # 40 % of the modulus


class Cps3(Machine):
    """Both interfaces: what the antenna may not see, the files' access rules hide."""

    def __init__(self, profile: Profile, tree: Tree, keys: CardKeys) -> None:
        self.keys: dict[tuple[Path, int], rsa.RSAPrivateKey] = {
            (CONTACT, 0x81): keys.signature.key,
            (CONTACT, 0x82): keys.authentication.key,
            (CONTACTLESS, 0x83): keys.technical.key,
        }
        super().__init__(profile, tree)
        self.handlers |= {
            0x24: self.change,
            0x2C: self.unblock,
            0x22: self.manage_security_environment,
            0x2A: self.perform_security_operation,
            0x88: self.internal_authenticate,
            0xCB: self.get_data,
        }

    # Codes

    def change(self, apdu: Apdu) -> Answer:
        if apdu.p1p2 != 0x0001 or len(apdu.data) != 16:
            return Answer(WRONG_P1P2 if apdu.p1p2 != 0x0001 else WRONG_LENGTH)
        return Answer(self.codes.change(apdu.data[:8], apdu.data[8:]))

    def unblock(self, apdu: Apdu) -> Answer:
        if apdu.p1p2 != 0x0001 or len(apdu.data) != 16:
            return Answer(WRONG_P1P2 if apdu.p1p2 != 0x0001 else WRONG_LENGTH)
        return Answer(self.codes.unblock(apdu.data[:8], apdu.data[8:]))

    # Security data objects

    def get_data(self, apdu: Apdu) -> Answer:
        """GET DATA of a code (in the MF) or a key (in its application): `4D xx 70 xx BF cc rr xx tag 80`."""
        head, tag = apdu.data[:2], apdu.data[8:-1]
        if apdu.p1p2 != 0x3FFF or len(apdu.data) < 10 or head[0] != 0x4D or apdu.data[4] != 0xBF:
            return Answer(WRONG_P1P2 if apdu.p1p2 != 0x3FFF else WRONG_DATA)
        identifier, reference = apdu.data[4:7], apdu.data[6]
        if identifier[1] == 0x81 and self.directory == MF:
            return self._code_data(identifier, reference, tag)
        if identifier[1] == 0x90 and (self.directory, 0x80 | reference) in self.keys:
            return self._key_data(identifier, 0x80 | reference, tag)
        return Answer(NO_SUCH_DATA)

    def _code_data(self, identifier: bytes, reference: int, tag: bytes) -> Answer:
        code = self.codes.by_reference(reference)
        if code is None:
            return Answer(NO_SUCH_DATA)
        if tag == b"\x7f\x41":
            least = len(code.value.rstrip(b"\xff"))
            content = der.tlv(0x7F41, der.tlv(0x80, b"\x08"), der.tlv(0x81, bytes([least])))
        elif tag == b"\xa0":
            uses = der.tlv(0x9D, bytes([self.codes.uses])) if reference == 2 else b""
            counters = der.tlv(0x9A, bytes([code.tries])) + der.tlv(0x9B, bytes([code.left])) + uses
            content = der.tlv(0xA0, counters, der.tlv(0xA1, der.tlv(0x8C, bytes.fromhex("F3000013FF00"))))
        else:
            return Answer(NO_SUCH_DATA)
        return _template(identifier, content)

    def _key_data(self, identifier: bytes, reference: int, tag: bytes) -> Answer:
        if tag != b"\xa0":
            return Answer(WRONG_DATA)  # there is nothing public in a private key
        rules = {0x81: "7B11FFFFFFFF00", 0x82: "7BFF1111FFFF00", 0x83: "7BFF00FFFFFF00"}[reference]
        content = der.tlv(0xA0, der.tlv(0x80, b"\x01\x00"), der.tlv(0xA1, der.tlv(0x8C, bytes.fromhex(rules))))
        return _template(identifier, content)

    # Keys

    def manage_security_environment(self, apdu: Apdu) -> Answer:
        """SET for computation: the template is P2, in it 80 the algorithm and 84 the key."""
        if apdu.p1 != 0x41:
            return Answer(WRONG_P1P2)
        chosen = _one_byte_values(apdu.data)
        if chosen is None:
            return Answer(WRONG_DATA)
        algorithm, key = chosen.get(0x80, 0), chosen.get(0x84, 0)
        if apdu.p2 == HASH:
            if algorithm not in HASHES:
                return Answer(WRONG_DATA)
            self.environment.hash_algorithm = algorithm
            self.environment.digest = b""
            return Answer()
        if algorithm not in _ALGORITHMS.get(apdu.p2, ()):
            return Answer(WRONG_DATA if apdu.p2 in _ALGORITHMS else WRONG_P1P2)
        if (self.directory, key) not in self.keys:
            return Answer(NO_SUCH_DATA)
        self.environment.references[apdu.p2] = (algorithm, key)
        return Answer()

    def internal_authenticate(self, apdu: Apdu) -> Answer:
        chosen = self._key_for(AUTHENTICATION, (0x82, 0x83))
        if isinstance(chosen, int):
            return Answer(chosen)
        if apdu.p1p2 or not 0 < len(apdu.data) <= LONGEST_AUTHENTICATION:
            return Answer(WRONG_P1P2 if apdu.p1p2 else WRONG_LENGTH)
        return Answer(OK, card_rsa.sign_block(chosen, apdu.data))

    def perform_security_operation(self, apdu: Apdu) -> Answer:
        operations = {0x90A0: self._hash, 0x9E9A: self._sign, 0x8086: self._decipher}
        return operations[apdu.p1p2](apdu) if apdu.p1p2 in operations else Answer(WRONG_P1P2)

    def _hash(self, apdu: Apdu) -> Answer:
        """`90 L [state, 8-byte count of bits]`, `80 L last block`."""
        algorithm = HASHES.get(self.environment.hash_algorithm)
        parts = _hash_parts(apdu.data)
        if algorithm is None or parts is None:
            return Answer(WRONG_DATA if algorithm else NOT_ALLOWED)
        state, last = parts
        count = int.from_bytes(state[-8:], "big") if state else 0
        try:
            self.environment.digest = card_hash.finish(algorithm, state[:-8], count, last)
        except ValueError:
            return Answer(WRONG_DATA)
        return Answer()

    def _sign(self, apdu: Apdu) -> Answer:
        chosen = self._key_for(SIGNATURE, (0x81,))
        if isinstance(chosen, int):
            return Answer(chosen)
        algorithm = SIGNATURES[self.environment.references[SIGNATURE][0]]
        digest = apdu.data or self.environment.digest
        self.environment.digest = b""
        if not digest:
            return Answer(NOT_ALLOWED)
        if len(digest) != card_rsa.digest_size(algorithm):
            return Answer(WRONG_LENGTH if apdu.data else WRONG_DATA)
        return Answer(OK, card_rsa.sign_digest(chosen, algorithm, digest))

    def _decipher(self, apdu: Apdu) -> Answer:
        chosen = self._key_for(CONFIDENTIALITY, (0x82,))
        if isinstance(chosen, int):
            return Answer(chosen)
        if len(apdu.data) != 257 or apdu.data[0] != 0x81:  # padding indicator, cryptogram
            return Answer(WRONG_DATA if len(apdu.data) == 257 else WRONG_LENGTH)
        try:
            return Answer(OK, card_rsa.decipher(chosen, apdu.data[1:]))
        except ValueError:
            return Answer(WRONG_DATA)

    def _key_for(self, template: int, fit: tuple[int, ...]) -> rsa.RSAPrivateKey | int:
        """The key that MSE chose for this, or the status that says why it cannot be used."""
        _, reference = self.environment.references.get(template, (0, 0))
        if (self.directory, reference) not in self.keys:
            return NOT_ALLOWED
        if reference not in fit:
            return NOT_ALLOWED
        if reference != 0x83 and not self.codes.pin.verified:
            return NOT_VERIFIED
        return self.keys[(self.directory, reference)]


_ALGORITHMS = {AUTHENTICATION: (RSA_PKCS,), SIGNATURE: tuple(SIGNATURES), CONFIDENTIALITY: (RSA_PKCS_DECIPHER,)}


def _template(identifier: bytes, content: bytes) -> Answer:
    return Answer(OK, der.tlv(0x70, der.tlv(int.from_bytes(identifier, "big"), content)))


def _one_byte_values(data: bytes) -> dict[int, int] | None:
    """`80 01 aa 84 01 kk` as a mapping; None when it is anything else."""
    found = {data[i]: data[i + 2] for i in range(0, len(data) - 2, 3) if data[i + 1] == 1}
    return found if data and len(found) * 3 == len(data) else None


def _hash_parts(data: bytes) -> tuple[bytes, bytes] | None:
    if len(data) < 2 or data[0] != 0x90 or len(data) < 4 + data[1]:
        return None
    state, rest = data[2 : 2 + data[1]], data[2 + data[1] :]
    if rest[0] != 0x80 or rest[1] != len(rest) - 2 or (state and len(state) < 9):
        return None
    return state, rest[2:]
