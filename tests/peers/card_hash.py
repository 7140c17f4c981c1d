"""SHA-1 and SHA-256 taken up in the middle: a CPS3 finishes a hash of which only the state is sent to it (PSO HASH).

`hashlib` gives no way to start from a state, hence these two compression functions (FIPS 180-4 §§ 6.1.2, 6.2.2).
"""

import struct
from collections.abc import Callable
from math import isqrt

BLOCK = 64
MASK = 0xFFFFFFFF


def finish(algorithm: str, state: bytes, bits_hashed: int, last: bytes) -> bytes:
    """The digest when `bits_hashed` bits led to `state` (empty: none did) and `last` is all that follows.

    Raises:
        ValueError: a state of the wrong size, bits that are no whole number of blocks, more than one last block.
    """
    start, compress = _ALGORITHMS[algorithm]
    words = (
        list(start) if not state and not bits_hashed else list(struct.unpack(f">{len(start)}I", _sized(state, start)))
    )
    if bits_hashed % (8 * BLOCK) or len(last) > BLOCK:
        raise ValueError(
            f"Expected whole blocks and at most {BLOCK} bytes, got {bits_hashed} bits and {len(last)} bytes"
        )
    total = bits_hashed + 8 * len(last)
    padded = last + b"\x80" + bytes((-len(last) - 9) % BLOCK) + total.to_bytes(8, "big")
    for offset in range(0, len(padded), BLOCK):
        words = compress(words, padded[offset : offset + BLOCK])
    return struct.pack(f">{len(words)}I", *words)


def state_after(algorithm: str, blocks: bytes) -> bytes:
    """The state once these whole blocks are hashed: what software sends to the card."""
    start, compress = _ALGORITHMS[algorithm]
    words = list(start)
    for offset in range(0, len(blocks), BLOCK):
        words = compress(words, blocks[offset : offset + BLOCK])
    return struct.pack(f">{len(words)}I", *words)


def _sized(state: bytes, start: tuple[int, ...]) -> bytes:
    if len(state) != 4 * len(start):
        raise ValueError(f"Expected a state of {4 * len(start)} bytes, got {len(state)}")
    return state


def _left(word: int, count: int) -> int:
    return (word << count | word >> (32 - count)) & MASK


def _right(word: int, count: int) -> int:
    return _left(word, 32 - count)


def _sha1(words: list[int], block: bytes) -> list[int]:
    w = list(struct.unpack(">16I", block))
    for t in range(16, 80):
        w.append(_left(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1))
    a, b, c, d, e = words
    for t in range(80):
        if t < 20:
            f, k = b & c ^ ~b & d, 0x5A827999
        elif t < 40:
            f, k = b ^ c ^ d, 0x6ED9EBA1
        elif t < 60:
            f, k = b & c ^ b & d ^ c & d, 0x8F1BBCDC
        else:
            f, k = b ^ c ^ d, 0xCA62C1D6
        a, b, c, d, e = (_left(a, 5) + (f & MASK) + e + k + w[t]) & MASK, a, _left(b, 30), c, d
    return [(old + new) & MASK for old, new in zip(words, (a, b, c, d, e), strict=True)]


def _sha256(words: list[int], block: bytes) -> list[int]:
    w = list(struct.unpack(">16I", block))
    for t in range(16, 64):
        s0 = _right(w[t - 15], 7) ^ _right(w[t - 15], 18) ^ w[t - 15] >> 3
        s1 = _right(w[t - 2], 17) ^ _right(w[t - 2], 19) ^ w[t - 2] >> 10
        w.append((w[t - 16] + s0 + w[t - 7] + s1) & MASK)
    a, b, c, d, e, f, g, h = words
    for t in range(64):
        t1 = h + (_right(e, 6) ^ _right(e, 11) ^ _right(e, 25)) + (e & f ^ ~e & g & MASK) + _K[t] + w[t]
        t2 = (_right(a, 2) ^ _right(a, 13) ^ _right(a, 22)) + (a & b ^ a & c ^ b & c)
        a, b, c, d, e, f, g, h = (t1 + t2) & MASK, a, b, c, (d + t1) & MASK, e, f, g
    return [(old + new) & MASK for old, new in zip(words, (a, b, c, d, e, f, g, h), strict=True)]


def _primes(count: int) -> list[int]:
    found: list[int] = []
    candidate = 2
    while len(found) < count:
        if all(candidate % prime for prime in found):
            found.append(candidate)
        candidate += 1
    return found


def _cube_root(number: int) -> int:
    """Floor of the cube root, by bisection."""
    low, high = 0, 1 << (number.bit_length() // 3 + 1)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**3 <= number else (low, middle - 1)
    return low


# First 32 bits of the fractional parts of cube roots and square roots of the first primes (FIPS 180-4 §§ 4.2.2, 5.3.3).
_K = tuple(_cube_root(prime << 96) & MASK for prime in _primes(64))
_SHA256_START = tuple(isqrt(prime << 64) & MASK for prime in _primes(8))
_SHA1_START = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0)

_ALGORITHMS: dict[str, tuple[tuple[int, ...], Callable[[list[int], bytes], list[int]]]] = {
    "sha1": (_SHA1_START, _sha1),
    "sha256": (_SHA256_START, _sha256),
}
