#!/usr/bin/env python3
"""`make image`: from this repository and the machine's own package mirror to a signed disk image, its parts and its update bundle.

What it makes lies under image/build/ (see README.md): `tools/` the Debian 13 programs that build, `cache/` what was downloaded,
`keys/` throw-away keys, `stage/` the files of ours as they land in the image, `log/` what each step printed, `out/NAME/` the result.
Every step says what it does and how long it took; a failed one shows the end of its log. Runs as root for images that go to sites:
a plain user's build boots too, with every file owned by root, and says so.

No step needs loop devices, mounts on the host or a running systemd. Python 3.11 or later, no packages.
"""

import argparse
import contextlib
import hashlib
import json
import os
import re
import shlex
import shutil
import ssl
import struct
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "rauc/overlay/usr/lib/passevue")]

import apt_sources  # noqa: E402
from slots import uki as uki_slot  # noqa: E402

REPOSITORY = HERE.parent
BUILD = HERE / "build"
RELEASE = "trixie"
PYTHON = "3.13"  # Debian 13's
FROM_DEBIAN = ("pyscard",)  # has no wheel for Linux; python3-pyscard is in mkosi.conf
NOT_ON_THE_BOX = ("colorama", "tzdata", "psycopg", "psycopg-binary")  # Windows; the queue's other engine, for hosted boxes
UKI_SLOT = "passevue-uki-a"
PROFILES = ("production", "development")


class BuildError(Exception):
    """A step failed; the message is for the person who typed `make image`."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be built."""

    profile: str
    test: bool
    version: str
    name: str  # folder under out/
    keys: Path
    extra: tuple[Path, ...]  # trees laid over the image: tests build broken boxes with them
    compression: str  # of the root: lz4hc builds quickest, zstd is smallest
    epoch: int
    fresh: bool

    @property
    def out(self) -> Path:
        return BUILD / "out" / self.name


def main() -> int:
    if sys.argv[1:2] == ["--in-tools"]:
        return subprocess.run([str(part) for part in in_tools(BUILD / "tools", (HERE,), *sys.argv[2:])]).returncode
    order = _order(sys.argv[1:])
    started = time.monotonic()
    try:
        _refuse(order)
        tools = make_tools(order.fresh)
        make_keys(order, tools)
        wheels = get_wheels()
        stage = lay_out(order, wheels)
        run_mkosi(order, tools, stage)
        give(order)
        make_bundle(order, tools)
    except (BuildError, apt_sources.NoSources) as err:
        print(f"\nimage: {err}", file=sys.stderr)
        return 1
    print(f"\n{order.out.relative_to(REPOSITORY)}/disk.raw: {_told(order)}, in {time.monotonic() - started:.0f} s", file=sys.stderr)
    return 0


# --- what is asked ---------------------------------------------------------------------------------------------------


def _order(argv: Sequence[str]) -> Order:
    parser = argparse.ArgumentParser(
        description="Builds the image of the box.", epilog="build.py --in-tools PROGRAM …: runs a program of the tools tree."
    )
    parser.add_argument("--profile", choices=PROFILES, default="development")
    parser.add_argument("--test", action="store_true", help="with a root console on the serial line (development only)")
    parser.add_argument("--version", default=_version(), help="default: that of pyproject.toml")
    parser.add_argument("--name", help="folder under image/build/out (default: the profile)")
    parser.add_argument("--keys", type=Path, help="key set (default: image/build/keys/PROFILE, made when missing)")
    parser.add_argument("--extra", type=Path, action="append", default=[], help="tree laid over the image (development only)")
    parser.add_argument("--compression", default="zstd,12", help="of the root: lz4hc,9 while trying, zstd,12 (default)")
    parser.add_argument("--fresh", action="store_true", help="no package installed from an earlier build's cache")
    asked = parser.parse_args(argv)
    return Order(
        profile=asked.profile,
        test=asked.test,
        version=asked.version,
        name=asked.name or asked.profile + ("-test" if asked.test else ""),
        keys=(asked.keys or BUILD / "keys" / asked.profile).resolve(),
        extra=tuple(path.resolve() for path in asked.extra),
        compression=asked.compression,
        epoch=int(os.environ.get("SOURCE_DATE_EPOCH") or _git("log", "-1", "--format=%ct")),
        fresh=asked.fresh,
    )


def _refuse(order: Order) -> None:
    """What would put development into production."""
    if order.profile == "production" and (order.test or order.extra):
        raise BuildError("a production image takes no root console and no extra tree")
    purpose = order.keys / "purpose"
    if purpose.exists() and purpose.read_text().strip() != order.profile:
        raise BuildError(f"{order.keys} holds {purpose.read_text().strip()} keys: they sign no {order.profile} image")
    if not re.fullmatch(r"\d+(\.\d+){1,3}", order.version):
        raise BuildError(f"version {order.version}: expected numbers and dots, as 1.4.2 (updates compare them)")
    if os.getuid():
        print("image: not root: all files of the image will belong to root. Good for trying, not for sites.", file=sys.stderr)


def _version() -> str:
    return str(tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"])


def _git(*argv: str) -> str:
    return subprocess.run(["git", "-C", REPOSITORY, *argv], capture_output=True, text=True, check=True).stdout.strip()


def _files(tree: str) -> list[str]:
    """The files of a tree that are, or are about to be, in the repository; not what programs left there."""
    return sorted(name for name in _git("ls-files", "--cached", "--others", "--exclude-standard", tree).splitlines() if (REPOSITORY / name).exists())


# --- steps -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def step(title: str) -> Iterator[None]:
    print(f"» {title:<58}", end="", file=sys.stderr, flush=True)
    started = time.monotonic()
    try:
        yield
    except BaseException:
        print(" failed", file=sys.stderr)
        raise
    print(f" {time.monotonic() - started:6.1f} s", file=sys.stderr)


def run(argv: Sequence[object], log: str, **options: object) -> None:
    """One program, its output in log/`log`; the end of it is shown when it fails."""
    path = BUILD / "log" / f"{log}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as output:
        code = subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=output, stderr=output, **options).returncode  # type: ignore[call-overload]
    if code:
        lines = path.read_text(errors="replace").splitlines()
        raise BuildError("\n".join([*lines[-25:], f"{Path(str(argv[0])).name} failed; all of it is in {path}"]))


def make_tools(fresh: bool) -> Path:
    """A Debian 13 tree with mkosi and what it calls; made again when the list or the mirrors change, or the packages are old."""
    tools = BUILD / "tools"
    names = [line.split("#")[0].strip() for line in (HERE / "tools.list").read_text().splitlines()]
    names = [name for name in names if name]
    listed = apt_sources.write(BUILD / "apt", RELEASE)
    wanted = hashlib.sha256((" ".join(names) + listed.read_text()).encode()).hexdigest()
    stamp = BUILD / "tools.stamp"
    if not fresh and stamp.exists() and stamp.read_text() == wanted and tools.exists():
        return tools
    if not shutil.which("mmdebstrap"):
        raise BuildError("mmdebstrap is missing: apt install mmdebstrap")
    with step(f"tools: {len(names)} packages of Debian 13"):
        stamp.unlink(missing_ok=True)
        _remove(tools)
        mode = "root" if os.getuid() == 0 else "unshare"
        settings = BUILD / "apt/etc/apt/apt.conf.d/90-build-machine"
        run(
            ["mmdebstrap", f"--mode={mode}", "--variant=apt", "--include=" + ",".join(names), f"--aptopt={settings}", RELEASE, tools, listed],
            "tools",
        )
        stamp.write_text(wanted)
    return tools


def make_keys(order: Order, tools: Path) -> None:
    """The key set, and what the loader enrols from it on a board in setup mode (made once: the signatures hold their date)."""
    if not (order.keys / "purpose").exists():
        if order.keys != BUILD / "keys" / order.profile:
            raise BuildError(f"{order.keys} holds no key set (image/keys makes one)")
        with step(f"throw-away {order.profile} keys"):
            run([HERE / "keys", order.keys, order.profile], "keys")
    if not (order.keys / "db.auth").exists():
        with step("Secure Boot variables to enrol"):
            script = HERE / "keys-enrol"
            run(in_tools(tools, (order.keys, HERE), script, order.keys), "enrol")


def get_wheels() -> Path:
    """The agent's dependencies as wheels for the image's Python, checked against agent/requirements.txt."""
    text = (REPOSITORY / "agent/requirements.txt").read_text()
    entries = re.split(r"\n(?=\S)", text)
    kept = [entry for entry in entries if re.split(r"[=\s]", entry)[0] not in (*FROM_DEBIAN, *NOT_ON_THE_BOX)]
    wanted = "\n".join(kept)
    place = BUILD / "cache/wheels"
    listed = place / "requirements.txt"
    if listed.exists() and listed.read_text() == wanted:
        return place
    with step(f"{len(kept)} hashed wheels for Python {PYTHON}"):
        pip = BUILD / "pip"
        if not (pip / "bin/pip").exists():
            run([sys.executable, "-m", "venv", pip], "pip")
        place.mkdir(parents=True, exist_ok=True)
        draft = place / "requirements.part"
        draft.write_text(wanted)
        run([pip / "bin/pip", "download", "--require-hashes", "-r", draft, "-d", place, *_target()], "wheels")
        draft.rename(listed)
    return place


def _target() -> list[str]:
    platforms = [f"--platform=manylinux_2_{minor}_x86_64" for minor in (41, 39, 38, 35, 34, 31, 28, 27, 26, 24, 17, 12, 5)]
    return ["--only-binary=:all:", "--no-deps", f"--python-version={PYTHON}", "--implementation=cp", *platforms,
            "--platform=manylinux2014_x86_64", "--platform=manylinux1_x86_64"]  # fmt: skip


def lay_out(order: Order, wheels: Path) -> Path:
    """Everything of ours, as it lands in the image: agent, units, readers, update keys, what the manifest says before the build."""
    stage = BUILD / "stage"
    with step("the agent, its units and readers"):
        _remove(stage)
        python = stage / "usr/lib/passevue/python"
        python.mkdir(parents=True)
        run(
            [BUILD / "pip/bin/pip", "install", "--no-index", "--find-links", wheels, "--require-hashes", "-r", wheels / "requirements.txt",
             "--target", python, "--no-compile", *_target()],
            "install",
        )  # fmt: skip
        _slim(python)
        for name in _files("agent/passevue"):
            _copy(REPOSITORY / name, python / Path(name).relative_to("agent"))
        told = python / f"passevue-{_version()}.dist-info/METADATA"
        told.parent.mkdir()
        told.write_text(f"Metadata-Version: 2.1\nName: passevue\nVersion: {_version()}\n")
        _overlay(stage)
        for readers in sorted((REPOSITORY / "hw/readers").glob("*.toml")):
            _copy(readers, stage / "usr/share/passevue/hw/readers" / readers.name)
        for rules in sorted((REPOSITORY / "hw/udev").glob("*.rules")):
            _copy(rules, stage / "usr/lib/udev/rules.d" / rules.name)
        for rules in sorted((REPOSITORY / "hw/polkit").glob("*.rules")):
            _copy(rules, stage / "usr/share/polkit-1/rules.d" / rules.name)
        for name in ("PK", "KEK", "db"):
            _copy(order.keys / f"{name}.auth", stage / f"efi/loader/keys/auto/{name}.auth", 0o644)
        believed = (order.keys / "rauc-ca.crt").read_text() + (order.keys / "rauc-ca.crl").read_text()
        (stage / "usr/share/passevue/rauc-ca.pem").write_text(believed)
        _copy(order.keys / "manifest.pub", stage / "usr/share/passevue/manifest.pub", 0o644)
    return stage


def _slim(python: Path) -> None:
    """What the wheels carry and nothing here reads: commands, tests, sources of compiled parts, the lexers of pygments (for rich)."""
    for folder in [python / "bin", *python.glob("**/tests"), *python.glob("**/data/test_files")]:
        shutil.rmtree(folder, ignore_errors=True)
    for pattern in ("**/*.pyx", "**/*.pxd", "**/*.c", "**/*.h", "**/*.pyi"):
        for file in python.glob(pattern):
            file.unlink()
    for lexer in (python / "pygments/lexers").glob("[a-z]*.py"):
        lexer.unlink()


def _overlay(stage: Path) -> None:
    """Units (systemd/) and the updater's files (image/rauc/overlay/): trees laid out as they land."""
    for tree in ("systemd", "image/rauc/overlay"):
        for name in _files(tree):
            inner = Path(name).relative_to(tree)
            if inner.parts[0] in ("usr", "etc"):
                _copy(REPOSITORY / name, stage / inner)


def run_mkosi(order: Order, tools: Path, stage: Path) -> None:
    package = BUILD / "mkosi-python"
    package.mkdir(exist_ok=True)
    link = package / "mkosi"
    if not link.is_symlink():
        link.symlink_to("../tools/usr/lib/python3/dist-packages/mkosi")
    done = BUILD / "mkosi"
    for old in done.glob("passevue*"):
        old.unlink()
    (BUILD / "cache/packages").mkdir(parents=True, exist_ok=True)
    (BUILD / "cache/trees").mkdir(parents=True, exist_ok=True)
    repart = BUILD / "repart"
    _remove(repart)
    shutil.copytree(HERE / "partitions", repart)
    (stage / "usr/share/passevue/manifest.json").write_text(json.dumps(_facts(order, package)))
    algorithm, _, level = order.compression.partition(",")
    root = repart / "10-root-a.conf"
    root.write_text(root.read_text().replace("=zstd", f"={algorithm}").replace("Level=12", f"Level={level}"))
    argv = [
        sys.executable, "-m", "mkosi", "--directory", HERE, "--force", f"--tools-tree={tools}", f"--image-version={order.version}",
        f"--source-date-epoch={order.epoch}", f"--sandbox-tree={BUILD / 'apt'}", f"--package-cache-dir={BUILD / 'cache/packages'}",
        f"--cache-dir={BUILD / 'cache/trees'}", "--incremental=yes", f"--extra-tree={stage}", f"--repart-dir={repart}",
        f"--secure-boot-key={order.keys / 'db.key'}", f"--secure-boot-certificate={order.keys / 'db.crt'}",
        f"--sign-expected-pcr-key={order.keys / 'pcr.key'}", f"--sign-expected-pcr-certificate={order.keys / 'pcr.crt'}",
        f"--build-sources={order.keys}:keys", f"--environment=PASSEVUE_OWNERS={'flat' if os.getuid() else 'kept'}",
        f"--profile={order.profile}", *(["--profile=test"] if order.test else []), *[f"--extra-tree={tree}" for tree in order.extra],
        *(["-f"] if order.fresh else []), "build",
    ]  # fmt: skip
    with step(f"mkosi: {order.profile}{' with root console' if order.test else ''} {order.version}"):
        run(argv, "mkosi", cwd=HERE, env=os.environ | {"PYTHONPATH": str(package)})


def _facts(order: Order, package: Path) -> dict[str, object]:
    """What the manifest says and the tree does not show; finalize/20-manifest adds the rest."""
    asked = [sys.executable, "-m", "mkosi", "--directory", HERE, f"--profile={order.profile}", "--json", "summary"]
    told = subprocess.run(asked, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": str(package)})
    image = json.loads(told.stdout)["Images"][-1]  # those that it depends on come first
    release = tomllib.loads((HERE / "release.toml").read_text())
    catalogue = (REPOSITORY / "agent/passevue/baseline/rules").glob("*.py")
    certificate = ssl.PEM_cert_to_DER_cert((order.keys / "db.crt").read_text())
    return {
        "version": order.version,
        "profile": order.profile,
        "test_console": order.test,
        "built_at": datetime.fromtimestamp(order.epoch, UTC).isoformat(),
        "cmdline": " ".join(image["KernelCommandLine"]),
        "boot_keys": [hashlib.sha256(certificate).hexdigest()],
        "rules": sum("\nRULE = " in path.read_text() for path in catalogue),
        "support_end": release["support_end"].isoformat(),
        "security_floor": release["security_floor"],
    }


def give(order: Order) -> None:
    """The results under their stable names, and the UKI on its blocks of the disk."""
    with step("results"):
        _remove(order.out)
        order.out.mkdir(parents=True)
        found = {
            "disk.raw": "passevue_{v}.raw",
            "uki.efi": "passevue_{v}.efi",
            "packages.json": "passevue_{v}.manifest",
        }
        made = BUILD / "mkosi"
        for name, pattern in found.items():
            (made / pattern.format(v=order.version)).rename(order.out / name)
        (root,) = made.glob(f"passevue_{order.version}.root-[0-9a-f]*.raw")
        (verity,) = made.glob(f"passevue_{order.version}.root-verity-*.raw")
        root.rename(order.out / "root.img")
        verity.rename(order.out / "verity.img")
        for other in made.glob("passevue_*"):
            other.unlink()
        uki = (order.out / "uki.efi").read_bytes()
        (root_hash,) = set(re.findall(rb"roothash=([0-9a-f]{64})", uki))
        _trim_erofs(order.out / "root.img")
        _write_partition(order.out / "disk.raw", UKI_SLOT, uki_slot.pack(uki, order.version))
        facts = {"version": order.version, "profile": order.profile, "test": order.test, "root_hash": root_hash.decode(),
                 "epoch": order.epoch, "commit": _git("rev-parse", "HEAD"), "changed": bool(_git("status", "--porcelain", "-uno"))}  # fmt: skip
        (order.out / "image.json").write_text(json.dumps(facts, indent=1) + "\n")


def make_bundle(order: Order, tools: Path) -> None:
    """The signed update, by image/rauc/bundle.py with the tools tree's rauc."""
    with step("update bundle, signed, and opened again"):
        rauc = shlex.join([str(part) for part in in_tools(tools, (REPOSITORY, order.keys), "rauc")])
        run([HERE / "rauc/bundle.py", order.out, "--keys", order.keys, "--rauc", rauc], "bundle")


def in_tools(tools: Path, shown: Sequence[Path], *argv: object) -> list[object]:
    """The command that runs a program of the tools tree, by mkosi's sandbox (no root needed); it sees these folders of ours."""
    binds = [part for path in shown for part in ("--bind", path, path)]
    return [
        sys.executable, "-SI", tools / "usr/lib/python3/dist-packages/mkosi/sandbox.py", "--become-root", "--ro-bind", tools / "usr", "/usr",
        *[part for name in ("bin", "sbin", "lib", "lib64") for part in ("--symlink", f"usr/{name}", f"/{name}")],
        "--ro-bind", tools / "etc", "/etc", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", *binds, "--", *argv,
    ]  # fmt: skip


def _told(order: Order) -> str:
    sizes = {name: (order.out / name).stat().st_size / 1e6 for name in ("root.img", "uki.efi")}
    return f"{order.profile} {order.version}, root {sizes['root.img']:.1f} MB, UKI {sizes['uki.efi']:.1f} MB"


# --- bytes and files -------------------------------------------------------------------------------------------------


def _trim_erofs(image: Path) -> None:
    """Cuts the partition's image to what the file system uses: its superblock is at 1024, blocks at +36, block size at +12."""
    with image.open("r+b") as file:
        file.seek(1024)
        head = file.read(128)
        if struct.unpack_from("<I", head)[0] != 0xE0F5E1E2:
            raise BuildError(f"{image.name} is no erofs")
        blocks, shift = struct.unpack_from("<I", head, 36)[0], head[12]
        file.truncate(blocks << shift)


def _write_partition(disk: Path, label: str, data: bytes) -> None:
    """Writes `data` at the start of the partition with this name (GPT: UEFI 2.10 § 5.3)."""
    with disk.open("r+b") as file:
        file.seek(512)
        header = file.read(92)
        table, count, size = struct.unpack_from("<QII", header, 72)
        file.seek(table * 512)
        entries = file.read(count * size)
        for at in range(0, count * size, size):
            first, last = struct.unpack_from("<QQ", entries, at + 32)
            if entries[at + 56 : at + 128].decode("utf-16-le").rstrip("\0") == label:
                if len(data) > (last - first + 1) * 512:
                    raise BuildError(f"{len(data)} bytes do not fit into the partition {label}")
                file.seek(first * 512)
                file.write(data)
                return
    raise BuildError(f"no partition {label} on {disk.name}")


def _copy(source: Path, target: Path, mode: int | None = None) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_symlink():
        target.symlink_to(os.readlink(source))
        return
    shutil.copyfile(source, target)
    target.chmod(mode if mode is not None else 0o755 if os.access(source, os.X_OK) else 0o644)


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


if __name__ == "__main__":
    sys.exit(main())
