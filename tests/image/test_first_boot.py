"""A machine fresh from the depot is switched on for the first time; then for the second."""

import json

from passevue.notary.heads import judge, read_keys
from passevue.notary.rollback import index_of
from tests.image.disk_edit import DiskEdit
from tests.image.lab import CLAIMED, Lab
from tests.image.machine import Machine
from tests.image.screen import code_on, digits_on


def test_nothing_has_failed_after_the_first_boot(lab: Lab) -> None:
    assert lab.first_boot.said["systemctl --failed --plain --no-legend"] == ""
    assert lab.first_boot.state == "running"


def test_nothing_has_failed_after_the_second_boot(lab: Lab) -> None:
    assert lab.second_boot.said["systemctl --failed --plain --no-legend"] == ""
    assert lab.second_boot.state == "running"


def test_the_board_enrolled_our_keys_by_itself(lab: Lab) -> None:
    """Delivered in setup mode; that Secure Boot is on afterwards stands below."""
    assert lab.first_boot.enrolled
    assert not lab.second_boot.enrolled


def test_the_screen_no_longer_shows_a_code_once_the_box_is_somebodys(lab: Lab) -> None:
    """Nor the certificate of before. That it showed them is how the box was claimed: configured.py."""
    shown = lab.first_boot.said[CLAIMED]
    assert code_on(shown) == ""
    assert "https://10.0.2.15/" in shown
    assert lab.site.fingerprint in digits_on(shown)


def test_both_slots_and_the_data_partition_are_there(lab: Lab) -> None:
    partitions = DiskEdit(lab.provisioned("layout").disk).partitions()
    version = lab.image.version
    labels = [one.label for one in partitions]
    assert labels == [
        "esp",
        f"passevue_{version}",
        f"passevue_{version}_verity",
        "passevue-uki-a",
        "_empty",
        "_empty",
        "passevue-uki-b",
        "passevue-var",
    ]
    a, b = partitions[1:4], partitions[4:7]
    assert [one.size for one in a] == [one.size for one in b], "the slots are not alike"
    assert [one.kind for one in a] == [one.kind for one in b]


def test_the_data_partition_is_encrypted(lab: Lab) -> None:
    disk = DiskEdit(lab.provisioned("encrypted").disk)
    head = disk.read(disk.partition("passevue-var").start, 4096)
    assert head[:6] == b"LUKS\xba\xbe"
    assert head[6:8] == b"\0\2", "LUKS 2"


async def test_the_data_partition_has_two_ways_in_the_tpm_and_the_recovery_key(box: Machine) -> None:
    said = await box.console.run(
        "cryptsetup", "luksDump", "--dump-json-metadata", "/dev/disk/by-partlabel/passevue-var"
    )
    header = json.loads(said.out)
    assert sorted(token["type"] for token in header["tokens"].values()) == ["systemd-recovery", "systemd-tpm2"]
    assert len(header["keyslots"]) == 2
    (segment,) = header["segments"].values()
    assert segment["encryption"] == "aes-xts-plain64"
    assert {slot["key_size"] for slot in header["keyslots"].values()} == {64}
    (tpm,) = (token for token in header["tokens"].values() if token["type"] == "systemd-tpm2")
    assert tpm["tpm2-pcrs"] == [7, 12], "the firmware's keys, and that nothing was added to the signed image"
    assert tpm["tpm2_pubkey_pcrs"] == [11], "the signed kernel, by whoever signs it"


async def test_the_recovery_key_that_the_page_has_shown_opens_the_data(lab: Lab, box: Machine) -> None:
    """As it was printed; without the tokens, or the TPM would open them."""
    without_tpm = ("--disable-external-tokens", "--key-file=-")
    asked = ("cryptsetup", "open", "--test-passphrase", *without_tpm, "/dev/disk/by-partlabel/passevue-var")
    key = lab.site.recovery.read_text()
    assert (await box.console.run(*asked, stdin=key.encode(), timeout_s=120, check=False)).code == 0
    assert (await box.console.run(*asked, stdin=key[::-1].encode(), timeout_s=120, check=False)).code


def test_the_machine_id_outlives_a_boot(lab: Lab) -> None:
    first, second = lab.first_boot.said["cat /etc/machine-id"], lab.second_boot.said["cat /etc/machine-id"]
    assert first == second
    assert len(first.strip()) == 32


async def test_the_kernel_runs_what_was_signed(lab: Lab, box: Machine) -> None:
    words = (await box.console.run("cat", "/proc/cmdline")).out.split()
    assert f"roothash={lab.image.root_hash}" in words
    assert (
        await box.console.run("od", "-An", "-tu1", "-j4", "-N1", *await _variable(box, "SecureBoot"))
    ).out.split() == ["1"]
    assert (
        await box.console.run("od", "-An", "-tu1", "-j4", "-N1", *await _variable(box, "SetupMode"))
    ).out.split() == ["0"]
    status = (await box.console.run("dmsetup", "status", "--target", "verity")).out
    assert " V" in status, status


async def test_this_boot_is_known_to_be_good(box: Machine) -> None:
    """The health check has passed, so the loader counts no more tries."""
    assert (await box.console.run("systemctl", "is-active", "boot-complete.target")).out.strip() == "active"
    said = await box.console.run("sh", "-c", "ls /efi/EFI/Linux 2>/dev/null || ls /boot/EFI/Linux")
    names = said.out.split()
    assert len(names) == 1
    assert "+" not in names[0], names


async def test_every_zone_of_the_box_runs(box: Machine) -> None:
    for zone in ("intake", "national", "page", "host"):
        said = await box.console.run("systemctl", "show", "-p", "ActiveState,NRestarts", f"passevue-{zone}.service")
        assert sorted(said.out.split()) == ["ActiveState=active", "NRestarts=0"], zone


async def test_the_page_answers_from_outside(box: Machine) -> None:
    status, body = await box.get("/", wait_s=30)
    assert status in (200, 303)
    status, body = await box.get("/healthz", wait_s=30)
    assert status == 200
    assert body


def test_boot_times_are_known(lab: Lab) -> None:
    """Measured, not judged: a machine under other load proves nothing. The figures end this run's report."""
    assert lab.first_boot.page_s > 0
    assert lab.second_boot.page_s > 0


async def test_the_tpm_signs_how_far_the_trail_is_and_keeps_the_rollback_index(lab: Lab, box: Machine) -> None:
    """By itself after each start that is good, from the first one on."""
    await box.console.run("systemctl", "start", "passevue-notary.service", timeout_s=600)
    lock = (await box.console.run("tpm2_getcap", "properties-variable")).out
    assert "TPM2_PT_MAX_AUTH_FAIL: 0x3E8" in lock, "a few power cuts would lock it"
    heads, keys = [
        (await box.console.run("cat", f"/var/lib/passevue-notary/{name}")).out for name in ("heads", "keys.pem")
    ]
    row = judge(heads.encode(), read_keys(keys.encode()))
    assert row.wrong == ()
    assert len({signed.head.boot_id for signed in row.heads}) == 2, "first start and second start"
    assert row.heads[-1].head.index == lab.image.facts["rollback_index"]
    assert row.heads[-1].head.end.number > 0


async def test_root_reads_the_rollback_index(lab: Lab, box: Machine) -> None:
    await box.console.run("systemctl", "start", "passevue-facts.service", timeout_s=600)
    told = json.loads((await box.console.run("cat", "/run/passevue/facts.json")).out)
    assert index_of(json.loads(told["texts"]["rollback_index"])) == lab.image.facts["rollback_index"]


async def test_no_program_of_ours_was_denied_anything_that_it_asks_for(box: Machine) -> None:
    """By its AppArmor profile, in a whole start: what is denied in silence is a rule not looked at, half a page."""
    await box.console.run("systemctl", "start", "passevue-facts.service", timeout_s=600)
    search = "journalctl -b --no-pager | grep 'apparmor=.DENIED.' | grep -F 'profile=\"passevue-'; true"
    assert (await box.console.run("sh", "-c", search, timeout_s=300)).out == ""


async def _variable(box: Machine, name: str) -> list[str]:
    return [f"/sys/firmware/efi/efivars/{name}-8be4df61-93ca-11d2-aa0d-00e098032b8c"]
