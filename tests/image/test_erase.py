"""A box is made nobody's again, before it is sold or sent in: no key opens what was on its disk (STOR-08)."""

import json
import uuid
from datetime import UTC, datetime, timedelta

from tests.image.configured import put
from tests.image.disk_edit import DiskEdit
from tests.image.lab import BOOT_S, Lab
from tests.image.machine import Machine
from tests.image.test_tampering import stays_shut
from tests.image.test_update import up

HEADER_BYTES = 16 << 20  # LUKS2: both headers and all key slots
PARTITION = "/dev/disk/by-partlabel/passevue-var"
ORDER = "/var/lib/passevue/orders/erase.json"
STANDS_STILL = "/run/erasure-stands-still"
# Once the erasure has said that the partition has left the table, nothing of it runs any further: there is time to pull
# the plug. In the background: `order` needs the console meanwhile.
STOP_MIDWAY = f"""
{{
  journalctl -f -n 0 -o cat -u passevue-erase.service | while read -r line; do
    case $line in
      *"partition entry: done"*)
        echo 1 >/sys/fs/cgroup/system.slice/passevue-erase.service/cgroup.freeze && touch {STANDS_STILL}
        exit ;;
    esac
  done
}} </dev/null >/dev/null 2>&1 &
"""


def volume_key(metadata: str) -> str:
    """What tells one from another (LUKS2 on-disk format § 3.5); the UUID does not: it is the same again."""
    digest: str = json.loads(metadata)["digests"]["0"]["digest"]
    return digest


def metadata(header: bytes) -> str:
    """LUKS2 on-disk format § 3: the JSON area follows the 4,096 bytes of the binary header."""
    return header[4096:16384].rstrip(b"\0").decode()


async def tpm_key(machine: Machine) -> str:
    """The public key that the TPM signs the audit trail with, and that it has signed once more."""
    await machine.console.run("systemctl", "start", "passevue-notary.service", timeout_s=600)
    return (await machine.console.run("cat", "/var/lib/passevue-notary/keys.pem")).out


async def order(machine: Machine, serial: str) -> None:
    """As the page leaves it, once somebody has typed the serial."""
    now = datetime.fromtimestamp(int((await machine.console.run("date", "+%s")).out), UTC) - timedelta(seconds=1)
    told = {
        "schema": 1,
        "id": uuid.uuid4().hex,
        "at": now.isoformat(),
        "by": "site-admin",
        "values": {"serial": serial},
    }
    await put(machine, ORDER, json.dumps(told).encode(), owner="passevue-page:passevue")


async def serial_of(machine: Machine) -> str:
    return (await machine.console.run("cat", "/etc/machine-id")).out[:12].upper()


async def is_nobodys(machine: Machine) -> None:
    """It has started as from the factory: the first page serves, nothing is configured, a code waits on the screen."""
    await up(machine)
    await machine.serves("/healthz", BOOT_S)
    configured = await machine.console.run("test", "-e", "/var/lib/passevue/config/passevue.toml", check=False)
    assert configured.code, "the configuration is still there"
    await machine.console.run("test", "-s", "/var/lib/passevue/page/claim-code")


async def test_an_erased_box_starts_as_from_the_factory_and_its_old_keys_open_nothing(lab: Lab) -> None:
    state = lab.provisioned("erase")
    disk = DiskEdit(state.disk)
    before = disk.read(disk.partition("passevue-var").start, HEADER_BYTES)
    async with lab.machine(state) as machine:
        await machine.switch_on()
        await up(machine)
        key = await tpm_key(machine)
        serial = await serial_of(machine)
        await order(machine, "FFFF-FFFF-FFFF")
        said = await machine.console.run("sh", "-c", f"sleep 30; cryptsetup luksDump --dump-json-metadata {PARTITION}")
        assert volume_key(said.out) == volume_key(metadata(before)), "somebody else's serial has erased this box"
        after = len(machine.qmp.events)
        await order(machine, serial)
        await machine.resets(300, after)
        await is_nobodys(machine)
        assert await tpm_key(machine) not in ("", key), "the TPM still has its old key"
        await machine.console.run("systemctl", "poweroff", check=False)
        await machine.gone(300)
    now = disk.read(disk.partition("passevue-var").start, HEADER_BYTES)
    assert volume_key(metadata(now)) != volume_key(metadata(before))
    assert before[4096:16384] not in now, "the old header's description is still there"
    disk.write(disk.partition("passevue-var").start, before)  # a copy that somebody made
    async with lab.machine(state) as machine:
        await stays_shut(machine, lab)


async def test_a_power_cut_in_the_middle_of_an_erasure_leaves_an_erased_box(lab: Lab) -> None:
    """The next start finishes it: it finds no data partition, and makes one over the old one."""
    state = lab.provisioned("erase-cut")
    disk = DiskEdit(state.disk)
    partition = disk.partition("passevue-var")
    before = disk.read(partition.start, HEADER_BYTES)
    async with lab.machine(state) as machine:
        await machine.switch_on()
        await up(machine)
        serial, after = await serial_of(machine), len(machine.qmp.events)
        await machine.console.run("sh", "-c", STOP_MIDWAY)
        await order(machine, serial)
        stood_still = f"until [ -e {STANDS_STILL} ]; do sleep 1; done"
        await machine.console.run("sh", "-c", stood_still, timeout_s=300)
        assert not [event for event in machine.qmp.events[after:] if event["event"] == "RESET"], "it was too quick"
        await machine.cut_power()
        assert "passevue-var" not in [one.label for one in disk.partitions()], "what is cut now would never end"
        await machine.switch_on()
        await is_nobodys(machine)
        await machine.console.run("systemctl", "poweroff", check=False)
        await machine.gone(300)
    assert disk.partition("passevue-var").start == partition.start, "not over the old one"
    now = disk.read(partition.start, HEADER_BYTES)
    assert volume_key(metadata(now)) != volume_key(metadata(before))
    assert before[4096:16384] not in now, "the old header's description is still there"
