"""Coverage-guided fuzzing of what reads hostile bytes: `python -m tests.fuzz [name] [seconds]`, by default all, 60 s.

One invariant for all (reliability § 8): any bytes are taken or refused with our own error, in bounded time and memory,
and the next good message is served. A target is a module `fuzz_<name>.py` beside this file with

    def one_input(data: bytes) -> None:      feeds `data`; any exception that escapes is a find
    def seeds() -> Iterable[bytes]:          real inputs to start from; may be left out

To add one (`fuzz_pdu.py`, `fuzz_multipart.py`, …), add the file: it is found by its name. Each target
runs in a process of its own. What breaks the invariant is written to `tests/fuzz/found/<name>-…`, which is to become a
unit test; `tests/fuzz/corpus/<name>` keeps what reached new code, for the next run. Needs atheris (the `fuzz` extra,
CPython below 3.12); without it this says so and exits 3.
"""

import argparse
import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
MISSING = 3
LIMITS = ("-rss_limit_mb=512", "-timeout=5", "-max_len=65536")


def names() -> list[str]:
    return sorted(path.stem.removeprefix("fuzz_") for path in HERE.glob("fuzz_*.py"))


def run_alone(name: str, seconds: int) -> None:
    """One target in this process; does not return."""
    import atheris  # type: ignore[import-not-found, unused-ignore]

    with atheris.instrument_imports(include=["passevue"]):
        target = importlib.import_module(f"tests.fuzz.fuzz_{name}")
    corpus, found = HERE / "corpus" / name, HERE / "found"
    corpus.mkdir(parents=True, exist_ok=True)
    found.mkdir(exist_ok=True)
    for number, seed in enumerate(getattr(target, "seeds", tuple)()):
        (corpus / f"seed-{number}").write_bytes(seed)
    arguments = [*LIMITS, f"-max_total_time={seconds}", f"-artifact_prefix={found}/{name}-", str(corpus)]
    atheris.Setup([sys.argv[0], *arguments], target.one_input)
    atheris.Fuzz()


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m tests.fuzz")
    arguments.add_argument("name", nargs="?", choices=[*names(), "all"], default="all")
    arguments.add_argument("seconds", nargs="?", type=int, default=60)
    arguments.add_argument("--alone", action="store_true", help="in this process, as the runner starts it")
    options = arguments.parse_args()
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed (extra `fuzz`, CPython below 3.12): nothing was fuzzed", file=sys.stderr)
        return MISSING
    if options.alone:
        run_alone(options.name, options.seconds)
    wanted = names() if options.name == "all" else [options.name]
    failed = [name for name in wanted if not _passes(name, options.seconds)]
    print(
        f"fuzzed {', '.join(wanted)} for {options.seconds} s each: {'FOUND ' + ', '.join(failed) if failed else 'ok'}"
    )
    return 1 if failed else 0


def _passes(name: str, seconds: int) -> bool:
    print(f"fuzzing {name} for {seconds} s", flush=True)
    command = [sys.executable, "-m", "tests.fuzz", name, str(seconds), "--alone"]
    return subprocess.run(command, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
