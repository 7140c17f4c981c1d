"""The directories of a card: what is listed, in both forms of paths, whatever else stands there."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passevue.card.cps import AID_CONTACT, AID_CONTACTLESS
from passevue.card.pkcs15 import (
    EF_ODF,
    Application,
    PinFlag,
    Usage,
    absolute,
    application,
    applications,
    read_application,
)
from passevue.errors import CardFault
from tests.peers import card_der as der
from tests.peers.card import Profile, VirtualCard
from tests.peers.card_files import File
from tests.peers.card_pkcs15 import ef_dir

PATH = bytes.fromhex("3F000001")
APPLICATION = Application(AID_CONTACT, "CPS", PATH)


class Kept(dict[bytes, bytes]):
    """`pkcs15.Files` over a mapping."""

    def read(self, path: bytes) -> bytes | None:
        return self.get(path)


def files_of(card: VirtualCard) -> Kept:
    nodes = card.machine.tree.nodes
    return Kept({b"".join(f.to_bytes(2, "big") for f in path): bytes(node.content)
                 for path, node in nodes.items() if isinstance(node, File)})  # fmt: skip


def listed(tag: int, *entries: bytes) -> Kept:
    """An application whose object directory holds these entries directly."""
    return Kept({PATH + EF_ODF: der.context(tag, der.context(0, *entries))})


@pytest.mark.parametrize("contactless_first", [True, False])
def test_applications_are_found_by_aid_wherever_they_stand(contactless_first: bool) -> None:
    content = ef_dir(Profile(contactless_first=contactless_first)) + b"\x00" * 20
    assert len(applications(content)) == 2
    for aid, path in ((AID_CONTACT, "3f000001"), (AID_CONTACTLESS, "3f000002")):
        found = application(content, aid)
        assert found is not None
        assert found.path.hex() == path
    assert application(content, b"other") is None


def test_records_without_aid_or_path_are_passed_over() -> None:
    assert applications(der.tlv(0x61, der.tlv(0x4F, b"x")) + der.tlv(0x61) + der.tlv(0x62, b"")) == ()


def test_everything_that_a_card_lists_is_found() -> None:
    held = read_application(files_of(VirtualCard()), APPLICATION)
    assert [(key.label, f"{key.reference:02x}", key.auth_id, key.bits) for key in held.keys] == [
        ("CPS_PRIV_SIG", "81", b"\x01", 2048),
        ("CPS_PRIV_AUT", "82", b"\x01", 2048),
    ]
    assert held.keys[0].usage == {Usage.NON_REPUDIATION}
    assert held.keys[1].usage == {Usage.DECRYPT, Usage.SIGN}
    assert [each.id for each in held.certificates] == [key.id for key in held.keys]
    assert held.certificates[0].path.hex() == "3f000001a001"  # written as two bytes on the card
    pin, unblocking = held.codes
    assert (pin.reference, pin.least, pin.stored, pin.most, pin.padding, pin.unblocking) == (1, 4, 8, 4, 0xFF, False)
    assert (unblocking.reference, unblocking.unblocking) == (2, True)
    assert PinFlag.NEEDS_PADDING in pin.flags
    assert [each.label for each in held.data][:2] == ["CPS_ID_CARD", "CPS_NAME_PS"]
    assert {each.label for each in held.data} >= {"CPS_ACTIVITY_01_PS", "CPS_ACTIVITY_03_PS"}


def test_a_directory_that_may_not_be_read_is_as_if_empty() -> None:
    files = files_of(VirtualCard())
    del files[bytes.fromhex("3F0000017001")]
    assert read_application(files, APPLICATION).codes == ()


def test_no_object_directory_is_a_fault() -> None:
    with pytest.raises(CardFault):
        read_application(Kept(), APPLICATION)


def test_paths_come_in_both_forms() -> None:
    assert absolute(b"\xa0\x01", PATH).hex() == "3f000001a001"
    assert absolute(PATH + b"\xa0\x01", PATH).hex() == "3f000001a001"
    for wrong in (b"", b"\x3f", bytes(18)):
        with pytest.raises(CardFault):
            absolute(wrong, PATH)


def test_a_certificate_may_stand_in_the_directory_itself() -> None:
    entry = der.sequence(
        der.sequence(der.utf8("here"), der.ZERO_BITS),
        der.sequence(der.octets(b"\x07"), der.tlv(0x01, b"\xff")),
        der.context(1, der.sequence(der.context(0, b"0\x03abc"))),
    )
    (found,) = read_application(listed(4, entry), APPLICATION).certificates
    assert (found.content, found.path, found.authority) == (b"0\x03abc", b"", True)


def test_entries_of_other_kinds_and_without_id_are_passed_over() -> None:
    nameless = der.sequence(der.sequence(der.utf8("x")), der.sequence(der.integer(1)), der.context(1, der.sequence()))
    elliptic = der.context(0, der.sequence(), der.sequence())
    assert read_application(listed(0, nameless, elliptic, der.sequence()), APPLICATION).keys == ()
    assert read_application(listed(8, nameless), APPLICATION).codes == ()


def test_usage_with_eight_unused_bits_is_empty() -> None:
    entry = der.sequence(
        der.sequence(der.utf8("x"), der.EMPTY_BITS),
        der.sequence(der.octets(b"\x01"), der.EMPTY_BITS, der.tlv(0x02, b"\x82")),
        der.context(1, der.sequence(der.sequence(der.octets(b"")), der.integer(2048))),
    )
    (key,) = read_application(listed(0, entry), APPLICATION).keys
    assert (key.usage, key.reference, key.auth_id) == (frozenset(), 0x82, b"")


@settings(deadline=None)
@given(st.sampled_from(sorted(files_of(VirtualCard()))), st.integers(0, 600), st.binary(max_size=6))
def test_a_damaged_file_is_read_or_our_own_error(path: bytes, at: int, put: bytes) -> None:
    files = files_of(VirtualCard())
    content = files[path]
    at %= len(content) + 1
    files[path] = content[:at] + put + content[at + len(put) :]
    with suppress(CardFault):
        read_application(files, APPLICATION)


@settings(deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=200))
def test_any_directory_is_read_or_our_own_error(odf: bytes, other: bytes) -> None:
    with suppress(CardFault):
        applications(odf)

    class Anything:
        def read(self, path: bytes) -> bytes | None:
            return odf if path.endswith(EF_ODF) else other

    with suppress(CardFault):
        read_application(Anything(), APPLICATION)
