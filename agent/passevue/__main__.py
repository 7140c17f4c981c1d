"""`passevue`: the one command. `run`, the box itself, is loaded without the others, which it never needs."""

import sys


def main() -> None:
    if sys.argv[1:2] == ["run"]:
        from passevue.cli.start import alone

        alone()
    else:
        from passevue.cli.commands import app

        app()


if __name__ == "__main__":
    main()
