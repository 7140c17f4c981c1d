"""A centre that prepares configurations for one appliance, and the root program there, as systemd starts it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from passevue.provision import configure, package
from passevue.provision.configure import Desk
from passevue.update.machine import Machine
from passevue.update.orders import Orders, Wish
from tests.peers.pki import KeyPaths, Pki

SIGNER = Ed25519PrivateKey.from_private_bytes(bytes(32))
Seal = Callable[[str, bytes, Path], None]


@dataclass(frozen=True)
class Prepared:
    """What a provisioning file says."""

    data_dir: str
    files: Mapping[str, bytes]
    keys: Mapping[str, Mapping[str, bytes]]
    page: str = 'port = 443\n[page.tls]\ncertificate = "page.pem"\nkey = "key_page.pem"\n'
    box: str = ""
    more: str = ""
    changed: Mapping[str, str] = field(default_factory=dict)

    @property
    def configuration(self) -> str:
        text = f"""[box]
name = "Cabinet"
data_dir = "{self.data_dir}"
oid = "1.2.250.1.999.1"
realm = "test"
retrieve_url = "https://db.essai.example/wado"
{self.box}
[registry]
url = "https://127.0.0.1:9"
authority = "authority.pem"
lps_homologation = "ESSAI-0001"
[[structures]]
id = "1750000000"
name = "Cabinet"
auth_certificate = "auth.pem"
auth_key = "key_auth.pem"
sign_certificate = "sign.pem"
sign_key = "key_sign.pem"
{self.more}
[page]
{self.page}
"""
        for before, after in self.changed.items():
            assert before in text
            text = text.replace(before, after)
        return text

    def document(self, number: int) -> bytes:
        tables = {"files": self.files} | {f"keys.{zone}": keys for zone, keys in self.keys.items()}
        lines = [f"schema = 1\nnumber = {number}\nconfiguration = '''\n{self.configuration}'''\n"]
        for table, entries in tables.items():
            lines.append(
                f"[{table}]\n" + "".join(f"'{name}' = '''{data.decode()}'''\n" for name, data in entries.items())
            )
        return "".join(lines).encode()

    def without(self, *names: str) -> "Prepared":
        """Less these files, and these keys (`zone/name`)."""
        files = {name: data for name, data in self.files.items() if name not in names}
        keys = {
            zone: {name: data for name, data in found.items() if f"{zone}/{name}" not in names}
            for zone, found in self.keys.items()
        }
        return replace(self, files=files, keys=keys)


def prepared(pki: Pki, data_dir: Path, page: KeyPaths) -> Prepared:
    structure = pki.structure("1750000000")
    return Prepared(
        str(data_dir),
        {
            "authority.pem": pki.authority.read_bytes(),
            "auth.pem": structure.auth_certificate.read_bytes(),
            "sign.pem": structure.sign_certificate.read_bytes(),
            "page.pem": page.certificate.read_bytes(),
        },
        {
            "national": {"auth.pem": structure.auth_key.read_bytes(), "sign.pem": structure.sign_key.read_bytes()},
            "page": {"page.pem": page.key.read_bytes()},
        },
    )


def machine(root: Path) -> Machine:
    """An appliance."""
    (root / "etc").mkdir(parents=True, exist_ok=True)
    (root / "etc/machine-id").write_text("7f3a90c122be00000000000000000000\n")
    (root / "etc/os-release").write_text("IMAGE_ID=passevue\nIMAGE_VERSION=1.4.2\n")
    return Machine(root)


def kept_open(name: str, content: bytes, target: Path) -> None:
    """In place of systemd-creds: the key as it is, for tests that use it."""
    target.write_bytes(content)


@dataclass(frozen=True)
class Appliance:
    """Its data folder, and who is root there."""

    data_dir: Path
    seal: Seal = kept_open

    def work(self) -> int:
        """One run of the program; `configure.json` gone, systemd starts it no more."""
        here = machine(self.data_dir / "root")
        desk = Desk(self.data_dir, here, lambda what, by, said: None, self.seal)
        return configure.work(self.data_dir, desk, (), datetime.now(UTC))

    def claim(self) -> None:
        for name in ("config", "credentials", "page"):
            (self.data_dir / name).mkdir(exist_ok=True)
        self.put({"key": package.key_pem(SIGNER.public_key()).decode()})
        assert self.work() == 0

    def put(self, values: Mapping[str, object]) -> str:
        return Orders(self.data_dir).put(Wish.CONFIGURE, "site-admin", datetime.now(UTC), values).id

    def send(self, document: bytes) -> str:
        """As the page: both files, then the order."""
        names = {}
        for kind, data in (("document", document), ("signature", SIGNER.sign(document))):
            path, file = Orders(self.data_dir).draft(".toml" if kind == "document" else ".sig")
            with file:
                file.write(data)
            names[kind] = path.name
        return self.put(names)

    def give(self, document: bytes) -> int:
        self.send(document)
        return self.work()
