"""Boot integrity: BOOT-01 to BOOT-10, each on a healthy box, on one that is not, and on garbage."""

import base64
import json
from hashlib import sha256
from pathlib import Path

import pytest

from passevue.baseline.rule import Effect, Rule, Status
from passevue.baseline.rules.firmware_state import RULE as FIRMWARE_STATE
from passevue.baseline.rules.kernel_lockdown import RULE as KERNEL_LOCKDOWN
from passevue.baseline.rules.measured_boot import RULE as MEASURED_BOOT
from passevue.baseline.rules.no_console_way_in import RULE as NO_CONSOLE_WAY_IN
from passevue.baseline.rules.own_boot_keys import RULE as OWN_BOOT_KEYS
from passevue.baseline.rules.root_read_only import RULE as ROOT_READ_ONLY
from passevue.baseline.rules.secure_boot import RULE as SECURE_BOOT
from passevue.baseline.rules.signed_cmdline import RULE as SIGNED_CMDLINE
from passevue.baseline.rules.slots_sound import RULE as SLOTS_SOUND
from passevue.baseline.rules.verity_root import RULE as VERITY_ROOT
from passevue.errors import Unreadable
from tests.unit.baseline.a_box import (
    EVENTS,
    OWN_KEY,
    ROOT_HASH,
    SIGNED_WORDS,
    ABox,
    assert_fails,
    assert_never_fooled,
    attribute,
    firmware_log,
    signature_list,
    sysctls,
    unit,
    units,
    variable,
)

RULES = (
    SECURE_BOOT,
    OWN_BOOT_KEYS,
    SIGNED_CMDLINE,
    VERITY_ROOT,
    ROOT_READ_ONLY,
    KERNEL_LOCKDOWN,
    MEASURED_BOOT,
    SLOTS_SOUND,
    FIRMWARE_STATE,
    NO_CONSOLE_WAY_IN,
)
FOREIGN = sha256(b"another vendor's").hexdigest()[:16]
# What else is on the command line is BOOT-03's matter; BOOT-10 looks for consoles in it.
INDIFFERENT = {
    "BOOT-10": ("early_units: nothing", "cmdline: other JSON", "cmdline: deep", "cmdline: long", "cmdline: binary")
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.slug)
def test_a_healthy_box_passes(rule: Rule, tmp_path: Path) -> None:
    assert ABox(tmp_path).look(rule).status is Status.PASS


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.slug)
def test_garbage_never_passes(rule: Rule, tmp_path: Path) -> None:
    assert_never_fooled(tmp_path, rule, indifferent=INDIFFERENT.get(rule.id, ()))


@pytest.mark.parametrize(("enforcing", "setup"), [(0, 0), (1, 1), (0, 1), (2, 0)])
def test_secure_boot_must_enforce_outside_setup_mode(enforcing: int, setup: int, tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts |= {"secure_boot": variable(enforcing), "setup_mode": variable(setup)}
    assert_fails(SECURE_BOOT, box, f"SecureBoot={enforcing} SetupMode={setup}")


def test_a_variable_of_another_length_is_not_believed(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["secure_boot"] = variable(1, 1)
    with pytest.raises(Unreadable):
        box.look(SECURE_BOOT)


def test_a_foreign_key_in_db_is_told_by_its_fingerprint(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["boot_keys"] = base64.b64encode(bytes(4) + signature_list(OWN_KEY, b"another vendor's")).decode()
    assert_fails(OWN_BOOT_KEYS, box, f"1 of 2 entries are not ours: {FOREIGN}")


def test_a_key_that_the_manifest_lists_for_the_board_is_ours(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["boot_keys"] = base64.b64encode(bytes(4) + signature_list(OWN_KEY, OWN_KEY)).decode()
    assert box.look(OWN_BOOT_KEYS).status is Status.PASS


def test_an_empty_db_starts_nothing_of_ours(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["boot_keys"] = base64.b64encode(bytes(4)).decode()
    assert_fails(OWN_BOOT_KEYS, box, "db is empty")


def test_a_signature_list_whose_sizes_lie_is_not_read(tmp_path: Path) -> None:
    for at in (16, 20, 24):
        raw = bytearray(signature_list(OWN_KEY))
        raw[at : at + 4] = b"\xff\xff\xff\x7f"
        box = ABox(tmp_path)
        box.facts["boot_keys"] = base64.b64encode(bytes(4) + raw).decode()
        with pytest.raises(Unreadable):
            box.look(OWN_BOOT_KEYS)


@pytest.mark.parametrize(
    "word",
    ["init=/bin/sh", "rd.break", "systemd.debug-shell", "systemd.debug_shell=1", "systemd.unit=rescue.target",
     "rdinit=/bin/sh", "single", "1", "emergency"],
)  # fmt: skip
def test_a_word_that_opens_the_box_is_named(word: str, tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["cmdline"] = f"{box.facts['cmdline'].strip()} {word}\n"
    assert_fails(SIGNED_CMDLINE, box, f"started with {word.partition('=')[0]}")


def test_a_word_more_or_less_than_signed_fails(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    line = f"roothash={ROOT_HASH} {SIGNED_WORDS}"
    for changed, told in [
        (line + " mitigations=off", "more mitigations, less -"),
        (line.replace(" lockdown=integrity", ""), "more -, less lockdown"),
        (line.replace("lockdown=integrity", "lockdown=none"), "more lockdown, less lockdown"),
    ]:
        box.facts["cmdline"] = changed
        assert_fails(SIGNED_CMDLINE, box, told)


def test_another_root_hash_is_not_a_matter_of_the_words(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["cmdline"] = f"{SIGNED_WORDS} roothash={'ab' * 32}"
    assert box.look(SIGNED_CMDLINE).status is Status.PASS


def test_a_kernel_that_no_uki_started_fails(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.lack("stub")
    assert_fails(SIGNED_CMDLINE, box, "not started by the stub")


@pytest.mark.parametrize("settings", ["timeout 3\n", "editor yes\n", "editor 1\ntimeout 0\n", "editor no\neditor on\n"])
def test_an_editor_in_the_loader_fails(settings: str, tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["loader"] = settings
    assert_fails(SIGNED_CMDLINE, box, "edited")


def test_a_root_without_verity_fails(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["mounts"] = box.facts["mounts"].replace("254:0 / /", "252:2 / /")
    assert_fails(VERITY_ROOT, box, "no verity device")


def test_a_verity_device_beside_the_root_does_not_help(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["mapped"] = "254:7 root\n254:1 var\n"
    assert_fails(VERITY_ROOT, box, "no verity device")


def test_a_root_mounted_over_the_verified_one_fails(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["mounts"] += "99 1 252:9 / / ro,relatime - ext4 /dev/vdb ro\n"
    assert_fails(VERITY_ROOT, box, "the root is ext4 on no verity device")


@pytest.mark.parametrize("status", ["C", "C -", "-"])
def test_a_wrong_block_fails(status: str, tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["verity_status"] = f"root: 0 540000 verity {status}\n"
    assert_fails(VERITY_ROOT, box, "wrong block")


@pytest.mark.parametrize("status", ["V", "V -", "V 0 0"])
def test_newer_kernels_say_more_after_v(status: str, tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["verity_status"] = f"root: 0 540000 verity {status}\n"
    assert box.look(VERITY_ROOT).status is Status.PASS


def test_another_root_hash_than_the_signed_one_fails(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["verity_table"] = box.facts["verity_table"].replace(ROOT_HASH, "ab" * 32)
    assert_fails(VERITY_ROOT, box, "not that of the command line")


def test_two_root_hashes_are_none(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["cmdline"] = f"{box.facts['cmdline'].strip()} roothash={'ab' * 32}"
    with pytest.raises(Unreadable):
        box.look(VERITY_ROOT)


def test_a_wrong_block_must_stop_the_machine(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["verity_table"] = box.facts["verity_table"].replace("1 restart_on_corruption", "1 ignore_corruption")
    assert_fails(VERITY_ROOT, box, "not a restart")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "40 22 0:50 / /etc rw - overlay overlay rw,lowerdir=/etc,upperdir=/var/etc,workdir=/var/w",
            "overlay over /etc",
        ),
        ("40 22 0:50 / /usr ro - overlay sysext ro,lowerdir=/run/x:/usr", "overlay over /usr"),
        ("40 22 254:1 /x /usr/lib/passevue rw - ext4 /dev/mapper/var rw", "/usr/lib/passevue can be written"),
        ("40 22 0:24 /x /etc/passwd rw - tmpfs tmpfs rw", "/etc/passwd can be written"),
        ("40 1 254:1 / / rw - ext4 /dev/mapper/var rw", "the root filesystem, ext4, can be written"),
    ],
)
def test_nothing_writable_lies_over_the_system(line: str, told: str, tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["mounts"] += line + "\n"
    assert_fails(ROOT_READ_ONLY, box, told)


def test_a_root_that_is_only_mounted_read_only_fails(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["mounts"] = box.facts["mounts"].replace("erofs /dev/mapper/root ro,", "ext4 /dev/mapper/root rw,")
    assert_fails(ROOT_READ_ONLY, box, "can be written")


def test_a_kernel_that_is_not_locked_down_fails(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["lockdown"] = "[none] integrity confidentiality\n"
    assert_fails(KERNEL_LOCKDOWN, box, "none")


def test_two_levels_of_lockdown_are_none(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["lockdown"] = "[none] [integrity]\n"
    with pytest.raises(Unreadable):
        box.look(KERNEL_LOCKDOWN)


@pytest.mark.parametrize("pcr", [4, 7, 11])
def test_a_measurement_that_the_log_does_not_tell_fails(pcr: int, tmp_path: Path) -> None:
    box = ABox(tmp_path)
    kept = [event for event in EVENTS if event[0] != pcr]
    box.facts["event_log"] = base64.b64encode(firmware_log(kept)).decode()
    assert_fails(MEASURED_BOOT, box, f"PCR {pcr}")


def test_systemd_own_measurements_belong_to_the_log(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["event_log_systemd"] = ""
    assert_fails(MEASURED_BOOT, box, "PCR 11")


def test_a_machine_without_tpm_fails(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.lack("pcrs")
    assert_fails(MEASURED_BOOT, box, "no TPM 2.0")


def test_a_log_that_is_cut_anywhere_is_never_the_whole_one(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    whole = firmware_log(EVENTS)
    for length in range(len(whole)):
        box.facts["event_log"] = base64.b64encode(whole[:length]).decode()
        try:
            assert MEASURED_BOOT.check is not None
            assert MEASURED_BOOT.check(box.handed(box.facts)).status is Status.FAIL
        except Unreadable:
            continue


def test_the_slot_that_runs_must_be_the_one_that_starts_next(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    slots = json.loads(box.facts["slots"])
    slots["boot_primary"] = "rootfs.1"
    box.facts["slots"] = json.dumps(slots)
    assert_fails(SLOTS_SOUND, box, "A runs, rootfs.1 starts next")


@pytest.mark.parametrize("number", [0, 2])
def test_a_slot_that_is_not_good_fails(number: int, tmp_path: Path) -> None:
    box = ABox(tmp_path)
    slots = json.loads(box.facts["slots"])
    ((_, slot),) = slots["slots"][number].items()
    slot["boot_status"] = "bad"
    box.facts["slots"] = json.dumps(slots)
    assert_fails(SLOTS_SOUND, box, f"not good: {slot['bootname']}")


def test_a_second_slot_that_no_update_ever_filled_is_no_fault(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    slots = json.loads(box.facts["slots"])
    ((_, other),) = slots["slots"][0].items()
    other["boot_status"] = "bad"
    box.facts |= {"slots": json.dumps(slots), "slots_empty": "verity-b\n"}
    found = SLOTS_SOUND.check(box.handed(box.facts))
    assert (found.status, found.observed) == (
        Status.NOT_APPLICABLE, "la deuxième version n’arrivera qu’avec la première mise à jour",
    )  # fmt: skip
    ((_, own),) = slots["slots"][2].items()
    own["boot_status"] = "bad"
    box.facts["slots"] = json.dumps(slots)
    assert_fails(SLOTS_SOUND, box, "not good: B, A")
    own["boot_status"], other["boot_status"] = "bad", "good"
    box.facts |= {"slots": json.dumps(slots), "slots_empty": ""}
    assert_fails(SLOTS_SOUND, box, "not good: A")


def test_one_slot_alone_is_no_way_back(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    slots = json.loads(box.facts["slots"])
    slots["slots"] = [each for each in slots["slots"] if "rootfs.1" not in each]
    box.facts["slots"] = json.dumps(slots)
    assert_fails(SLOTS_SOUND, box, "no other slot")


def test_an_image_that_cannot_measure_its_firmware_says_so(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.manifest["packages"] = [{"name": "rauc", "version": "1.13"}]
    found = box.look(FIRMWARE_STATE)
    assert (found.status, "carte mère" in found.observed) == (Status.NOT_APPLICABLE, True)
    box.manifest["packages"] = [{"name": "fwupd", "version": "2.0"}]
    assert box.look(FIRMWARE_STATE).status is Status.PASS


def test_firmware_below_the_first_level_fails(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    attributes = [
        attribute("org.fwupd.hsi.Uefi.SecureBoot", "success"),
        attribute("org.fwupd.hsi.Spi.Bioswe"),
        attribute("org.fwupd.hsi.Iommu", level=2),
    ]
    box.facts["firmware"] = json.dumps({"HostSecurityAttributes": attributes})
    assert_fails(FIRMWARE_STATE, box, "below HSI:1: Bioswe")


@pytest.mark.parametrize(
    "name", ["getty@tty1.service", "serial-getty@ttyS0.service", "debug-shell.service", "rescue.service", "ssh.service"]
)
def test_an_active_shell_is_named(name: str, tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["units"] = units(unit(name))
    assert_fails(NO_CONSOLE_WAY_IN, box, f"active: {name}")


@pytest.mark.parametrize("console", ["ttyS0,115200", "hvc0", "ttyUSB0", "null"])
def test_a_console_on_a_wire_fails(console: str, tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["cmdline"] = f"console=tty0 console={console} quiet"
    assert_fails(NO_CONSOLE_WAY_IN, box, "a console on")


def test_a_unit_that_the_firmware_handed_over_is_named(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["early_units"] = "stranger.service\nsysinit.target.d\n"
    assert_fails(NO_CONSOLE_WAY_IN, box, "handed over at the start: stranger.service, sysinit.target.d")


def test_the_console_of_a_development_image_only_warns(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["cmdline"] = "console=ttyS0"
    assert box.look(NO_CONSOLE_WAY_IN).effect is None
    box.manifest["profile"] = "development"
    assert box.look(NO_CONSOLE_WAY_IN).effect is Effect.WARN


def test_the_screen_is_no_way_in(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["cmdline"] = "console=tty0 quiet"
    assert box.look(NO_CONSOLE_WAY_IN).status is Status.PASS


def test_keys_that_command_the_kernel_fail(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["sysctls"] = sysctls(kernel__sysrq="438")
    assert_fails(NO_CONSOLE_WAY_IN, box, "kernel.sysrq=438")
    box = ABox(tmp_path)
    box.facts["ctrl_alt_del"] = "Id=ctrl-alt-del.target\nLoadState=loaded\n"
    assert_fails(NO_CONSOLE_WAY_IN, box, "Ctrl-Alt-Del")


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("argv[]=/usr/bin/sleep 10", "argv[]=/usr/lib/systemd/systemd-sulogin-shell rescue"),
        ("SuccessAction=reboot-force", "SuccessAction=none"),
    ],
)
def test_a_rescue_that_gives_a_shell_fails(line: str, instead: str, tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["rescue"] = box.facts["rescue"].replace(line, instead)
    assert_fails(NO_CONSOLE_WAY_IN, box, "gives a shell")
