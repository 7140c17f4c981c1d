"""The box is broken on purpose, and must say so: that rule, that effect, an audit record (security-baseline.md § 4).

The other breaks of that list are where their place is: Secure Boot off, a changed loader, a swapped disk in
test_tampering.py; what is plugged in, in test_usb.py.
"""

import json
from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.image.lab import BOOT_S
from tests.image.machine import Machine
from tests.image.waiting import eventually

REPORT = "/var/lib/passevue/baseline/report.json"
LOOK_S = 600  # facts, engine and all rules, on an emulated machine with other work
YEAR_S = 365 * 86_400


@dataclass(frozen=True)
class Verdict:
    status: str
    effect: str
    observed: str


async def look(box: Machine, *rules: str) -> dict[str, Verdict]:
    """Facts are collected and every rule is looked at anew; how these rules stand."""
    await box.console.run("systemctl", "start", "passevue-facts.service", timeout_s=LOOK_S)
    await box.console.run("rm", "-f", REPORT)
    await box.console.run("systemctl", "restart", "passevue-host.service", timeout_s=LOOK_S)

    async def report() -> dict[str, Verdict]:
        said = await box.console.run("cat", REPORT, check=False)
        if said.code:
            return {}
        return {
            one["id"]: Verdict(one["status"], one["effect"], one["observed"])
            for one in json.loads(said.out)["rules"]
            if one["id"] in rules
        }

    def settled(found: dict[str, Verdict]) -> bool:
        return set(found) == set(rules) and all(one.observed != "not looked at yet" for one in found.values())

    return await eventually(report, settled, LOOK_S, pause_s=3)


async def audited(box: Machine, rule: str) -> bool:
    """The change of this rule is in the audit trail, and the trail is whole."""
    said = await box.console.run(
        "sh", "-c", "cat /var/lib/passevue/audit/* /var/log/audit/passevue/* 2>/dev/null; true"
    )
    return rule in said.out


async def blocks(box: Machine, rule: str) -> Verdict:
    """This rule fails, with the effect that closes the national side, and the trail says so."""
    verdict = (await look(box, rule))[rule]
    assert (verdict.status, verdict.effect) == ("fail", "block"), verdict
    assert await audited(box, rule)
    return verdict


async def open_entries(box: Machine) -> int:
    return len(json.loads((await box.console.run("passevue", "queue", "list", "--json", timeout_s=120)).out))


async def test_a_box_that_nobody_broke_meets_what_is_broken_below(box: Machine) -> None:
    """Else the tests here would prove nothing."""
    rules = ("SERV-01", "NET-01", "TIME-03", "LOG-01", "CERT-02", "BOOT-01", "BOOT-03", "BOOT-04")
    found = await look(box, *rules)
    assert {rule: one.status for rule, one in found.items()} == dict.fromkeys(rules, "pass"), found


async def test_a_listener_of_another_user_is_told_and_nobody_reaches_it(box: Machine) -> None:
    await box.console.run(
        *("systemd-run", "--uid=nobody", "--unit=stranger", "/usr/bin/python3", "-m", "http.server", "8081"),
    )
    verdict = await blocks(box, "SERV-01")
    assert "8081" in verdict.observed


async def test_a_firewall_that_was_emptied_is_told(box: Machine) -> None:
    await box.console.run("nft", "flush", "ruleset")
    await blocks(box, "NET-01")


@pytest.mark.parametrize("by_s", [YEAR_S, -YEAR_S], ids=["a year ahead", "a year behind"])
async def test_a_clock_that_was_set_is_told_and_the_queue_stays(box: Machine, by_s: int) -> None:
    before = await open_entries(box)
    now = int((await box.console.run("date", "+%s")).out)
    await box.console.run("date", "-s", f"@{now + by_s}")
    found = await look(box, "TIME-01", "TIME-03")
    failed = [rule for rule, one in found.items() if one.status == "fail"]
    assert failed, found
    if by_s < 0:
        assert "TIME-03" in failed
    assert await open_entries(box) == before


async def test_a_full_audit_volume_blocks_and_intake_goes_on(box: Machine) -> None:
    folder = (
        await box.console.run("sh", "-c", "ls -d /var/log/audit/passevue 2>/dev/null || echo /var/lib/passevue/audit")
    ).out
    fill = 'cd "$1" && fallocate -l $(df --output=avail -B1 . | tail -n 1) filler; cat /dev/zero >>rest; sync'
    for _ in range(8):  # the queue gives its ballast up, and the last block of the trail has room for some records yet
        await box.console.run("sh", "-c", fill, "sh", folder.strip(), check=False, timeout_s=300)
        verdict = (await look(box, "LOG-01"))["LOG-01"]
        if verdict.status != "pass":
            break
    assert (verdict.status, verdict.effect) == ("fail", "block"), verdict
    assert (await box.console.run("systemctl", "is-active", "passevue-intake")).out.strip() == "active"
    await box.console.run("sh", "-c", 'rm "$1/filler" "$1/rest"', "sh", folder.strip())
    assert (await look(box, "LOG-01"))["LOG-01"].status == "pass"
    assert await audited(box, "LOG-01")


async def test_a_clear_key_among_the_data_is_told(box: Machine) -> None:
    await box.console.run("sh", "-c", "cat >/var/lib/passevue/config/forgotten.pem", stdin=_key())
    verdict = await blocks(box, "CERT-02")
    assert "forgotten" in verdict.observed or "1" in verdict.observed


async def test_a_changed_byte_of_the_running_root_restarts_the_machine(box: Machine) -> None:
    """Written past dm-verity, as a disk that rots would: the first read of it must be the last."""
    script = """(
root=$(dmsetup table root | awk '{print $5}')
for at in $(seq 8388608 1048576 120000000); do
  printf X | dd of=/dev/block/$root bs=1 seek=$at conv=notrunc,fsync status=none
done
echo 3 >/proc/sys/vm/drop_caches
find /usr -xdev -type f -exec cat {} + >/dev/null
) >/dev/null 2>&1 &"""
    after = len(box.qmp.events)
    await box.console.run("sh", "-c", script, timeout_s=120)
    await box.resets(BOOT_S, after)
    await box.cut_power()  # the kernel may ask for a second reset, which a snapshot would come in for


async def test_an_engine_that_hangs_is_started_again_by_its_watchdog(box: Machine) -> None:
    async def pid() -> str:
        return (await box.console.run("systemctl", "show", "-P", "MainPID", "passevue-host")).out.strip()

    before = await pid()
    assert int(before) > 1
    await box.console.run("kill", "-STOP", before)
    await eventually(pid, lambda now: now not in (before, "0"), 300, pause_s=5)
    verdict = (await look(box, "APP-01"))["APP-01"]
    assert verdict.status == "pass", verdict


def _key() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
