"""passevue.provision.package and configure: only what the trusted key signed, newer, for this box and right as a
whole.
"""

import base64
import json
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from passevue.config_example import example
from passevue.errors import BoxError, ConfigError, Refused, StoreError, TrustError, Unreadable
from passevue.provision import configure, package
from passevue.provision.configure import Desk
from passevue.provision.package import Package
from passevue.update.machine import Machine
from passevue.update.orders import Orders, Wish

KEY, OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32)), Ed25519PrivateKey.from_private_bytes(b"1" * 32)
NOW = datetime.now(UTC)


def document(number: int = 7, configuration: str | None = None, more: str = "") -> bytes:
    text = example() if configuration is None else configuration
    return f"schema = 1\nnumber = {number}\n{more}\nconfiguration = '''\n{text}'''\n".encode()


def test_the_file_that_the_readme_shows_is_one() -> None:
    (shown,) = re.findall(r"```toml\n(.*?)```", (Path(package.__file__).parent / "README.md").read_text(), re.DOTALL)
    found = package.read(shown.encode())
    assert (found.number, found.serial, set(found.files), set(found.keys)) == (
        7,
        "7F3A-90C1-22BE",
        {"dmp.pem"},
        {"national"},
    )


def desk(data_dir: Path, traced: list[str] | None = None) -> Desk:
    root = data_dir / "root"
    (root / "etc").mkdir(parents=True, exist_ok=True)
    (root / "etc/machine-id").write_text("7f3a90c122be00000000000000000000\n")
    told = traced if traced is not None else []

    def seal(name: str, content: bytes, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"sealed " + name.encode())

    return Desk(data_dir, Machine(root), lambda what, by, said: told.append(what), seal)


def order(data_dir: Path, **values: object) -> int:
    Orders(data_dir).put(Wish.CONFIGURE, "site-admin", NOW, values)
    return configure.work(data_dir, desk(data_dir), (), NOW)


def uploaded(data_dir: Path, content: bytes, signature: bytes) -> dict[str, object]:
    names = {}
    for kind, data in (("document", content), ("signature", signature)):
        path, file = Orders(data_dir).draft(".toml" if kind == "document" else ".sig")
        with file:
            file.write(data)
        names[kind] = path.name
    return {**names}


def claimed(data_dir: Path) -> None:
    assert order(data_dir, key=package.key_pem(KEY.public_key()).decode()) == 0


def given_signed(data_dir: Path, content: bytes, key: Ed25519PrivateKey = KEY) -> int:
    return order(data_dir, **uploaded(data_dir, content, base64.b64encode(key.sign(content))))


def told(data_dir: Path) -> dict[str, object]:
    return json.loads((data_dir / "config/done-configure.json").read_text())


def test_from_the_claim_to_the_second_configuration(tmp_path: Path) -> None:
    claimed(tmp_path)
    (tmp_path / "page").mkdir()
    (tmp_path / "page/first.key").write_text("key")
    files = "serial = '7F3A-90C1-22BE'\n[files]\n'dmp.pem' = 'a certificate'\n[keys.national]\n'auth.key' = 'secret'\n"
    content = document(7) + files.encode()
    head, tail = files.split("\n", 1)
    content = document(7, more=head) + tail.encode()
    assert given_signed(tmp_path, content) == 0, told(tmp_path)
    folder = tmp_path / "config"
    assert "[registry]" in (folder / "passevue.toml").read_text()
    assert (folder / "dmp.pem").read_bytes() == b"a certificate"
    assert (folder / "passevue.toml").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "credentials/national/auth.key").read_bytes() == b"sealed key_auth.key"
    assert not list((tmp_path / "orders").glob("*.toml")), "an upload may hold keys"
    assert not (tmp_path / "page/first.key").exists()
    assert given_signed(tmp_path, document(8, example() + "\n# again\n")) == 0
    assert "# again" in (folder / "passevue.toml").read_text()
    assert configure.number_in_place(tmp_path) == 8


def test_a_signature_made_as_the_readme_says_is_taken(tmp_path: Path) -> None:
    claimed(tmp_path)
    for number, ends in ((7, b"\n"), (8, b"\r\n")):
        content = document(number)
        lines = base64.encodebytes(KEY.sign(content)).replace(b"\n", ends)  # as base64(1): broken at 76 characters
        assert lines.count(ends) == 2
        assert order(tmp_path, **uploaded(tmp_path, content, lines)) == 0, told(tmp_path)


def test_what_power_cut_short_may_be_given_again(tmp_path: Path) -> None:
    claimed(tmp_path)
    assert given_signed(tmp_path, document(6)) == 0
    number = (tmp_path / "config/provisioning.json").read_bytes()
    assert given_signed(tmp_path, document(7)) == 0
    (tmp_path / "config/provisioning.json").write_bytes(number)  # the last write, which did not come
    assert given_signed(tmp_path, document(7)) == 0, told(tmp_path)
    assert configure.number_in_place(tmp_path) == 7
    (tmp_path / "config/provisioning.json").unlink()
    (tmp_path / "config/provisioning.json").mkdir()  # takes no number: then the configuration is in place all the same
    assert given_signed(tmp_path, document(8, example() + "\n# eight\n")) == 1
    assert "# eight" in (tmp_path / "config/passevue.toml").read_text()
    (tmp_path / "config/provisioning.json").rmdir()
    assert configure.work(tmp_path, desk(tmp_path), (), NOW) == 0, "the next start goes on with it"
    assert configure.number_in_place(tmp_path) == 8


def test_a_key_that_cannot_be_encrypted_changes_nothing(tmp_path: Path) -> None:
    claimed(tmp_path)
    keys = "\n[files]\n'dmp.pem' = '{0}'\n[keys.national]\n'auth.key' = '{0}'\n'sign.key' = '{0}'\n"
    assert given_signed(tmp_path, document(6) + keys.format("old").encode()) == 0
    here = desk(tmp_path)

    def seal(name: str, content: bytes, target: Path) -> None:
        if name == "key_sign.key":
            raise StoreError("the TPM does not answer")
        target.write_bytes(b"sealed anew")

    content = document(7) + keys.format("new").encode()
    Orders(tmp_path).put(Wish.CONFIGURE, "x", NOW, uploaded(tmp_path, content, KEY.sign(content)))
    assert configure.work(tmp_path, Desk(tmp_path, here.machine, here.trace, seal), (), NOW) == 1
    assert "rien n’a changé" in str(told(tmp_path)["hint"])
    assert (tmp_path / "config/dmp.pem").read_bytes() == b"old"
    zone = tmp_path / "credentials/national"
    assert {path.name: path.read_bytes() for path in zone.iterdir()} == {
        "auth.key": b"sealed key_auth.key", "sign.key": b"sealed key_sign.key",
    }  # fmt: skip
    assert given_signed(tmp_path, content) == 0, told(tmp_path)


@pytest.mark.parametrize(
    ("content", "signature", "why"),
    [
        (document(), base64.b64encode(OTHER.sign(document())), "signature"),
        (document(), b"", "signature"),
        (document(), b"\xff" * 64, "signature"),
        (document(), b"@@@@", "signature"),
        (document() + b"\n# more", base64.b64encode(KEY.sign(document())), "signature"),
        (document()[:-20], base64.b64encode(KEY.sign(document()[:-20])), "lisible"),
        (document(6), base64.b64encode(KEY.sign(document(6))), "plus récente"),
        (b"\xff\xfe", KEY.sign(b"\xff\xfe"), "lisible"),
    ],
)
def test_what_is_not_signed_newer_and_whole_changes_nothing(
    tmp_path: Path, content: bytes, signature: bytes, why: str
) -> None:
    claimed(tmp_path)
    assert given_signed(tmp_path, document(6)) == 0
    before = (tmp_path / "config/passevue.toml").read_bytes()
    assert order(tmp_path, **uploaded(tmp_path, content, signature)) == 1
    assert told(tmp_path)["ok"] is False
    assert why in str(told(tmp_path)["hint"])
    assert (tmp_path / "config/passevue.toml").read_bytes() == before


@pytest.mark.parametrize(
    ("configuration", "key"),
    [("[box]\nname = 1\n", "box"), ("not toml [", "toml"), (example().replace("[ris]", "[rys]"), "rys"), ("", "box")],
)
def test_a_configuration_that_config_check_refuses_is_not_put_in_place(
    tmp_path: Path, configuration: str, key: str
) -> None:
    claimed(tmp_path)
    assert given_signed(tmp_path, document(7, configuration)) == 1
    assert told(tmp_path)["code"] == "ConfigError"
    assert not (tmp_path / "config/passevue.toml").exists()


def test_for_another_box_it_is_refused(tmp_path: Path) -> None:
    claimed(tmp_path)
    assert given_signed(tmp_path, document(more="serial = '0000-0000-0000'")) == 1
    assert told(tmp_path)["code"] == "other-box"


def test_a_key_is_trusted_once(tmp_path: Path) -> None:
    assert given_signed(tmp_path, document()) == 1  # nobody is trusted yet
    claimed(tmp_path)
    assert order(tmp_path, key=package.key_pem(OTHER.public_key()).decode()) == 1
    assert told(tmp_path)["code"] == "claimed"
    assert given_signed(tmp_path, document(), OTHER) == 1
    assert given_signed(tmp_path, document()) == 0


@pytest.mark.parametrize("pem", ["", "x", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "y" * 5000])
def test_what_is_no_key_is_refused(tmp_path: Path, pem: str) -> None:
    assert order(tmp_path, key=pem) == 1
    assert not (tmp_path / "config/provisioning.pub").exists()


def test_a_key_of_another_kind_is_refused() -> None:
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    with pytest.raises(Unreadable):
        package.trusted_key(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def test_uploads_that_are_too_large_missing_or_elsewhere_are_refused(tmp_path: Path) -> None:
    claimed(tmp_path)
    names = uploaded(tmp_path, b"x" * (package.MAX_BYTES + 1), b"x")
    assert order(tmp_path, **names) == 1
    assert "trop gros" in str(told(tmp_path)["hint"])
    assert order(tmp_path, document="../../etc/passwd", signature="x.sig") == 1
    assert order(tmp_path, document="none.toml", signature="none.sig") == 1
    assert order(tmp_path) == 1


def test_without_an_audit_trail_nothing_happens(tmp_path: Path) -> None:
    claimed(tmp_path)
    here = desk(tmp_path)

    def full(what: str, by: str, said: str) -> None:
        raise StoreError("the trail is full", hint="plein")

    Orders(tmp_path).put(Wish.CONFIGURE, "x", NOW, uploaded(tmp_path, document(), KEY.sign(document())))
    broken = Desk(here.data_dir, here.machine, full, here.seal)
    assert configure.work(tmp_path, broken, (), NOW) == 1
    assert told(tmp_path)["hint"] == "plein"
    assert not (tmp_path / "config/passevue.toml").exists()
    assert not [*(tmp_path / "orders").glob("*.toml"), *(tmp_path / "orders").glob("*.sig")], "it may hold keys"


def test_an_order_is_carried_out_once_and_while_it_is_young(tmp_path: Path) -> None:
    claimed(tmp_path)
    assert given_signed(tmp_path, document()) == 0
    (tmp_path / "config/passevue.toml").unlink()
    assert configure.work(tmp_path, desk(tmp_path), (), NOW) == 0
    assert configure.work(tmp_path, desk(tmp_path), (), NOW + timedelta(hours=1)) == 0
    assert not (tmp_path / "config/passevue.toml").exists()


def test_an_order_that_comes_while_another_is_carried_out_is_not_lost(tmp_path: Path) -> None:
    claimed(tmp_path)
    key = "\n[keys.national]\n'auth.key' = 'secret'\n"
    first, second = document(7) + key.encode(), document(8) + key.encode()
    here, asked = desk(tmp_path), []

    def seal(name: str, content: bytes, target: Path) -> None:
        if not asked:  # somebody presses the button again
            names = uploaded(tmp_path, second, KEY.sign(second))
            asked.append(Orders(tmp_path).put(Wish.CONFIGURE, "site-admin", NOW, names).id)
        target.write_bytes(b"sealed")

    one = Orders(tmp_path).put(Wish.CONFIGURE, "site-admin", NOW, uploaded(tmp_path, first, KEY.sign(first)))
    answered = []
    while (tmp_path / "orders/configure.json").exists():  # PathExists= of passevue-configure.path
        assert configure.work(tmp_path, Desk(tmp_path, here.machine, here.trace, seal), (), NOW) == 0
        answered.append(told(tmp_path)["id"])
    assert answered == [one.id, *asked]
    assert configure.number_in_place(tmp_path) == 8
    assert not [*(tmp_path / "orders").glob("*.toml"), *(tmp_path / "orders").glob("*.sig")], "it may hold keys"


@pytest.mark.parametrize("left", ["{}", "not an order", '{"schema": 2}'])
def test_what_is_no_order_does_not_start_the_program_for_ever(tmp_path: Path, left: str) -> None:
    (tmp_path / "orders").mkdir()
    (tmp_path / "orders/configure.json").write_text(left)
    (tmp_path / "orders/configure.json").chmod(0o640)
    traced: list[str] = []
    assert configure.work(tmp_path, desk(tmp_path, traced), (), NOW) == 1
    assert not list((tmp_path / "orders").iterdir())
    assert configure.work(tmp_path, desk(tmp_path, traced), (), NOW) == 0
    assert traced == ["configuration-refused"]


def test_an_order_that_somebody_else_may_have_written_is_audited_and_gone(tmp_path: Path) -> None:
    claimed(tmp_path)
    records: list[tuple[str, str, str]] = []
    here = desk(tmp_path)
    told_to = Desk(here.data_dir, here.machine, lambda *record: records.append(record), here.seal)
    Orders(tmp_path).put(Wish.CONFIGURE, "site-admin", NOW, uploaded(tmp_path, document(), KEY.sign(document())))
    (tmp_path / "orders/configure.json").chmod(0o666)
    assert configure.work(tmp_path, told_to, (), NOW) == 1
    assert configure.work(tmp_path, told_to, (), NOW) == 0
    words = "order configure: TrustError an order that was not put there by the page or by root"
    assert records == [("configuration-refused", "", words)], "whoever it names has not asked"
    assert not (tmp_path / "config/passevue.toml").exists()


def test_uploads_are_their_owners_alone_and_do_not_stay(tmp_path: Path) -> None:
    orders = Orders(tmp_path)
    waits, lost = uploaded(tmp_path, document(), b"x"), uploaded(tmp_path, document(), b"x")
    for name in map(str, waits.values()):
        assert (tmp_path / "orders" / name).stat().st_mode & 0o777 == 0o600
    orders.put(Wish.CONFIGURE, "site-admin", NOW, waits)
    path, file = orders.draft(".raucb", 0o640)
    file.close()
    orders.clear(NOW)  # the page starts
    left = {each.name for each in (tmp_path / "orders").iterdir()}
    assert left == {"configure.json", path.name, *map(str, waits.values())}
    assert not left & set(map(str, lost.values()))
    orders.clear(NOW + timedelta(hours=1))  # nobody carries this order out any more
    assert {each.name for each in (tmp_path / "orders").iterdir()} == {"configure.json", path.name}


def test_the_root_program_removes_uploads_that_the_page_left_long_ago(tmp_path: Path) -> None:
    names = [tmp_path / "orders" / str(name) for name in uploaded(tmp_path, document(), b"x").values()]
    configure.work(tmp_path, desk(tmp_path), (), NOW)
    assert all(path.exists() for path in names), "they may still be on their way"
    for path in names:
        os.utime(path, (0, 0))
    configure.work(tmp_path, desk(tmp_path), (), NOW)
    assert not any(path.exists() for path in names)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_document_of_another_user_is_refused(tmp_path: Path) -> None:
    claimed(tmp_path)
    names = uploaded(tmp_path, document(), KEY.sign(document()))
    os.chown(tmp_path / "orders" / str(names["document"]), 4321, -1)
    assert order(tmp_path, **names) == 1
    assert told(tmp_path)["code"] == "TrustError"


@given(st.binary(max_size=2000))
def test_any_bytes_are_a_package_or_refused(data: bytes) -> None:
    for text in (data, b"schema = 1\nnumber = 3\n" + data):
        with pytest.raises(Unreadable):
            package.read(text)


KEYS = ["number", "configuration", "serial", "files", "keys", "else"]
VALUES = [
    *("1", "-1", "true", "'x'", "[]", "{}", "1.5", "99999999999", "{ 'a.pem' = 'x' }", "{ '../a.pem' = 'x' }"),
    *("{ national = { 'a.key' = 'x' } }", "{ host = {} }", "{ national = 1 }"),
]


@given(st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES)))
def test_any_values_are_a_package_or_refused(values: dict[str, str]) -> None:
    text = "schema = 1\n" + "".join(f"{key} = {value}\n" for key, value in values.items())
    try:
        found = package.read(text.encode())
    except Unreadable:
        return
    assert isinstance(found, Package)
    assert found.number > 0
    assert not any("/" in name or name.startswith(".") for name in found.files)


def test_deep_brackets_cost_nothing() -> None:
    with pytest.raises(Unreadable):
        package.read(b"schema = 1\nx = " + b"[" * 500_000)


def test_errors_are_ours() -> None:
    assert issubclass(TrustError, BoxError)
    assert issubclass(ConfigError, BoxError)
    with pytest.raises(Refused):
        package.check(Package(3, ""), 3, "X")
