"""The little DER and BER-TLV that a card's files are written in. Writing only: no reader is shared with the box.

    sequence(utf8("CPS"), octets(b"\\x01"))        # 30 08 0C 03 43 50 53 04 01 01

Facts:
- Real cards carry BIT STRINGs with eight unused bits (`03 01 08`, `03 02 08 00`), which no DER allows: `EMPTY_BITS`
  and `ZERO_BITS` are those bytes (cps-card.md § 3).
"""

EMPTY_BITS = bytes.fromhex("030108")
ZERO_BITS = bytes.fromhex("03020800")
NULL = b"\x05\x00"


def tlv(tag: int, *parts: bytes) -> bytes:
    """One TLV; `tag` is written as it is, on as many bytes as it has."""
    value = b"".join(parts)
    return _minimal(tag) + length(len(value)) + value


def length(size: int) -> bytes:
    if size < 0x80:
        return bytes([size])
    digits = _minimal(size)
    return bytes([0x80 | len(digits)]) + digits


def sequence(*parts: bytes) -> bytes:
    return tlv(0x30, *parts)


def context(number: int, *parts: bytes) -> bytes:
    """A constructed context tag: `[number]`."""
    return tlv(0xA0 | number, *parts)


def octets(value: bytes) -> bytes:
    return tlv(0x04, value)


def utf8(text: str) -> bytes:
    return tlv(0x0C, text.encode())


def integer(value: int) -> bytes:
    return tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def enumerated(value: int) -> bytes:
    return tlv(0x0A, bytes([value]))


def bits(*numbers: int) -> bytes:
    """A named bit list: these bits are set, 0 being the first; trailing zeros are left out (X.690 § 11.2.2)."""
    if not numbers:
        return tlv(0x03, b"\x00")
    size = max(numbers) + 1
    value = sum(1 << (size - 1 - number) for number in numbers)
    unused = -size % 8
    return tlv(0x03, bytes([unused]), (value << unused).to_bytes((size + unused) // 8, "big"))


def oid(text: str) -> bytes:
    first, second, *rest = (int(part) for part in text.split("."))
    return tlv(0x06, b"".join(_base128(number) for number in (first * 40 + second, *rest)))


def _base128(number: int) -> bytes:
    digits = [number & 0x7F]
    while number := number >> 7:
        digits.append(0x80 | number & 0x7F)
    return bytes(reversed(digits))


def _minimal(number: int) -> bytes:
    return number.to_bytes(max(1, (number.bit_length() + 7) // 8), "big")
