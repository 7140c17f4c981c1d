"""Storage: STOR-01 to STOR-07, each on a healthy box, on one that is not, and on garbage."""

import json
from pathlib import Path

import pytest

from passevue.baseline.rule import Rule, Status
from passevue.baseline.rules.commit_is_on_disk import RULE as COMMIT_IS_ON_DISK
from passevue.baseline.rules.data_encrypted import RULE as DATA_ENCRYPTED
from passevue.baseline.rules.disk_wear import RULE as DISK_WEAR
from passevue.baseline.rules.key_bound_to_boot import RULE as KEY_BOUND_TO_BOOT
from passevue.baseline.rules.mount_options import RULE as MOUNT_OPTIONS
from passevue.baseline.rules.no_clear_state import RULE as NO_CLEAR_STATE
from passevue.baseline.rules.room_left import RULE as ROOM_LEFT
from passevue.errors import Unreadable
from tests.unit.baseline.a_box import DISK, ABox, assert_fails, assert_never_fooled, recorded, unit, units

RULES = (
    DATA_ENCRYPTED,
    KEY_BOUND_TO_BOOT,
    NO_CLEAR_STATE,
    MOUNT_OPTIONS,
    COMMIT_IS_ON_DISK,
    DISK_WEAR,
    ROOM_LEFT,
)
INDIFFERENT: dict[str, tuple[str, ...]] = {}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.slug)
def test_a_healthy_box_passes(rule: Rule, tmp_path: Path) -> None:
    assert ABox(tmp_path).look(rule).status is Status.PASS


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.slug)
def test_garbage_never_passes(rule: Rule, tmp_path: Path) -> None:
    assert_never_fooled(tmp_path, rule, indifferent=INDIFFERENT.get(rule.id, ()))


def luks(box: ABox, **changed: object) -> None:
    tree = json.loads(box.facts["luks"])
    box.facts["luks"] = json.dumps({**tree, **changed})


def token(kind: str, *slots: str, **rest: object) -> dict[str, object]:
    return {"type": kind, "keyslots": list(slots), **rest}


TPM = token("systemd-tpm2", "1", **{"tpm2-pcrs": [7, 12], "tpm2_pubkey_pcrs": [11]})
RECOVERY = token("systemd-recovery", "0")


def test_data_on_another_device_than_the_encrypted_one_fail(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["mounts"] = box.facts["mounts"].replace("254:1 / /var", "252:6 / /var")
    assert_fails(DATA_ENCRYPTED, box, "another device")


def test_a_mapping_that_does_not_encrypt_fails(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["crypt_table"] = ""
    assert_fails(DATA_ENCRYPTED, box, "not encrypted")


def test_a_weaker_cipher_fails_in_use_and_in_the_header(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["crypt_table"] = box.facts["crypt_table"].replace("aes-xts-plain64", "aes-cbc-essiv:sha256")
    assert_fails(DATA_ENCRYPTED, box, "aes-cbc-essiv:sha256")
    for segment, told in [
        ({"type": "crypt", "encryption": "serpent-xts-plain64"}, "serpent"),
        ({"type": "linear", "encryption": ""}, "not encrypted"),
    ]:
        box = ABox(tmp_path)
        luks(box, segments={"0": segment})
        assert_fails(DATA_ENCRYPTED, box, told)


def test_a_shorter_key_fails(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    luks(box, keyslots={"0": {"type": "luks2", "key_size": 64}, "1": {"type": "luks2", "key_size": 32}})
    assert_fails(DATA_ENCRYPTED, box, "32 bytes")


def test_nothing_secret_of_the_header_is_kept(tmp_path: Path) -> None:
    kept = ABox(tmp_path).facts["luks"]
    header = json.loads(recorded("luks_header.json"))
    assert header["keyslots"]["0"]["kdf"]["salt"] not in kept
    assert header["digests"]["0"]["digest"] not in kept
    assert "blob" not in kept


def test_a_key_slot_without_a_token_fails(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    luks(box, keyslots={str(number): {"type": "luks2", "key_size": 64} for number in range(3)})
    assert_fails(KEY_BOUND_TO_BOOT, box, "1 key slot(s) without a token")


@pytest.mark.parametrize(
    ("tokens", "told"),
    [
        ({"0": RECOVERY, "1": TPM, "2": token("systemd-fido2", "1")}, "systemd-fido2"),
        ({"1": TPM, "0": token("systemd-tpm2", "0")}, "systemd-tpm2, systemd-tpm2"),
        ({"0": RECOVERY, "1": token("systemd-tpm2", "1", **{"tpm2-pcrs": [7, 12]})}, "signed []"),
        ({"0": RECOVERY, "1": token("systemd-tpm2", "1", **{"tpm2-pcrs": [7], "tpm2_pubkey_pcrs": [11]})}, "PCR [7]"),
        ({"0": RECOVERY, "1": token("systemd-tpm2", "1", **{"tpm2-pcrs": [], "tpm2_pubkey_pcrs": [11]})}, "PCR []"),
        ({"0": token("systemd-recovery", "0", "1"), "1": TPM}, "2 key slots"),
    ],
)
def test_other_keys_than_the_two_fail(tokens: dict[str, object], told: str, tmp_path: Path) -> None:
    box = ABox(tmp_path)
    luks(box, tokens=tokens)
    assert_fails(KEY_BOUND_TO_BOOT, box, told)


def test_a_lost_recovery_key_fails(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    luks(box, tokens={"1": TPM}, keyslots={"1": {"type": "luks2", "key_size": 64}})
    assert_fails(KEY_BOUND_TO_BOOT, box, "1 key slots, tokens systemd-tpm2")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("50 22 252:5 / /mnt rw - ext4 /dev/vda5 rw", "/mnt, ext4"),
        ("50 22 252:5 / /mnt ro - ext4 /dev/vda5 rw", "/mnt, ext4"),
        ("50 22 8:1 / /media rw - vfat /dev/sda1 rw", "/media, vfat"),
        ("50 22 0:60 / /mnt/share rw - nfs4 10.0.0.1:/x rw", "nfs4"),
        ("50 22 0:60 / /opt/x rw - overlay overlay rw,upperdir=/x", "overlay"),
    ],
)
def test_another_place_to_write_fails(line: str, told: str, tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["mounts"] += line + "\n"
    assert_fails(NO_CLEAR_STATE, box, told)


def test_swap_fails(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["swaps"] += "/dev/zram0 partition 100 0 -2\n"
    assert_fails(NO_CLEAR_STATE, box, "1 swap area")


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("/tmp rw,nosuid,nodev,noexec", "/tmp rw,nosuid,nodev", "/tmp lacks noexec"),
        ("/var rw,nosuid,nodev,noexec", "/var rw,noexec", "/var/log lacks nosuid,nodev"),
        ("/dev/shm rw,nosuid,nodev,noexec", "/dev/shm rw,nosuid,nodev", "/dev/shm lacks noexec"),
        ("/efi rw,nosuid,nodev,noexec", "/efi rw,nodev,noexec", "/efi lacks nosuid"),
    ],
)
def test_a_mount_that_lacks_an_option_is_named(before: str, after: str, told: str, tmp_path: Path) -> None:
    box = ABox(tmp_path)
    assert before in box.facts["mounts"]
    box.facts["mounts"] = box.facts["mounts"].replace(before, after)
    assert_fails(MOUNT_OPTIONS, box, told)


def test_a_service_that_sees_all_processes_is_named(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["units"] = units(unit("passevue-new.service", User="passevue-new", ProtectProc="default"))
    assert_fails(MOUNT_OPTIONS, box, "passevue-new.service see all processes")


@pytest.mark.parametrize("option", ["nobarrier", "barrier=0", "data=writeback"])
def test_a_filesystem_that_forgets_syncs_fails(option: str, tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["mounts"] = box.facts["mounts"].replace("/dev/mapper/var rw", f"/dev/mapper/var rw,{option}")
    assert_fails(COMMIT_IS_ON_DISK, box, option)


def test_a_disk_that_does_not_say_how_it_caches_is_not_believed(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["write_cache"] = "/sys/block/vda/queue/write_cache: perhaps\n"
    with pytest.raises(Unreadable):
        box.look(COMMIT_IS_ON_DISK)


def disks(*each: dict[str, object]) -> str:
    return json.dumps([{"disk": f"disk{number}", "smartctl": tree} for number, tree in enumerate(each)])


def ata(*attributes: tuple[int, int, int], passed: bool = True) -> dict[str, object]:
    table = [{"id": number, "value": value, "raw": {"value": raw}} for number, value, raw in attributes]
    return {"smart_status": {"passed": passed}, "ata_smart_attributes": {"table": table}}


def nvme(warning: int, errors: int, worn: int) -> dict[str, object]:
    log = {"critical_warning": warning, "media_errors": errors, "percentage_used": worn}
    return {"nvme_smart_health_information_log": log}


@pytest.mark.parametrize(
    ("disk", "told"),
    [
        (
            {"nvme_smart_health_information_log": {"critical_warning": 0, "media_errors": 2, "percentage_used": 3}},
            "2 errors",
        ),
        (
            {"nvme_smart_health_information_log": {"critical_warning": 4, "media_errors": 0, "percentage_used": 3}},
            "1 errors",
        ),
        (
            {"nvme_smart_health_information_log": {"critical_warning": 0, "media_errors": 0, "percentage_used": 90}},
            "90 %",
        ),
        (ata((197, 100, 8)), "8 errors"),
        (ata((231, 9, 0)), "91 % worn"),
        (ata((9, 100, 4000), passed=False), "1 errors"),
    ],
)
def test_a_disk_that_loses_data_or_is_worn_fails(disk: dict[str, object], told: str, tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["disk_health"] = disks(DISK, disk)
    assert_fails(DISK_WEAR, box, told)


def test_a_sound_sata_disk_passes(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["disk_health"] = disks(ata((5, 100, 0), (177, 98, 40), (9, 99, 4000)))
    assert box.look(DISK_WEAR).observed == "1 disk(s), 2 % worn"


def test_a_disk_without_health_is_no_matter_of_this_rule(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["disk_health"] = disks({"smartctl": {"exit_status": 4}})
    assert box.look(DISK_WEAR).status is Status.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("total", "free", "told"),
    [
        (200 << 30, 39 << 30, "39.0 GiB free, 20%"),
        (20 << 30, (5 << 30) - 1, "5.0 GiB free"),
        (8 << 30, 0, "0.0 GiB"),
    ],
)
def test_too_little_room_fails(total: int, free: int, told: str, tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["room"] = f"/var/lib/passevue 65025 {200 << 30} {150 << 30}\n/var/log 65025 {total} {free}\n"
    assert_fails(ROOM_LEFT, box, f"/var/log: {told}")
