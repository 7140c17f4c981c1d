"""Makes an engine out of a configuration: what the host zone and the command line start from."""

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from passevue import __version__
from passevue.baseline.engine import Canary, Engine, Name, Told, first_report
from passevue.baseline.machine import Machine, Unmeasurable
from passevue.baseline.places import ROOT, baseline_folder, live_folder
from passevue.baseline.report import Report
from passevue.baseline.rules import CATALOGUE
from passevue.config import Config


def open_engine(
    config: Config,
    config_path: Path | None,
    clock: Callable[[], datetime],
    *,
    told: Told,
    canary: Canary,
    root: Path = ROOT,
) -> Engine:
    """The engine of this box, over every rule of the catalogue. Blocks."""

    def see() -> Machine:
        return Machine(root, now=clock(), config=config, config_path=config_path)

    name = Name(config.box.oid, image_of(see()))
    return Engine(
        CATALOGUE, see, baseline_folder(config), name, clock=clock, told=told, canary=canary,
        live=live_folder(config, root),
    )  # fmt: skip


def image_of(machine: Machine) -> str:
    """The version of the image; elsewhere, of the program. Blocks."""
    try:
        return machine.manifest.version
    except (OSError, Unmeasurable):
        return __version__


def last_report(config: Config, root: Path = ROOT) -> Report | None:
    """What the engine left last; None when there is nothing that can be read. Blocks."""
    return first_report(live_folder(config, root), baseline_folder(config))


def is_root() -> bool:
    """Whether the facts can be collected on the spot."""
    return os.geteuid() == 0
