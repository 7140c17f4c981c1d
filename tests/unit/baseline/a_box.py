"""A box on which the rules of boot, storage, kernel, accounts, services, network and USB pass, for tests to spoil.

    box = ABox(tmp_path)
    box.facts["lockdown"] = "[none] integrity confidentiality"
    assert box.look(RULE).status is Status.FAIL

`facts/` holds what real programs said: nft 1.0.6 on systemd/etc/nftables.conf with `site.toml`, rauc, cryptsetup. The
rest is written as the kernel and systemd of Debian 13 write it.
"""

import base64
import contextlib
import json
import struct
import time
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from passevue.baseline import facts
from passevue.baseline.facts import Facts
from passevue.baseline.machine import MANIFEST, Machine, Unmeasurable
from passevue.baseline.reading import luks
from passevue.baseline.rule import Finding, Rule, Status
from passevue.config import Config, load
from passevue.errors import BoxError

RECORDED = Path(__file__).parent / "facts"
READERS = Path(__file__).parents[3] / "hw" / "readers"
NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
BOOT_ID = "5f0c6d0e-7d5c-4a3e-9d0f-0f6a3f2f9f11"
ROOT_HASH = "9c" * 32
SIGNED_WORDS = (
    "systemd.machine_id=firmware panic=30 lockdown=integrity lsm=landlock,lockdown,yama,integrity,apparmor,bpf "
    "slab_nomerge init_on_alloc=1 page_alloc.shuffle=1 vsyscall=none"
)
OWN_KEY = b"0\x82 our certificate"
USB_FOLDER = "/sys/bus/usb/devices"


def recorded(name: str) -> str:
    return (RECORDED / name).read_text(encoding="utf-8")


def variable(*value: int) -> str:
    """As efivarfs gives it: attributes, then the value."""
    return base64.b64encode(b"\x06\0\0\0" + bytes(value)).decode()


def signature_list(*entries: bytes) -> bytes:
    """An EFI_SIGNATURE_LIST for each, as a list of X.509 certificates has one."""
    lists = []
    for entry in entries:
        size = 16 + len(entry)
        lists.append(bytes(16) + struct.pack("<III", 28 + size, 0, size) + b"owner's GUID 16 " + entry)
    return b"".join(lists)


def firmware_log(events: list[tuple[int, int, bytes]]) -> bytes:
    """A TCG 2 log with SHA-1 and SHA-256 of (PCR, type, digest)."""
    spec = b"Spec ID Event03\0" + struct.pack("<IBBBBI", 0, 0, 2, 0, 2, 2) + struct.pack("<HHHH", 4, 20, 11, 32) + b"\0"
    head = struct.pack("<II20xI", 0, 3, len(spec)) + spec
    rest = [
        struct.pack("<IIIH20sH32sI", pcr, kind, 2, 4, bytes(20), 11, digest, 5) + b"event"
        for pcr, kind, digest in events
    ]
    return head + b"".join(rest)


def extended(*digests: bytes) -> str:
    value = bytes(32)
    for digest in digests:
        value = sha256(value + digest).digest()
    return value.hex()


EVENTS = [(0, 3, bytes(32)), (4, 0x80000003, b"4" * 32), (7, 0x80000001, b"7" * 32), (11, 13, b"b" * 32)]
PHASE = {"pcr": 11, "digests": [{"hashAlg": "sha1", "digest": "00" * 20}, {"hashAlg": "sha256", "digest": "cc" * 32}]}

PCRS = {4: extended(b"4" * 32), 7: extended(b"7" * 32), 11: extended(b"b" * 32, b"\xcc" * 32)}

MOUNTS = """\
22 1 254:0 / / ro,relatime shared:1 - erofs /dev/mapper/root ro,user_xattr,acl,cache_strategy=readaround
23 22 0:21 / /proc rw,nosuid,nodev,noexec,relatime shared:12 - proc proc rw
24 22 0:22 / /sys rw,nosuid,nodev,noexec,relatime shared:2 - sysfs sysfs rw
25 22 0:5 / /dev rw,nosuid shared:8 - devtmpfs devtmpfs rw,size=4096k,nr_inodes=230000,mode=755
26 25 0:23 / /dev/shm rw,nosuid,nodev,noexec shared:9 - tmpfs tmpfs rw
27 22 0:24 / /run rw,nosuid,nodev shared:11 - tmpfs tmpfs rw,size=400000k,nr_inodes=819200,mode=755
28 22 0:24 /machine-id /etc/machine-id ro,nosuid,nodev - tmpfs tmpfs rw,size=400000k
29 22 0:31 / /tmp rw,nosuid,nodev,noexec shared:20 - tmpfs tmpfs rw,size=131072k
30 22 254:1 / /var rw,nosuid,nodev,noexec,relatime shared:21 - ext4 /dev/mapper/var rw
31 22 252:1 / /efi rw,nosuid,nodev,noexec,relatime shared:22 - vfat /dev/vda1 rw,fmask=0177,dmask=0077
32 22 0:25 / /sys/firmware/efi/efivars ro,nosuid,nodev,noexec - efivarfs efivarfs rw
"""

SYSCTLS = {
    "dev.tty.ldisc_autoload": "0", "fs.protected_fifos": "2", "fs.protected_hardlinks": "1",
    "fs.protected_regular": "2", "fs.protected_symlinks": "1", "fs.suid_dumpable": "0",
    "kernel.core_pattern": "|/bin/false", "kernel.dmesg_restrict": "1", "kernel.io_uring_disabled": "2",
    "kernel.kexec_load_disabled": "1",
    "kernel.kptr_restrict": "2", "kernel.modules_disabled": "1", "kernel.panic_on_oops": "1",
    "kernel.perf_event_paranoid": "3", "kernel.randomize_va_space": "2", "kernel.sysrq": "0",
    "kernel.unprivileged_bpf_disabled": "1", "kernel.yama.ptrace_scope": "3",
    "net.ipv4.icmp_ignore_bogus_error_responses": "1", "net.ipv4.ip_forward": "0", "net.ipv4.tcp_syncookies": "1",
    "user.max_user_namespaces": "0",
    **{
        f"net.ipv4.conf.{each}.{name}": value
        for each in ("all", "default", "enp1s0", "lo")
        for name, value in {
            "accept_redirects": "0", "accept_source_route": "0", "arp_filter": "1", "forwarding": "0",
            "mc_forwarding": "0", "route_localnet": "0", "rp_filter": "1", "secure_redirects": "0",
            "send_redirects": "0",
        }.items()
    },
    **{
        f"net.ipv6.conf.{each}.{name}": "0"
        for each in ("all", "default", "enp1s0", "lo")
        for name in ("accept_redirects", "accept_source_route", "forwarding", "disable_ipv6")
    },
}  # fmt: skip

UNIT = {
    "Id": "", "LoadState": "loaded", "ActiveState": "active", "SubState": "running", "UnitFileState": "enabled",
    "Type": "notify", "User": "", "DynamicUser": "no", "Group": "passevue", "WatchdogUSec": "1min", "LimitCORE": "0",
    "LimitCORESoft": "0", "ProtectProc": "invisible", "MainPID": "400", "NoNewPrivileges": "yes",
}  # fmt: skip
ZONES = ("intake", "national", "page", "host")


def unit(name: str, **properties: str) -> str:
    return "".join(f"{key}={value}\n" for key, value in {**UNIT, "Id": name, **properties}.items())


def units(*more: str) -> str:
    zones = [unit(f"passevue-{zone}.service", User=f"passevue-{zone}") for zone in ZONES]
    facts_unit = unit("passevue-facts.service", Type="oneshot", ActiveState="inactive", WatchdogUSec="0")
    getty = unit("getty@tty1.service", LoadState="masked", ActiveState="inactive", Type="", WatchdogUSec="0")
    other = unit(
        "chrony.service", User="", Type="forking", WatchdogUSec="0", LimitCORE="infinity", ProtectProc="default"
    )
    return "\n".join([*zones, facts_unit, getty, other, *more])


ENABLED = ("passevue.target", "passevue-host.service", "nftables.service", "chrony.service")
LISTENERS = (
    {"proto": "tcp", "port": 2575, "address": "*", "unit": "passevue-intake.service"},
    {"proto": "tcp", "port": 11112, "address": "*", "unit": "passevue-intake.service"},
    {"proto": "tcp", "port": 443, "address": "*", "unit": "passevue-page.service"},
    {"proto": "udp", "port": 53, "address": "loopback", "unit": "systemd-resolved.service"},
    {"proto": "udp", "port": 68, "address": "*", "unit": "systemd-networkd.service"},
)
SOCKETS = [
    {"proto": "tcp", "address": "::", "port": 2575, "units": ["init.scope", "passevue-intake.service"]},
    {"proto": "tcp", "address": "::", "port": 11112, "units": ["init.scope", "passevue-intake.service"]},
    {"proto": "tcp", "address": "::", "port": 443, "units": ["init.scope", "passevue-page.service"]},
    {"proto": "udp", "address": "127.0.0.53", "port": 53, "units": ["systemd-resolved.service"]},
    {"proto": "udp", "address": "192.168.10.2", "port": 68, "units": ["systemd-networkd.service"]},
]
PROFILES = tuple(f"passevue-{zone}" for zone in ZONES)
DISK = {
    "smart_status": {"passed": True},
    "nvme_smart_health_information_log": {"critical_warning": 0, "media_errors": 0, "percentage_used": 3},
}


def healthy() -> dict[str, str]:
    """Every fact of a box on which nothing is wrong."""
    crypt = "var: 0 60000000 crypt aes-xts-plain64 :64:logon:cryptsetup:5f0c-d0 0 252:6 32768 1 allow_discards\n"
    salt = "5a" * 32
    verity = (
        f"root: 0 540000 verity 1 252:2 252:3 4096 4096 67500 1 sha256 {ROOT_HASH} {salt} 1 restart_on_corruption\n"
    )
    return {
        "cmdline": f"roothash={ROOT_HASH} {SIGNED_WORDS}\n",
        "secure_boot": variable(1),
        "setup_mode": variable(0),
        "boot_keys": base64.b64encode(b"\x27\0\0\0" + signature_list(OWN_KEY)).decode(),
        "stub": base64.b64encode(b"\x06\0\0\0" + "systemd-stub 257".encode("utf-16-le")).decode(),
        "loader": "# written by the build\ntimeout 0\neditor no\n",
        "mapped": "254:0 root\n254:1 var\n",
        "verity_table": verity,
        "verity_status": "root: 0 540000 verity V -\n",
        "crypt_table": crypt,
        "mounts": MOUNTS,
        "swaps": "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n",
        "lockdown": "none [integrity] confidentiality\n",
        "event_log": base64.b64encode(firmware_log(EVENTS)).decode(),
        "event_log_systemd": f"\x1e{json.dumps(PHASE)}\n",
        "pcrs": "".join(f"{number} {PCRS.get(number, '0' * 64)}\n" for number in range(24)),
        "slots": recorded("slots.json"),
        "slots_empty": "",
        "rollback_index": json.dumps({"attributes": 0x2202_0022, "value": "0000000000000001"}),
        "firmware": json.dumps({"HostSecurityAttributes": [attribute("org.fwupd.hsi.Uefi.SecureBoot", "success")]}),
        "luks": json.dumps(luks.without_secrets(json.loads(recorded("luks_header.json")))),
        "room": f"/var/lib/passevue 65025 {200 << 30} {150 << 30}\n/var/log 65025 {200 << 30} {150 << 30}\n",
        "write_cache": "/sys/block/vda/queue/write_cache: write back\n",
        "disk_health": json.dumps([{"disk": "nvme0n1", "smartctl": DISK}]),
        "sysctls": sysctls(),
        "sysctls_guarded": "net.core.bpf_jit_harden = 2\n",
        "sig_enforce": "Y\n",
        "modules_loaded": "erofs 200000 1 - Live 0x0000000000000000\ndm_verity 40960 1 - Live 0x0000000000000000\n",
        "modules_known": "dep dm_verity erofs usb_storage\nbuiltin ext4 unix\n",
        "modprobe": "# never\ninstall usb-storage /bin/false\ninstall uas /bin/false\n",
        "cpu_flaws": "/sys/devices/system/cpu/vulnerabilities/meltdown: Not affected\n"
        "/sys/devices/system/cpu/vulnerabilities/mds: Mitigation: Clear CPU buffers; SMT disabled\n",
        "iommu_groups": "12\n",
        "apparmor": "Y\n",
        "apparmor_profiles": "".join(f"{name} (enforce)\n" for name in (*PROFILES, "/usr/sbin/chronyd")),
        "confinement": "init.scope unconfined\n"
        + "".join(f"passevue-{zone}.service passevue-{zone} (enforce)\n" for zone in ZONES),
        "coredump": "[Coredump]\nProcessSizeMax=0\nStorage=none\n",
        "accounts": "root:0:locked:/bin/bash\nsync:4:locked:/bin/sync\n"
        + "".join(f"passevue-{zone}:{900 + number}:locked:/usr/sbin/nologin\n" for number, zone in enumerate(ZONES)),
        "data_rights": json.dumps({"files": 412, "unowned": 0, "open_folders": 0, "setuid": 0}),
        "sockets": json.dumps(SOCKETS),
        "units": units(),
        "manager": "RuntimeWatchdogUSec=30s\nWatchdogDevice=/dev/watchdog0\n"
        "WatchdogLastPingTimestamp=Sat 2026-11-21 10:00:01 UTC\n",
        "early_units": "",
        "ctrl_alt_del": "Id=ctrl-alt-del.target\nLoadState=masked\n",
        "rescue": "\n".join(
            f"Id={name}.service\nLoadState=loaded\nExecStart={{ path=/usr/bin/sleep ; argv[]=/usr/bin/sleep 10 }}\n"
            "SuccessAction=reboot-force\n"
            for name in ("emergency", "rescue")
        ),
        "enabled": "".join(f"{name} enabled enabled\n" for name in ENABLED),
        "failed": "",
        "ruleset": recorded("ruleset.json"),
        "ruleset_signed": recorded("ruleset_signed.json"),
        "ruleset_sets": recorded("ruleset_sets.json"),
        "links": "enp1s0 1 - device\nlo 772 - -\n",
        "radios": "",
        "llmnr": "Global: no\nLink 2 (enp1s0): no\n",
        "mdns": "Global: no\nLink 2 (enp1s0): no\n",
        "dns": "Global:\nLink 2 (enp1s0): 192.168.10.1\n",
    }  # fmt: skip


def sysctls(**changed: str | None) -> str:
    """As collected; dots of names as double underscores; None leaves one out."""
    found: dict[str, str | None] = {**SYSCTLS, **{name.replace("__", "."): value for name, value in changed.items()}}
    return "".join(f"{name} = {value}\n" for name, value in sorted(found.items()) if value is not None)


def attribute(name: str, *flags: str, level: int = 1) -> dict[str, Any]:
    return {"AppstreamId": name, "HsiLevel": level, "HsiResult": "enabled", "Flags": list(flags)}


class ABox:
    """A folder that stands for `/`, with its manifest, configuration and facts; change them before `look`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.facts = healthy()
        self.missing: dict[str, str] = {}
        self.manifest: dict[str, Any] = {
            "schema": 1, "version": "1.4.2", "profile": "production", "built_at": "2026-11-01T00:00:00Z",
            "rollback_index": 1,
            "apparmor": list(PROFILES), "boot_keys": [sha256(OWN_KEY).hexdigest()], "cmdline": SIGNED_WORDS,
            "listeners": list(LISTENERS), "setuid": ["/usr/bin/mount"], "units": list(ENABLED), "files": {},
        }  # fmt: skip
        self.site = root / "passevue.toml"
        self.site.write_text(recorded("site.toml"), encoding="utf-8")
        self.file("/proc/sys/kernel/random/boot_id", BOOT_ID + "\n")
        self.file("/proc/uptime", "4000.00 8000.00\n")
        self.file("/run/passevue/facts.json")
        for source in READERS.glob("*.toml"):
            at = self.file(f"/usr/share/passevue/hw/readers/{source.name}", source.read_bytes())
            self.manifest["files"]["/" + str(at.relative_to(root))] = sha256(at.read_bytes()).hexdigest()
        self.file(f"{USB_FOLDER}/usb1/authorized_default", "0\n")

    def file(self, path: str, content: str | bytes = "") -> Path:
        at = self.root / path.lstrip("/")
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_bytes(content.encode() if isinstance(content, str) else content)
        return at

    def plug(
        self, name: str, *interfaces: str, vendor: int = 0x04E6, product: int = 0x5810, firmware: int = 0x0201
    ) -> None:
        """A USB device with these interfaces, class, subclass and protocol in hexadecimal."""
        device = struct.pack("<BBHBBBBHHHBBBB", 18, 1, 0x0200, 0, 0, 0, 8, vendor, product, firmware, 1, 2, 0, 1)
        told = [struct.pack("<BBBBB3sB", 9, 4, 0, 0, 2, bytes.fromhex(each), 0) for each in interfaces]
        self.file(f"{USB_FOLDER}/{name}/descriptors", device + b"".join(told))

    def lack(self, name: str, why: str = "FileNotFoundError: no such file") -> None:
        del self.facts[name]
        self.missing[name] = why

    def machine(self) -> Machine:
        self.file(MANIFEST, json.dumps(self.manifest))
        facts.write(self.root / facts.PLACE.lstrip("/"), Facts(BOOT_ID, 3900.0, self.facts, self.missing))
        return Machine(self.root, now=NOW, config=self.config, config_path=self.site)

    def look(self, rule: Rule) -> Finding:
        """What the rule's own check finds; what it raises is left to the test."""
        assert rule.check is not None
        return rule.check(self.machine())

    def handed(self, texts: Mapping[str, str]) -> Machine:
        """With these facts, handed over as by root, without a file between."""
        collected = Facts(BOOT_ID, 3900.0, texts, self.missing)
        return Machine(self.root, now=NOW, config=self.config, config_path=self.site, collected=collected)

    @cached_property
    def config(self) -> Config:
        return load(self.site, {})


class _Told(dict[str, str]):
    """Facts that note which of them were asked for."""

    def __init__(self, texts: dict[str, str]) -> None:
        super().__init__(texts)
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        return super().__getitem__(name)


GARBAGE = {
    "nothing": "",
    "noise": '\x00\ufffd}{]["\\ \x1b[2J\n' * 9,
    "other JSON": '{"nftables": 7, "slots": {}, "keyslots": [1]}',
    "deep": "[" * 100_000,
    "long": "A" * 300_000,
    "many lines": "a b\n" * 30_000,
    "many equals": "=\n" * 30_000,
    "binary": base64.b64encode(bytes(range(256)) * 8).decode(),
}


def proof_is_there(rule: Rule) -> bool:
    """Whether the test that the rule names is a file of this repository, with that test in it."""
    path, _, name = rule.proof.partition("::")
    file = Path(__file__).parents[3] / path
    return bool(path) and file.is_file() and (not name or f"def {name}(" in file.read_text(encoding="utf-8"))


def assert_fails(rule: Rule, box: ABox, told: str) -> None:
    found = box.look(rule)
    assert found.status is Status.FAIL, found
    assert told in found.observed


def assert_never_fooled(folder: Path, rule: Rule, *, indifferent: Collection[str] = ()) -> None:
    """The rule does not pass on a fact that is garbage or gone, and never takes long; cut, it ends as it may.

    `indifferent` are facts, or `fact: kind of garbage`, that the rule may pass with all the same, for a reason.
    """
    check = rule.check
    assert check is not None
    box = ABox(folder)
    box.file(MANIFEST, json.dumps(box.manifest))
    whole = _Told(box.facts)
    check(box.handed(whole))
    for fact in sorted(whole.asked):
        cut = {f"cut at {share}": box.facts[fact][: int(len(box.facts[fact]) * share)] for share in (0.25, 0.5, 0.9)}
        for kind, text in {**GARBAGE, **cut}.items():
            began, status = time.monotonic(), None
            with contextlib.suppress(Exception):  # the engine makes `unknown` of whatever a check raises
                status = check(box.handed({**box.facts, fact: text})).status
            assert time.monotonic() - began < 5, f"{rule.id} takes long over {fact}: {kind}"
            if kind in GARBAGE and not {fact, f"{fact}: {kind}"} & set(indifferent):
                assert status is not Status.PASS, f"{rule.id} passes on {fact}: {kind}"
        if fact not in indifferent:
            with contextlib.suppress(BoxError, Unmeasurable):
                found = check(box.handed({name: text for name, text in box.facts.items() if name != fact}))
                assert found.status is not Status.PASS, f"{rule.id} passes without {fact}"
