"""Units are well formed, say what they are, and everything that starts on the box is named in one place."""

import re
import shutil
from pathlib import Path

import pytest

from passevue.provision.placing import Placing
from passevue.status.machine_pages import ANSWER_S, BUNDLE_S
from passevue.stick.asking import SOCKET
from passevue.update.machine import Machine
from passevue.zones.meeting import Place
from passevue.zones.part import Part
from tests.unit.systemd.box_root import TREE, UNITS, analyze, masked, own_services, own_units, settings, value

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
HERE = "usr/lib/systemd/system"
ZONES = [f"passevue-{part}.service" for part in Part]
SOCKETS = [name for name in own_units() if name.endswith(".socket")]
# What an older systemd than the box's does not know in units of Debian 13 that it reads along.
NOT_KNOWN_BEFORE = (
    "Failed to parse service type, ignoring: notify-reload",
    "Failed to parse boolean value, ignoring: identity",
    "Unknown key 'OpenFile' in section [Service], ignoring.",
    "Unknown key 'PollLimitBurst' in section [Socket], ignoring.",
    "Unknown key 'PollLimitIntervalSec' in section [Socket], ignoring.",
)


@needs_systemd
def test_systemd_finds_nothing_wrong_with_any_unit(root: Path) -> None:
    checked = analyze("verify", f"--root={root}", "--man=no", "--recursive-errors=no", *own_units())
    said = [line for line in checked.stderr.splitlines() if not line.endswith(NOT_KNOWN_BEFORE)]
    assert not said
    assert checked.returncode == 0 or "Unknown key 'OpenFile'" in checked.stderr  # which an older one counts as wrong


def test_every_zone_has_its_service_and_its_user() -> None:
    for part in Part:
        unit = f"{HERE}/passevue-{part}.service"
        assert value(unit, "Service", "User") == f"passevue-{part}"
        assert f"--part {part}" in value(unit, "Service", "ExecStart")


def test_the_sockets_are_those_that_the_zones_know() -> None:
    named = {value(f"{HERE}/{name}", "Socket", "FileDescriptorName"): name for name in SOCKETS}
    assert set(named) == {"mllp", "dicom", "page", "stick", *map(str, Place)}
    for name, unit in named.items():
        assert unit == f"passevue-{name}.socket"
        service = value(f"{HERE}/{unit}", "Socket", "Service")
        assert unit in value(f"{HERE}/{service}", "Service", "Sockets").split()
        assert unit in value(f"{HERE}/{service}", "Unit", "Requires").split()


def test_who_reads_sticks_answers_the_page_alone() -> None:
    unit = f"{HERE}/passevue-stick.socket"
    assert value(unit, "Socket", "ListenStream") == str(SOCKET)
    assert (value(unit, "Socket", "SocketMode"), value(unit, "Socket", "SocketUser")) == ("0600", "passevue-page")


def test_who_reads_sticks_has_nothing_that_a_stick_could_want() -> None:
    unit = f"{HERE}/passevue-stick.service"
    assert value(unit, "Service", "User") == "passevue-stick"
    assert value(unit, "Service", "PrivateNetwork") == "yes"
    assert value(unit, "Service", "RestrictAddressFamilies") == "AF_UNIX"
    assert settings(unit, "Service").count(("CapabilityBoundingSet", "")) == 1
    assert [text for key, text in settings(unit, "Service") if key == "DeviceAllow"] == ["char-usb_device rw"]
    assert value(unit, "Service", "ReadWritePaths") == "/sys/devices"
    hidden = set(value(unit, "Service", "InaccessiblePaths").split())
    assert {"-/var/lib/passevue", "-/var/lib/passevue-notary", "-/run/dbus", "-/run/pcscd"} <= hidden
    keys = {key for key, _ in settings(unit, "Service")}
    assert not keys & {"Group", "LoadCredentialEncrypted", "SupplementaryGroups"}


def test_a_stick_that_makes_its_reader_fall_over_does_not_hold_the_box() -> None:
    """SERV-02 holds consultations for a unit that failed. The page gives up before the reader is stopped, and by that
    ends it.
    """
    unit = f"{HERE}/passevue-stick.service"
    assert value(unit, "Service", "ExecStart").startswith("-/")
    assert value(unit, "Service", "OOMPolicy") == "continue"
    assert int(value(unit, "Service", "RuntimeMaxSec")) > BUNDLE_S
    assert settings(unit, "Install") == []


@pytest.mark.parametrize("place", list(Place))
def test_a_socket_between_zones_opens_to_one_user(place: Place) -> None:
    unit = f"{HERE}/passevue-{place}.socket"
    assert value(unit, "Socket", "ListenStream") == f"/run/passevue/{place}.sock"
    assert value(unit, "Socket", "SocketMode") == "0600"
    assert value(unit, "Socket", "SocketUser") in {f"passevue-{part}" for part in Part}


@pytest.mark.parametrize("name", ZONES)
def test_a_zone_is_watched_bounded_and_comes_back(name: str) -> None:
    unit = f"{HERE}/{name}"
    assert value(unit, "Service", "Type") == "notify"
    assert value(unit, "Service", "WatchdogSec") == "60"
    assert value(unit, "Service", "Restart") == "always"
    assert value(unit, "Unit", "StartLimitIntervalSec") == "0"
    for bound in ("MemoryMax", "TasksMax", "LimitNOFILE"):
        assert value(unit, "Service", bound)


@pytest.mark.parametrize("name", own_services())
def test_every_service_is_bounded_and_confined(name: str) -> None:
    unit = f"{HERE}/{name}"
    assert value(unit, "Service", "MemoryMax")
    assert value(unit, "Service", "TasksMax")
    assert value(unit, "Service", "StandardInput") in ("", "null")
    profile = value(unit, "Service", "AppArmorProfile")
    text = "".join(path.read_text() for path in (TREE / "etc/apparmor.d").iterdir() if path.is_file())
    assert re.search(rf"(?m)^profile {re.escape(profile)} ", text), name


def test_only_the_facts_and_the_small_acts_run_as_root() -> None:
    """ACCT-03: who has no user of its own, and why."""
    assert {name for name in own_services() if not value(f"{HERE}/{name}", "Service", "User")} == {
        "passevue-audit.service",  # the kernel takes its rules from root alone
        "passevue-configuration.service",  # PID 1 takes its orders from root alone
        "passevue-configure.service",  # no zone may write the configuration that it lives by
        "passevue-erase.service",  # writes to the disk and the TPM
        "passevue-facts-devices.service",  # device-mapper answers to root alone
        "passevue-facts.service",  # sees what only root sees
        "passevue-guard.service",  # the loader's folder is root's
        "passevue-modules.service",  # the setting is root's
        "passevue-recovery.service",  # the recovery key is root's
        "passevue-undo.service",  # the loader's folder is root's
    }


def test_secrets_come_as_encrypted_credentials_and_no_other_way() -> None:
    for name in own_services():
        keys = {key for key, _ in settings(f"{HERE}/{name}", "Service")}
        assert not keys & {"Environment", "EnvironmentFile", "PassEnvironment", "SetCredential", "LoadCredential"}, name
    for part in (Part.INTAKE, Part.NATIONAL, Part.PAGE):
        loaded = value(f"{HERE}/passevue-{part}.service", "Service", "LoadCredentialEncrypted")
        assert loaded == f"key:/var/lib/passevue/credentials/{part}"


FILES = sorted(str(path.relative_to(TREE)) for path in UNITS.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", FILES)
def test_settings_are_in_alphabetical_order(name: str) -> None:
    for section in ("Unit", "Service", "Socket", "Timer", "Path", "Mount", "Install"):
        keys = [key for key, _ in settings(name, section)]
        first = ["Description"] if keys[:1] == ["Description"] else []
        assert keys == first + sorted(keys[len(first) :], key=str.lower), section


def test_an_order_that_comes_while_its_program_runs_starts_it_again() -> None:
    assert settings(f"{HERE}/passevue-configure.path", "Path") == [
        ("PathExists", "/var/lib/passevue/orders/configure.json")
    ]


def test_who_asks_waits_longer_than_the_program_may_take() -> None:
    for name in ("configure", "recovery"):
        assert int(value(f"{HERE}/passevue-{name}.service", "Service", "TimeoutStartSec")) < ANSWER_S


def test_a_placing_that_power_cut_short_is_finished_before_the_zones_start(tmp_path: Path) -> None:
    unit = f"{HERE}/passevue-configure.service"
    placing = Placing(tmp_path)
    placing.begin()
    placing.add("config/page.pem", b"new")
    placing.decide()
    assert placing.waits
    wanted = [text for key, text in settings(unit, "Unit") if key == "ConditionPathExists"]
    there = [(tmp_path / text.removeprefix("|/var/lib/passevue/")).exists() for text in wanted]
    assert any(there), "any of them does"
    assert all(text.startswith("|") for text in wanted)
    assert set(value(unit, "Unit", "Before").split()) == set(ZONES)
    assert "passevue-configuration.path" in value(unit, "Unit", "After"), "which starts the zones anew"
    assert value(unit, "Install", "WantedBy") == "passevue.target"


def _preset() -> list[str]:
    text = (TREE / "usr/lib/systemd/system-preset/00-passevue.preset").read_text()
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_what_can_be_enabled_is_and_everything_else_is_off() -> None:
    *enabled, last = _preset()
    assert last == "disable *"
    named = {line.removeprefix("enable ") for line in enabled}
    installable = {name for name in own_units() if settings(f"{HERE}/{name}", "Install")}
    assert {name for name in named if name.startswith("passevue")} == installable
    assert not any("*" in name for name in named)
    assert not named & masked()


def test_nothing_gives_a_shell_or_a_login() -> None:
    assert masked() >= {
        "autovt@.service", "console-getty.service", "container-getty@.service", "ctrl-alt-del.target",
        "debug-shell.service", "getty-static.service", "getty.target", "getty@.service", "serial-getty@.service",
    }  # fmt: skip
    for path in (TREE / "etc/systemd/system").iterdir():
        assert path.is_symlink()
        assert str(path.readlink()) == "/dev/null"
    for name in ("emergency", "rescue"):
        drop_in = f"{HERE}/{name}.service.d/10-reboot.conf"
        assert ("ExecStart", "") in settings(drop_in, "Service"), "the shell of the unit is taken away"
        assert value(drop_in, "Unit", "SuccessAction") == "reboot-force"
        assert value(drop_in, "Unit", "FailureAction") == "reboot-force"


def test_nobody_listens_on_the_network_but_three_ports() -> None:
    listened = {value(f"{HERE}/{name}", "Socket", "ListenStream") for name in SOCKETS}
    assert {each for each in listened if not each.startswith("/run/passevue/")} == {"2575", "11112", "443"}
    for name in SOCKETS:
        assert {key for key, _ in settings(f"{HERE}/{name}", "Socket")} & {"ListenDatagram", "ListenNetlink"} == set()


def test_a_boot_is_good_only_after_the_health_check() -> None:
    unit = f"{HERE}/passevue-health.service"
    assert value(unit, "Install", "RequiredBy") == "boot-complete.target"
    assert value(unit, "Unit", "Before") == "boot-complete.target"
    assert "passevue-page.service" in value(unit, "Unit", "Wants"), "a zone that cannot start fails the check"
    assert value(unit, "Unit", "Requires") == "", "and does not make it be skipped"


def test_a_version_that_fails_the_health_check_has_no_try_left() -> None:
    assert value(f"{HERE}/passevue-health.service", "Unit", "OnFailure") == "passevue-undo.service"
    undo = f"{HERE}/passevue-undo.service"
    assert value(undo, "Service", "ExecStart") == "/usr/lib/passevue/undo"
    assert value(undo, "Unit", "FailureAction") == "reboot"
    assert value(undo, "Unit", "SuccessAction") == ""


def test_a_version_that_has_proved_itself_is_not_restarted_for_ever_by_a_gate_that_hangs(tmp_path: Path) -> None:
    """OnFailure is for a gate that was killed for its time, or never began, too; the data may not be there then."""
    undo = f"{HERE}/passevue-undo.service"
    counted = tmp_path / value(undo, "Unit", "ConditionPathExists").lstrip("/")
    counted.parent.mkdir(parents=True)
    assert not Machine(tmp_path).on_trial
    for name, trial in (("passevue_1.5.0+2-1.efi", True), ("passevue_1.5.0+8-100001.efi", False)):
        counted.write_bytes(b"\6\0\0\0" + f"\\EFI\\Linux\\{name}\0".encode("utf-16-le"))
        assert Machine(tmp_path).on_trial == trial, "asks for what the gate itself goes by"
    assert value(undo, "Service", "InaccessiblePaths").startswith("-"), "starts without the data"


def test_only_a_version_on_trial_is_blessed_and_only_that_is_undone() -> None:
    """Both ask the same program, which both may run."""
    asks = "/usr/lib/passevue/on-trial"
    assert value(f"{HERE}/systemd-bless-boot.service.d/10-trial.conf", "Service", "ExecCondition") == asks
    profiles = (TREE / "etc/apparmor.d/passevue-acts").read_text()
    (own,) = re.findall(r"profile passevue-undo [^{]*\{(.*?)\n\}", profiles, re.DOTALL)
    assert "/usr/lib/passevue/{on-trial,undo} rix," in own


def test_all_zones_stand_or_fall_with_the_firewall() -> None:
    stand = {"intake.service", "national.service", "page.service", "network.service"}
    for name in sorted(stand | {"mllp.socket", "dicom.socket", "page.socket"}):
        assert "nftables.service" in value(f"{HERE}/passevue-{name}", "Unit", "Requires").split(), name
