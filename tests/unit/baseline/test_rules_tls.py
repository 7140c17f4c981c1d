import json
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from passevue import config
from passevue.baseline.rule import Status
from passevue.baseline.rules import version_floor
from passevue.baseline.rules.cabinet_in_clear import RULE as CABINET_IN_CLEAR
from passevue.baseline.rules.clear_http_list import RULE as CLEAR_HTTP_LIST
from passevue.baseline.rules.revocation_hard_fail import RULE as REVOCATION_HARD_FAIL
from passevue.baseline.rules.version_floor import RULE as VERSION_FLOOR
from passevue.card.crl import der_name, read_dates
from passevue.errors import Unreadable
from passevue.intake.pacs_tls import pacs_context
from passevue.intake.tls import bare_listener_context
from passevue.national.servers import bare_context
from passevue.provision.first_certificate import context as first_page
from tests.peers.ans import Lists
from tests.peers.pki import Family, KeyPaths, Pki
from tests.peers.trusted import servers_of
from tests.unit.baseline.machines import NOW, SITE, Recorded, look, status

HOST = "dmp.essai.example"


@pytest.fixture
def box(tmp_path: Path, pki: Pki) -> Recorded:
    made = Recorded(tmp_path)
    made.manifest()
    made.configured()
    made.file(f"{SITE}/authority.pem", pki.authority.read_bytes())
    return made


def trusting(pki: Pki) -> ssl.SSLContext:
    """What opens TLS to the DMP."""
    servers = servers_of(pki)
    servers.load()
    return servers.context()


def contexts(pki: Pki) -> dict[str, ssl.SSLContext]:
    """Everything that the box opens or answers TLS with, without certificates of its own."""
    pacs = config.Pacs.model_construct(host="pacs", ae_title="PACS", authority=pki.authority, tls=None)
    return {
        "listeners": bare_listener_context(),
        "registry": trusting(pki),
        "psc": bare_context(),
        "pacs": pacs_context(pacs),
    }


def test_tls_1_2_or_better_passes(box: Recorded) -> None:
    assert status(VERSION_FLOOR, box.machine()) is Status.PASS


def test_an_older_version_of_one_kind_of_connection_fails() -> None:
    """What lowers it outside the code is OpenSSL's own configuration; the rule is given such contexts."""
    low = bare_context()
    low.minimum_version = ssl.TLSVersion.TLSv1_2
    low.maximum_version = ssl.TLSVersion.TLSv1_2
    assert version_floor.judge([("psc", low)]).status is Status.FAIL
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    assert version_floor.judge([("registry", old)]).status is Status.FAIL


def listening(pki: Pki, folder: Path) -> dict[str, ssl.SSLContext]:
    """Whatever the box answers TLS with: its listeners, and the page of a box that nobody has configured."""
    paths = pki.server("box.test")
    listener = bare_listener_context()
    listener.load_cert_chain(paths.certificate, paths.key)
    return {"listeners": listener, "first page": first_page(folder, "7F3A-90C1-22BE")}


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2])
def test_no_older_version_is_taken_by_any_listener_or_client(pki: Pki, tmp_path: Path, version: ssl.TLSVersion) -> None:
    """TLS-01, by handshakes: 1.2 is the control, which every one of them takes."""
    modern = version is ssl.TLSVersion.TLSv1_2
    old_client, old_server = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), serving(pki.server(HOST))
    old_client.check_hostname, old_client.verify_mode = False, ssl.CERT_NONE
    for old in (old_client, old_server):
        old.set_ciphers("ALL:@SECLEVEL=0")  # or OpenSSL would offer nothing so old
        old.minimum_version = old.maximum_version = version
    for server in listening(pki, tmp_path).values():
        if modern:
            handshake(server, old_client, "box.test")
        else:
            with pytest.raises(ssl.SSLError):
                handshake(server, old_client, "box.test")
    for name, client in contexts(pki).items():
        if name == "listeners":
            continue
        client.check_hostname, client.verify_mode = False, ssl.CERT_NONE  # who it is is TLS-03's matter
        if modern:
            handshake(old_server, client)
        else:
            with pytest.raises(ssl.SSLError):
                handshake(old_server, client)


def test_only_forward_secret_authenticated_suites_are_offered(pki: Pki) -> None:
    """TLS-02: by what OpenSSL says of each suite, not by its name."""
    for name, context in contexts(pki).items():
        for suite in context.get_ciphers():
            assert suite["aead"], (name, suite["name"])
            assert suite["kea"] in ("kx-ecdhe", "kx-any"), (name, suite["name"])  # any: TLS 1.3, always ephemeral
            assert suite["strength_bits"] >= 128


def test_no_shortcut_is_offered(pki: Pki) -> None:
    """TLS-05: no compression, no renegotiation; early data is never asked for by Python's ssl."""
    for name, context in contexts(pki).items():
        assert context.options & ssl.OP_NO_COMPRESSION, name
        assert context.options & ssl.OP_NO_RENEGOTIATION, name
        assert not hasattr(context, "max_early_data"), name


# --- TLS-03: who cannot prove who it is ------------------------------------------------------------------------------


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, host: str = HOST) -> None:
    """Both ends in memory. Raises: ssl.SSLError as the client does."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client.wrap_bio(to_client, to_server, server_hostname=host)
    far = server.wrap_bio(to_server, to_client, server_side=True)
    near_done = far_done = False
    for _ in range(20):
        for end, name in ((near, "near"), (far, "far")):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            if name == "near":
                near_done = True
            else:
                far_done = True
        if near_done and far_done:
            return
    raise AssertionError("the handshake did not end")


def serving(paths: KeyPaths) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(paths.certificate, paths.key)
    return context


def with_sha1(certificate: x509.Certificate, signer: rsa.RSAPrivateKey) -> bytes:
    """The same certificate, PEM, signed with SHA-1: what the library no longer makes."""
    sha256_with_rsa, sha1_with_rsa = bytes.fromhex("2a864886f70d01010b"), bytes.fromhex("2a864886f70d010105")
    tbs = certificate.tbs_certificate_bytes.replace(sha256_with_rsa, sha1_with_rsa)
    der = certificate.public_bytes(serialization.Encoding.DER).replace(sha256_with_rsa, sha1_with_rsa)
    der = der.replace(certificate.signature, signer.sign(tbs, padding.PKCS1v15(), hashes.SHA1()))
    return ssl.DER_cert_to_PEM_cert(der).encode()


def made(folder: Path, pki: Pki | None, *, sha1: bool = False) -> KeyPaths:
    """A server's certificate signed by `pki`'s authority, or by itself."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    issuer, signer = (pki._sub[0].subject, pki._sub[1]) if pki is not None else (name, key)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(issuer).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(signer, hashes.SHA256())
    )  # fmt: skip
    paths = KeyPaths(folder / "made.pem", folder / "made.key")
    chain = pki.authority.read_bytes() if pki is not None else b""
    pem = with_sha1(certificate, signer) if sha1 else certificate.public_bytes(serialization.Encoding.PEM)
    paths.certificate.write_bytes(pem + chain)
    paths.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


def test_a_server_that_proves_itself_is_spoken_to(pki: Pki) -> None:
    handshake(serving(pki.server(HOST)), trusting(pki))


@pytest.mark.parametrize(
    "wrong",
    ["self-signed", "SHA-1", "wrong name", "expired", "not yet valid", "revoked", "wrong use", "another authority"],
)
def test_a_server_that_cannot_prove_itself_is_refused(pki: Pki, tmp_path: Path, wrong: str) -> None:
    now, host, client = datetime.now(UTC), HOST, trusting(pki)
    dates: dict[str, Any] = {}
    family = Family.SERV_SSL_SERV
    match wrong:
        case "self-signed":
            with pytest.raises(ssl.SSLCertVerificationError):
                handshake(serving(made(tmp_path, None)), client)
            return
        case "SHA-1":
            server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            server.set_ciphers("DEFAULT@SECLEVEL=0")  # or it would not even offer it
            paths = made(tmp_path, pki, sha1=True)
            server.load_cert_chain(paths.certificate, paths.key)
            with pytest.raises(ssl.SSLCertVerificationError):
                handshake(server, client)
            handshake(serving(made(tmp_path, pki)), client)  # but for that it would do
            return
        case "wrong name":
            host = "another.essai.example"
        case "expired":
            dates = {"not_before": now - timedelta(days=30), "not_after": now - timedelta(days=1)}
        case "not yet valid":
            dates = {"not_before": now + timedelta(days=1), "not_after": now + timedelta(days=30)}
        case "revoked":
            pki = Pki(tmp_path / "pki")
            pki.revoke(pki.server(HOST).load()[0])
            client = trusting(pki)
        case "wrong use":
            family = Family.ORG_AUTH_CLI
        case _:
            client = trusting(Pki(tmp_path / "production", "production"))
    paths = pki.leaf(family, "318751275100020", common_name=HOST, names=(HOST,), organisation="ASIP-SANTE", **dates)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    chain = tmp_path / "chain.pem"
    chain.write_bytes(paths.certificate.read_bytes() + pki.authority.read_bytes())
    server.load_cert_chain(chain, paths.key)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, client, host)


# --- revocation, clear text ------------------------------------------------------------------------------------------


def crl(box: Recorded, pki: Pki, next_update: datetime = NOW + timedelta(days=5)) -> None:
    """The lists of both authorities, where the box keeps them."""
    for certificate, key in (pki._root, pki._sub):
        data = Lists(certificate, key).make(this_update=NOW - timedelta(hours=3), next_update=next_update)
        box.file(f"/var/lib/passevue/crl/test/{der_name(certificate).hex()[:32]}.crl", data)


@pytest.fixture
def with_cards(box: Recorded) -> Recorded:
    box.configured(trust={"authority": f"{SITE}/authority.pem"})
    return box


def test_lists_before_their_next_update_pass(with_cards: Recorded, pki: Pki) -> None:
    crl(with_cards, pki)
    assert status(REVOCATION_HARD_FAIL, with_cards.machine()) is Status.PASS


def test_a_list_past_its_next_update_fails_and_is_named(with_cards: Recorded, pki: Pki) -> None:
    crl(with_cards, pki, next_update=NOW - timedelta(minutes=1))
    finding = look(REVOCATION_HARD_FAIL, with_cards.machine())
    assert finding.status is Status.FAIL
    assert "AC IGC-SANTE ELEMENTAIRE ORGANISATIONS: ended 2026-11-21 09:59" in finding.observed


def test_a_list_that_never_came_fails(with_cards: Recorded) -> None:
    assert status(REVOCATION_HARD_FAIL, with_cards.machine()) is Status.FAIL


def test_without_cards_the_lists_of_the_dmps_servers_count(box: Recorded, pki: Pki) -> None:
    assert status(REVOCATION_HARD_FAIL, box.machine()) is Status.FAIL
    crl(box, pki)
    assert status(REVOCATION_HARD_FAIL, box.machine()) is Status.PASS


@pytest.mark.parametrize("section", ["psc", "trust"])
def test_the_lists_of_all_whom_the_box_believes_count(box: Recorded, pki: Pki, section: str, tmp_path: Path) -> None:
    other = Pki(tmp_path / "other")
    box.file(f"{SITE}/others.pem", other.authority.read_bytes())
    more = {"issuer": "https://psc.example/realm", "client_id": "x", "redirect_url": "https://x.example/retour"}
    box.configured(**{section: {"authority": f"{SITE}/others.pem"} | (more if section == "psc" else {})})
    crl(box, pki)
    finding = look(REVOCATION_HARD_FAIL, box.machine())
    assert finding.observed.count("none") == 2
    crl(box, other)
    assert look(REVOCATION_HARD_FAIL, box.machine()).observed.startswith("4 lists")


def test_one_stale_list_closes_nothing_else() -> None:
    assert REVOCATION_HARD_FAIL.narrow


def test_the_dates_of_a_list_are_at_its_beginning(pki: Pki) -> None:
    data = Lists(*pki._sub).make(
        revoked=range(1, 3000), this_update=NOW - timedelta(hours=1), next_update=NOW + timedelta(days=7)
    )
    assert read_dates(data[:1000]) == (NOW - timedelta(hours=1), NOW + timedelta(days=7))


@given(st.binary(max_size=300))
def test_any_bytes_have_dates_or_are_unreadable(data: bytes) -> None:
    try:
        read_dates(data)
    except Unreadable:
        return


def port_80(**chain: Any) -> str:
    match = {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 80}}
    return json.dumps(
        {"nftables": [{"rule": {"family": "inet", "table": "passevue", "handle": 9, "expr": [match, {"accept": None}],
                                **chain}}]}
    )  # fmt: skip


def sets(name: str, port: object) -> str:
    element = {"concat": ["192.0.2.1", port]}
    return json.dumps({"nftables": [{"set": {"family": "inet", "table": "passevue", "name": name, "elem": [element]}}]})


NO_RULES = json.dumps({"nftables": []})


def test_port_80_for_revocation_lists_alone_passes(box: Recorded) -> None:
    box.facts |= {"ruleset": NO_RULES, "ruleset_sets": sets("host_outside4", 80)}
    assert status(CLEAR_HTTP_LIST, box.machine()) is Status.PASS


@pytest.mark.parametrize("port", [80, {"range": [1, 1000]}])
def test_port_80_for_another_zone_fails(box: Recorded, port: object) -> None:
    box.facts |= {"ruleset": NO_RULES, "ruleset_sets": sets("national_outside4", port)}
    assert status(CLEAR_HTTP_LIST, box.machine()) is Status.FAIL


def test_another_port_is_no_matter(box: Recorded) -> None:
    box.facts |= {"ruleset": NO_RULES, "ruleset_sets": sets("national_outside4", 443)}
    assert status(CLEAR_HTTP_LIST, box.machine()) is Status.PASS


def test_a_rule_that_lets_port_80_through_fails(box: Recorded) -> None:
    box.facts |= {"ruleset": port_80(chain="output"), "ruleset_sets": NO_RULES}
    assert status(CLEAR_HTTP_LIST, box.machine()) is Status.FAIL


@pytest.mark.parametrize(
    ("senders", "expected"),
    [
        (["127.0.0.0/8"], Status.PASS),
        (["192.168.1.20/32", "10.1.2.0/24", "fd00::/64"], Status.PASS),
        (["10.0.0.0/8"], Status.FAIL),
        (["193.0.0.1/32"], Status.FAIL),
    ],
)
def test_clear_text_stays_on_small_private_networks(box: Recorded, senders: list[str], expected: Status) -> None:
    box.configured(ris={"senders": senders})
    assert status(CABINET_IN_CLEAR, box.machine()) is expected


def test_a_wide_network_under_tls_is_no_matter(box: Recorded) -> None:
    tls = {"certificate": f"{SITE}/ris.pem", "key": f"{SITE}/ris.key"}
    box.configured(ris={"senders": ["10.0.0.0/8"], "tls": tls}, modality={"callers": {"CT": ["10.2.0.0/16"]}})
    finding = look(CABINET_IN_CLEAR, box.machine())
    assert (finding.status, finding.observed) == (
        Status.FAIL, "1 of 1 networks in clear are wide or public, the first in modality.callers",
    )  # fmt: skip


PACS = {"host": "10.0.0.9", "ae_title": "PACS"}


@pytest.mark.parametrize(
    ("pacs", "expected"),
    [
        ({}, Status.PASS),
        ({"host": "193.0.0.1"}, Status.FAIL),
        ({"host": "193.0.0.1", "tls": {"certificate": f"{SITE}/p.pem", "key": f"{SITE}/p.key"}}, Status.PASS),
        ({"dicomweb_url": "http://193.0.0.1/dicom-web"}, Status.FAIL),
        ({"dicomweb_url": "https://193.0.0.1/dicom-web"}, Status.PASS),
        ({"host": "pacs.centre.example", "dicomweb_url": "http://pacs.centre.example/dicom-web"}, Status.PASS),
    ],
)
def test_the_pacs_is_spoken_to_in_clear_on_a_private_network_only(
    box: Recorded, pacs: dict[str, Any], expected: Status
) -> None:
    box.configured(pacs=PACS | pacs)
    assert status(CABINET_IN_CLEAR, box.machine()) is expected
