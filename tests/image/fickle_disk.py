"""A disk with a volatile write cache, as an NBD server: what the guest has not flushed is lost when the power goes.

    python -m tests.image.fickle_disk --file disk.raw --socket disk.sock

QEMU killed alone loses nothing that the guest has written: the host's page cache keeps it, flushed or not. So here
writes stay in this process's memory until the guest flushes (or asks for FUA); the power cut is SIGTERM after QEMU is
dead. Then each sector of 512 bytes not yet flushed is written or lost, as a seeded coin says, in no order: torn and
reordered writes of a real drive. Like a real drive it writes out by itself what is over its cache's size.

NBD: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md, fixed newstyle, simple replies, one client.
"""

import argparse
import os
import random
import signal
import socket
import struct
import sys
from pathlib import Path
from typing import NoReturn

SECTOR = 512
CACHE_SECTORS = (256 << 20) // SECTOR
GREETING = b"NBDMAGIC" + b"IHAVEOPT"
OPTION_REPLY = 0x3E889045565A9
REQUEST = struct.Struct(">IHHQQI")
REQUEST_MAGIC, REPLY_MAGIC = 0x25609513, 0x67446698
READ, WRITE, DISCONNECT, FLUSH, TRIM, WRITE_ZEROES = 0, 1, 2, 3, 4, 6
FUA = 1
HAS_FLAGS, SEND_FLUSH, SEND_FUA, SEND_TRIM, SEND_ZEROES = 1, 4, 8, 32, 64
FLAGS = HAS_FLAGS | SEND_FLUSH | SEND_FUA | SEND_TRIM | SEND_ZEROES
EXPORT_NAME, ABORT, INFO, GO = 1, 2, 6, 7
ACK, INFO_REPLY, UNSUPPORTED = 1, 3, 0x80000001
EIO = 5


class FickleDisk:
    def __init__(self, path: Path, coin: random.Random) -> None:
        self._file = os.open(path, os.O_RDWR)
        self.size = os.fstat(self._file).st_size
        self._coin = coin
        self._waiting: dict[int, bytes] = {}  # sector number: its bytes, not flushed
        self.lost = self.kept = 0

    def read(self, offset: int, length: int) -> bytes:
        data = os.pread(self._file, length, offset)
        if not self._waiting:
            return data
        first, last = offset // SECTOR, (offset + length) // SECTOR
        changed = [number for number in range(first, last) if number in self._waiting]
        if not changed:
            return data
        whole = bytearray(data)
        for number in changed:
            whole[(number - first) * SECTOR : (number - first + 1) * SECTOR] = self._waiting[number]
        return bytes(whole)

    def write(self, offset: int, data: bytes) -> None:
        first = offset // SECTOR
        for index in range(len(data) // SECTOR):
            self._waiting[first + index] = data[index * SECTOR : (index + 1) * SECTOR]
        if len(self._waiting) > CACHE_SECTORS:
            self._write_out(sorted(self._waiting))

    def flush(self) -> None:
        self._write_out(sorted(self._waiting))

    def force(self, offset: int, length: int) -> None:
        """FUA: these sectors, and no others."""
        self._write_out([n for n in range(offset // SECTOR, (offset + length) // SECTOR) if n in self._waiting])

    def power_goes(self) -> None:
        """Each sector has its own luck; now and then nothing at all of the cache is kept."""
        luck = self._coin.choice((0.0, 0.5, 0.9, 1.0))
        kept = [number for number in self._waiting if self._coin.random() < luck]
        self.lost, self.kept = len(self._waiting) - len(kept), len(kept)
        self._write_out(sorted(kept))

    def _write_out(self, numbers: list[int]) -> None:
        run: list[bytes] = []
        start = 0
        for number in numbers:
            if run and number != start + len(run):
                os.pwrite(self._file, b"".join(run), start * SECTOR)
                run = []
            if not run:
                start = number
            run.append(self._waiting.pop(number))
        if run:
            os.pwrite(self._file, b"".join(run), start * SECTOR)


class Server:
    def __init__(self, disk: FickleDisk, connection: socket.socket) -> None:
        self._disk, self._connection = disk, connection

    def serve(self) -> None:
        if self._negotiate():
            while self._request():
                pass

    def _negotiate(self) -> bool:
        self._connection.sendall(GREETING + struct.pack(">H", 3))  # fixed newstyle, no zeroes
        self._exactly(4)
        while True:
            _magic, option, length = struct.unpack(">QII", self._exactly(16))
            self._exactly(length)
            if option == EXPORT_NAME:
                self._connection.sendall(struct.pack(">QH", self._disk.size, FLAGS))
                return True
            if option in (INFO, GO):
                self._option_reply(option, INFO_REPLY, struct.pack(">HQH", 0, self._disk.size, FLAGS))
                self._option_reply(option, ACK)
                if option == GO:
                    return True
            elif option == ABORT:
                self._option_reply(option, ACK)
                return False
            else:
                self._option_reply(option, UNSUPPORTED)

    def _option_reply(self, option: int, kind: int, data: bytes = b"") -> None:
        self._connection.sendall(struct.pack(">QIII", OPTION_REPLY, option, kind, len(data)) + data)

    def _request(self) -> bool:
        _magic, flags, kind, cookie, offset, length = REQUEST.unpack(self._exactly(REQUEST.size))
        if kind == DISCONNECT:
            return False
        error, data = 0, b""
        try:
            data = self._do(kind, offset, length)
            if flags & FUA:
                self._disk.force(offset, length)
        except OSError:
            error = EIO
        self._connection.sendall(struct.pack(">IIQ", REPLY_MAGIC, error, cookie) + data)
        return True

    def _do(self, kind: int, offset: int, length: int) -> bytes:
        if kind == READ:
            return self._disk.read(offset, length)
        if kind == WRITE:
            self._disk.write(offset, self._exactly(length))
        elif kind == WRITE_ZEROES:
            self._disk.write(offset, bytes(length))
        elif kind == FLUSH:
            self._disk.flush()
        return b""  # TRIM is taken and does nothing

    def _exactly(self, size: int) -> bytes:
        got = bytearray()
        while len(got) < size:
            part = self._connection.recv(min(size - len(got), 1 << 20))
            if not part:
                raise EOFError
            got += part
        return bytes(got)


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    arguments.add_argument("--file", type=Path, required=True)
    arguments.add_argument("--socket", type=Path, required=True)
    arguments.add_argument("--seed", default="")
    options = arguments.parse_args()
    disk = FickleDisk(options.file, random.Random(options.seed or None))

    def power_goes(*_: object) -> NoReturn:
        disk.power_goes()
        print(f"{disk.lost} sectors lost, {disk.kept} kept", flush=True)
        os._exit(0)

    listener = socket.socket(socket.AF_UNIX)
    options.socket.unlink(missing_ok=True)
    listener.bind(str(options.socket))
    listener.listen(1)
    signal.signal(signal.SIGTERM, power_goes)
    print("listening", flush=True)
    while True:
        connection, _ = listener.accept()
        with connection:
            try:
                Server(disk, connection).serve()
            except (EOFError, OSError):
                continue  # QEMU has gone: it may come back, or the power goes


if __name__ == "__main__":
    sys.exit(main())
