"""`passevue`: the one command. `run`, the box itself, is loaded without the others, which it never needs."""

import sys


def main() -> None:
    if sys.argv[1:2] == ["run"]:
        from passevue.cli.words import read

        if (wanted := read(sys.argv[2:])) is not None:
            _load_structlog_alone()
            from passevue.cli.start import live

            sys.exit(live(wanted))
    from passevue.cli.commands import app

    app()


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
