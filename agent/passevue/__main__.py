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
    """structlog takes rich, where it is installed, to draw tracebacks; the box prints none, and it is 5 MiB a zone."""
    sys.modules["rich"] = None  # type: ignore[assignment]  # "not there", says the import system's reference
    try:
        import structlog  # noqa: F401
    finally:
        del sys.modules["rich"]


if __name__ == "__main__":
    main()
