"""Buffers that held a code or a password."""


def wipe(buffer: bytearray) -> None:
    """Overwritten, the same length."""
    buffer[:] = bytes(len(buffer))
