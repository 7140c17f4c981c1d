"""STOR-06: no disk has lost data or is near the end of its life, by its own SMART log."""

from typing import Any

from passevue.baseline.machine import Machine
from passevue.baseline.remedies import DISK
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, failed, not_applicable, passed
from passevue.errors import Unreadable

WORN_PERCENT = 90
LOST = frozenset({5, 187, 197, 198})  # ATA: reallocated, reported uncorrectable, pending, off-line uncorrectable
WEAR = frozenset({177, 202, 231, 233})  # ATA: normalised value falls from 100 as the disk wears


def check(machine: Machine) -> Finding:
    disks = [(str(each["disk"]), each["smartctl"]) for each in machine.facts.tree("disk_health")]
    told = [(name, *health) for name, tree in disks if (health := _health(tree)) is not None]
    if not disks:
        raise Unreadable("there is no disk")
    if not told:
        return not_applicable("ce disque ne dit rien de sa santé")
    wrong = [f"{name}: {errors} errors, {worn} % worn" for name, errors, worn in told if errors or worn >= WORN_PERCENT]
    return (
        failed("; ".join(wrong)) if wrong else passed(f"{len(told)} disk(s), {max(worn for *_, worn in told)} % worn")
    )


def _health(tree: Any) -> tuple[int, int] | None:
    """Errors and wear in per cent; None for a disk that says neither."""
    if "nvme_smart_health_information_log" in tree:
        log = tree["nvme_smart_health_information_log"]
        return int(log["media_errors"]) + int(log["critical_warning"] != 0), int(log["percentage_used"])
    if "ata_smart_attributes" not in tree:
        return None
    table = {int(each["id"]): each for each in tree["ata_smart_attributes"]["table"]}
    lost = sum(int(table[number]["raw"]["value"]) for number in LOST & set(table))
    worn = [100 - int(table[number]["value"]) for number in WEAR & set(table)]
    return lost + (tree["smart_status"]["passed"] is not True), max([0, *worn])


RULE = Rule(
    id="STOR-06",
    slug="disk_wear",
    level=Level.SHOULD,
    effect=Effect.WARN,
    when=frozenset({When.DAILY}),
    title=Text("Le disque est en bonne santé", "The disk is in good health"),
    why=Text(
        "Un disque s’use : mieux vaut le remplacer avant qu’il ne lâche.",
        "A disk wears out: better replace it before it fails.",
    ),
    expected="no media error, no critical warning, wear < 90 %",
    remedy=DISK,
    source="CRA h",
    check=check,
)
