"""`openssl s_server -Verify`, which we did not write, accepts the connection that a card opens: the card is in a reader
of a pcscd, its code was given, and it signs."""

import re
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests.interop.card_at_hand import OPENSSL, Child, SServer, card_at_hand, s_server
from tests.peers import pcsc
from tests.peers.card import Kind
from tests.peers.pcsc import Pcscd
from tests.peers.pki import Pki
from tests.peers.pki_persons import Persons

pytestmark = [
    pytest.mark.skipif(OPENSSL is None, reason="openssl is not installed (tests/packages.txt)"),
    pytest.mark.skipif(bool(pcsc.why_not()), reason=pcsc.why_not() or "-"),
]
CARD_S = 0.8  # what the card takes to sign; a loop that waits for it stands still as long (the figure: tests/bench)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def persons(tmp_path_factory: pytest.TempPathFactory) -> Persons:
    return Persons(tmp_path_factory.mktemp("persons"))


def asking(pcscd: Pcscd, server: SServer, pki: Pki, persons: Persons, folder: Path, times: int = 1) -> Child:
    chain = folder / "chain.pem"
    chain.write_bytes(persons.sub_authority.public_bytes(Encoding.PEM))
    return Child(pcscd, "get", server.url, str(pki.authority), str(chain), str(times))


# How OpenSSL 3.0 and 3.5 name a signature by PKCS #1 v1.5; RSA-PSS is another name in both.
PKCS1 = r"Peer signature type: (RSA|rsa_pkcs1_sha256)\n"


@pytest.mark.parametrize(
    ("kind", "options", "says"),
    [
        (Kind.CPS3, (), ("TLSv1.2", PKCS1)),
        (Kind.CPS4, (), ("TLSv1.3", "RSA-PSS")),
        (Kind.CPS4, ("-no_tls1_3",), ("TLSv1.2", "RSA-PSS")),
    ],
)
def test_s_server_accepts_the_card(
    tmp_path: Path, pki: Pki, persons: Persons, kind: Kind, options: tuple[str, ...], says: tuple[str, ...]
) -> None:
    root = persons.folder / "root-FORT-test.pem"  # the root alone: the card's connection brings the rest
    with (
        s_server(pki.server("127.0.0.1"), root, *options) as server,
        card_at_hand(tmp_path, persons, kind) as (card, pcscd),
        asking(pcscd, server, pki, persons, tmp_path) as child,
    ):
        assert child.next() == {"ready": True}
        card.faults.once(delay=CARD_S, ins=0x88 if kind is Kind.CPS3 else 0x2A)  # a card takes its time
        answer = child.next()
    assert answer.get("status") == 200, answer
    assert all(re.search(word, answer["body"]) for word in says), answer["body"]
    assert f"{card.keys.authentication.certificate.serial_number:X}" in answer["body"].replace(":", "").upper()
    assert answer["block_ms"] < CARD_S * 1000 / 2


def test_s_server_of_tls_1_3_only_cannot_be_reached_with_a_cps3(tmp_path: Path, pki: Pki, persons: Persons) -> None:
    with (
        s_server(pki.server("127.0.0.1"), persons.authority, "-tls1_3") as server,
        card_at_hand(tmp_path, persons, Kind.CPS3) as (_, pcscd),
        asking(pcscd, server, pki, persons, tmp_path) as child,
    ):
        child.next()
        assert child.next()["error"] == "NetworkError"


@pytest.mark.parametrize("how", ["pulled", "swapped", "pcscd killed"])
def test_a_card_that_leaves_in_the_handshake_opens_nothing(
    tmp_path: Path, pki: Pki, persons: Persons, how: str
) -> None:
    with (
        s_server(pki.server("127.0.0.1"), persons.authority) as server,
        card_at_hand(tmp_path, persons, Kind.CPS3) as (card, pcscd),
        asking(pcscd, server, pki, persons, tmp_path, times=2) as child,
    ):
        link = pcscd.slots[0].link
        card.faults.once(delay=1.0, ins=0x88)  # INTERNAL AUTHENTICATE
        child.next()
        time.sleep(0.4)
        if how == "pcscd killed":
            pcscd.kill()
        else:
            link.remove()
        if how == "swapped":
            time.sleep(0.01)
            link.insert(card)
        for _ in range(2):  # during the signature, and after
            answer = child.next()
            assert answer["error"] in ("CardAbsent", "CardFault", "ServiceAway"), answer
            assert answer["hint"]
