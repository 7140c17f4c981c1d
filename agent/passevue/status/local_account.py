"""The site admin's own credential: claimed once with a code that only the box's keeper can read, then a password.

    <data_dir>/page/claim-code           16 random characters, while nobody has claimed it; 0600
    <data_dir>/page/local-account.json   scrypt of the password, once somebody has; 0600

Rules:
- No default password, no way round: who lost it has the keeper of a laptop type `passevue admin reset` as root, which
  makes a new claim code and ends the admin's sessions. Nothing on the network can. Nobody logs in to an appliance:
  the file is taken off its opened disk, or the disk is written anew (provision/README.md).
- The claim code is random (80 bits), works once, and is gone when it has.
- scrypt with N=2^15, r=8, p=1 (32 MiB, about 0.1 s here), parameters kept with the hash; one at a time, on a thread.
- Checked in the same time whether the account is claimed or not.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from passevue.durable import sync_folder
from passevue.errors import Refused, StoreError
from passevue.status.claim_code import CODE_FILE, FOLDER, HASH_FILE, code_in, read_file
from passevue.status.wiping import wipe

SHORTEST, LONGEST = 12, 128  # ANSSI, recommandations relatives à l'authentification multifacteur et aux mots de passe
LEAST_DIFFERENT = 6
UNFIT = frozenset({"password-short", "password-long", "password-simple"})  # codes of `check_password`
_N, _R, _P = 1 << 15, 8, 1
_MEMORY = 64 << 20
_CODE_BYTES = 10

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, repr=False)
class _Hash:
    """What is kept of a password."""

    salt: bytes
    digest: bytes
    n: int = _N
    r: int = _R
    p: int = _P

    def fits(self, password: bytes | bytearray) -> bool:
        found = hashlib.scrypt(
            password, salt=self.salt, n=self.n, r=self.r, p=self.p, maxmem=_MEMORY, dklen=len(self.digest)
        )
        return hmac.compare_digest(found, self.digest)


_NOBODY = _Hash(bytes(16), bytes(32))  # fits nothing that can be found


class LocalAccount:
    """The one account of a box. Every method that is a coroutine works on a thread."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / FOLDER
        self._hash_file = self._folder / HASH_FILE
        self._code_file = self._folder / CODE_FILE
        self._one_at_a_time = asyncio.Lock()

    @property
    def code_file(self) -> Path:
        return self._code_file

    async def start(self) -> None:
        """Makes the claim code of a box that nobody has claimed.

        Raises:
            StoreError: it cannot be written.
        """
        await asyncio.to_thread(self.prepare)

    async def claimed(self) -> bool:
        return await asyncio.to_thread(self._hash_file.exists)

    async def generation(self) -> tuple[int, int]:
        """Changes whenever the account does, by whatever process."""
        return await asyncio.to_thread(self._stamp)

    async def fits(self, password: bytearray) -> bool:
        """Whether this is the password; wipes it."""
        try:
            async with self._one_at_a_time:
                return await asyncio.to_thread(self._fits, bytes(password[: LONGEST * 4]))
        finally:
            wipe(password)

    async def claim(self, code: bytearray, password: bytearray, now: datetime) -> bool:
        """Take the account with the claim code; False when that is wrong. Wipes both.

        Raises:
            Refused: the password is not one to keep.
            StoreError: it cannot be written.
        """
        try:
            async with self._one_at_a_time:
                return await asyncio.to_thread(self._claim, bytes(code[:64]), bytes(password), now)
        finally:
            wipe(code)
            wipe(password)

    async def change(self, old: bytearray, new: bytearray, now: datetime) -> bool:
        """Another password; False when the old one is wrong. Wipes both. Raises as `claim`."""
        try:
            async with self._one_at_a_time:
                return await asyncio.to_thread(self._change, bytes(old[: LONGEST * 4]), bytes(new), now)
        finally:
            wipe(old)
            wipe(new)

    # --- on a thread, or in a command ------------------------------------------------------------------------------

    def prepare(self) -> None:
        """A claim code for an account that is nobody's yet."""
        if not self._hash_file.exists() and not self._code():
            self._write(self._code_file, (_new_code() + "\n").encode())
            log.info("claim_code_written", path=self._code_file)

    def reset(self) -> str:
        """Nobody's again; gives the new claim code. Raises: StoreError."""
        code = _new_code()
        self._write(self._code_file, (code + "\n").encode())
        self._hash_file.unlink(missing_ok=True)
        return code

    def code(self) -> str:
        """The claim code while there is one, else ""."""
        return "" if self._hash_file.exists() else self._code()

    def _stamp(self) -> tuple[int, int]:
        try:
            found = self._hash_file.stat()
        except OSError:
            return (0, 0)
        return (found.st_ino, found.st_mtime_ns)

    def _fits(self, password: bytes) -> bool:
        kept = self._kept()
        return (kept or _NOBODY).fits(password) and kept is not None

    def _claim(self, code: bytes, password: bytes, now: datetime) -> bool:
        wanted = self.code()
        given = _plain(code)
        if not hmac.compare_digest(_plain(wanted.encode()) or secrets.token_bytes(16), given) or not wanted:
            return False
        self._keep(password, now)
        self._code_file.unlink(missing_ok=True)
        return True

    def _change(self, old: bytes, new: bytes, now: datetime) -> bool:
        if not self._fits(old):
            return False
        self._keep(new, now)
        return True

    def _keep(self, password: bytes, now: datetime) -> None:
        check_password(password)
        salt = secrets.token_bytes(16)
        digest = hashlib.scrypt(password, salt=salt, n=_N, r=_R, p=_P, maxmem=_MEMORY, dklen=32)
        content = {
            "version": 1, "salt": base64.b64encode(salt).decode(), "hash": base64.b64encode(digest).decode(),
            "n": _N, "r": _R, "p": _P, "set_at": now.isoformat(timespec="seconds"),
        }  # fmt: skip
        self._write(self._hash_file, json.dumps(content).encode())

    def _kept(self) -> _Hash | None:
        """None when it is nobody's, or damaged: then nobody gets in, and `reset` mends it."""
        try:
            found: dict[str, Any] = json.loads(read_file(self._hash_file))
            kept = _Hash(
                base64.b64decode(found["salt"]), base64.b64decode(found["hash"]), found["n"], found["r"], found["p"]
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as err:
            log.error("local_account_unreadable", error_class=type(err).__name__)
            return None
        sane = (kept.n, kept.r, kept.p) == (_N, _R, _P) and len(kept.digest) == 32
        return kept if sane else None

    def _code(self) -> str:
        return code_in(self._code_file)

    def _write(self, path: Path, content: bytes) -> None:
        """Whole or not at all, readable by its owner alone, synced."""
        new = path.with_suffix(".new")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            new.unlink(missing_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with open(os.open(new, flags, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
            sync_folder(self._folder)
        except OSError as err:
            hint = "Le compte du site ne s'écrit pas : vérifiez le disque (en ligne de commande : soyez root)."
            raise StoreError(f"local account cannot be written: {err.strerror}", hint=hint) from err


def check_password(password: bytes) -> None:
    """
    Raises:
        Refused: `password-short`, `password-long`, `password-simple`.
    """
    try:
        text = password.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    if len(text) < SHORTEST:
        raise Refused("password-short", f"expected {SHORTEST} characters at least",
                      hint=f"Choisissez au moins {SHORTEST} caractères.")  # fmt: skip
    if len(text) > LONGEST:
        raise Refused("password-long", f"expected {LONGEST} characters at most",
                      hint=f"Choisissez au plus {LONGEST} caractères.")  # fmt: skip
    if len(set(text.casefold())) < LEAST_DIFFERENT or "passevue" in text.casefold():
        raise Refused("password-simple", "too few different characters, or the name of the box",
                      hint="Ce mot de passe se devine : choisissez-en un plus varié.")  # fmt: skip


def _new_code() -> str:
    """`K7QF-2M4A-…`: 80 random bits in an alphabet without 0, 1, 8 and 9 look-alikes."""
    text = base64.b32encode(secrets.token_bytes(_CODE_BYTES)).decode()
    return "-".join(text[at : at + 4] for at in range(0, len(text), 4))


def _plain(code: bytes) -> bytes:
    return bytes(byte for byte in code.upper() if byte not in b"- \t\r\n")
