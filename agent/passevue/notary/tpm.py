"""The TPM, by the programs of tpm2-tools: no command of ours is made up here, and the libraries' own are not loaded.

    with Tpm().key() as key:
        attested, signature = key.sign_time(digest)

The key is a primary of the owner hierarchy: made anew from the TPM's own seed each time, always the same one, in no
file and not to be taken out (`fixedtpm`); restricted, so that it signs what the TPM itself says and nothing made to
look like it. TPM2_Clear, which `erase` calls, changes the seed: the key is gone for good.
"""

import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from passevue.errors import CredentialError
from passevue.notary.heads import key_id, read_keys
from passevue.notary.rollback import bit

DEVICE: Final = "/dev/tpmrm0"
NV_INDEX: Final = 0x0182_5056  # of the owner's range (TCG registry of reserved handles § 2.2)
NV_BYTES: Final = 8
COMMAND_S: Final = 60.0  # a slow TPM makes such a key in two seconds
# TPM 2.0 Library, Part 1, "Dictionary attack protection": a start without TPM2_Shutdown before it, after a power cut,
# counts as a wrong guess, and a chip locks after few (3 to 32, for minutes to hours). No secret of the box has an
# authorisation that could be guessed, and one that systemd cannot unseal keeps page and national side from starting.
LOCKOUT_TRIES: Final = 1000
LOCKOUT_FORGETS_S: Final = 60
_LOCKOUT: Final = re.compile(r"^TPM2_PT_(MAX_AUTH_FAIL|LOCKOUT_INTERVAL): +0x([0-9A-Fa-f]{1,8})$", re.MULTILINE)
_KEY: Final = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|sign"
_NV: Final = "nt=bits|ownerwrite|ownerread|no_da"


@dataclass(frozen=True, slots=True)
class Key:
    """The signing key, loaded while `Tpm.key` is open."""

    pem: bytes
    id: str
    _tpm: "Tpm"
    _folder: Path

    def sign_time(self, digest: bytes) -> tuple[bytes, bytes]:
        """The TPM's time with that digest, and its signature (`attestation`). Blocks. Raises: CredentialError."""
        told, signature = self._folder / "time", self._folder / "signature"
        self._tpm.run(
            "tpm2_gettime", "-c", str(self._folder / "key"), "-g", "sha256", "-f", "plain", "-q", digest.hex(),
            "-o", str(signature), "--attestation", str(told),
        )  # fmt: skip
        return told.read_bytes(), signature.read_bytes()


class Tpm:
    """Args: tcti: how tpm2-tools reach it. programs: where they are. All methods block and raise CredentialError."""

    def __init__(self, tcti: str = f"device:{DEVICE}", programs: Path = Path("/usr/bin")) -> None:
        self._tcti = tcti
        self._programs = programs

    @contextmanager
    def key(self) -> Iterator[Key]:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            self.run(
                "tpm2_createprimary", "-Q", "-C", "o", "-g", "sha256", "-G", "ecc256:ecdsa-sha256:null", "-a", _KEY,
                "-c", str(folder / "key"), "-f", "pem", "-o", str(folder / "public"),
            )  # fmt: skip
            pem = (folder / "public").read_bytes()
            ders = list(read_keys(pem).values())
            if len(ders) != 1:
                raise CredentialError("tpm2_createprimary gave no public key")
            yield Key(pem, key_id(ders[0]), self, folder)

    def kept(self) -> dict[str, Any] | None:
        """The rollback index as the TPM has it: {"attributes": …, "value": hexadecimal}; None when it has none."""
        listed = self.run("tpm2_getcap", "handles-nv-index").decode("ascii", "replace")
        if f"{NV_INDEX:#x}" not in listed.lower().split():
            return None
        public = self.run("tpm2_nvreadpublic", f"{NV_INDEX:#x}").decode("ascii", "replace")
        found = re.search(r"attributes:\s+friendly: [^\n]*\s+value: (0x[0-9A-Fa-f]{1,8})\b", public)
        if found is None:
            raise CredentialError("tpm2_nvreadpublic answered in another form")
        attributes = int(found[1], 16)
        value = b""
        if "written" in found[0]:
            value = self.run("tpm2_nvread", "-C", "o", f"{NV_INDEX:#x}")
        return {"attributes": attributes, "value": value[: 2 * NV_BYTES].hex()}

    def define(self) -> None:
        """Make room for the rollback index."""
        self.run("tpm2_nvdefine", "-Q", f"{NV_INDEX:#x}", "-C", "o", "-s", str(NV_BYTES), "-a", _NV)

    def set_index(self, index: int) -> None:
        """Raises: Unreadable when there is no such index."""
        self.run("tpm2_nvsetbits", "-Q", "-C", "o", "-i", f"{bit(index):#x}", f"{NV_INDEX:#x}")

    def bears_power_cuts(self) -> bool:
        """Whether it locks no sooner than `bear_power_cuts` has set."""
        told = self.run("tpm2_getcap", "properties-variable").decode("ascii", "replace")
        found = dict(_LOCKOUT.findall(told))
        if len(found) != 2:
            raise CredentialError("tpm2_getcap answered in another form")
        tries, forgets_s = int(found["MAX_AUTH_FAIL"], 16), int(found["LOCKOUT_INTERVAL"], 16)
        return tries >= LOCKOUT_TRIES and forgets_s <= LOCKOUT_FORGETS_S

    def bear_power_cuts(self) -> None:
        """Set how many wrong guesses lock it, for good; one that is locked opens by it."""
        self.run(
            "tpm2_dictionarylockout", "--setup-parameters", f"--max-tries={LOCKOUT_TRIES}",
            f"--recovery-time={LOCKOUT_FORGETS_S}", f"--lockout-recovery-time={LOCKOUT_FORGETS_S}",
        )  # fmt: skip

    def run(self, program: str, *words: str) -> bytes:
        """What it says."""
        try:
            done = subprocess.run(  # noqa: S603 (programs of the image, no shell)
                [str(self._programs / program), *words],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=COMMAND_S,
                check=False,
                env={"PATH": "/usr/bin", "LC_ALL": "C.UTF-8", "TPM2TOOLS_TCTI": self._tcti, "TSS2_LOG": "all+NONE"},
            )
        except (OSError, subprocess.SubprocessError) as err:
            raise CredentialError(f"{program}: {type(err).__name__}") from err
        if done.returncode:
            said = " ".join(done.stderr.decode("utf-8", "replace").split())[:160]
            raise CredentialError(f"{program} left with {done.returncode}: {said}")
        return done.stdout


def kept_by(device: Path) -> dict[str, Any] | None:
    """`Tpm.kept` of the machine's own TPM. Raises: FileNotFoundError when it has none; CredentialError."""
    device.stat()
    return Tpm(f"device:{device}").kept()
