"""A SoftHSM2 of the tests' own: tokens in one folder, filled with keys and certificates by OpenSC's and its own tools.

    hsm = SoftHsm(folder)                     # sets SOFTHSM2_CONF: before anything of this process loads the library
    hsm.token("passevue", pin="1234")
    hsm.put("passevue", key_pem, certificate_pem, id="01", label="sign")
    hsm.pull(); hsm.put_back()
    hsm.structure("passevue", pki.structure(…))   # both keys of a structure; gives its `auth_key` and `sign_key`

Facts: the library reads its configuration once in a process, so a process has one SoftHsm. Pulling is moving the folder
away: the library answers CKR_OBJECT_HANDLE_INVALID to what is open and CKR_GENERAL_ERROR to what is opened.
"""

import os
import shutil
import subprocess
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.peers.pki import KeyPaths, StructurePaths

LIBRARIES = (
    Path("/usr/lib/softhsm/libsofthsm2.so"),
    Path("/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"),
    Path("/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so"),
)
LIBRARY = next((path for path in LIBRARIES if path.exists()), None)
TOOL = shutil.which("softhsm2-util")
PKCS11_TOOL = shutil.which("pkcs11-tool")


def missing() -> str:
    """Which program is not there; empty when all are."""
    absent = {"softhsm2": LIBRARY and TOOL, "opensc (pkcs11-tool)": PKCS11_TOOL}
    return ", ".join(name for name, found in absent.items() if not found)


class SoftHsm:
    """Its folder and its tokens."""

    def __init__(self, folder: Path) -> None:
        assert LIBRARY is not None
        self.library = LIBRARY
        self.folder = folder
        self.tokens = folder / "tokens"
        self.tokens.mkdir(parents=True)
        self.configuration = folder / "softhsm2.conf"
        self.configuration.write_text(
            f"directories.tokendir = {self.tokens}\nobjectstore.backend = file\nlog.level = ERROR\n"
        )
        os.environ["SOFTHSM2_CONF"] = str(self.configuration)

    def token(self, label: str, pin: str = "1234") -> None:
        self._run(TOOL, "--init-token", "--free", "--label", label, "--so-pin", "00000000", "--pin", pin)

    def put(
        self,
        token: str,
        key: rsa.RSAPrivateKey,
        certificate: x509.Certificate | None,
        *,
        id: str,
        label: str,
        pin: str = "1234",
    ) -> None:
        pem = self.folder / f"{token}-{id}.key"
        pem.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        self._run(TOOL, "--import", str(pem), "--token", token, "--label", label, "--id", id, "--pin", pin)
        pem.unlink()
        if certificate is not None:
            der = self.folder / f"{token}-{id}.der"
            der.write_bytes(certificate.public_bytes(Encoding.DER))
            self._run(PKCS11_TOOL, "--module", str(self.library), "--token-label", token, "--login", "--pin", pin,
                      "--write-object", str(der), "--type", "cert", "--id", id, "--label", label)  # fmt: skip

    def structure(self, token: str, keys: StructurePaths, pin: str = "1234") -> dict[str, str]:
        """A new token with both keys of a structure, its certificates left out, and the settings that name them."""
        self.token(token, pin)
        pin_file = self.folder / f"{token}.pin"
        pin_file.write_text(f"{pin}\n")
        pin_file.chmod(0o600)
        for number, role in enumerate(("auth", "sign"), start=1):
            private = KeyPaths(getattr(keys, f"{role}_certificate"), getattr(keys, f"{role}_key")).load()[1]
            self.put(token, private, None, id=f"{number:02}", label=role, pin=pin)
        where = f"module-path={self.library}&pin-source={pin_file}"
        return {f"{role}_key": f"pkcs11:token={token};object={role}?{where}" for role in ("auth", "sign")}

    def pull(self) -> None:
        self.tokens.rename(self.folder / "pulled")

    def put_back(self) -> None:
        (self.folder / "pulled").rename(self.tokens)

    def _run(self, program: str | None, *arguments: str) -> None:
        assert program is not None
        done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=30)
        assert done.returncode == 0, done.stdout + done.stderr


_SHARED: list[SoftHsm] = []


def shared(folder: Path) -> SoftHsm:
    """The one of this process, made in `folder` if there is none yet."""
    if not _SHARED:
        _SHARED.append(SoftHsm(folder))
    return _SHARED[0]
