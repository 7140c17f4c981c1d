"""`passevue baseline`: every rule of the security baseline, looked at now. Its exit code says the worst that fails.

0 nothing · 1 something that warns · 2 something that holds a function · 3 something that closes the national side ·
4 the rules could not be looked at. (A command that was not understood leaves with 2, as everywhere.)

On the box, root sees what the system shows to root alone; anybody else sees what root left for the engine.
"""

import asyncio
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text as Styled

from passevue.baseline.collect import Hand, collect, joined
from passevue.baseline.machine import Machine, Ran, Unmeasurable
from passevue.baseline.once import look_once
from passevue.baseline.opening import image_of, is_root, last_report
from passevue.baseline.report import EXIT_ENGINE_FAILED, Report, Result
from passevue.baseline.rule import Effect, Rule, Status
from passevue.baseline.rules import BY_ID, CATALOGUE
from passevue.cli.facts import gather
from passevue.cli.ground import DEFAULT_CONFIG, AsJson, ConfigPath, err, now, out
from passevue.config import Config, printable
from passevue.config_check import load_checked
from passevue.errors import BoxError, ConfigError

ROOT = Path("/")
MARKS = {Status.PASS: ("✓", "green"), Status.UNKNOWN: ("?", "yellow"), Status.NOT_APPLICABLE: ("–", "dim")}
FAILED = {Effect.BLOCK: ("✗", "bold red"), Effect.HOLD: ("✗", "red"), Effect.WARN: ("!", "yellow")}
EFFECTS = {
    Effect.BLOCK: "plus rien ne part vers le réseau national",
    Effect.HOLD: "une fonction est suspendue",
    Effect.WARN: "signalé, rien n’est arrêté",
}
VERDICTS = {
    "none": ("green", "Toutes les règles vérifiables ici sont respectées."),
    "warn": ("yellow", "Quelque chose est à corriger ; le boîtier fonctionne."),
    "hold": ("red", "Une fonction est suspendue jusqu’à correction."),
    "block": ("bold red", "Plus rien ne part vers le réseau national jusqu’à correction."),
}


app = typer.Typer(help="Les règles de sécurité du boîtier.")


@app.callback(invoke_without_command=True)
def baseline(
    ctx: typer.Context,
    config_path: ConfigPath = DEFAULT_CONFIG,
    as_json: AsJson = False,
    rule: Annotated[
        list[str] | None, typer.Option("--rule", metavar="ID", help="Seulement cette règle (ID ou nom) ; répétable.")
    ] = None,
    root: Annotated[
        Path,
        typer.Option("--root", metavar="DOSSIER", help="Un autre système, monté là ; aucun programme n’est lancé."),
    ] = ROOT,
) -> None:
    """Vérifie les règles de sécurité du boîtier. Code : 0 rien, 1 à signaler, 2 suspension, 3 blocage, 4 échec."""
    if ctx.invoked_subcommand is not None:
        return
    rules = _chosen(rule or [])
    try:
        report = asyncio.run(_look(rules, config_path, root))
    except (BoxError, OSError) as error:
        err().print(f"[bold red]Les règles n’ont pas pu être vérifiées.[/] [dim]{escape(printable(str(error)))}[/]")
        raise typer.Exit(EXIT_ENGINE_FAILED) from None
    except Exception as error:  # ours: its text may hold anything
        err().print(f"[bold red]Les règles n’ont pas pu être vérifiées.[/] [dim]{type(error).__name__}[/]")
        raise typer.Exit(EXIT_ENGINE_FAILED) from None
    if as_json:
        sys.stdout.write(report.to_json() + "\n")
    else:
        show(report, rules, out())
    raise typer.Exit(report.exit_code)


@app.command("facts")
def collect_facts(
    config_path: ConfigPath = DEFAULT_CONFIG,
    only: Annotated[Hand | None, typer.Option("--only", help="Seulement ce que cette unité relève.")] = None,
) -> None:
    """Relève ce que seul root voit du système, pour que le boîtier en juge. Lancé par systemd, en root."""
    raise typer.Exit(gather(config_path, only))


def _chosen(names: Sequence[str]) -> list[Rule]:
    by_name = BY_ID | {rule.slug: rule for rule in CATALOGUE}
    wanted = [by_name.get(name.upper()) or by_name.get(name.lower()) for name in names]
    for name, found in zip(names, wanted, strict=True):
        if found is None:
            raise typer.BadParameter(f"règle inconnue : {printable(name, 40)}", param_hint="--rule")
    return [each for each in wanted if each is not None] or list(CATALOGUE)


def read_config(path: Path) -> Config | None:
    """None when it is wrong: APP-03 says so, and the other rules are looked at all the same."""
    try:
        return load_checked(path)
    except ConfigError:
        return None


async def _look(rules: Sequence[Rule], config_path: Path, root: Path) -> Report:
    config = await asyncio.to_thread(read_config, config_path)
    with _progress() as bar:
        task = bar.add_task("Vérification", total=sum(rule.check is not None for rule in rules))
        machine = await asyncio.to_thread(_machine, config, config_path, root)
        image = await asyncio.to_thread(image_of, machine)
        earlier = await asyncio.to_thread(last_report, config, root) if config is not None else None
        return await look_once(
            rules,
            machine,
            box=config.box.oid if config is not None else "",
            image=image,
            earlier={each.id: each for each in earlier.results} if earlier is not None else {},
            progress=lambda _: bar.advance(task),
        )


def _machine(config: Config | None, config_path: Path, root: Path) -> Machine:
    if root != ROOT:
        return Machine(root, now=now(), config=config, config_path=config_path, runner=_no_programs)
    machine = Machine(ROOT, now=now(), config=config, config_path=config_path)
    if not machine.appliance or not is_root():
        return machine
    return Machine(ROOT, now=now(), config=config, config_path=config_path, collected=joined(collect(machine)))


def _no_programs(argv: tuple[str, ...], _timeout_s: float) -> Ran:
    raise Unmeasurable(f"{argv[0]} would speak of this machine")


def _progress() -> Progress:
    """On standard error, and gone when done."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(30),
        TextColumn("{task.completed}/{task.total}"),
        console=err(),
        transient=True,
    )


# --- for people ------------------------------------------------------------------------------------------------------


def show(report: Report, rules: Sequence[Rule], console: Console) -> None:
    """What fails first, each with why it matters and what to do; then the rest, a line each."""
    failing = sorted(
        (each for each in report.results if each.status is Status.FAIL),
        key=lambda each: list(FAILED).index(each.effect),
    )
    unknown = [each for each in report.results if each.status is Status.UNKNOWN]
    colour, said = VERDICTS[report.worst]
    console.print(f"[{colour}]{said}[/]")
    console.print(_counted(report, rules))
    for each in (*failing, *unknown):
        console.print()
        console.print(_told(each), soft_wrap=False)
    _list(console, "Respectées", [each for each in report.results if each.status is Status.PASS])
    _list_reasons(console, [each for each in report.results if each.status is Status.NOT_APPLICABLE])
    _list_proved(console, [rule for rule in rules if rule.check is None])


def _counted(report: Report, rules: Sequence[Rule]) -> str:
    words = {"pass": "respectées", "fail": "en défaut", "unknown": "indéterminées", "not_applicable": "sans objet ici"}
    parts = [f"{count} {words[status]}" for status, count in report.counts.items() if count]
    proved = sum(rule.check is None for rule in rules)
    if proved:
        parts.append(f"{proved} vérifiées avant la livraison")
    return f"[dim]{escape(' · '.join(parts))}[/]"


def _told(result: Result) -> Group:
    rule = BY_ID[result.id]
    mark, colour = FAILED[result.effect] if result.status is Status.FAIL else MARKS[result.status]
    said = "Non assuré : " if result.status is Status.FAIL else ""
    head = Styled.assemble((f"{mark} {rule.id}", colour), "  ", (f"{said}{rule.title.fr}", "bold"))
    effect = EFFECTS[result.effect] if result.fires else "pas encore compté comme un défaut"
    body = Table.grid(padding=(0, 2))
    body.add_column(style="dim")
    body.add_column(overflow="fold")
    body.add_row("  Constat", escape(printable(result.observed, 300)))
    body.add_row("  Attendu", escape(result.expected))
    body.add_row("  Effet", effect)
    body.add_row("  Pourquoi", rule.why.fr)
    body.add_row("  À faire", f"[bold]{escape(rule.remedy.text.fr)}[/]")
    return Group(head, body)


def _list(console: Console, title: str, results: Iterable[Result]) -> None:
    rows = list(results)
    if not rows:
        return
    console.print(f"\n[bold]{title}[/]")
    for each in rows:
        mark, colour = MARKS[each.status]
        observed = escape(printable(each.observed, 90))
        console.print(f"  [{colour}]{mark}[/] {each.id:<8} {escape(BY_ID[each.id].title.fr)}  [dim]{observed}[/]")


def _list_reasons(console: Console, results: Sequence[Result]) -> None:
    """What does not apply, together where the reason is the same."""
    if not results:
        return
    console.print("\n[bold]Sans objet ici[/]")
    for reason in dict.fromkeys(each.observed for each in results):
        ids = " ".join(each.id for each in results if each.observed == reason)
        console.print(f"  [dim]–[/] {escape(printable(reason, 200))}\n    [dim]{ids}[/]")


def _list_proved(console: Console, rules: Sequence[Rule]) -> None:
    if not rules:
        return
    console.print("\n[bold]Vérifiées avant la livraison[/]")
    for rule in rules:
        console.print(f"  [dim]·[/] {rule.id:<8} {escape(rule.title.fr)}  [dim]{escape(rule.proof)}[/]")
