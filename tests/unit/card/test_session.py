"""A whole card: identified, opened, signing, pulled, lying. Against the virtual cards, without a reader."""

import hashlib
from contextlib import suppress
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from passevue.card.apdu import MOST_EXCHANGES, Protocol
from passevue.card.cps import CardType, Category, Generation, KeyUse, Padding
from passevue.card.session import CardSession
from passevue.errors import (
    CardAbsent,
    CardError,
    CardFault,
    LastTry,
    PinBlocked,
    PinNeeded,
    PinWrong,
    UnknownCard,
)
from tests.peers.card import EMPTIED, Kind, Profile, Situation, Update, VirtualCard
from tests.peers.card_profile import CPS4_OTHER_ATRS, Holder
from tests.peers.pki_persons import Persons
from tests.unit.card.in_hand import Direct, powered, session_of, verifies

DIGEST = hashlib.sha256(b"what is signed").digest()
WITH_CODE = [Kind.CPS3, Kind.CPS4]
READABLE = [*WITH_CODE, Kind.CPS3_CONTACTLESS]


# --- identity --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WITH_CODE)
def test_a_card_says_whose_it_is(kind: Kind) -> None:
    card, session, _ = powered(Profile(kind=kind))
    cps = session.identify()
    assert cps.generation == Generation(kind.value)
    assert (cps.number, cps.card_type, cps.category) == ("99213845", CardType.CPS, Category.TEST)
    assert cps.holder is not None
    assert (cps.holder.id_nat, cps.holder.name, cps.holder.given) == ("899700367909", "RADIOLOGUE", "CAMILLE")
    assert (cps.holder.profession, cps.holder.specialities) == ("10", ("SM44",))
    assert cps.pin is not None
    assert (cps.pin.tries_left, cps.pin.verified, cps.pin.blocked) == (3, False, False)
    assert cps.situations is None
    assert cps.authentication is not None
    assert cps.signature is not None
    assert cps.authentication.certificate == card.keys.authentication.certificate
    assert cps.signature.certificate == card.keys.signature.certificate
    assert cps.valid_until == card.keys.authentication.certificate.not_valid_after_utc
    assert verifies(card) == 0


def test_by_the_antenna_a_card_shows_its_technical_key_only() -> None:
    card, session, _ = powered(Profile(kind=Kind.CPS3_CONTACTLESS))
    cps = session.identify()
    assert (cps.number, cps.holder, cps.pin) == ("99213845", None, None)
    assert [key.use for key in cps.keys] == [KeyUse.TECH]
    assert cps.technical is not None
    assert cps.technical.certificate == card.keys.technical.certificate
    with pytest.raises(CardFault, match="no code") as caught:
        session.verify(b"1234")
    assert "contacts" in caught.value.hint


@pytest.mark.parametrize("contactless_first", [True, False])
def test_the_application_is_chosen_by_name_wherever_it_stands(contactless_first: bool) -> None:
    _, session, _ = powered(Profile(contactless_first=contactless_first))
    assert len(session.identify().keys) == 2


@pytest.mark.parametrize("atr", CPS4_OTHER_ATRS)
def test_every_atr_of_cps4_is_read(atr: str) -> None:
    assert powered(Profile(kind=Kind.CPS4, own_atr=atr))[1].identify().generation is Generation.CPS4


@pytest.mark.parametrize(("atr", "kind"), [(Kind.CPS4, Kind.CPS3), (Kind.CPS3, Kind.CPS4)])
def test_an_atr_that_misleads_changes_nothing(atr: Kind, kind: Kind) -> None:
    """Version bytes of the ATR are a guess (cps-card.md § 2): what the card does decides."""
    own = Profile(kind=atr).atr.hex()
    assert powered(Profile(kind=kind, own_atr=own))[1].identify().generation == Generation(kind.value)


def test_a_cps4_that_was_reset_by_someone_is_entered_by_the_long_way() -> None:
    card, session, _ = powered(Profile(kind=Kind.CPS4))
    card.reset()
    assert session.identify().number == "99213845"


def test_a_short_read_that_warns_is_a_success() -> None:
    assert len(powered(Profile(short_read_warns=True))[1].identify().keys) == 2


@pytest.mark.parametrize(("kind", "word"), [(Kind.CPS2TER, "2ter"), (Kind.FOREIGN, "CPS")])
def test_other_cards_are_refused_with_words(kind: Kind, word: str) -> None:
    with pytest.raises(UnknownCard) as caught:
        powered(Profile(kind=kind))[1].identify()
    assert word in caught.value.hint


def test_another_issuer_is_an_unknown_card() -> None:
    with pytest.raises(UnknownCard):
        powered(Profile(issuer="8025000002"))[1].identify()


@pytest.mark.parametrize("update", [Update.HALF, Update.EMPTY])
def test_a_card_whose_update_broke_off_is_known_and_not_used(update: Update) -> None:
    card, session, _ = powered(Profile(update=update))
    cps = session.identify()
    assert (cps.update_broken, cps.number, cps.holder, cps.keys) == (True, "99213845", None, ())
    for use in (lambda: session.verify(b"1234"), lambda: session.sign(KeyUse.AUTH, DIGEST), session.situations):
        with pytest.raises(CardFault) as caught:
            use()
        assert "mise à jour" in caught.value.hint
    assert verifies(card) == 0


def test_an_update_that_ended_well_is_told() -> None:
    cps = powered(Profile(update=Update.DONE))[1].identify()
    assert (cps.update_broken, cps.updated_at) == (False, "20260301083112")


def test_a_production_card_says_so(tmp_path_factory: pytest.TempPathFactory) -> None:
    profile = Profile(category="production")
    keys = Persons(tmp_path_factory.mktemp("production"), "production").card_keys(profile)
    assert powered(profile, keys)[1].identify().category is Category.PRODUCTION


def test_a_second_look_asks_only_for_the_counter() -> None:
    card, session, direct = powered()
    session.identify()
    card.machine.codes.pin.left = 2
    before = direct.count
    cps = session.identify()
    assert cps.pin is not None
    assert cps.pin.tries_left == 2
    assert direct.count - before <= 3


# --- code ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WITH_CODE)
def test_the_right_code_opens_situations_with_their_holes(kind: Kind) -> None:
    places = (Situation("A", "10B0127189", "SA08"), None, EMPTIED, Situation("D", "10B0184569", "SA01"))
    card, session, _ = powered(Profile(kind=kind, holder=Holder(situations=places)))
    with pytest.raises(PinNeeded):
        session.situations()
    session.verify(bytearray(b"1234"))
    found = session.situations().situations
    assert found is not None
    assert [(each.number, each.structure_name, each.sector) for each in found] == [(1, "A", "SA08"), (4, "D", "SA01")]
    assert verifies(card) == 1


@pytest.mark.parametrize("kind", WITH_CODE)
def test_a_wrong_code_costs_one_try_and_is_sent_once(kind: Kind) -> None:
    card, session, _ = powered(Profile(kind=kind))
    with pytest.raises(PinWrong) as caught:
        session.verify(b"9999")
    assert caught.value.tries_left == 2
    assert "2 essais" in caught.value.hint
    assert (verifies(card), card.machine.codes.pin.left) == (1, 2)


@pytest.mark.parametrize("kind", WITH_CODE)
def test_the_last_try_is_the_persons_to_decide(kind: Kind) -> None:
    card, session, _ = powered(Profile(kind=kind))
    card.machine.codes.pin.left = 1
    with pytest.raises(LastTry):
        session.verify(b"1234")
    assert (verifies(card), card.machine.codes.pin.left) == (0, 1)
    with pytest.raises(PinBlocked):
        session.verify(b"9999", last_try=True)
    assert (verifies(card), card.machine.codes.pin.left) == (1, 0)
    with pytest.raises(PinBlocked):
        session.verify(b"1234", last_try=True)
    assert verifies(card) == 1


@pytest.mark.parametrize("kind", WITH_CODE)
@pytest.mark.parametrize("code", [b"", b"123", b"12345", b"12a4", b"\xd9\xa1\xd9\xa2", b" 123"])
def test_only_four_digits_are_sent(kind: Kind, code: bytes) -> None:
    card, session, _ = powered(Profile(kind=kind))
    with pytest.raises(PinNeeded):
        session.verify(code)
    assert verifies(card) == 0


@pytest.mark.parametrize("kind", WITH_CODE)
def test_a_code_is_changed_and_the_old_one_no_longer_opens(kind: Kind) -> None:
    _, session, _ = powered(Profile(kind=kind))
    session.change(bytearray(b"1234"), bytearray(b"4321"))
    session.verify(b"4321")
    with pytest.raises(PinWrong):
        session.verify(b"1234")


@pytest.mark.parametrize("kind", WITH_CODE)
def test_a_wrong_old_code_changes_nothing(kind: Kind) -> None:
    card, session, _ = powered(Profile(kind=kind))
    with pytest.raises(PinWrong):
        session.change(b"0000", b"4321")
    assert verifies(card) == 1
    session.verify(b"1234")


@pytest.mark.parametrize("kind", WITH_CODE)
def test_a_blocked_card_is_unblocked_with_the_other_code(kind: Kind) -> None:
    card, session, _ = powered(Profile(kind=kind))
    card.machine.codes.pin.left = 0
    with pytest.raises(PinBlocked) as caught:
        session.verify(b"1234", last_try=True)
    assert "déblocage" in caught.value.hint
    session.unblock(b"87654321", b"5678")
    session.verify(b"5678")


@pytest.mark.parametrize("kind", WITH_CODE)
def test_a_wrong_unblocking_code_is_sent_once_and_never_the_last_by_itself(kind: Kind) -> None:
    card, session, _ = powered(Profile(kind=kind))
    with pytest.raises(PinWrong) as caught:
        session.unblock(b"00000000", b"5678")
    assert "déblocage" in caught.value.hint
    assert verifies(card) == 1
    card.machine.codes.unblocking.left = 1
    with pytest.raises(LastTry):
        session.unblock(b"00000000", b"5678")
    assert verifies(card) == 1
    with pytest.raises(PinNeeded):
        session.unblock(b"1234", b"5678", last_try=True)
    assert verifies(card) == 1


def test_a_card_that_cannot_be_unblocked_any_more_says_so() -> None:
    card, session, _ = powered(Profile(unblocking_uses=0))
    with pytest.raises(PinBlocked) as caught:
        session.unblock(b"87654321", b"5678")
    assert "remplacée" in caught.value.hint
    assert verifies(card) == 0


@pytest.mark.parametrize("answer", [b"", b"\x6f\x00", b"\x70\x00\x90\x00"])
def test_a_card_that_does_not_tell_its_tries_counts_as_at_its_last(answer: bytes) -> None:
    card, session, _ = powered()
    session.identify()
    card.faults.once(ins=0xCB, answer=answer)
    with pytest.raises((CardFault, LastTry)):
        session.verify(b"1234")
    assert verifies(card) == 0


@pytest.mark.parametrize("kind", WITH_CODE)
@pytest.mark.parametrize("pin", [b"1234", b"9999", b"12"])
def test_a_code_is_overwritten_whatever_happens(kind: Kind, pin: bytes) -> None:
    _, session, _ = powered(Profile(kind=kind))
    codes = [bytearray(pin), bytearray(pin), bytearray(pin), bytearray(b"87654321"), bytearray(pin)]
    for act in (
        lambda: session.verify(codes[0]),
        lambda: session.change(codes[1], codes[2]),
        lambda: session.unblock(codes[3], codes[4]),
    ):
        with suppress(CardError):
            act()
    assert not any(any(code) for code in codes)


def test_a_code_is_overwritten_when_the_card_is_not_there() -> None:
    card, session, _ = powered()
    card.removed = True
    code = bytearray(b"1234")
    with pytest.raises(CardAbsent):
        session.verify(code)
    assert not any(code)


@pytest.mark.parametrize("sw", [0x6F00, 0x6700, 0x6982, 0x6A88])
def test_an_odd_answer_to_a_code_is_never_a_second_try(sw: int) -> None:
    card, session, _ = powered()
    session.identify()
    card.faults.once(ins=0x20, sw=sw)
    with pytest.raises(CardFault):
        session.verify(b"1234")
    assert verifies(card) == 1


# --- keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", READABLE)
@pytest.mark.parametrize("hash_name", ["sha1", "sha256"])
@pytest.mark.parametrize("scheme", list(Padding))
def test_every_key_signs_and_its_certificate_says_so(kind: Kind, hash_name: str, scheme: Padding) -> None:
    _, session, _ = powered(Profile(kind=kind))
    cps = session.identify()
    if cps.pin is not None:
        session.verify(b"1234")
    digest = hashlib.new(hash_name, b"content").digest()
    algorithm = {"sha1": hashes.SHA1(), "sha256": hashes.SHA256()}[hash_name]
    for key in cps.keys:
        if scheme is Padding.PSS and kind is not Kind.CPS4:
            with pytest.raises(CardFault, match="PSS"):
                session.sign(key.use, digest, hash_name, scheme)
            continue
        signature = session.sign(key.use, digest, hash_name, scheme)
        public = key.certificate.public_key()
        assert isinstance(public, rsa.RSAPublicKey)
        pss = padding.PSS(padding.MGF1(algorithm), len(digest))
        public.verify(signature, digest, pss if scheme is Padding.PSS else padding.PKCS1v15(), Prehashed(algorithm))


@pytest.mark.parametrize("kind", WITH_CODE)
def test_no_key_signs_before_the_code(kind: Kind) -> None:
    card, session, _ = powered(Profile(kind=kind))
    card.machine.codes.pin.verified = True  # by another program: not by the person before us
    for use in (KeyUse.AUTH, KeyUse.SIGN):
        with pytest.raises(PinNeeded):
            session.sign(use, DIGEST)


def test_a_code_that_the_card_forgot_is_asked_anew() -> None:
    card, session, _ = powered()
    session.verify(b"1234")
    session.sign(KeyUse.AUTH, DIGEST)
    card.machine.codes.reset()
    with pytest.raises(PinNeeded):
        session.sign(KeyUse.AUTH, DIGEST)
    assert verifies(card) == 1


@pytest.mark.parametrize("kind", WITH_CODE)
@pytest.mark.parametrize("ins", [0x88, 0x2A])
def test_a_signature_that_is_not_the_certificates_is_never_given(kind: Kind, ins: int) -> None:
    card, session, _ = powered(Profile(kind=kind))
    session.verify(b"1234")
    for use in (KeyUse.AUTH, KeyUse.SIGN):
        card.faults.clear()
        card.faults.once(ins=ins, answer=bytes(256) + b"\x90\x00")
        if ins == 0x88 and (kind is Kind.CPS4 or use is KeyUse.SIGN):
            continue
        if ins == 0x2A and kind is Kind.CPS3 and use is KeyUse.AUTH:
            continue
        with pytest.raises(CardFault):
            session.sign(use, DIGEST)


def test_a_digest_that_is_none_is_refused_before_the_card() -> None:
    _, session, direct = powered()
    session.verify(b"1234")
    before = direct.count
    for digest, name in ((b"short", "sha256"), (DIGEST, "sha1"), (DIGEST, "md5"), (bytes(64), "sha512")):
        with pytest.raises(CardFault):
            session.sign(KeyUse.AUTH, digest, name)
    assert direct.count == before


def test_raw_rsa_is_for_the_authentication_key_of_cps4() -> None:
    card, session, _ = powered(Profile(kind=Kind.CPS4))
    session.verify(b"1234")
    block = b"\x00\x02" + bytes(254)
    result = session.decrypt_block(KeyUse.AUTH, block)
    numbers = card.keys.authentication.key.public_key().public_numbers()
    assert pow(int.from_bytes(result, "big"), numbers.e, numbers.n) == int.from_bytes(block, "big")
    for use, wrong in ((KeyUse.SIGN, block), (KeyUse.AUTH, block[1:]), (KeyUse.AUTH, b"\xff" * 256)):
        with pytest.raises(CardFault):
            session.decrypt_block(use, wrong)
    _, cps3, _ = powered()
    cps3.verify(b"1234")
    with pytest.raises(CardFault):
        cps3.decrypt_block(KeyUse.AUTH, block)


def test_a_key_that_the_card_has_not_is_a_fault() -> None:
    with pytest.raises(CardFault):
        powered()[1].sign(KeyUse.TECH, DIGEST)


# --- pulled, lying, odd ----------------------------------------------------------------------------------------------


def _whole_story(session: CardSession) -> None:
    cps = session.identify()
    if cps.pin is not None:
        session.verify(b"1234")
        session.situations()
    for key in cps.keys:
        session.sign(key.use, DIGEST)


@pytest.mark.parametrize("kind", READABLE)
def test_pulled_at_any_exchange_leaves_nothing_half_done_and_the_next_card_works(kind: Kind) -> None:
    card, session, direct = powered(Profile(kind=kind))
    _whole_story(session)
    total = direct.count
    assert total <= MOST_EXCHANGES
    keys = card.keys
    for at in range(total):
        card, session, direct = powered(Profile(kind=kind), keys)
        card.faults.once(after=at, remove=True)
        with pytest.raises(CardAbsent):
            _whole_story(session)
        assert session.lost
        assert verifies(card) <= 1
        card.insert()
        sent = direct.count
        with pytest.raises(CardAbsent):  # what is in the reader now is another session's
            session.identify()
        assert direct.count == sent
    _whole_story(powered(Profile(kind=kind), keys)[1])


@pytest.mark.parametrize("kind", READABLE)
@pytest.mark.parametrize("answer", [b"", b"\x90", b"\x6f\x00", b"\x61\xff", b"\x6c\xff", bytes(65_538)])
def test_an_odd_answer_at_any_exchange_is_an_error_or_nothing(kind: Kind, answer: bytes) -> None:
    card, session, direct = powered(Profile(kind=kind))
    _whole_story(session)
    total, keys = direct.count, card.keys
    for at in range(0, total, 1 if answer == b"\x6f\x00" else 3):
        card, session, direct = powered(Profile(kind=kind), keys)
        card.faults.once(after=at, answer=answer)
        with suppress(CardError):
            _whole_story(session)
        assert direct.count <= 2 * MOST_EXCHANGES
        assert verifies(card) <= 1


@pytest.mark.parametrize("loop", ["more_for_ever", "other_length_for_ever"])
def test_a_card_that_never_ends_is_given_up(loop: str) -> None:
    card, session, direct = powered()
    getattr(card.faults, loop)()
    with pytest.raises(CardError):
        session.identify()
    assert direct.count <= MOST_EXCHANGES


def test_a_mute_card_is_a_fault() -> None:
    card, session, _ = powered()
    card.faults.once(after=4, mute=True)
    with pytest.raises(CardFault):
        session.identify()


class _Lies:
    """Answers from a list, then as the card would, again and again."""

    def __init__(self, card: VirtualCard, answers: list[tuple[int, bytes]]) -> None:
        self.direct = Direct(card)
        self.lies = dict(answers)

    def exchange(self, apdu: bytes | bytearray) -> bytes:
        said = self.direct.exchange(apdu)
        return self.lies.get(self.direct.count, said)


_ANSWERS = st.one_of(
    st.binary(max_size=40),
    st.builds(lambda data, sw: data + sw.to_bytes(2, "big"), st.binary(max_size=260), st.integers(0x6100, 0x6FFF)),
    st.builds(lambda data: data + b"\x90\x00", st.binary(max_size=260)),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(READABLE), st.lists(st.tuples(st.integers(1, 90), _ANSWERS), min_size=1, max_size=6))
def test_any_answers_end_in_our_own_error_or_a_whole_card_and_the_next_one_works(
    kind: Kind, lies: list[tuple[int, bytes]]
) -> None:
    card, _, _ = powered(Profile(kind=kind))
    liar = _Lies(card, lies)
    with suppress(CardError):
        _whole_story(session_of(card, liar))
    assert liar.direct.count <= 4 * MOST_EXCHANGES
    assert verifies(card) <= 1
    _, session, _ = powered(Profile(kind=kind), card.keys)
    assert session.identify().number == "99213845"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=60), st.binary(max_size=300))
def test_a_card_made_of_noise_is_our_own_error(answers: list[bytes], last: bytes) -> None:
    noise = iter(answers)

    class Noise:
        count = 0

        def exchange(self, apdu: bytes | bytearray) -> bytes:
            Noise.count += 1
            return next(noise, last)

    session = CardSession(Noise(), Profile().atr, Protocol.T0)
    with pytest.raises(CardError):
        _whole_story(session)
    assert Noise.count <= 4 * MOST_EXCHANGES


@pytest.mark.parametrize("number", ["10000000", "99999999"])
def test_two_cards_are_told_apart_by_their_number(number: str) -> None:
    assert powered(replace(Profile(), number=number))[1].identify().number == number
