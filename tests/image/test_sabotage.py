"""The box is broken on purpose, and must say so: that rule, that effect, a new audit record (security-baseline.md § 4).

Of its twelve breaks these are elsewhere: a loader's entry, a formatted data disk and what Secure Boot off does to the
data in test_tampering.py; what is plugged in, in test_usb.py; the slot that takes over from a rotten one, in
test_update.py. Where the data stay shut there is no trail to write to, and the engine does not run: the rule is asked
by hand. Nor is there one when the engine has gone: the national side shuts by itself, and its journal says why.
"""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from passevue.baseline.rule import Level
from passevue.baseline.rules import CATALOGUE
from passevue.card.crl import der_name
from tests.image.configured import put
from tests.image.lab import BOOT_S, Lab
from tests.image.machine import HOST, Hardware, Machine
from tests.image.test_tampering import stays_shut
from tests.image.time_server import time_server
from tests.image.trail import Trail, failure
from tests.image.waiting import eventually
from tests.peers.ans import Lists
from tests.peers.ports import free_port
from tests.peers.ris import Ris, invented_document_id, invented_exam, invented_person, oru
from tests.peers.ris import report as report_of

REPORT = "/run/passevue-baseline/report.json"
VERDICT = "/run/passevue-baseline/verdict.json"
FACTS = ("passevue-facts-devices.service", "passevue-facts-network.service", "passevue-facts.service")
LOOK_S = 600  # facts, engine and all rules, on an emulated machine with other work
YEAR_S = 365 * 86_400


@dataclass(frozen=True)
class Verdict:
    status: str
    effect: str
    observed: str


async def look(box: Machine, *rules: str) -> dict[str, Verdict]:
    """Facts are collected and every rule is looked at anew; how these rules stand.

    A round of the facts that is under way is begun again, and no engine leaves a report of before meanwhile.
    """
    await box.console.run("systemctl", "restart", *FACTS, timeout_s=LOOK_S)
    await box.console.run("systemctl", "stop", "passevue-host.service", timeout_s=LOOK_S)
    await box.console.run("rm", "-f", REPORT)
    await box.console.run("systemctl", "start", "passevue-host.service", timeout_s=LOOK_S)

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


async def closed(box: Machine) -> list[str]:
    """The rules that keep the national side shut, as it is told."""
    found: list[str] = json.loads((await box.console.run("cat", VERDICT)).out)["closed"]
    return found


async def blocks(box: Machine, rule: str, trail: Trail) -> Verdict:
    """This rule fails, the national side is shut by it, and the trail, taken up before it was broken, says so."""
    verdict = (await look(box, rule))[rule]
    assert (verdict.status, verdict.effect) == ("fail", "block"), verdict
    assert rule in await closed(box)
    assert await trail.says(*failure(rule))
    return verdict


async def by_hand(machine: Machine, rule: str) -> Verdict:
    """What root is told of one rule, on a box that has no data and no configuration."""
    said = await machine.console.run("passevue", "baseline", "--json", "--rule", rule, check=False, timeout_s=LOOK_S)
    (one,) = json.loads(said.out)["rules"]
    return Verdict(one["status"], one["effect"], one["observed"])


async def open_entries(box: Machine) -> int:
    return len(json.loads((await box.console.run("passevue", "queue", "list", "--json", timeout_s=120)).out))


async def test_a_box_that_nobody_broke_meets_what_is_broken_below(box: Machine) -> None:
    """Else the tests here would prove nothing."""
    rules = ("SERV-01", "NET-01", "TIME-03", "LOG-01", "CERT-02", "TLS-04", "APP-01", "BOOT-01", "BOOT-03", "BOOT-04")
    found = await look(box, *rules)
    assert {rule: one.status for rule, one in found.items()} == dict.fromkeys(rules, "pass"), found
    assert not set(rules) & set(await closed(box))


async def test_no_rule_that_must_hold_is_left_unmeasured(box: Machine) -> None:
    """As it would be with one right too few for who collects. The second list is measured and as it should be."""
    musts = [rule.id for rule in CATALOGUE if rule.check is not None and rule.level is Level.MUST]
    found = await look(box, *musts, "BOOT-02")
    assert {rule: one.observed for rule, one in found.items() if one.status == "unknown"} == {}
    sound = ("BOOT-02", "BOOT-05", "STOR-04", "STOR-05", "KERN-01", "KERN-09", "ACCT-04", "USB-01", "LOG-05")
    sound += ("CERT-04", "SECR-01")
    assert {rule: found[rule] for rule in sound if found[rule].status != "pass"} == {}


@pytest.mark.parametrize(
    ("rule", "told"),
    [("BOOT-01", "SecureBoot=0"), ("BOOT-03", "systemd.debug-shell")],
    ids=["Secure Boot off", "words added by the firmware"],
)
async def test_a_start_that_nobody_signed_for_is_told_and_the_data_stay_shut(lab: Lab, rule: str, told: str) -> None:
    state = lab.provisioned(f"told-{rule}")
    hardware = Hardware()
    if rule == "BOOT-01":
        state.switch_secure_boot_off()
    else:
        words = "type=11,value=io.systemd.stub.kernel-cmdline-extra=systemd.debug-shell=ttyS0"
        hardware = Hardware(extra=("-smbios", words))
    async with lab.machine(state, hardware) as machine:
        await stays_shut(machine, lab)
        verdict = await by_hand(machine, rule)
    assert (verdict.status, verdict.effect) == ("fail", "block"), verdict
    assert told in verdict.observed


async def answers_from_outside(box: Machine, port: int, *, tls: bool = False, wire: str = "net0") -> bool:
    """Whether a port of the guest that is not forwarded otherwise says anything to this host, by that cable."""
    here = free_port()
    unchecked = ssl.create_default_context() if tls else None
    if unchecked is not None:
        unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
    await box.qmp.type(f"hostfwd_add {wire} tcp:127.0.0.1:{here}-:{port}")
    try:
        async with asyncio.timeout(60 if tls else 20):
            reader, writer = await asyncio.open_connection("127.0.0.1", here, ssl=unchecked)
            try:
                writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                return bool(await reader.read(1))
            finally:
                writer.transport.abort()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except (OSError, TimeoutError):
        return False
    finally:
        await box.qmp.type(f"hostfwd_remove {wire} tcp:127.0.0.1:{here}")


@pytest_asyncio.fixture(loop_scope="session")
async def trail(box: Machine) -> Trail:
    """As it is before anything is broken."""
    return await Trail.of(box)


async def test_a_listener_of_another_user_is_told_and_nobody_reaches_it(box: Machine, trail: Trail) -> None:
    await box.console.run(
        *("systemd-run", "--uid=nobody", "--unit=stranger", "/usr/bin/python3", "-m", "http.server", "8081"),
    )
    verdict = await blocks(box, "SERV-01", trail)
    assert "8081" in verdict.observed
    assert await answers_from_outside(box, 443, tls=True)
    assert not await answers_from_outside(box, 8081)


async def test_a_firewall_that_was_emptied_is_told(box: Machine, trail: Trail) -> None:
    await box.console.run("nft", "flush", "ruleset")
    await blocks(box, "NET-01", trail)


@asynccontextmanager
async def right_clock(box: Machine) -> AsyncIterator[None]:
    """The box has a time server meanwhile, and has found its clock right."""
    async with time_server():
        await found_right(box)
        yield


async def found_right(box: Machine) -> None:
    """By the time server that runs."""
    await box.console.run("chronyc", "add", "server", HOST, "iburst", "minpoll", "4", "maxpoll", "6")
    await box.console.run("chronyc", "waitsync", "60", "0.5", timeout_s=LOOK_S)
    assert (await look(box, "TIME-01"))["TIME-01"].status == "pass"


async def one_waits(box: Machine, number: int = 1) -> None:
    """A report is in the queue, and cannot leave."""
    person, exam = invented_person(number), invented_exam(number)
    async with Ris("127.0.0.1", box.ports["ris"], timeout_s=120) as ris:
        told = await ris.send(oru(report_of(person, exam, document_id=invented_document_id(number)), person))
    assert told.code == "AA", told


@pytest.mark.parametrize("by_s", [YEAR_S, -YEAR_S], ids=["a year ahead", "a year behind"])
async def test_a_clock_that_was_set_is_told_and_the_queue_stays(box: Machine, by_s: int) -> None:
    await one_waits(box)
    before = await open_entries(box)
    assert before
    async with right_clock(box):
        trail = await Trail.of(box)
        now = int((await box.console.run("date", "+%s")).out)
        await box.console.run("date", "-s", f"@{now + by_s}")
        rules = ("TIME-01",) if by_s > 0 else ("TIME-01", "TIME-03")
        found = await look(box, *rules)
        assert {(one.status, one.effect) for one in found.values()} == {("fail", "block")}, found
        assert set(rules) <= set(await closed(box))
        for rule in rules:
            assert await trail.says(*failure(rule))
    assert await open_entries(box) == before


async def test_a_full_audit_volume_blocks_and_intake_goes_on(box: Machine, trail: Trail) -> None:
    folder = "/var/lib/passevue/audit"
    fill = 'cd "$1" && fallocate -l $(df --output=avail -B1 . | tail -n 1) filler; cat /dev/zero >>rest; sync'
    for _ in range(8):  # the queue gives its ballast up, and the last block of the trail has room for some records yet
        await box.console.run("sh", "-c", fill, "sh", folder, check=False, timeout_s=300)
        verdict = (await look(box, "LOG-01"))["LOG-01"]
        if verdict.status != "pass":
            break
    assert (verdict.status, verdict.effect) == ("fail", "block"), verdict
    assert "LOG-01" in await closed(box)
    assert (await box.console.run("systemctl", "is-active", "passevue-intake")).out.strip() == "active"
    await box.console.run("sh", "-c", 'rm "$1/filler" "$1/rest"', "sh", folder)
    assert (await look(box, "LOG-01"))["LOG-01"].status == "pass"
    assert await trail.says(*failure("LOG-01"))


async def test_a_trail_that_no_longer_says_what_the_tpm_has_signed_is_told(box: Machine) -> None:
    """Its end is cut off by root, and it goes on: its chain is whole."""
    await box.console.run("/usr/lib/passevue/notary", "--at-once", timeout_s=LOOK_S)
    assert (await look(box, "LOG-03"))["LOG-03"].status == "pass"
    cut = 'last=$(ls audit-*.log | tail -n 1) && truncate -s $(head -n 3 "$last" | wc -c) "$last"'
    await box.console.run("sh", "-c", f"cd /var/lib/passevue/audit && {cut}")
    trail = await Trail.of(box)
    verdict = (await look(box, "LOG-03"))["LOG-03"]
    assert (verdict.status, verdict.effect) == ("fail", "hold"), verdict
    assert "is gone or another" in verdict.observed
    assert await trail.says(*failure("LOG-03"))


async def test_a_clear_key_among_the_data_is_told(box: Machine, trail: Trail) -> None:
    await box.console.run("sh", "-c", "cat >/var/lib/passevue/config/forgotten.pem", stdin=_key())
    verdict = await blocks(box, "CERT-02", trail)
    assert verdict.observed == "private key in clear: /var/lib/passevue/config/forgotten.pem"


async def test_a_revocation_list_past_its_end_refuses_those_alone_whom_it_is_about(
    lab: Lab, box: Machine, trail: Trail
) -> None:
    """Its server is down, as it is for the box here: who has a card is refused, the DMP's servers are not."""
    authority, key = lab.site.persons._sub
    now = int((await box.console.run("date", "+%s")).out)  # a snapshot's clock has stood still since it was made
    ended = datetime.fromtimestamp(now, UTC) - timedelta(hours=1)
    old = Lists(authority, key).make(this_update=ended - timedelta(days=7), next_update=ended)
    name = f"/var/lib/passevue/crl/test/{der_name(authority).hex()[:32]}.crl"
    await put(box, name, old, owner="passevue-host:passevue")
    verdict = (await look(box, "TLS-04"))["TLS-04"]
    assert (verdict.status, verdict.effect) == ("fail", "block"), verdict
    assert verdict.observed.count("ended") == 1, verdict
    assert "none" not in verdict.observed
    assert "TLS-04" not in await closed(box), "one list closes the whole national side"
    assert await trail.says(*failure("TLS-04"))


async def test_an_engine_that_is_gone_shuts_the_national_side_once_its_verdict_is_old(box: Machine) -> None:
    """Half an hour is not waited for: the verdict that it left is made as old as that."""
    await box.console.run("systemctl", "stop", "passevue-host.service", timeout_s=120)
    aged = """
import json, sys
tree = json.load(open(sys.argv[1]))
with open(sys.argv[1], "w") as file:
    json.dump({**tree, "closed": [], "good_until_s": 1.0}, file)
"""
    begun = (await box.console.run("date", "+@%s")).out.strip()
    await box.console.run("python3", "-I", "-c", aged, VERDICT)

    async def told() -> str:
        journal = ("journalctl", "-u", "passevue-national", "-o", "cat", "--no-pager", f"--since={begun}")
        return (await box.console.run(*journal)).out

    await eventually(told, lambda text: "national_closed" in text and "APP-01" in text, 120, pause_s=3)
    await box.get("/healthz", wait_s=60)  # the page goes on, and so does intake
    await one_waits(box)


TRIES = """
import os, socket, sys
def could(act):
    try:
        act()
        return True
    except OSError:
        return False
def look_into(path):
    if os.path.isdir(path):
        os.listdir(path)
    else:
        open(path, "rb").read(1)
address, port, *paths = sys.argv[1:]
for path in paths:
    print(path, could(lambda: look_into(path)))
print("outside", could(lambda: socket.create_connection((address, int(port)), 10).close()))
"""


async def test_a_parser_that_was_taken_reaches_no_key_and_nobody_outside(box: Machine) -> None:
    """APP-05: a program that runs as intake does, in its profile, tries what a stranger would."""
    national = (await box.console.run("systemctl", "show", "-P", "MainPID", "passevue-national")).out.strip()
    assert int(national) > 1
    its_own = "/var/lib/passevue/config/passevue.toml"  # else the rest would prove nothing
    others = (
        "/var/lib/passevue/credentials/national/auth.pem",
        "/var/lib/passevue/credentials/page/page.pem",
        "/run/credentials/passevue-national.service",
        "/var/lib/passevue/page",
        "/var/lib/passevue/psc",
        "/var/lib/passevue-recovery/key",
        f"/proc/{national}/mem",
        f"/proc/{national}/environ",
        "/dev/mapper/var",
        "/dev/tpmrm0",
    )
    await box.console.run("ls", "-d", *others)
    as_intake = ("--uid=passevue-intake", "--gid=passevue", "-p", "AppArmorProfile=passevue-intake")
    run = ("systemd-run", "--quiet", "--pipe", "--wait", *as_intake, "/usr/bin/python3", "-I", "-c", TRIES)
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        said = (await box.console.run(*run, HOST, str(port), its_own, *others, timeout_s=180)).out.splitlines()
    found = dict(line.rsplit(" ", 1) for line in said)
    assert found == {its_own: "True", **dict.fromkeys((*others, "outside"), "False")}


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


async def test_a_machine_whose_first_process_hangs_is_reset_by_its_watchdog(box: Machine) -> None:
    """Nothing inside can help any more: the board's own watchdog does."""
    after = len(box.qmp.events)
    await box.console.run("sh", "-c", "echo 1 >/sys/fs/cgroup/init.scope/cgroup.freeze")
    assert await box.qmp.event("WATCHDOG", after=after, wait_s=300) == {"action": "reset"}
    await box.console.answers(BOOT_S)
    await box.serves("/healthz", BOOT_S)


def _key() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
