"""The virtual cards keep every trap of cps-card.md § 11, and answer the published traces byte for byte."""

import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils
from cryptography.x509.oid import NameOID

from tests.peers import card_hash
from tests.peers.card import EMPTIED, CardMute, CardRemoved, Holder, Kind, Profile, Situation, Update, VirtualCard
from tests.peers.card_profile import CPS4_OTHER_ATRS, luhn_digit

SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
PIN = "31323334FFFFFFFF"
APP = "3F000001"


def say(card: VirtualCard, command: str) -> str:
    return card.answer(bytes.fromhex(command)).hex(" ").upper()


def sw(card: VirtualCard, command: str) -> str:
    return say(card, command).replace(" ", "")[-4:]


def whole(card: VirtualCard, command: str, cla: str = "00") -> bytes:
    """One command with its GET RESPONSEs, as T=0 wants."""
    answer, data = card.answer(bytes.fromhex(command)), b""
    if answer[-2] == 0x6C:
        answer = card.answer(bytes.fromhex(command)[:4] + answer[-1:])
    data += answer[:-2]
    while answer[-2] == 0x61:
        answer = card.answer(bytes.fromhex(f"{cla}C00000") + answer[-1:])
        data += answer[:-2]
    assert answer[-2:] == b"\x90\x00", answer.hex()
    return data


def read(card: VirtualCard, path: str, cla: str = "00") -> bytes:
    size = int.from_bytes(whole(card, f"{cla}A40904{len(path) // 2:02X}{path}", cla)[4:6], "big")
    content = b""
    while len(content) < size:
        step = min(0xE7, size - len(content))
        content += whole(card, f"{cla}B0{len(content):04X}{step:02X}", cla)
    return content


def verify_pkcs1(certificate: x509.Certificate, signature: bytes, digest: bytes) -> None:
    key = certificate.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    key.verify(signature, digest, padding.PKCS1v15(), utils.Prehashed(hashes.SHA256()))


# What two real cards answered in public (OpenSC #2275 and #2223); their numbers are those of the default profile.
REAL_TRACE = [
    ("00A40904043F00D003", "61 27"),
    ("00C0000027", "62 25 80 02 00 0C 82 01 01 83 02 D0 03 88 01 E0 A1 12 8C 07 7B FF FF FF FF FF 00 "
                   "9C 07 7B FF FF FF FF FF 00 8A 01 05 90 00"),
    ("00B000000C", "5A 0A 80 25 00 00 01 99 21 38 45 0F 90 00"),
    ("00A40904043F00D010", "6A 82"),
    ("00A40904043F00D010", "6A 82"),
    ("00A4090C043F000001", "90 00"),
    ("00A4090C023F00", "90 00"),
    ("00CB3FFF0A4D087006BF810102A080", "61 18"),
    ("00C0000018", "70 16 BF 81 01 12 A0 10 9A 01 03 9B 01 03 A1 08 8C 06 F3 00 00 13 FF 00 90 00"),
    ("00A4090C023F00", "90 00"),
    ("00CB3FFF0A4D087006BFFB05027B80", "6A 88"),
    ("00A4000C023F00", "90 00"),
    ("00A40904022F01", "61 27"),
    ("00C0000027", "62 25 80 02 00 39 82 01 01 83 02 2F 01 88 01 E8 A1 12 8C 07 7B 45 FF FF FF 45 00 "
                   "9C 07 7B FF FF FF FF FF 00 8A 01 05 90 00"),
    ("00B0000039", "80 43 01 B8 46 04 04 B0 EC C1 47 03 94 01 80 4F 08 80 25 00 00 01 FF 01 00 E0 10 02 02 01 04 "
                   "02 02 01 04 02 02 01 00 02 02 01 00 78 08 06 06 2B 81 22 F8 78 02 82 02 90 00 90 00"),
    ("00A40400088025000001FF0100", "90 00"),
    ("00A40904022F00", "61 27"),
    ("00C0000027", "62 25 80 02 00 65 82 01 01 83 02 2F 00 88 01 F0 A1 12 8C 07 7B 45 FF FF FF 45 00 "
                   "9C 07 7B FF FF FF FF FF 00 8A 01 05 90 00"),
]  # fmt: skip


def test_a_cps3_answers_the_published_traces_of_real_cards_byte_for_byte() -> None:
    card = VirtualCard()
    assert [(command, say(card, command)) for command, _ in REAL_TRACE] == REAL_TRACE


def test_the_aodf_has_the_shape_and_the_malformed_bit_strings_of_the_published_dump() -> None:
    aodf = read(VirtualCard(), APP + "7001")
    assert aodf[:67].hex() == (
        "3061" "303f" "0c1c" + b"Code porteur de la carte CPX".hex() + "030108" "040102"
        "3019" "300603020520" "0500" "300603020640" "0500" "300703020308" "040104"
    )  # fmt: skip
    assert bytes.fromhex("03020800") in read(VirtualCard(), APP + "7005")


def test_t0_refuses_a_command_with_data_and_le() -> None:
    assert sw(VirtualCard(), "00A40904043F00D00300") == "6700"


def test_t0_gives_the_right_length_with_6c() -> None:
    card = VirtualCard()
    assert sw(card, "00A4090C043F00D003") == "9000"
    assert sw(card, "00B0000000") == "6C0C"
    assert sw(card, "00B0000005") == "9000"
    assert sw(card, "00B0000AFF") == "6C02"
    assert sw(card, "00B0000C01") == "6B00"


def test_get_response_goes_on_until_9000_and_not_after_another_command() -> None:
    card = VirtualCard()
    assert sw(card, "00A40904043F00D003") == "6127"
    assert sw(card, "00C0000010") == "6117"
    assert sw(card, "00C0000017") == "9000"
    assert sw(card, "00C0000017") == "6985"
    assert sw(card, "00A40904043F00D003") == "6127"
    assert sw(card, "00A4090C023F00") == "9000"
    assert sw(card, "00C0000027") == "6985"


def test_a_short_read_may_be_told_by_6282_instead() -> None:
    card = VirtualCard(Profile(short_read_warns=True))
    assert sw(card, "00A4090C043F00D003") == "9000"
    assert say(card, "00B00000E7").endswith("0F 62 82")


@pytest.mark.parametrize(
    "command",
    ["00A404000DE828BD080F8025000001FF0010", "00A4020002D003", "00A40900043F00D003", "00A4050C023F00"],
)
def test_select_with_p2_00_or_an_unknown_p1_is_refused(command: str) -> None:
    assert sw(VirtualCard(), command) == "6A86"


def test_a_short_path_is_found_from_where_one_stands_only() -> None:
    card = VirtualCard()
    assert sw(card, "00A4090C022F00") == "9000"
    assert sw(card, "00A4040C0DE828BD080F8025000001FF0010") == "9000"
    assert sw(card, "00A4090C022F00") == "6A82"
    assert sw(card, "00A4020C027001") == "9000"
    assert sw(card, "00A4090C02A001") == "9000"
    assert sw(card, "00A4090C043F002F00") == "9000"


def test_an_application_is_not_found_by_a_part_of_its_name() -> None:
    assert sw(VirtualCard(), "00A4040C05E828BD080F") == "6A82"


def test_reading_by_short_identifier_selects_the_file() -> None:
    card = VirtualCard()
    assert say(card, "00B09C000C").startswith("5A 0A")
    assert say(card, "00B0000002") == "5A 0A 90 00"
    assert sw(card, "00B0830001") == "6A82"


def test_reading_before_any_selection_is_refused() -> None:
    assert sw(VirtualCard(), "00B0000001") == "6986"


def test_ef_dir_names_the_contactless_application_first_unless_told() -> None:
    first = bytes.fromhex("E828BD080F8025000001FF0020")
    assert read(VirtualCard(), "3F002F00").index(first) == 4
    assert read(VirtualCard(Profile(contactless_first=False)), "3F002F00").index(first) > 40


def test_the_card_number_has_its_luhn_digit_and_another_issuer_is_no_cps() -> None:
    assert luhn_digit("7992739871") == "3"
    assert read(VirtualCard(), "3F00D003").hex() == "5a0a8025000001992138450f"
    assert read(VirtualCard(Profile(issuer="8033000001")), "3F00D003").hex().startswith("5a0a8033")


@pytest.mark.parametrize(
    ("update", "content"),
    [
        (Update.DONE, "ec1281072026030108300082072026030108311" "2"),
        (Update.HALF, "ec0b8107202603010830008200"),
        (Update.EMPTY, ""),
    ],
)  # fmt: skip
def test_ef_actua_tells_how_the_last_update_ended(update: Update, content: str) -> None:
    assert read(VirtualCard(Profile(update=update)), "3F00D010").hex() == content


# Codes


def test_three_wrong_pins_block_and_the_counter_is_told_at_no_cost() -> None:
    card = VirtualCard()
    wrong = "0020000108" + "39" * 4 + "FF" * 4
    assert [sw(card, "00200001"), sw(card, wrong), sw(card, "0020000100"), sw(card, wrong)] == [
        "63C3", "63C2", "63C2", "63C1",
    ]  # fmt: skip
    assert [sw(card, wrong), sw(card, wrong), sw(card, "00200001"), sw(card, "0020000108" + PIN)] == [
        "63C0", "6983", "6983", "6983",
    ]  # fmt: skip
    card.reset()
    assert sw(card, "00200001") == "6983"


def test_the_right_pin_gives_all_tries_back() -> None:
    card = VirtualCard()
    assert sw(card, "002000010839393939FFFFFFFF") == "63C2"
    assert sw(card, "0020000108" + PIN) == "9000"
    assert sw(card, "00200001") == "9000"
    card.reset()
    assert sw(card, "00200001") == "63C3"


def test_a_pin_that_is_not_padded_is_a_wrong_length_and_no_try() -> None:
    card = VirtualCard()
    assert sw(card, "002000010431323334") == "6700"
    assert sw(card, "00200001") == "63C3"


def test_a_pin_padded_with_zeros_is_wrong() -> None:
    assert sw(VirtualCard(), "00200001083132333400000000") == "63C2"


def test_change_and_unblock_of_a_cps3() -> None:
    card = VirtualCard()
    new = "34333231FFFFFFFF"
    assert sw(card, "0024000110" + new + PIN) == "63C2"
    assert sw(card, "0024000110" + PIN + new) == "9000"
    assert sw(card, "0020000108" + PIN) == "63C2"
    for _ in range(2):
        sw(card, "0020000108" + PIN)
    assert sw(card, "0020000108" + new) == "6983"
    assert sw(card, "002C000110" + "3131313131313131" + PIN) == "63C2"
    assert sw(card, "002C000110" + "3837363534333231" + PIN) == "9000"
    assert sw(card, "0020000108" + PIN) == "9000"


def test_a_new_pin_is_four_digits() -> None:
    card = VirtualCard()
    assert sw(card, "0024000110" + PIN + "313233FFFFFFFFFF") == "6A80"
    assert sw(card, "0024000110" + PIN + "3132334100000000") == "6A80"
    assert sw(card, "0020000108" + PIN) == "9000"


def test_the_unblocking_counter_ends_the_card() -> None:
    card = VirtualCard(Profile(unblocking_uses=1))
    assert sw(card, "002C000110" + "3837363534333231" + PIN) == "9000"
    assert sw(card, "00A4090C023F00") == "9000"
    assert "9D 01 00" in bytes.hex(whole(card, "00CB3FFF0A4D087006BF810202A080"), " ").upper()
    assert sw(card, "002C000110" + "3837363534333231" + PIN) == "6983"


def test_situations_need_the_pin_and_have_holes() -> None:
    holder = Holder(situations=(Situation("A", "10B0127189", "SA08"), None, EMPTIED))
    card = VirtualCard(Profile(holder=holder))
    assert sw(card, f"00A4090C06{APP}D120") == "9000"
    assert sw(card, "00B0000001") == "6982"
    assert sw(card, f"00A4090C06{APP}D121") == "6A82"
    assert sw(card, "0020000108" + PIN) == "9000"
    assert read(card, f"{APP}D120") == bytes.fromhex("EE15840141850A") + b"10B0127189" + bytes.fromhex("8604") + b"SA08"
    assert read(card, f"{APP}D122") == b""
    card.reset()
    assert sw(card, f"00A4090C06{APP}D120") == "9000"
    assert sw(card, "00B0000001") == "6982"


def test_only_cps_data_is_written_and_with_the_pin() -> None:
    card = VirtualCard()
    assert sw(card, f"00A4090C06{APP}D107") == "9000"
    assert sw(card, "00D6000002ABCD") == "6982"
    assert sw(card, "0020000108" + PIN) == "9000"
    assert sw(card, "00D6000002ABCD") == "9000"
    assert say(card, "00B0000002") == "AB CD 90 00"
    assert sw(card, "00D6003F02ABCD") == "6B00"
    assert sw(card, f"00A4090C06{APP}A001") == "9000"
    assert sw(card, "00D6000002ABCD") == "6982"


# Keys of a CPS3


def logged_in(kind: Kind = Kind.CPS3) -> VirtualCard:
    card = VirtualCard(Profile(kind=kind))
    if kind is Kind.CPS4:
        assert sw(card, "01A4040C088025000001FF0100") == "9000"
        assert sw(card, "01A4090C043F000001") == "9000"
        assert sw(card, "0120000108" + PIN) == "9000"
    else:
        assert sw(card, "00A4090C043F000001") == "9000"
        assert sw(card, "0020000108" + PIN) == "9000"
    return card


def test_a_cps3_authenticates_with_a_digest_info() -> None:
    card = logged_in()
    digest = hashlib.sha256(b"who is there").digest()
    assert sw(card, "002241A406800102840182") == "9000"
    signature = whole(card, "0088000033" + (SHA256_INFO + digest).hex())
    verify_pkcs1(card.keys.authentication.certificate, signature, digest)


def test_the_environment_is_lost_with_the_application() -> None:
    card = logged_in()
    assert sw(card, "002241A406800102840182") == "9000"
    assert sw(card, "00A4090C043F000002") == "9000"
    assert sw(card, "00A4090C043F000001") == "9000"
    assert sw(card, "0088000001AA") == "6985"
    assert sw(card, "00A4090C023F00") == "9000"
    assert sw(card, "002241A406800102840182") == "6A88"


def test_no_key_without_pin_and_none_after_reset() -> None:
    card = VirtualCard()
    assert sw(card, "00A4090C043F000001") == "9000"
    assert sw(card, "002241A406800102840182") == "9000"
    assert sw(card, "0088000001AA") == "6982"
    card = logged_in()
    assert sw(card, "002241A406800102840182") == "9000"
    card.reset()
    assert sw(card, "0088000001AA") == "6985"


def test_authentication_takes_at_most_forty_per_cent_of_the_modulus() -> None:
    card = logged_in()
    assert sw(card, "002241A406800102840182") == "9000"
    assert sw(card, "0088000067" + "AA" * 103) == "6700"
    assert sw(card, "0088000066" + "AA" * 102) == "6100"


def test_a_cps3_signs_a_hash_that_it_is_given() -> None:
    card = logged_in()
    digest = hashlib.sha256(b"a submission set").digest()
    assert sw(card, "002241B606800142840181") == "9000"
    verify_pkcs1(card.keys.signature.certificate, whole(card, "002A9E9A20" + digest.hex()), digest)
    assert sw(card, "002A9E9A14" + "00" * 20) == "6700"


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 200])
def test_a_cps3_finishes_a_hash_begun_outside(size: int) -> None:
    message = bytes(range(256))[:size]
    card = logged_in()
    cut = (size - 1) // 64 * 64 if size else 0
    state = card_hash.state_after("sha256", message[:cut]) + (cut * 8).to_bytes(8, "big") if cut else b""
    last = message[cut:]
    data = bytes([0x90, len(state)]) + state + bytes([0x80, len(last)]) + last
    assert sw(card, "002241AA03800140") == "9000"
    assert sw(card, f"002A90A0{len(data):02X}{data.hex()}") == "9000"
    assert sw(card, "002241B606800142840181") == "9000"
    verify_pkcs1(card.keys.signature.certificate, whole(card, "002A9E9A00"), hashlib.sha256(message).digest())
    assert sw(card, "002A9E9A00") == "6985"


def test_keys_of_a_cps3_do_only_what_they_are_for() -> None:
    card = logged_in()
    assert sw(card, "002241A406800102840181") == "9000"
    assert sw(card, "0088000001AA") == "6985"
    assert sw(card, "002241B606800142840182") == "9000"
    assert sw(card, "002A9E9A20" + "00" * 32) == "6985"
    assert sw(card, "002241B60680012C840181") == "6A80"


def test_a_cps3_deciphers_by_chaining() -> None:
    card = logged_in()
    public = card.keys.authentication.key.public_key()
    block = b"\x81" + public.encrypt(b"a session key", padding.PKCS1v15())
    assert sw(card, "002241B80680011A840182") == "9000"
    assert sw(card, "102A8086FF" + block[:255].hex()) == "9000"
    assert whole(card, "002A808602" + block[255:].hex()) == b"a session key"


def test_another_command_breaks_a_chain() -> None:
    card = logged_in()
    assert sw(card, "002241B80680011A840182") == "9000"
    assert sw(card, "102A8086FF" + "81" * 255) == "9000"
    assert sw(card, "00200001") == "9000"
    assert sw(card, "002A8086020000") == "6700"


# Contactless


def test_contactless_has_t1_and_its_technical_key_without_pin() -> None:
    card = VirtualCard(Profile(kind=Kind.CPS3_CONTACTLESS))
    assert card.atr.hex().upper() == "3B8F80010031B86404B0ECC1739401808290000E"
    assert sw(card, "00A4090C043F000002") == "9000"
    assert sw(card, "002241A406800102840183") == "9000"
    digest = hashlib.sha256(b"tap").digest()
    answer = card.answer(bytes.fromhex("0088000033" + (SHA256_INFO + digest).hex() + "00"))
    assert answer[-2:] == b"\x90\x00"
    verify_pkcs1(card.keys.technical.certificate, answer[:-2], digest)


def test_contactless_shows_that_the_codes_file_exists_and_does_not_read_it() -> None:
    card = VirtualCard(Profile(kind=Kind.CPS3_CONTACTLESS))
    assert sw(card, f"00A4090406{APP}700100") == "9000"
    assert sw(card, "00B0000000") == "6982"
    assert sw(card, "00A4090C063F0000027005") == "9000"
    assert sw(card, "00B0000000") == "6282"


def test_in_t1_no_le_means_no_data() -> None:
    card = VirtualCard(Profile(kind=Kind.CPS3_CONTACTLESS))
    assert say(card, "00A40904043F00D003") == "90 00"
    assert say(card, "00A40904043F00D00300").startswith("62 25")


# CPS4


def test_a_cps4_lives_on_channel_1_and_wants_its_name_first() -> None:
    card = VirtualCard(Profile(kind=Kind.CPS4))
    assert sw(card, "00A4040C088025000001FF0100") == "6E00"
    assert sw(card, "01A4090C043F00D003") == "6985"
    assert sw(card, "01A4040C088025000001FF0100") == "9000"
    assert read(card, "3F00D003", "01")[:2] == b"\x5a\x0a"
    assert sw(card, "00A4090C043F00D003") == "6E00"


def test_a_cps4_needs_the_whole_way_back_after_a_reset() -> None:
    card = VirtualCard(Profile(kind=Kind.CPS4))
    card.reset()
    assert sw(card, "01A4040C088025000001FF0100") == "6985"
    assert sw(card, "01A4040C07A0000001510000") == "9000"
    assert sw(card, "00A4040C088025000001FF0002") == "9000"
    assert sw(card, "01A4040C088025000001FF0100") == "9000"
    assert read(card, "3F00D003", "01")[:2] == b"\x5a\x0a"


def test_a_cps4_gives_an_fci_by_path_from_the_mf() -> None:
    card = logged_in(Kind.CPS4)
    assert sw(card, "01A4080002D003") == "6127"
    assert say(card, "01C0000027").startswith("6F 25")
    assert sw(card, "01A40900043F00D003") == "6A86"


def test_a_cps4_has_no_internal_authenticate_and_no_security_data() -> None:
    card = logged_in(Kind.CPS4)
    assert sw(card, "0188000001AA") == "6D00"
    assert sw(card, "01CB3FFF0A4D087006BF810102A080") == "6D00"


def test_a_cps4_signs_with_pkcs1_and_pss() -> None:
    card = logged_in(Kind.CPS4)
    digest = hashlib.sha256(b"x").digest()
    assert sw(card, "012281B60491022890") == "9000"
    verify_pkcs1(card.keys.signature.certificate, whole(card, "012A9E9A20" + digest.hex(), "01"), digest)
    for reference, key in (("90", card.keys.signature.key), ("A0", card.keys.authentication.key)):
        assert sw(card, "012281B60491022C" + reference) == "9000"
        signature = whole(card, "012A9E9A20" + digest.hex(), "01")
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
        key.public_key().verify(signature, digest, pss, utils.Prehashed(hashes.SHA256()))
    assert sw(card, "012281B604910228A0") == "6A80"


def test_a_cps4_authenticates_by_raw_rsa_of_the_whole_block() -> None:
    card = logged_in(Kind.CPS4)
    digest = hashlib.sha256(b"y").digest()
    info = SHA256_INFO + digest
    block = b"\x00\x01" + b"\xff" * (253 - len(info)) + b"\x00" + info
    assert sw(card, "012241B803830120") == "9000"
    assert sw(card, "112A8086FF" + block[:255].hex()) == "9000"
    verify_pkcs1(card.keys.authentication.certificate, whole(card, "012A808601" + block[255:].hex(), "01"), digest)


def test_change_and_unblock_of_a_cps4() -> None:
    card = logged_in(Kind.CPS4)
    new = "34333231FFFFFFFF"
    assert sw(card, "0124010108" + new) == "9000"
    assert sw(card, "0124010108" + PIN) == "6982"
    for _ in range(3):
        sw(card, "0120000108" + PIN)
    assert sw(card, "01200001") == "6983"
    assert sw(card, "012C0381") == "6982"
    assert sw(card, "01200002083837363534333231") == "9000"
    assert sw(card, "012C0381") == "9000"
    assert sw(card, "0124010108" + PIN) == "9000"
    assert sw(card, "0120000108" + PIN) == "9000"


# Strangers


def test_a_cps2ter_looks_like_a_cps3_by_its_atr_only() -> None:
    card = VirtualCard(Profile(kind=Kind.CPS2TER))
    assert bytes.fromhex("001225006480") in card.atr
    assert sw(card, "00A40904043F00D003") == "6E00"


def test_a_foreign_card_knows_no_file() -> None:
    assert sw(VirtualCard(Profile(kind=Kind.FOREIGN)), "00A40904043F00D003") == "6A82"
    assert sw(VirtualCard(Profile(kind=Kind.FOREIGN)), "00B0000000") == "6D00"


def test_the_other_atrs_of_a_cps4_can_be_had() -> None:
    card = VirtualCard(Profile(kind=Kind.CPS4, own_atr=CPS4_OTHER_ATRS[0]))
    assert card.atr[:5] == bytes.fromhex("3B9B188001")


# Certificates


def test_certificates_have_the_shape_of_persons_and_the_category_of_the_card() -> None:
    card = VirtualCard(Profile(category="production"))
    certificate = x509.load_der_x509_certificate(read(card, APP + "A002"))
    assert [len(rdn) for rdn in certificate.subject.rdns] == [1, 1, 3]
    assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == Holder().id_nat
    assert "TEST" not in certificate.issuer.rfc4514_string()
    origin = certificate.extensions.get_extension_for_oid(x509.ObjectIdentifier("1.2.250.1.71.1.2.5")).value
    assert isinstance(origin, x509.UnrecognizedExtension)
    assert origin.value == b"\x04\x01\x00"
    test = VirtualCard().keys.authentication.certificate
    assert "TEST AC IGC-SANTE FORT PERSONNES" in test.issuer.rfc4514_string()


# Faults


def test_a_fault_is_met_once_and_the_command_not_carried_out() -> None:
    card = VirtualCard()
    card.faults.once(after=1, sw=0x6F00)
    assert [sw(card, "00A4090C043F000001") for _ in range(3)] == ["9000", "6F00", "9000"]
    card.faults.once(sw=0x6F00, ins=0x20)
    assert [sw(card, "00A4090C043F000001"), sw(card, "0020000108" + PIN), sw(card, "00200001")] == [
        "9000", "6F00", "63C3",
    ]  # fmt: skip


@pytest.mark.parametrize("size", [0, 1, 65_538])
def test_answers_of_absurd_sizes(size: int) -> None:
    card = VirtualCard()
    card.faults.once(answer=bytes(size))
    assert len(card.answer(bytes.fromhex("00A4090C043F000001"))) == size


def test_pulled_in_the_middle_of_a_read_and_put_back() -> None:
    card = logged_in()
    assert sw(card, f"00A4090C06{APP}A001") == "9000"
    card.faults.once(after=1, remove=True)
    assert sw(card, "00B0000010") == "9000"
    for _ in range(2):
        with pytest.raises(CardRemoved):
            say(card, "00B0001010")
    card.insert()
    assert sw(card, "00B0000010") == "6986"
    assert sw(card, "00200001") == "63C3"


def test_mute_once() -> None:
    card = VirtualCard()
    card.faults.once(mute=True)
    with pytest.raises(CardMute):
        say(card, "00A4090C023F00")
    assert sw(card, "00A4090C023F00") == "9000"


def test_more_for_ever_and_other_length_for_ever_end_with_the_next_reset() -> None:
    card = VirtualCard()
    card.faults.more_for_ever()
    assert [say(card, "00A4090C023F00"), say(card, "00C0000001"), say(card, "00C0000001")] == [
        "61 01", "00 61 01", "00 61 01",
    ]  # fmt: skip
    card.reset()
    assert sw(card, "00A4090C023F00") == "9000"
    card.faults.other_length_for_ever()
    assert [sw(card, "00B0000000"), sw(card, "00B0000010"), sw(card, "00B0000020")] == ["6C10", "6C20", "6C10"]
    card.faults.clear()
    assert sw(card, "00A4090C023F00") == "9000"


def test_the_trace_holds_no_code() -> None:
    card = VirtualCard()
    sw(card, "0020000108" + PIN)
    assert "31 32 33 34" not in str(card.trace[-1])
    assert str(card.trace[-1]) == "00 20 00 01 08 00 00 00 00 00 00 00 00 -> 90 00"
