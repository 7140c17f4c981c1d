"""USB-02: proved before release: in the VM with emulated devices, and for the verdict itself with their descriptors."""

from passevue.baseline.remedies import IMAGE_BUG
from passevue.baseline.rule import Effect, Level, Rule, Text, When

RULE = Rule(
    id="USB-02",
    slug="usb_hostile",
    level=Level.MUST,
    effect=Effect.GATE,
    when=frozenset({When.BUILD}),
    title=Text("Un appareil USB hostile reste sans effet", "A hostile USB device has no effect"),
    why=Text(
        "Clé, clavier, carte réseau, ou lecteur qui cache un clavier : rien ne doit bouger.",
        "Stick, keyboard, network card, or a reader that hides a keyboard: nothing must move.",
    ),
    expected="storage, keyboard, network and composite devices stay dead and raise an event",
    remedy=IMAGE_BUG,
    source="CR 2.3, HYG 15",
    check=None,
    proof="tests/image/test_usb.py",
    also=("tests/image/test_card_reader.py::test_a_reader_that_is_a_keyboard_too_stays_dead_as_a_whole",),
)
