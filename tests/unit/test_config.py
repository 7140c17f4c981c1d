"""The configuration: the example is complete and true, every wrong key is named, hostile files are refused (N-23)."""

import os
import re
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from passevue.config import MAX_FILE_BYTES, Config, load, parse, read
from passevue.config_check import contradictions, load_checked
from passevue.config_example import FRENCH, example, settings
from passevue.config_files import check, wrong_files
from passevue.errors import ConfigError

MOVING_PACS = '[pacs]\nhost = "192.168.1.9"\nae_title = "PACS"\nour_ae_title = "AUTRE"\nretrieve = "c-move"\n'
PSC = '[psc]\nclient_id = "x"\nredirect_url = "http://127.0.0.1:8080/psc/retour"\n'
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def put(text: str) -> Path:
        path = tmp_path / "passevue.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return put


def _uncommented(text: str) -> str:
    return re.sub(r"(?m)^#(?=[\[a-z_]+\S* *[=\]]|\[)", "", text)


def _wrong(path: Path) -> list[str]:
    return [err.key for err in check(path, NOW)]


# --- the example ---------------------------------------------------------------------------------------------------


def test_the_example_is_a_configuration(write: Callable[[str], Path]) -> None:
    config = load(write(example()))
    assert config.structures[0].id == "1750000000"
    assert not list(contradictions(config))


def test_taking_every_comment_mark_away_gives_the_same_defaults(write: Callable[[str], Path]) -> None:
    bare = load(write(example()))
    text = _uncommented(example())
    assert not re.search(r"(?m)^#[a-z\[]", text)
    full = load(write(text))
    assert full.pacs is not None
    assert bare.images == full.images
    for section in ("ris", "page"):
        assert getattr(full, section).tls is not None
        assert getattr(full, section).model_copy(update={"tls": None}) == getattr(bare, section)


def test_every_setting_is_in_the_example_and_has_its_french_line() -> None:
    text = example()
    names = dict(settings())
    assert set(names) == set(FRENCH)
    for name in names:
        assert re.search(rf"(?m)^#?{re.escape(name.split('.')[1])} = ", text), name
    tree = tomllib.loads(_uncommented(text))
    for section, field in Config.model_fields.items():
        assert section in tree, field


# --- what is wrong -------------------------------------------------------------------------------------------------


def test_every_wrong_key_is_named_at_once(write: Callable[[str], Path]) -> None:
    text = example().replace("#port = 2575", 'port = 99999\nprot = 1\nidle_timeout_s = "long"')
    text = text.replace('oid = "1.2.250.1.213.9.9.1"', "")
    assert set(_wrong(write(text))) == {"ris.port", "ris.prot", "ris.idle_timeout_s", "box.oid"}
    hints = " ".join(err.hint for err in check(write(text), NOW))
    assert "réglage inconnu" in hints
    assert "au plus 65535" in hints
    assert "obligatoire" in hints


def test_loading_names_the_first_wrong_key(write: Callable[[str], Path]) -> None:
    with pytest.raises(ConfigError) as refused:
        load(write(example().replace("#realm =", "realms =")))
    assert refused.value.key == "box.realms"


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("#port = 8080", "port = 2575", "page.port"),
        ('#senders = ["127.0.0.0/8", "::1/128"]', 'senders = ["0.0.0.0/0"]', "ris.senders"),
        ("#callers = { SCANNER", 'callers = { X = ["::/0"] }\n#callers = { SCANNER', "modality.callers.X"),
        ("#commitment_peers = {", 'commitment_peers = { X = "nowhere" }\n#x = {', "modality.commitment_peers.X"),
        ('url = "https://dmp.exemple"', 'url = "http://dmp.exemple"', "registry.url"),
        ('url = "https://dmp.exemple"', 'url = "https://127.0.0.1:8443"', "registry.url"),
        ('url = "https://dmp.exemple"', 'url = "https://[::1]:8443"', "registry.url"),
        ("#max_connections_per_peer = 20", "max_connections_per_peer = 65", "ris.max_connections_per_peer"),
        ("#[psc]", f'{PSC}issuer = "http://psc.exemple"\n#[psc]', "psc.issuer"),
        ("#[psc]", f'{PSC}issuer = "https://psc.exemple"\nkey = "psc.key"\n#[psc]', "psc.certificate"),
        ("#[psc]", f'{PSC}issuer = "https://psc.exemple"\ncertificate = "psc.pem"\n#[psc]', "psc.key"),
        ("#[psc]", f'{PSC}issuer = "https://psc.exemple"\nlogout_url = "http://10.0.0.1"\n#[psc]', "psc.logout_url"),
        ("#[pacs]", f"{MOVING_PACS}#[pacs]", "pacs.our_ae_title"),
        ('#timezone = "Europe/Paris"', 'timezone = "Europe/Lutece"', "box.timezone"),
        ('#timezone = "Europe/Paris"', 'timezone = "../../etc/passwd"', "box.timezone"),
        ("#content_days = 7", "content_days = 4000", "queue.proof_days"),
    ],
)
def test_keys_that_contradict_each_other_are_named(write: Callable[[str], Path], old: str, new: str, key: str) -> None:
    assert old in example()
    with pytest.raises(ConfigError) as refused:
        load_checked(write(example().replace(old, new)))
    assert refused.value.key == key
    assert refused.value.hint


def test_a_test_box_may_speak_to_its_own_machine(write: Callable[[str], Path]) -> None:
    text = (
        example().replace('#realm = "production"', 'realm = "test"').replace("https://dmp.exemple", "https://localhost")
    )
    assert load_checked(write(text)).box.realm == "test"


def test_a_structure_twice_is_named(write: Callable[[str], Path]) -> None:
    text = example()
    block = text[text.index("[[structures]]") : text.index("# --- Le RIS")]
    with pytest.raises(ConfigError) as refused:
        load_checked(write(text.replace(block, block * 2)))
    assert refused.value.key == "structures.1.id"


# --- files ---------------------------------------------------------------------------------------------------------


def _pair(folder: Path, name: str, days: int = 100) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=400))
        .not_valid_after(NOW + timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pem = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / f"{name}.key").write_bytes(key.private_bytes(*pem))
    (folder / f"{name}.key").chmod(0o600)


@pytest.fixture
def site(tmp_path: Path, write: Callable[[str], Path]) -> Path:
    for name in ("auth_cli", "sign", "igc-sante"):
        _pair(tmp_path, name)
    return write(example())


def test_a_site_with_all_its_files_has_nothing_wrong(site: Path) -> None:
    assert check(site, NOW) == []


def test_files_that_are_not_there_are_named_by_key(write: Callable[[str], Path]) -> None:
    assert _wrong(write(example())) == [
        "registry.authority",
        "structures.0.auth_certificate",
        "structures.0.auth_key",
        "structures.0.sign_certificate",
        "structures.0.sign_key",
    ]


def test_an_expired_certificate_is_named_with_its_date(site: Path) -> None:
    _pair(site.parent, "sign", days=-2)
    (wrong,) = check(site, NOW)
    assert wrong.key == "structures.0.sign_certificate"
    assert "19/11/2026" in wrong.hint


def test_a_key_that_others_can_read_or_of_another_certificate_is_named(site: Path) -> None:
    (site.parent / "sign.key").chmod(0o644)
    (site.parent / "auth_cli.key").write_bytes((site.parent / "sign.key").read_bytes())
    assert _wrong(site) == ["structures.0.auth_key", "structures.0.sign_key"]


def test_a_zone_looks_at_its_own_keys_only(site: Path) -> None:
    (site.parent / "sign.key").unlink()
    (site.parent / "igc-sante.pem").unlink()
    config = load(site, {})
    assert [one.key for one in wrong_files(config, NOW, keys_of=("page.tls",))] == ["registry.authority"]
    keys = [one.key for one in wrong_files(config, NOW, keys_of=("structures.0",))]
    assert keys == ["registry.authority", "structures.0.sign_key"]


def test_a_file_that_is_not_pem_is_named(site: Path) -> None:
    (site.parent / "igc-sante.pem").write_bytes(b"\x00" * 100)
    (site.parent / "sign.key").write_bytes(b"hello")
    assert _wrong(site) == ["registry.authority", "structures.0.sign_key"]


def test_private_keys_come_from_where_systemd_hands_them_over(write: Callable[[str], Path], tmp_path: Path) -> None:
    config = load(write(example()), {"CREDENTIALS_DIRECTORY": "/run/credentials/box"})
    assert config.structures[0].sign_key == Path("/run/credentials/box/sign.key")
    assert config.structures[0].sign_certificate == tmp_path / "sign.pem"
    asked = example().replace("#credentials_dir", "credentials_dir")
    config = load(write(asked), {"CREDENTIALS_DIRECTORY": "/run/credentials/box"})
    assert config.structures[0].sign_key == Path("/run/credentials/passevue/sign.key")


def test_a_key_in_a_token_wants_its_library_and_a_closed_file_with_the_pin(site: Path) -> None:
    uri = "pkcs11:token=t;object=auth?module-path=%s&pin-source=jeton.pin"
    site.write_text(site.read_text().replace('"auth_cli.key"', f'"{uri % "/nowhere/p11.so"}"'))
    assert [err.hint for err in check(site, NOW)] == [
        "La bibliothèque /nowhere/p11.so du module de clés est absente : installez-la."
    ]
    library = site.parent / "p11.so"
    library.write_bytes(b"")
    site.write_text(site.read_text().replace("/nowhere/p11.so", str(library)))
    assert _wrong(site) == ["structures.0.auth_key"]  # no PIN
    pin = site.parent / "jeton.pin"
    pin.write_text("1234\n")
    pin.chmod(0o644)
    assert _wrong(site) == ["structures.0.auth_key"]
    pin.chmod(0o600)
    assert check(site, NOW) == []
    pin.write_text("\n")
    assert _wrong(site) == ["structures.0.auth_key"]
    site.write_text(site.read_text().replace("pin-source=", "pin-value="))
    wrong = check(site, NOW)[0]
    assert (wrong.key, "ne s'écrit pas ici" in wrong.hint) == ("structures.0.auth_key", True)


def test_pro_sante_connect_wants_a_key_of_its_own_beside_a_token(write: Callable[[str], Path]) -> None:
    uri = "pkcs11:token=t;object=auth?module-path=/p11.so&pin-source=jeton.pin"
    text = (
        example()
        .replace('"auth_cli.key"', f'"{uri}"')
        .replace("#[psc]", f'{PSC}issuer = "https://psc.exemple"\n#[psc]')
    )
    with pytest.raises(ConfigError) as refused:
        load_checked(write(text))
    assert refused.value.key == "psc.certificate"


# --- hostile files (N-23) ------------------------------------------------------------------------------------------


def test_a_link_a_folder_and_a_pipe_are_refused(write: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "link.toml").symlink_to(write(example()))
    os.mkfifo(tmp_path / "pipe.toml")
    for path in (tmp_path / "link.toml", tmp_path / "pipe.toml", tmp_path, Path("/dev/zero"), tmp_path / "absent"):
        with pytest.raises(ConfigError):
            load(path)


def test_a_file_is_taken_up_to_its_bound_and_refused_beyond(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    for size, taken in ((MAX_FILE_BYTES - 1, True), (MAX_FILE_BYTES, True), (MAX_FILE_BYTES + 1, False)):
        path.write_bytes(b"#" * size)
        if taken:
            assert len(read(path)) == size
        else:
            with pytest.raises(ConfigError, match="larger"):
                read(path)
    with path.open("wb") as sparse:
        sparse.truncate(1 << 30)
    with pytest.raises(ConfigError, match="larger"):
        read(path)


def test_what_is_shown_of_a_hostile_key_cannot_act_on_a_terminal(write: Callable[[str], Path]) -> None:
    text = example() + '"\\u001b[2J\\u202e' + "A" * 5000 + '" = 1\n'
    (wrong,) = check(write(text), NOW)
    assert wrong.key.isprintable()
    assert len(str(wrong)) < 400
    assert wrong.hint.isprintable()


def test_nested_brackets_do_not_exhaust_the_stack(write: Callable[[str], Path]) -> None:
    (wrong,) = check(write("a = " + "[" * 100_000), NOW)
    assert "TOML" in str(wrong)


@given(
    data=st.lists(
        st.sampled_from([b"[box]\n", b"port=", b"1", b'"', b"[", b"]", b"\xff", b"\xef\xbb\xbf", b"\n", b"{", b"="])
    ).map(b"".join)
    | st.binary(max_size=300)
)
def test_any_bytes_are_a_configuration_or_our_own_error(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(data)
    with pytest.raises(ConfigError):
        load(path)


@given(
    st.dictionaries(
        st.sampled_from([*Config.model_fields, "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "\x00", "é", "{x}"]),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["port", "tls"]), inner),
            max_leaves=6,
        ),
    )
)
def test_any_tree_is_refused_with_named_keys(tree: dict[str, object]) -> None:
    found = parse(_toml(tree), Path("/nowhere/x.toml"), {})
    assert isinstance(found, list)
    assert all(err.key and err.hint for err in found)


def _toml(tree: dict[str, object]) -> str:
    def value(item: object) -> str:
        match item:
            case None:
                return '""'
            case bool():
                return str(item).lower()
            case str():
                return '"' + "".join(f"\\U{ord(c):08x}" for c in item if not 0xD800 <= ord(c) < 0xE000) + '"'
            case list():
                return "[" + ",".join(map(value, item)) + "]"
            case dict():
                return "{" + ",".join(f"{key}={value(inner)}" for key, inner in item.items()) + "}"
        return str(item) if isinstance(item, int) else repr(item)

    return "\n".join(f"{key} = {value(item)}" for key, item in tree.items())
