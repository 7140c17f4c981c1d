"""SERV-04: proved before release, on the tree of the image."""

from passevue.baseline.remedies import IMAGE_BUG
from passevue.baseline.rule import Effect, Level, Rule, Text, When

RULE = Rule(
    id="SERV-04",
    slug="only_needed_software",
    level=Level.MUST,
    effect=Effect.GATE,
    when=frozenset({When.BUILD}),
    title=Text("Seuls les logiciels nécessaires sont installés", "Only the software that is needed is installed"),
    why=Text(
        "Un outil absent ne peut pas servir à un attaquant.",
        "A tool that is not there is of no use to an attacker.",
    ),
    expected="packages = SBOM; no compiler, debugger, package manager, network client, interpreter but ours",
    remedy=IMAGE_BUG,
    source="BP R58(M), CRA j, CLA O-3.3",
    proof="tests/image/test_supply.py::test_no_tool_is_there_that_an_intruder_would_look_for",
    also=("tests/image/test_supply.py::test_every_package_and_every_distribution_is_in_the_bill_and_nothing_else",),
)
