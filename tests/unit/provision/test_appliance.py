"""passevue.provision.appliance: a signed configuration that would shut people out of the box, or leave a zone without a
key, is refused in words; nothing changes.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from passevue.provision.appliance import PORTS
from tests.peers.pki import Pki
from tests.unit.provision.centre import Appliance, Prepared, prepared
from tests.unit.systemd.box_root import value


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def box(tmp_path: Path) -> Appliance:
    box = Appliance(tmp_path)
    box.claim()
    return box


@pytest.fixture
def right(pki: Pki, box: Appliance) -> Prepared:
    return prepared(pki, box.data_dir, pki.server("one.example"))


def hint(box: Appliance) -> str:
    return str(json.loads((box.data_dir / "config/done-configure.json").read_text())["hint"])


def tree(box: Appliance) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for folder in ("config", "credentials", "page")
        for path in (box.data_dir / folder).rglob("*")
        if path.is_file() and not path.name.startswith("done-")
    }


def _locked(found: Prepared) -> Prepared:
    key = load_pem_private_key(found.keys["page"]["page.pem"], None)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    return replace(found, keys=dict(found.keys) | {"page": {"page.pem": pem}})


def _swapped(found: Prepared) -> Prepared:
    return replace(found, keys=dict(found.keys) | {"page": {"page.pem": found.keys["national"]["auth.pem"]}})


def _broken(found: Prepared) -> Prepared:
    return replace(found, files=dict(found.files) | {"page.pem": b"no certificate"})


def _psc(found: Prepared) -> Prepared:
    psc = """[psc]
issuer = "https://psc.example"
client_id = "x"
redirect_url = "https://box.example/psc/retour"
certificate = "auth.pem"
key = "key_psc.pem"
"""
    return replace(found, more=psc)


WRONG: dict[str, tuple[Callable[[Prepared], Prepared], str]] = {
    "no TLS": (lambda p: replace(p, page="port = 443"), "[page.tls]"),
    "no certificate": (lambda p: p.without("page.pem"), "page.pem"),
    "no authority": (lambda p: p.without("authority.pem"), "authority.pem"),
    "no key": (lambda p: p.without("page/page.pem"), "[keys.page]"),
    "a key of another zone": (
        lambda p: replace(p, keys={"national": {**p.keys["national"], **p.keys["page"]}}), "[keys.page]",
    ),
    "another key": (_swapped, "n’est pas celle"),
    "a key with a password": (_locked, "sans mot de passe"),
    "no PEM": (_broken, "certificat PEM"),
    "a key without its prefix": (lambda p: replace(p, changed={'"key_page.pem"': '"page.pem"'}), "key_"),
    "a key by its path": (lambda p: replace(p, changed={'"key_page.pem"': '"/tmp/key_page.pem"'}), "sans dossier"),
    "another data folder": (lambda p: replace(p, data_dir="/srv/passevue"), "box.data_dir"),
    "another credentials folder": (lambda p: replace(p, box='credentials_dir = "/srv"'), "credentials_dir"),
    "another RIS port": (lambda p: replace(p, more="[ris]\nport = 2576"), "ris.port est 2575"),
    "another DICOM port": (lambda p: replace(p, more="[modality]\nport = 104"), "modality.port est 11112"),
    "another page port": (lambda p: replace(p, changed={"port = 443": "port = 8080"}), "page.port est 443"),
    "no key of Pro Santé Connect": (_psc, "key_psc.pem".removeprefix("key_")),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_shuts_the_box_is_refused_and_changes_nothing(what: str, box: Appliance, right: Prepared) -> None:
    change, words = WRONG[what]
    before = tree(box)
    assert box.give(change(right).document(7)) == 1
    assert words in hint(box)
    assert tree(box) == before
    assert box.give(right.document(7)) == 0, hint(box)


def test_the_shipped_example_is_refused_in_words(box: Appliance) -> None:
    from passevue.config_example import example

    document = f"schema = 1\nnumber = 7\nconfiguration = '''\n{example()}'''\n".encode()
    assert box.give(document) == 1
    assert hint(box)
    assert not (box.data_dir / "config/passevue.toml").exists()


def test_what_is_in_place_need_not_be_given_again(box: Appliance, right: Prepared, pki: Pki) -> None:
    assert box.give(right.document(7)) == 0, hint(box)
    kept = ("authority.pem", "auth.pem", "sign.pem", "national/auth.pem", "national/sign.pem")
    assert box.give(right.without(*kept, "page.pem", "page/page.pem").document(8)) == 0, hint(box)
    assert box.give(right.without("page/page.pem").document(9)) == 0, "the same certificate again"
    other = prepared(pki, box.data_dir, pki.server("two.example"))
    assert box.give(other.without("page/page.pem").document(10)) == 1
    assert "donnez aussi sa clé" in hint(box)
    assert box.give(other.document(10)) == 0, hint(box)
    assert (box.data_dir / "config/page.pem").read_bytes() == other.files["page.pem"]


def test_the_ports_are_those_on_which_systemd_listens() -> None:
    units = {"page.port": "page", "ris.port": "mllp", "modality.port": "dicom"}
    for key, unit in units.items():
        path = f"usr/lib/systemd/system/passevue-{unit}.socket"
        assert value(path, "Socket", "ListenStream") == str(PORTS[key])
