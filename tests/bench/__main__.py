"""`make bench`: every figure side by side with its peers, as one table and as `bench.json`.

Each `bench_*.py` beside this file has one `figures()` that yields `Figure`s. A name (`make bench BENCH=dicom`)
runs those alone. Figures are medians of at least five runs; machines are noisy: read the ratios.
"""

import importlib
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench.figure import Figure
from tests.foreign import leave_environment

HERE = Path(__file__).parent
console = Console()


def modules(names: list[str]) -> Iterator[str]:
    for path in sorted(HERE.glob("bench_*.py")):
        if not names or path.stem.removeprefix("bench_") in names:
            yield path.stem


def measured(names: list[str]) -> Iterator[Figure]:
    for module in modules(names):
        console.log(f"measuring {module.removeprefix('bench_')} …")
        for figure in importlib.import_module(f"tests.bench.{module}").figures():
            console.log(f"  {figure.name}: {figure.ours:.4g} {figure.unit}")
            yield figure


def table_of(figures: list[Figure]) -> Table:
    table = Table("figure", "ours", "peers", "ratio", "aim", "met")
    for each in figures:
        peers = ", ".join(f"{name} {value:.4g}" for name, value in each.peers.items())
        ratio = f"{each.ratio:.2f}" if each.ratio is not None else ""
        table.add_row(each.name, f"{each.ours:.4g} {each.unit}", peers, ratio, each.aim, "yes" if each.met else "NO")
    return table


def main(names: list[str]) -> None:
    figures = list(measured(names))
    console.print(table_of(figures))
    Path("bench.json").write_text(json.dumps([asdict(each) for each in figures], indent=2) + "\n", encoding="utf-8")


leave_environment()
main(sys.argv[1:])
