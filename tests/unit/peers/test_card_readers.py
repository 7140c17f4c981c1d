"""Virtual cards in readers: a pcscd of the tests' own with vpcd, a scripted QEMU, orders by hand."""

import contextlib
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from smartcard import scard

from tests.peers import card_by_hand
from tests.peers.card import Kind, Profile, VirtualCard
from tests.peers.card_vscard import HEADER, Message, VscardLink
from tests.peers.pcsc import Pcscd, why_not

PATIENCE = 10.0
SERIAL_NUMBER = bytes.fromhex("00A4090C043F00D003"), bytes.fromhex("00B000000C")
pcsc = pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")


class PcscError(Exception):
    """PC/SC said so."""


class Client:
    """The least of a PC/SC client: connect, transmit, disconnect."""

    def __init__(self) -> None:
        code, self.context = scard.SCardEstablishContext(scard.SCARD_SCOPE_SYSTEM)
        assert code == scard.SCARD_S_SUCCESS, scard.SCardGetErrorMessage(code)
        self.card: int | None = None

    def connect(self, reader: str, card: VirtualCard | None = None) -> None:
        """Waits until PC/SC has powered this very card: for 400 ms it may still believe in the one before."""
        deadline = time.monotonic() + PATIENCE
        while True:
            code, handle, _ = scard.SCardConnect(
                self.context, reader, scard.SCARD_SHARE_SHARED, scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1
            )
            if code == scard.SCARD_S_SUCCESS and (card is None or card.power_ons):
                self.card = handle
                return
            if code == scard.SCARD_S_SUCCESS:
                scard.SCardDisconnect(handle, scard.SCARD_LEAVE_CARD)
            assert time.monotonic() < deadline, scard.SCardGetErrorMessage(code)
            time.sleep(0.02)

    def atr(self) -> bytes:
        code, _, _, _, atr = scard.SCardStatus(self.card)
        assert code == scard.SCARD_S_SUCCESS
        return bytes(atr)

    def transmit(self, command: bytes, protocol: int = scard.SCARD_PCI_T0) -> bytes:
        code, answer = scard.SCardTransmit(self.card, protocol, list(command))
        if code != scard.SCARD_S_SUCCESS:
            raise PcscError(scard.SCardGetErrorMessage(code))
        if not answer:
            raise PcscError("success, and an empty answer: vpcd's way to say that the card was pulled")
        return bytes(answer)

    def serial_number(self, protocol: int = scard.SCARD_PCI_T0) -> bytes:
        return [self.transmit(command, protocol) for command in SERIAL_NUMBER][-1]

    def serial_number_until_it_fails(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            self.serial_number()
            time.sleep(0.02)

    def disconnect(self, how: int = scard.SCARD_LEAVE_CARD) -> None:
        scard.SCardDisconnect(self.card, how)

    def close(self) -> None:
        scard.SCardReleaseContext(self.context)


@pytest.fixture(scope="module")
def pcscd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pcscd]:
    with Pcscd(tmp_path_factory.mktemp("pcscd"), readers=2) as pcscd:
        yield pcscd


@pytest.fixture
def client(pcscd: Pcscd, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    for name, value in pcscd.environment.items():
        monkeypatch.setenv(name, value)
    client = Client()
    yield client
    client.close()
    for slot in pcscd.slots:
        slot.link.remove()


@pcsc
def test_a_card_in_each_reader_is_seen_by_pcsc_under_its_name(pcscd: Pcscd, client: Client) -> None:
    kinds = (Kind.CPS3, Kind.CPS3_CONTACTLESS, Kind.CPS4)
    cards = [VirtualCard(Profile(kind=kind)) for kind in kinds]
    for slot, card in zip(pcscd.slots, cards, strict=False):
        slot.link.insert(card)
    code, names = scard.SCardListReaders(client.context, [])
    assert code == scard.SCARD_S_SUCCESS
    assert names == [slot.name for slot in pcscd.slots]
    for slot, card in zip(pcscd.slots, cards, strict=False):
        client.connect(slot.name, card)
        assert client.atr() == card.atr
        client.disconnect()


@pcsc
def test_both_protocols_pass_pcsc(pcscd: Pcscd, client: Client) -> None:
    for kind, protocol in ((Kind.CPS3, scard.SCARD_PCI_T0), (Kind.CPS3_CONTACTLESS, scard.SCARD_PCI_T1)):
        card = VirtualCard(Profile(kind=kind))
        pcscd.slots[0].link.insert(card)
        client.connect(pcscd.slots[0].name, card)
        assert client.serial_number(protocol)[:2] == b"\x5a\x0a"
        client.disconnect()


@pcsc
def test_the_pin_is_forgotten_at_reset_and_not_at_leave(pcscd: Pcscd, client: Client) -> None:
    card = VirtualCard()
    pcscd.slots[0].link.insert(card)
    client.connect(pcscd.slots[0].name, card)
    assert client.transmit(bytes.fromhex("0020000108" + "31323334FFFFFFFF")) == b"\x90\x00"
    client.disconnect(scard.SCARD_LEAVE_CARD)
    client.connect(pcscd.slots[0].name)
    assert client.transmit(bytes.fromhex("00200001")) == b"\x90\x00"
    client.disconnect(scard.SCARD_RESET_CARD)
    client.connect(pcscd.slots[0].name)
    assert client.transmit(bytes.fromhex("00200001")) == b"\x63\xc3"
    client.disconnect()


@pcsc
def test_a_pulled_card_fails_the_transmission_and_the_next_one_works(pcscd: Pcscd, client: Client) -> None:
    card = VirtualCard()
    pcscd.slots[0].link.insert(card)
    client.connect(pcscd.slots[0].name, card)
    card.faults.once(after=1, remove=True)
    with pytest.raises(PcscError):
        client.serial_number()
    client.disconnect()
    other = VirtualCard(Profile(number="99213852"))
    pcscd.slots[0].link.insert(other)
    client.connect(pcscd.slots[0].name, other)
    assert client.serial_number()[7:11].hex() == "99213852"
    client.disconnect()


@pcsc
def test_a_swap_within_ten_milliseconds_shows_the_other_card(pcscd: Pcscd, client: Client) -> None:
    link = pcscd.slots[0].link
    card, other = VirtualCard(), VirtualCard(Profile(number="99213852"))
    link.insert(card)
    client.connect(pcscd.slots[0].name, card)
    link.swap(other, gap=0.01)
    with pytest.raises(PcscError):
        client.serial_number_until_it_fails()
    client.disconnect()
    client.connect(pcscd.slots[0].name, other)
    assert client.serial_number()[7:11].hex() == "99213852"
    client.disconnect()


@pcsc
def test_a_mute_card_does_not_hold_the_reader_for_good(pcscd: Pcscd, client: Client) -> None:
    card = VirtualCard()
    pcscd.slots[0].link.waiting_time = 0.3
    pcscd.slots[0].link.insert(card)
    client.connect(pcscd.slots[0].name, card)
    card.faults.once(mute=True)
    with pytest.raises(PcscError):
        client.serial_number()
    client.disconnect()
    powered = card.power_ons
    while card.power_ons == powered:  # removed and inserted, as PC/SC sees it
        time.sleep(0.02)
    client.connect(pcscd.slots[0].name)
    assert client.serial_number()[:2] == b"\x5a\x0a"
    client.disconnect()


@pcsc
@pytest.mark.parametrize("size", [0, 1, 65_538])
def test_absurd_answers_do_not_end_the_reader(pcscd: Pcscd, client: Client, size: int) -> None:
    card = VirtualCard()
    pcscd.slots[0].link.insert(card)
    client.connect(pcscd.slots[0].name, card)
    card.faults.once(answer=bytes(size))
    with contextlib.suppress(PcscError):  # which of both comes is the choice of PC/SC
        assert len(client.transmit(SERIAL_NUMBER[0])) < 65_538
    client.disconnect(scard.SCARD_RESET_CARD)
    client.connect(pcscd.slots[0].name)
    assert client.serial_number()[:2] == b"\x5a\x0a"
    client.disconnect()


@pcsc
def test_cards_stay_in_over_a_restart_of_pcscd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Pcscd(tmp_path) as pcscd:
        for name, value in pcscd.environment.items():
            monkeypatch.setenv(name, value)
        pcscd.slots[1].link.insert(VirtualCard())
        for again in (pcscd.restart, pcscd.kill):
            client = Client()
            client.connect(pcscd.slots[1].name)
            again()
            client.close()
            if pcscd.process is None:
                pcscd.start()
        client = Client()
        client.connect(pcscd.slots[1].name)
        client.close()


@pcsc
def test_two_readers_may_have_the_same_name_to_the_last_byte(tmp_path: Path) -> None:
    with Pcscd(tmp_path, names=("Lecteur", "Lecteur")) as pcscd:
        names = [slot.name for slot in pcscd.slots]
        listed = subprocess.run(
            [sys.executable, "-c", "from smartcard.System import readers; print(*map(str, readers()), sep=';')"],
            env=os.environ | pcscd.program_environment, capture_output=True, text=True, timeout=30, check=True,
        ).stdout  # fmt: skip
    assert listed.strip().split(";") == names
    assert names[:2] == names[2:]


@pcsc
def test_nothing_is_left_behind(tmp_path: Path) -> None:
    with Pcscd(tmp_path) as pcscd:
        process = pcscd.process
    assert process is not None
    assert process.poll() is not None
    assert not pcscd.socket.exists()


# QEMU


class ScriptedQemu:
    """Says what QEMU's ccid-card-passthru says."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rb")

    def expect(self, kind: Message) -> bytes:
        got, _, size = HEADER.unpack(self.file.read(HEADER.size))
        assert got == kind
        return self.file.read(size)

    def say(self, kind: Message, content: bytes = b"") -> None:
        self.socket.sendall(HEADER.pack(kind, 0, len(content)) + content)

    def take_reader(self) -> None:
        assert self.expect(Message.INIT) == b"VSCD" + struct.pack(">II", 2, 0)
        self.say(Message.INIT, b"VSCD" + struct.pack(">II", 2, 0))
        assert self.expect(Message.READER_ADD).endswith(b"\0")
        self.say(Message.ERROR, bytes(4))

    def close(self) -> None:
        self.file.close()
        self.socket.close()


def test_a_card_in_the_reader_of_a_guest(tmp_path: Path) -> None:
    with VscardLink(tmp_path / "card.sock") as link:
        qemu = ScriptedQemu(link.path)
        qemu.take_reader()
        assert link.ready.wait(PATIENCE)
        card = VirtualCard()
        link.insert(card)
        assert qemu.expect(Message.ATR) == card.atr
        qemu.say(Message.ERROR, bytes(4))
        qemu.say(Message.APDU, bytes.fromhex("00A40904043F00D003"))
        assert qemu.expect(Message.APDU).hex() == "6127"
        card.faults.once(remove=True)
        qemu.say(Message.APDU, bytes.fromhex("00C0000027"))
        qemu.expect(Message.CARD_REMOVE)
        assert link.card is None
        qemu.close()


def test_a_card_put_in_before_the_guest_starts_is_there_when_it_does_and_when_it_does_again(tmp_path: Path) -> None:
    with VscardLink(tmp_path / "card.sock") as link:
        card = VirtualCard()
        link.insert(card)
        for _ in range(2):
            qemu = ScriptedQemu(link.path)
            qemu.take_reader()
            assert qemu.expect(Message.ATR) == card.atr
            qemu.close()
            deadline = time.monotonic() + PATIENCE
            while link.ready.is_set() and time.monotonic() < deadline:
                time.sleep(0.01)


def test_a_stranger_on_the_qemu_socket_is_left(tmp_path: Path) -> None:
    with VscardLink(tmp_path / "card.sock") as link:
        for nonsense in (HEADER.pack(1, 0, 4) + b"NOPE", HEADER.pack(7, 0, 1 << 30), HEADER.pack(99, 0, 0) + b"\xff"):
            stranger = ScriptedQemu(link.path)
            stranger.expect(Message.INIT)
            stranger.socket.sendall(nonsense)
            stranger.close()
        qemu = ScriptedQemu(link.path)
        qemu.take_reader()
        assert link.ready.wait(PATIENCE)
        qemu.close()


# By hand


def test_orders_from_another_terminal(tmp_path: Path) -> None:
    control = tmp_path / "orders.sock"
    command = [sys.executable, "-m", "tests.peers.card", "--port", "1", "--control", str(control)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as held:
        assert held.stdout is not None
        while not held.stdout.readline().startswith("orders:"):
            assert held.poll() is None
        assert card_by_hand.order(control, "status") == "no card"
        assert card_by_hand.order(control, "insert").startswith("card 99213845 (cps3) is in")
        assert card_by_hand.order(control, "swap").startswith("card 99213852 (cps3) is in")
        assert card_by_hand.order(control, "dance").startswith("orders:")
        assert control.stat().st_mode & 0o077 == 0
        assert card_by_hand.order(control, "quit") == "closed"
        assert held.wait(PATIENCE) == 0
    assert not control.exists()


def test_an_order_to_nobody_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert card_by_hand.main(["--control", str(tmp_path / "none"), "insert"]) == 1
    assert "no card is held" in capsys.readouterr().err
