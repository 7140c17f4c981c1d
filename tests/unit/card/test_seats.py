"""Readers and cards as values: what a listener is told, however slow it is."""

from hypothesis import given, settings
from hypothesis import strategies as st

from passevue.card.pcsc import MUTE, PRESENT, UNKNOWN, Look
from passevue.card.seats import CardIn, CardOut, Event, Insertions, ReaderIn, ReaderOut, Seat, differences, seats_after

ATR = b"\x3b\x00"


def look(moves: int = 0, *, card: bool = False, atr: bytes = ATR, reader: str = "R", mute: bool = False) -> Look:
    state = (PRESENT if card else 0) | (MUTE if mute else 0)
    return Look(reader, state | moves << 16, atr if card else b"")


def told(*looks: tuple[Look, ...]) -> list[Event]:
    """All events of a listener that sees every look."""
    seats: dict[str, Seat] = {}
    numbers = Insertions()
    found: list[Event] = []
    for each in looks:
        after = seats_after(seats, each, numbers)
        found += differences(seats, after)
        seats = after
    return found


def test_readers_and_cards_come_and_go() -> None:
    assert told((look(),), (look(1, card=True),), (look(2),), ()) == [
        ReaderIn("R"), CardIn("R", ATR, 1), CardOut("R", 1), ReaderOut("R"),
    ]  # fmt: skip


def test_a_swap_between_two_looks_is_a_removal_and_an_insertion() -> None:
    assert told((look(1, card=True),), (look(3, card=True),))[2:] == [CardOut("R", 1), CardIn("R", ATR, 2)]


def test_another_atr_is_another_card() -> None:
    assert told((look(1, card=True),), (look(1, card=True, atr=b"\x3b\x01"),))[2:] == [
        CardOut("R", 1), CardIn("R", b"\x3b\x01", 2),
    ]  # fmt: skip


def test_nothing_that_changed_is_nothing_told() -> None:
    assert told((look(1, card=True),), (look(1, card=True),))[2:] == []


def test_a_reader_that_goes_takes_its_card_along() -> None:
    assert told((look(1, card=True),), (Look("R", UNKNOWN, b""),))[2:] == [CardOut("R", 1), ReaderOut("R")]


def test_a_card_that_does_not_answer_is_told_as_mute() -> None:
    (_, event) = told((look(1, card=True, mute=True),))
    assert isinstance(event, CardIn)
    assert event.mute


def test_a_card_without_atr_is_not_there_yet() -> None:
    assert told((look(1, card=True, atr=b""),), (look(1, card=True),)) == [ReaderIn("R"), CardIn("R", ATR, 1)]


_STEPS = st.lists(st.sampled_from(["insert", "remove", "swap", "reader"]), max_size=30)


@settings(deadline=None)
@given(_STEPS, st.lists(st.booleans(), min_size=30, max_size=30))
def test_a_slow_listener_misses_no_final_state(steps: list[str], listens: list[bool]) -> None:
    numbers = Insertions()
    seats: dict[str, Seat] = {}
    seen: dict[str, Seat] = {}
    known: dict[str, int] = {}
    moves, card, reader = 0, False, True

    def hear() -> None:
        for event in differences(seen, seats):
            match event:
                case ReaderIn(name):
                    assert name not in known
                    known[name] = 0
                case ReaderOut(name):
                    assert known.pop(name) == 0
                case CardIn(name, _, number):
                    assert known[name] == 0
                    known[name] = number
                case CardOut(name, number):
                    assert known[name] == number
                    known[name] = 0

    for step, listen in zip(steps, listens, strict=False):
        if step == "reader":
            reader, card = not reader, False
        elif reader and step == "swap" and card:
            moves += 2
        elif reader and step != "swap" and card is (step == "remove"):
            card, moves = not card, moves + 1
        seats = seats_after(seats, (look(moves, card=card),) if reader else (), numbers)
        if listen:
            hear()
            seen = seats
    hear()
    assert known == {name: seat.insertion for name, seat in seats.items()}
