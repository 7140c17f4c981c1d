"""Users, folders, AppArmor profiles, clock, daemons: each file read by the program that it is for, or by its rules."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from passevue.baseline.engine import REPORT
from passevue.baseline.places import RUNTIME
from passevue.baseline.verdict import NAME as VERDICT
from passevue.zones.part import Part
from tests.unit.systemd.box_root import PACKAGES, TREE, own_services, program_of, settings, value

PROFILES = sorted(path.name for path in (TREE / "etc/apparmor.d").iterdir() if path.is_file())
PARSER = shutil.which("apparmor_parser", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
_installed = shutil.which("chronyd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
CHRONYD = program_of(PACKAGES, "usr/sbin/chronyd") or ((_installed,) if _installed else ())
ABSTRACTIONS = Path("/etc/apparmor.d/tunables/global")
needs_parser = pytest.mark.skipif(
    PARSER is None or not ABSTRACTIONS.exists(), reason="apparmor_parser and its tunables are not installed"
)
needs_sysusers = pytest.mark.skipif(
    shutil.which("systemd-sysusers") is None, reason="systemd-sysusers is not installed"
)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="giving folders to users needs root")


def _run(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


# --- AppArmor --------------------------------------------------------------------------------------------------------


@needs_parser
@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_is_understood_and_enforced(name: str) -> None:
    """Syntax and meaning here, where no kernel of ours takes it; in force in the image (tests/image)."""
    file = TREE / "etc/apparmor.d" / name
    compiled = subprocess.run(
        [str(PARSER), "-QSKT", "-I", str(TREE / "etc/apparmor.d"), "-I", "/etc/apparmor.d", str(file)],
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert compiled.returncode == 0, compiled.stderr.decode()
    assert len(compiled.stdout) > 1000
    assert "complain" not in file.read_text()
    assert "unconfined)" not in file.read_text()


def test_a_zone_cannot_touch_what_is_another_zones() -> None:
    """Whatever the modes on the disk say: KERN-07 beside ACCT-04."""
    alone = {"images": "intake", "page": "page", "psc": "national", "crl": "host", "update": "host"}
    shared = (TREE / "etc/apparmor.d/abstractions/passevue-zone").read_text()
    assert "audit deny /var/lib/passevue/credentials" in shared
    for part in Part:
        text = shared + (TREE / f"etc/apparmor.d/passevue-{part}").read_text()
        orders = {"orders"} if part not in (Part.PAGE, Part.HOST) else set()  # one asks, the other looks
        others = {folder for folder, owner in alone.items() if owner != part}
        reads = {"update"} | ({"crl"} if part is Part.NATIONAL else set())  # that others write
        assert _folders(text, "audit deny ", "rwklmx") == (others - reads | orders)
        assert _folders(text, "audit deny ", "wklmx") == others & reads
        assert others & reads <= _folders(text, "", "r")


def test_who_reads_sticks_writes_to_them_and_nowhere_else() -> None:
    acts = (TREE / "etc/apparmor.d/passevue-acts").read_text()
    profile = re.findall(r"(?ms)^profile passevue-stick .*?^}", acts)[0]
    written = {path for path, rights in re.findall(r"(?m)^  (\S*/\S+) (\w+),$", profile) if set(rights) & set("wal")}
    assert written == {"/dev/bus/usb/{,**}", "@{sys}/devices/**/usb[0-9]*/**/authorized"}
    assert "owner " not in profile
    assert "/var/" not in profile.partition("{")[2]
    assert "network" not in profile
    assert "capability" not in profile


def test_page_and_health_gate_alone_read_what_the_engine_has_found() -> None:
    """What was measured is for who maintains the box; the verdict is for all."""
    folder = TREE / "etc/apparmor.d"
    shared = (folder / "abstractions/passevue-zone").read_text()
    assert f"{RUNTIME}/{{,{VERDICT}}} r," in shared
    own = {name: (folder / name).read_text() for name in PROFILES}
    readers = {name for name, text in own.items() if f"{RUNTIME}/{REPORT} r," in text}
    assert readers == {"passevue-page", "passevue-health"}
    others = {name for name, text in own.items() if "baseline" in text.replace(f"{RUNTIME}/{REPORT}", "")}
    assert others <= {"passevue-host", "passevue-facts"}
    assert "/baseline/" not in shared


def _folders(profile: str, word: str, rights: str) -> set[str]:
    """Of the data, whole, by the rules that say `word` and exactly these rights."""
    found = re.findall(rf"(?m)^  {word}/var/lib/passevue/\{{?([a-z,]+)\}}?/\{{,\*\*\}} {rights},$", profile)
    return {folder for match in found for folder in match.split(",")} - {"credentials"}


# --- users and folders -----------------------------------------------------------------------------------------------


NUMBERS = {
    f"passevue-{name}": number
    for number, name in enumerate(("intake", "national", "page", "host", "network", "facts", "notary", "stick"), 701)
}


@pytest.fixture
def peopled(tmp_path: Path) -> Path:
    """A root that systemd-sysusers has filled with our users."""
    (tmp_path / "etc").mkdir()
    shutil.copytree(TREE / "usr/lib/sysusers.d", tmp_path / "usr/lib/sysusers.d")
    shutil.copytree(TREE / "usr/lib/tmpfiles.d", tmp_path / "usr/lib/tmpfiles.d")
    made = _run("systemd-sysusers", f"--root={tmp_path}")
    assert made.returncode == 0, made.stderr
    assert "nvalid" not in made.stderr, made.stderr
    return tmp_path


@needs_sysusers
@needs_root
def test_each_zone_has_its_own_user_without_shell_or_password_in_the_shared_group(peopled: Path) -> None:
    users = {line.split(":")[0]: line.split(":") for line in (peopled / "etc/passwd").read_text().splitlines()}
    groups = {
        line.split(":")[0]: line.split(":")[3].split(",") for line in (peopled / "etc/group").read_text().splitlines()
    }
    assert "passevue:x:700:" in (peopled / "etc/group").read_text()
    others = {"passevue-facts", "passevue-network", "passevue-notary", "passevue-stick"}
    assert set(users) == {*(f"passevue-{part}" for part in Part), *others}
    assert {name: int(user[2]) for name, user in users.items()} == NUMBERS, "data in the field carry the old ones"
    assert {name: int(user[3]) for name, user in users.items()} == NUMBERS
    assert all(user[6].endswith("nologin") for user in users.values())
    assert sorted(groups["passevue"]) == sorted(f"passevue-{part}" for part in Part)
    assert all(line.split(":")[1][0] in "!*" for line in (peopled / "etc/shadow").read_text().splitlines())


@needs_sysusers
@needs_root
def test_folders_are_made_with_their_owners_and_nothing_is_open_to_strangers(peopled: Path) -> None:
    made = _run("systemd-tmpfiles", f"--root={peopled}", "--create", "passevue.conf")
    assert made.returncode == 0, made.stderr
    assert made.stderr == ""
    for path in (peopled / "var/lib/passevue").rglob("*"):
        assert path.stat().st_mode & 0o007 == 0, path
    shared = peopled / "var/lib/passevue"
    assert shared.stat().st_mode & 0o7777 == 0o2770
    assert (shared / "credentials/national").stat().st_mode & 0o7777 == 0o700
    assert (shared / "credentials/national").stat().st_uid == 0


def test_every_folder_that_a_unit_names_is_made() -> None:
    made = re.findall(r"(?m)^d (\S+)", (TREE / "usr/lib/tmpfiles.d/passevue.conf").read_text())
    for name in own_services():
        for key, paths in settings(f"usr/lib/systemd/system/{name}", "Service"):
            if key in ("ReadWritePaths", "LoadCredentialEncrypted"):
                for path in paths.removeprefix("key:").split():
                    assert path.startswith(("-", "/sys/")) or path in made, f"{name}: {path}"


# --- clock, journal, names -------------------------------------------------------------------------------------------


def _chrony() -> dict[str, str]:
    lines = (TREE / "etc/chrony/chrony.conf").read_text().splitlines()
    return {line.split()[0]: line.partition(" ")[2] for line in lines if line and not line.startswith("#")}


def test_the_clock_serves_nobody_and_takes_no_orders_from_the_network() -> None:
    assert _chrony()["port"] == "0"
    assert _chrony()["cmdport"] == "0"
    assert not {"allow", "cmdallow", "bindcmdaddress"} & set(_chrony())


def test_the_clock_jumps_at_start_alone_and_follows_nobody_far() -> None:
    assert _chrony()["makestep"] == "1 3"
    assert _chrony()["maxchange"] == "60 3 -1"
    assert "rtcsync" in _chrony()


@pytest.mark.skipif(
    not CHRONYD, reason="chronyd is neither installed nor in image/build (it is once an image was made)"
)
def test_chronyd_understands_its_configuration() -> None:
    printed = _run(*CHRONYD, "-p", "-f", str(TREE / "etc/chrony/chrony.conf"))
    assert printed.returncode == 0, printed.stderr


def test_logs_are_bounded_and_half_a_year_old_at_most() -> None:
    journal = dict(settings("usr/lib/systemd/journald.conf.d/50-passevue.conf", "Journal"))
    assert journal["MaxRetentionSec"] == "26week"
    assert journal["SystemMaxUse"] == "512M"
    assert journal["Storage"] == "persistent"
    assert all(journal[f"ForwardTo{where}"] == "no" for where in ("Console", "KMsg", "Syslog", "Wall"))


def test_names_come_from_resolvers_alone() -> None:
    resolve = dict(settings("usr/lib/systemd/resolved.conf.d/50-passevue.conf", "Resolve"))
    assert (resolve["LLMNR"], resolve["MulticastDNS"], resolve["FallbackDNS"]) == ("no", "no", "")
    network = dict(settings("usr/lib/systemd/network/80-wired.network", "Network"))
    assert (network["LLMNR"], network["MulticastDNS"]) == ("no", "no")


def test_nothing_leaves_a_memory_image() -> None:
    coredump = dict(settings("usr/lib/systemd/coredump.conf.d/50-passevue.conf", "Coredump"))
    assert coredump == {"ProcessSizeMax": "0", "Storage": "none"}
    manager = dict(settings("usr/lib/systemd/system.conf.d/50-passevue.conf", "Manager"))
    assert (manager["DumpCore"], manager["DefaultLimitCORE"]) == ("no", "0")
    assert value("usr/lib/systemd/system/passevue-.service.d/10-floor.conf", "Service", "LimitCORE") == "0"


def test_temporary_files_are_in_memory_and_never_run() -> None:
    options = dict(settings("usr/lib/systemd/system/tmp.mount.d/10-passevue.conf", "Mount"))["Options"].split(",")
    assert {"nodev", "noexec", "nosuid", "size=128M"} <= set(options)
