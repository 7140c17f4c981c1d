"""No rule passes on what it could not see: a value that is refused, a folder that is hidden, a list that is empty."""

import json
import os
from datetime import timedelta
from pathlib import Path

import pytest

from passevue.baseline.collect import collect
from passevue.baseline.key_scan import find_keys
from passevue.baseline.machine import Machine, Unmeasurable
from passevue.baseline.reading.modules import refused
from passevue.baseline.rule import Finding, Rule, Status
from passevue.baseline.rules.audit_writes import RULE as AUDIT_WRITES
from passevue.baseline.rules.commit_is_on_disk import RULE as COMMIT_IS_ON_DISK
from passevue.baseline.rules.file_rights import RULE as FILE_RIGHTS
from passevue.baseline.rules.keys_not_readable import RULE as KEYS_NOT_READABLE
from passevue.baseline.rules.mount_options import RULE as MOUNT_OPTIONS
from passevue.baseline.rules.narrow_kernel import RULE as NARROW_KERNEL
from passevue.baseline.rules.no_console_way_in import RULE as NO_CONSOLE_WAY_IN
from passevue.baseline.rules.no_core_dumps import RULE as NO_CORE_DUMPS
from passevue.baseline.rules.retention import RULE as RETENTION
from passevue.baseline.rules.root_read_only import RULE as ROOT_READ_ONLY
from passevue.baseline.rules.signed_cmdline import RULE as SIGNED_CMDLINE
from passevue.baseline.rules.sysctl_kernel import RULE as SYSCTL_KERNEL
from passevue.baseline.rules.usb_default_deny import RULE as USB_DEFAULT_DENY
from passevue.baseline.rules.usb_inventory import RULE as USB_INVENTORY
from passevue.baseline.secret_scan import report
from passevue.baseline.takes import TAKES
from passevue.errors import Unreadable
from tests.unit.baseline.a_box import MOUNTS, NOW, USB_FOLDER, ABox, sysctls, unit
from tests.unit.baseline.machines import Recorded
from tests.unit.baseline.machines import look as looked_at
from tests.unit.baseline.test_rules_log import JOURNAL, written


def look(rule: Rule, box: ABox) -> Status:
    """As the engine takes it: what is raised is `unknown`."""
    try:
        return box.look(rule).status
    except (Unreadable, Unmeasurable, OSError):
        return Status.UNKNOWN


@pytest.fixture
def box(tmp_path: Path) -> ABox:
    return ABox(tmp_path)


class Refusing(Machine):
    """A kernel that refuses one file, as it does to who has no right; root, whom tests may be, reads all."""

    refused = ""

    def read_bytes(self, path: str | Path, max_bytes: int = 1 << 20) -> bytes:
        if str(path) == self.refused:
            raise PermissionError(1, "Operation not permitted", str(path))
        return super().read_bytes(path, max_bytes)


# --- kernel settings -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["kernel/unprivileged_bpf_disabled", "net/core/bpf_jit_harden"])
def test_a_setting_that_the_kernel_refuses_to_tell_is_missing(tmp_path: Path, name: str) -> None:
    box = Recorded(tmp_path)
    for each in ("kernel/unprivileged_bpf_disabled", "kernel/sysrq", "net/core/bpf_jit_harden"):
        box.file(f"/proc/sys/{each}", "1\n")
    machine = Refusing(tmp_path, now=NOW)
    machine.refused = f"/proc/sys/{name}"
    missing = collect(machine).missing
    fact = "sysctls_guarded" if name.startswith("net") else "sysctls_kernel"
    assert missing.get(fact, "").startswith("PermissionError")


def test_an_interface_that_goes_meanwhile_hides_no_other(tmp_path: Path) -> None:
    box = Recorded(tmp_path)
    box.file("/proc/sys/net/ipv4/ip_forward", "0\n")
    gone = tmp_path / "proc/sys/net/ipv4/conf/enp1s0/forwarding"
    gone.parent.mkdir(parents=True)
    gone.symlink_to("nowhere")
    assert TAKES["sysctls_network"](box.machine()) == "net.ipv4.ip_forward = 0\n"


def test_one_guarded_value_that_is_lost_costs_its_own_rule_alone(box: ABox) -> None:
    box.lack("sysctls_guarded", "PermissionError: [Errno 1] Operation not permitted")
    assert look(SYSCTL_KERNEL, box) is Status.UNKNOWN
    assert look(NARROW_KERNEL, box) is Status.PASS


def test_hardening_of_compiled_filters_is_required(box: ABox) -> None:
    box.facts["sysctls_guarded"] = ""
    assert look(SYSCTL_KERNEL, box) is Status.FAIL
    box.facts["sysctls_guarded"] = "net.core.bpf_jit_harden = 1\n"
    assert look(SYSCTL_KERNEL, box) is Status.FAIL


@pytest.mark.parametrize("name", ["dev__tty__ldisc_autoload", "kernel__io_uring_disabled"])
def test_a_switch_that_older_kernels_lack_is_no_closed_door(box: ABox, name: str) -> None:
    box.facts["sysctls"] = sysctls(**{name: None})
    assert look(NARROW_KERNEL, box) is Status.FAIL


def test_a_module_is_out_only_when_every_line_says_so() -> None:
    assert refused("install uas /bin/false\ninstall uas /bin/false\n") == {"uas"}
    for text in ("install uas /sbin/modprobe uas\ninstall uas /bin/false\n", "install uas /bin/false\ninstall uas x\n"):
        assert refused(text) == frozenset()


# --- boot and storage ------------------------------------------------------------------------------------------------


def test_a_stub_that_may_not_be_looked_at_is_no_stub(box: ABox) -> None:
    box.lack("stub", "PermissionError: [Errno 13] Permission denied")
    assert look(SIGNED_CMDLINE, box) is Status.UNKNOWN


@pytest.mark.parametrize("word", ["maybe", "yes # really", "TRUE"])
def test_an_editor_that_is_not_plainly_off_is_on(box: ABox, word: str) -> None:
    box.facts["loader"] = f"editor {word}\n"
    assert look(SIGNED_CMDLINE, box) is Status.FAIL


@pytest.mark.parametrize(
    "line",
    [
        "40 22 254:1 /lib/passevue/x /usr/bin/passevue ro,nosuid - ext4 /dev/mapper/var rw",
        "41 22 0:60 / /etc/apparmor.d ro - tmpfs tmpfs ro",
        "42 22 7:0 / /usr/lib ro - squashfs /dev/loop0 ro",
    ],
)
def test_what_lies_over_the_system_is_not_the_image_s_even_read_only(box: ABox, line: str) -> None:
    box.facts["mounts"] = MOUNTS + line + "\n"
    assert look(ROOT_READ_ONLY, box) is Status.FAIL


@pytest.mark.parametrize("line", ["40 22 254:0 /usr /usr ro - erofs /dev/mapper/root ro", ""])
def test_a_piece_of_the_root_mounted_over_itself_is_the_image_s(box: ABox, line: str) -> None:
    box.facts["mounts"] = MOUNTS + line
    assert look(ROOT_READ_ONLY, box) is Status.PASS


@pytest.mark.parametrize("state", ["activating", "reloading", "deactivating"])
def test_a_shell_that_is_on_its_way_is_a_way_in(box: ABox, state: str) -> None:
    box.facts["units"] += "\n" + unit("serial-getty@ttyS0.service", ActiveState=state, Type="idle")
    assert look(NO_CONSOLE_WAY_IN, box) is Status.FAIL


def test_a_journal_that_commits_when_it_likes_is_careless(box: ABox) -> None:
    box.facts["mounts"] = MOUNTS.replace("/dev/mapper/var rw", "/dev/mapper/var rw,journal_async_commit")
    assert look(COMMIT_IS_ON_DISK, box) is Status.FAIL


def test_a_manifest_that_lists_no_programs_is_no_measure(box: ABox) -> None:
    del box.manifest["setuid"]
    assert look(FILE_RIGHTS, box) is Status.UNKNOWN


def test_a_folder_that_vanishes_during_the_walk_ends_nothing(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / "var" / name).mkdir(parents=True)
        (tmp_path / "var" / name / "file").touch()
    machine = Machine(tmp_path, now=NOW)
    seen = []
    for path, _ in machine.walk("/var"):
        seen.append(path)
        if path == "/var/b":
            (tmp_path / "var/b/file").unlink()
            (tmp_path / "var/b").rmdir()
    assert sorted(seen) == ["/var/a", "/var/a/file", "/var/b", "/var/c", "/var/c/file"]


def test_a_top_that_is_not_there_is_no_empty_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(Machine(tmp_path, now=NOW).walk("/var"))


# --- services, USB ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [MOUNT_OPTIONS, NO_CORE_DUMPS], ids=lambda rule: rule.slug)
def test_a_list_without_a_service_of_ours_is_no_measure(box: ABox, rule: Rule) -> None:
    box.facts["units"] = unit("chrony.service", Type="forking")
    assert look(rule, box) is Status.UNKNOWN


@pytest.mark.parametrize("rule", [USB_DEFAULT_DENY, USB_INVENTORY], ids=lambda rule: rule.slug)
def test_a_bus_that_is_not_shown_is_no_measure(box: ABox, rule: Rule) -> None:
    (box.root / f"{USB_FOLDER}/usb1/authorized_default".lstrip("/")).unlink()
    (box.root / f"{USB_FOLDER}/usb1".lstrip("/")).rmdir()
    (box.root / USB_FOLDER.lstrip("/")).rmdir()
    assert look(rule, box) is Status.UNKNOWN


# --- keys and secrets ------------------------------------------------------------------------------------------------


def test_a_scan_that_saw_no_file_is_no_measure(box: ABox) -> None:
    box.facts["keys"] = json.dumps({"files": 0, "found": []})
    assert look(KEYS_NOT_READABLE, box) is Status.UNKNOWN
    box.facts["keys"] = json.dumps({"files": 12, "found": []})
    assert look(KEYS_NOT_READABLE, box) is Status.PASS


def test_a_key_on_the_partition_that_nothing_encrypts_is_found(tmp_path: Path) -> None:
    (tmp_path / "efi/loader").mkdir(parents=True)
    (tmp_path / "efi/loader/key.pem").write_text("-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n")
    assert find_keys(tmp_path).found == ("/efi/loader/key.pem",)


def process(root: Path, number: int, environ: str = "PATH=/usr/bin\0") -> Path:
    folder = root / "proc" / str(number)
    folder.mkdir(parents=True)
    (folder / "comm").write_text("passevue\n")
    (folder / "cmdline").write_text("passevue\0run\0")
    (folder / "environ").write_text(environ)
    return folder


def test_where_no_process_is_shown_there_is_no_measure(tmp_path: Path) -> None:
    with pytest.raises(Unmeasurable):
        report(tmp_path)
    process(tmp_path, 10)
    assert report(tmp_path) == "[]"


def test_an_environment_that_is_refused_is_no_empty_one(tmp_path: Path) -> None:
    process(tmp_path, 10)
    refused = process(tmp_path, 11) / "environ"
    refused.unlink()
    refused.mkdir()  # root, whom tests may be, is refused nothing else
    with pytest.raises(Unmeasurable):
        report(tmp_path)


# --- audit trail, journal --------------------------------------------------------------------------------------------


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    made = Recorded(tmp_path)
    made.manifest()
    made.configured()
    return made


def after_asking(box: Recorded, refused: Exception | None) -> Finding:
    machine = box.machine()
    machine.trail_refused = refused
    return looked_at(AUDIT_WRITES, machine)


def test_a_trail_that_has_just_refused_a_record_fails_whatever_it_took_before(recorded: Recorded) -> None:
    written(recorded)
    assert after_asking(recorded, None).status is Status.PASS
    assert after_asking(recorded, OSError("full")).status is Status.FAIL
    with pytest.raises(Unmeasurable):  # a disk under load is asked again
        after_asking(recorded, TimeoutError())


def test_a_journal_that_is_kept_in_memory_is_not_kept_six_months(recorded: Recorded) -> None:
    recorded.file("/usr/lib/systemd/journald.conf.d/10-passevue.conf", JOURNAL)
    path = recorded.file("/var/log/journal/0123/system.journal")
    os.utime(path, ((NOW - timedelta(days=1)).timestamp(),) * 2)
    assert looked_at(RETENTION, recorded.machine()).status is Status.PASS
    recorded.file("/etc/systemd/journald.conf.d/50-x.conf", "[Journal]\nStorage=volatile\n")
    assert looked_at(RETENTION, recorded.machine()).status is Status.FAIL
    recorded.file("/etc/systemd/journald.conf.d/50-x.conf", "[Journal]\nStorage=persistent\n")
    path.unlink()
    with pytest.raises(Unmeasurable):  # none, or none that may be seen
        looked_at(RETENTION, recorded.machine())
