"""`passevue`: the one command. What systemd runs is loaded without the others, which it never needs."""

import sys
from collections.abc import Sequence


def main() -> None:
    match sys.argv[1:]:
        case ["run", *words]:
            _run(words)
        case ["baseline", "facts", *words]:
            _facts(words)
    from passevue.cli.commands import app

    app()


def _run(words: Sequence[str]) -> None:
    """Returns where the words are better read by typer."""
    from passevue.cli.words import read

    if (wanted := read(words)) is not None:
        _load_structlog_alone()
        from passevue.cli.start import live

        sys.exit(live(wanted))


def _facts(words: Sequence[str]) -> None:
    """As `_run`; `--only` comes first, or typer reads it."""
    from passevue.baseline.collect import Hand
    from passevue.cli.words import Wanted, read

    only = next((hand for hand in Hand if words[:2] == ["--only", hand]), None)
    wanted = read(words[2:] if only else words)
    if wanted is not None and wanted == Wanted(wanted.config_path):
        from passevue.cli.facts import gather

        sys.exit(gather(wanted.config_path, only))


def _load_structlog_alone() -> None:
    """structlog takes what is installed of these, to draw tracebacks and to follow green threads. The box does neither,
    and they are 6 MiB in each of its processes."""
    for name in ("rich", "greenlet"):
        sys.modules[name] = None  # type: ignore[assignment]  # "not there", says the import system's reference
    try:
        import structlog  # noqa: F401
    finally:
        for name in ("rich", "greenlet"):
            del sys.modules[name]


if __name__ == "__main__":
    main()
