"""Makes a box out of a machine that has booted for the first time: configuration, certificates, sealed keys.

As a site does it, by the first page: claimed with the code on its screen, then given a configuration that is signed.
The neighbours are the tests' peers, which the guest sees at 10.0.2.2.
"""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import load_pem_x509_certificates

from passevue.provision.package import key_pem
from tests.image.machine import HOST, Machine
from tests.image.screen import code_on, screen
from tests.image.waiting import eventually
from tests.peers.ans import Ans, lists_of
from tests.peers.pki import Pki
from tests.peers.pki_persons import Persons
from tests.peers.ris import Site as Centre

CENTRE = Centre()
PASSWORD = "une phrase bien longue"
FORM_S = 300  # keys are sealed by an emulated TPM, on a machine with other work
DMP_PORT = 18_443  # of the peer on this host, where a test starts one


class Site:
    """Certificates of one centre, in a folder of this host, and what the box is told of it."""

    def __init__(self, folder: Path) -> None:
        self.pki = Pki(folder)
        self.keys = self.pki.structure(CENTRE.id)
        self.page = self.pki.server("127.0.0.1")
        self.persons = Persons(folder / "persons")
        self.signer = _kept_key(folder / "signer")
        self.recovery = folder / "recovery-key"  # as the page has shown it

    @property
    def fingerprint(self) -> str:
        """Of the page's certificate, the first of its file: SHA-256, hexadecimal."""
        return load_pem_x509_certificates(self.page.certificate.read_bytes())[0].fingerprint(SHA256()).hex()

    def configuration(self, more: Mapping[str, Mapping[str, Any]] | None = None) -> str:
        sections: dict[str, dict[str, Any]] = {
            "box": {
                "name": "Boîtier d'essai",
                "data_dir": "/var/lib/passevue",
                "oid": "1.2.250.1.999.1.1.8121",
                "realm": "test",
                "retrieve_url": "https://db.essai.example/wado",
            },
            "registry": {
                "url": f"https://{HOST}:{DMP_PORT}/si-dmp-server/v2/services",
                "authority": "authority.pem",
                "lps_homologation": "ESSAI-0001",
            },
            "ris": {"host": "0.0.0.0", "senders": ["10.0.0.0/8"]},
            "modality": {"host": "0.0.0.0", "callers": {"MODALITE": ["10.0.0.0/8"]}},
            "page": {
                "host": "0.0.0.0",
                "port": 443,
                "names": ["127.0.0.1"],
                "tls": {"certificate": "page.pem", "key": "key_page.pem"},
            },
            "trust": {"authority": "persons.pem"},
        }
        for name, values in (more or {}).items():
            sections[name] = {**sections.get(name, {}), **values}
        lines = [_table(name, values) for name, values in sections.items()]
        structure = {
            "id": CENTRE.id,
            "name": CENTRE.name,
            "auth_certificate": "auth.pem",
            "auth_key": "key_auth.pem",
            "sign_certificate": "sign.pem",
            "sign_key": "key_sign.pem",
        }
        text = "\n".join([*lines, "[[structures]]", *_pairs(structure)]) + "\n"
        tomllib.loads(text)
        return text

    async def configure(self, machine: Machine, ans: Ans) -> None:
        """`ans`, on this host, has the revocation lists of both authorities."""
        urls = ans.serve_all(lists_of(self.pki) | lists_of(self.persons))
        lists = {"crl": {"urls": {name: url.replace("127.0.0.1", HOST) for name, url in urls.items()}}}
        document = self.package(lists)
        code = code_on(await eventually(lambda: screen(machine), lambda text: bool(code_on(text)), FORM_S))
        key = key_pem(self.signer.public_key()).decode()
        await self._told(machine, "/claim", "est à vous", code=code, password=PASSWORD, again=PASSWORD, key=key)
        shown = await self._told(machine, "/recovery", 'id="recovery-key"', password=PASSWORD, act="show")
        self.recovery.write_text(shown.partition('id="recovery-key">')[2].partition("<")[0])
        files = {"document": document, "signature": self.signer.sign(document)}
        await self._told(machine, "/configuration", "Configuration en place", password=PASSWORD, **files)

    def package(self, more: Mapping[str, Mapping[str, Any]], number: int = 1) -> bytes:
        """A provisioning file, as who prepares the centre's configurations makes it (`passevue.provision.package`)."""
        files = {
            "authority.pem": self.pki.authority,
            "auth.pem": self.keys.auth_certificate,
            "sign.pem": self.keys.sign_certificate,
            "page.pem": self.page.certificate,
            "persons.pem": self.persons.authority,
        }
        national = {"auth.pem": self.keys.auth_key, "sign.pem": self.keys.sign_key}
        tables = {"files": files, "keys.national": national, "keys.page": {"page.pem": self.page.key}}
        head = _pairs({"schema": 1, "number": number, "configuration": self.configuration(more)})
        texts = {
            name: {json.dumps(each): path.read_text() for each, path in table.items()} for name, table in tables.items()
        }
        return "\n".join([*head, *(_table(name, table) for name, table in texts.items())]).encode()

    async def _told(self, machine: Machine, path: str, expected: str, **fields: str | bytes) -> str:
        """What the first page answers to a form, which must hold these words."""
        page = f"https://127.0.0.1:{machine.ports['page']}"
        form = aiohttp.FormData()
        for name, value in fields.items():
            form.add_field(name, value, filename=name if isinstance(value, bytes) else None)
        timeout = aiohttp.ClientTimeout(total=FORM_S)
        async with (
            aiohttp.ClientSession(timeout=timeout) as browser,
            browser.post(page + path, data=form, headers={"Origin": page}, ssl=False) as answer,
        ):
            said = await answer.text()
            assert expected in said, f"{path}: {answer.status} {said[:2000]}"
            return said

    async def has_lists(self, machine: Machine) -> None:
        """Wait until the revocation lists have come: no card is read without."""
        script = "until [ $(find /var/lib/passevue/crl -type f -name '*.crl' | wc -l) -ge 4 ]; do sleep 2; done"
        await machine.console.run("sh", "-c", script, timeout_s=600)

    async def ready(self, machine: Machine) -> None:
        """Wait until every zone of the configured box runs."""
        for zone in ("intake", "national", "page", "host"):
            await machine.console.run(
                "sh", "-c", f"until systemctl -q is-active passevue-{zone}; do sleep 1; done", timeout_s=300
            )


def _kept_key(file: Path) -> Ed25519PrivateKey:
    """The same one for as long as the box that trusts it is kept."""
    if not file.exists():
        file.write_bytes(Ed25519PrivateKey.generate().private_bytes_raw())
    return Ed25519PrivateKey.from_private_bytes(file.read_bytes())


async def put(machine: Machine, path: str, data: bytes, *, mode: str = "0640", owner: str = "root:passevue") -> None:
    """A file of the guest, written by rename, as the box itself does."""
    script = 'cat >"$1.new" && chown "$2" "$1.new" && chmod "$3" "$1.new" && sync "$1.new" && mv "$1.new" "$1"'
    await machine.console.run("sh", "-c", script, "sh", path, owner, mode, stdin=data)


def _table(name: str, values: Mapping[str, Any]) -> str:
    return "\n".join([f"[{name}]", *_pairs(values), ""])


def _pairs(values: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {_value(value)}" for key, value in values.items()]


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_value(one)}" for key, one in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)  # strings, numbers, booleans and lists are TOML as they are JSON
