"""The takes: how each fact is read, a few lines each. `collect` says when, by whom, and what becomes of it.

A take decides nothing: it gives a file, a program's answer, or a few lines made of several small files. Two are cut
before they leave root's hands: password hashes (`accounts`) and what the LUKS2 header holds besides sizes and kinds
(`luks`).

Which of the three small units runs which, and with what privilege, is in `collect.HANDS`.
"""

import base64
import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from typing import Any, Final

from passevue.baseline import key_scan, secret_scan
from passevue.baseline.facts import MAX_FACT_BYTES
from passevue.baseline.machine import Machine
from passevue.baseline.reading import accounts, links, luks, modules, sockets
from passevue.errors import Unreadable
from passevue.notary.tpm import DEVICE, kept_by

VAR_PARTITION: Final = "/dev/disk/by-partlabel/passevue-var"
RULESET_FILE: Final = "/etc/nftables.conf"
MAX_WALKED: Final = 400_000  # files; a full store has 200,000
EFI: Final = "/sys/firmware/efi/efivars"
GLOBAL_GUID: Final = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
SECURITY_GUID: Final = "d719b2cb-3d3a-4596-a3bc-dad00e67656f"
STUB_GUID: Final = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
BOX_NETWORK: Final = "/proc/1/net"  # whatever network the reader itself is in

UNIT_PROPERTIES: Final = (
    "Id,LoadState,ActiveState,SubState,UnitFileState,Type,User,DynamicUser,Group,WatchdogUSec,LimitCORE,LimitCORESoft,"
    "ProtectProc,MainPID,NoNewPrivileges,FragmentPath"
)

Take = Callable[[Machine], str]


# --- ways to take one ------------------------------------------------------------------------------------------------


def _file(path: str) -> Take:
    return lambda machine: machine.read_text(path, MAX_FACT_BYTES)


def _binary(path: str) -> Take:
    return lambda machine: base64.b64encode(machine.read_bytes(path, MAX_FACT_BYTES)).decode("ascii")


def _program(*argv: str) -> Take:
    return lambda machine: machine.ask(*argv)


def _files(pattern: str) -> Take:
    """`path: first line` of each file."""

    def take(machine: Machine) -> str:
        return "".join(f"{path}: {_first_line(machine, path)}\n" for path in machine.glob(pattern))

    return take


def _first_line(machine: Machine, path: str) -> str:
    return (machine.read_text(path, 65536).splitlines() or [""])[0]


def _contents(*patterns: str) -> Take:
    """The text of every file, one after the other: configuration and its additions, in their order."""

    def take(machine: Machine) -> str:
        return "".join(machine.read_text(path, 65536) + "\n" for each in patterns for path in machine.glob(each))

    return take


# --- boot ------------------------------------------------------------------------------------------------------------


def _pcrs(machine: Machine) -> str:
    folder = "/sys/class/tpm/tpm0/pcr-sha256"
    return "".join(f"{number} {machine.read_text(f'{folder}/{number}').strip().lower()}\n" for number in range(24))


def _userspace_log(machine: Machine) -> str:
    path = "/run/log/systemd/tpm2-measure.log"
    return machine.read_text(path, MAX_FACT_BYTES) if machine.exists(path) else ""


def _loader(machine: Machine) -> str:
    for folder in ("/efi", "/boot", "/boot/efi"):
        if machine.exists(f"{folder}/loader/loader.conf"):
            return machine.read_text(f"{folder}/loader/loader.conf", 65536)
    raise Unreadable("no loader.conf on the ESP")


def _mapped(machine: Machine) -> str:
    blocks = machine.glob("/sys/block/dm-*/dm/name")
    return "".join(
        f"{machine.read_text(path.removesuffix('dm/name') + 'dev').strip()} {machine.read_text(path).strip()}\n"
        for path in blocks
    )


def _slots_empty(machine: Machine) -> str:
    """The partitions of a slot, as udev names them (`root-b`), that are still labelled as the first start made them.
    Of several with one label udev's link shows one, and an installation names them together, last of all."""
    try:
        empty = os.path.realpath(machine.path("/dev/disk/by-partlabel/_empty"), strict=True)
    except FileNotFoundError:
        return ""
    links = machine.glob("/dev/passevue/*-[ab]")
    return "".join(f"{link.rpartition('/')[2]}\n" for link in links if os.path.realpath(machine.path(link)) == empty)


def _early_units(machine: Machine) -> str:
    """Units that were made before any of the image's own was read, by what the firmware or the command line said."""
    folder = "/run/systemd/generator.early"
    return "".join(f"{path.removeprefix(folder + '/')}\n" for path in machine.glob(f"{folder}/*"))


# --- storage ---------------------------------------------------------------------------------------------------------


def _luks(machine: Machine) -> str:
    header = machine.ask_json("cryptsetup", "luksDump", "--disable-locks", "--dump-json-metadata", VAR_PARTITION)
    return json.dumps(luks.without_secrets(header))


def _room(machine: Machine) -> str:
    """`path device total free` of the volumes that fill."""
    lines = []
    for path in (str(machine.data_dir), "/var/log"):
        seen, device = machine.statvfs(path), machine.stat(path).st_dev
        lines.append(f"{path} {device} {seen.f_blocks * seen.f_frsize} {seen.f_bavail * seen.f_frsize}\n")
    return "".join(lines)


def _rollback_index(machine: Machine) -> str:
    return json.dumps(kept_by(machine.path(DEVICE)))


def _disks(machine: Machine) -> list[str]:
    """Real disks, not what is made of them, read only or taken out."""
    names = machine.names("/sys/block")
    return [name for name in names if name.startswith(("sd", "nvme", "vd", "mmcblk")) and "boot" not in name]


def _disk_health(machine: Machine) -> str:
    """smartctl's answer for each disk, as a list; its exit code is in it too (smartctl(8), § EXIT STATUS)."""
    answers = []
    for name in _disks(machine):
        ran = machine.run("smartctl", "-j", "-H", "-A", "-i", f"/dev/{name}", timeout_s=20)
        answers.append({"disk": name, "smartctl": _health_without_serials(json.loads(ran.out))})
    return json.dumps(answers)


def _health_without_serials(tree: Any) -> Any:
    kept = ("smartctl", "smart_support", "smart_status", "nvme_smart_health_information_log", "ata_smart_attributes")
    return {name: tree[name] for name in kept if name in tree}


# --- rights ----------------------------------------------------------------------------------------------------------


def _raises_rights(machine: Machine, path: str, seen: os.stat_result) -> bool:
    if not stat.S_ISREG(seen.st_mode):
        return False
    if seen.st_mode & (stat.S_ISUID | stat.S_ISGID):
        return True
    if not seen.st_mode & 0o111:
        return False
    try:
        return bool(os.getxattr(machine.path(path), "security.capability", follow_symlinks=False))
    except OSError:
        return False


def _data_rights(machine: Machine) -> str:
    """What is wrong with rights on the data volume, as JSON: counts and no names of files."""
    uids = {fields[2] for fields in _colons(machine, "/etc/passwd")}
    gids = {fields[2] for fields in _colons(machine, "/etc/group")}
    counts = {"files": 0, "unowned": 0, "open_folders": 0, "setuid": 0}
    for path, seen in _walk(machine, "/var"):
        counts["files"] += 1
        counts["unowned"] += str(seen.st_uid) not in uids or str(seen.st_gid) not in gids
        folder = stat.S_ISDIR(seen.st_mode)
        counts["open_folders"] += folder and seen.st_mode & 0o1002 == 0o002
        counts["setuid"] += _raises_rights(machine, path, seen)
    return json.dumps(counts)


def _colons(machine: Machine, path: str) -> Iterator[list[str]]:
    return (line.split(":") for line in machine.read_text(path, 65536).splitlines() if line.count(":") >= 3)


def _walk(machine: Machine, top: str) -> Iterator[tuple[str, os.stat_result]]:
    for count, found in enumerate(machine.walk(top)):
        if count == MAX_WALKED:
            raise Unreadable(f"more than {MAX_WALKED} files below {top}")
        yield found


def _accounts(machine: Machine) -> str:
    return accounts.joined(machine.read_text("/etc/passwd", 65536), machine.read_text("/etc/shadow", 65536))


# --- processes, sockets, network -------------------------------------------------------------------------------------


def _processes(machine: Machine) -> Iterator[int]:
    return (int(name) for name in machine.names("/proc") if name.isdigit())


def _confinement(machine: Machine) -> str:
    """`unit label` of every process, each pair once; kernel threads left out."""
    pairs = set()
    for pid in _processes(machine):
        try:
            if not machine.read_bytes(f"/proc/{pid}/cmdline", 1 << 22):
                continue
            label = machine.read_text(f"/proc/{pid}/attr/current", 4096).strip("\0\n ")
            pairs.add(f"{_unit(machine, pid)} {label}")
        except OSError:  # it has ended
            continue
    return "".join(f"{pair}\n" for pair in sorted(pairs))


def _unit(machine: Machine, pid: int) -> str:
    return "init.scope" if pid == 1 else sockets.unit_of(machine.read_text(f"/proc/{pid}/cgroup", 65536))


def _sockets(machine: Machine) -> str:
    holders: dict[int, set[str]] = {}
    for pid in _processes(machine):
        try:
            inodes = list(_socket_inodes(machine, pid))
            for inode in inodes:
                holders.setdefault(inode, set()).add(_unit(machine, pid))
        except OSError:  # it has ended
            continue
    found: list[Any] = []
    for proto in ("tcp", "tcp6", "udp", "udp6"):
        path = f"{BOX_NETWORK}/{proto}"
        if machine.exists(path):  # no IPv6, no file
            found += sockets.to_tree(proto, sockets.read_proc_net(machine.read_text(path), proto), holders)
    return json.dumps(found)


def _socket_inodes(machine: Machine, pid: int) -> Iterator[int]:
    folder = machine.path(f"/proc/{pid}/fd")
    for name in os.listdir(folder):
        try:
            target = os.readlink(folder / name)
        except OSError:  # closed meanwhile
            continue
        if target.startswith("socket:["):
            yield int(target[8:-1])


def _links(machine: Machine) -> str:
    return "".join(f"{_link(machine, name)}\n" for name in machine.names("/sys/class/net") if _is_link(machine, name))


def _is_link(machine: Machine, name: str) -> bool:
    return machine.exists(f"/sys/class/net/{name}/type")  # bonding_masters is a file among them


def _link(machine: Machine, name: str) -> str:
    folder = f"/sys/class/net/{name}"
    uevent = machine.read_text(f"{folder}/uevent", 4096).splitlines()
    kind = next((line.removeprefix("DEVTYPE=") for line in uevent if line.startswith("DEVTYPE=")), "-")
    marks = ",".join(mark for mark in links.MARKS if machine.exists(f"{folder}/{mark}")) or "-"
    return f"{name} {machine.read_text(f'{folder}/type', 64).strip()} {kind} {marks}"


def _radios(machine: Machine) -> str:
    """Radios that have no network interface: `bluetooth hci0`, `ieee80211 phy0`, `rfkill rfkill0`."""
    folders = ("bluetooth", "ieee80211", "wwan")
    present = [folder for folder in folders if machine.exists(f"/sys/class/{folder}")]
    return "".join(f"{folder} {name}\n" for folder in present for name in machine.names(f"/sys/class/{folder}"))


FILLED_BY_RULES: Final = re.compile(r".*_(open|pace)[46]")  # counts of strangers: as long as they like, and of no use


def _configured_sets(machine: Machine) -> str:
    """The sets of the firewall that the configuration fills, with their elements, as one listing."""
    whole = machine.ask_json("nft", "-j", "--terse", "list", "ruleset")["nftables"]
    keys = [(each["set"]["family"], each["set"]["table"], each["set"]["name"]) for each in whole if "set" in each]
    found: list[Any] = []
    for key in keys:
        if not FILLED_BY_RULES.fullmatch(key[2]):
            found += machine.ask_json("nft", "-j", "list", "set", *key)["nftables"]
    return json.dumps({"nftables": found})


def _ruleset_signed(machine: Machine) -> str:
    """What nft makes of the signed file. It is loaded into an empty network and nowhere else: the reader's own where
    it has one, as its unit does; else, by hand, a new one."""
    own, box = (os.readlink(machine.path(f"/proc/{who}/ns/net")) for who in ("self", "1"))
    load = ("nft", "-j", "--echo", "-f", RULESET_FILE)
    return machine.ask(*load) if own != box else machine.ask("unshare", "--net", *load)


# --- kernel ----------------------------------------------------------------------------------------------------------

SYSCTLS_KERNEL: Final = (
    "dev/tty/ldisc_autoload", "dev/tty/legacy_tiocsti", "fs/protected_*", "fs/suid_dumpable", "kernel/core_pattern",
    "kernel/core_uses_pid", "kernel/dmesg_restrict", "kernel/io_uring_disabled", "kernel/kexec_load_disabled",
    "kernel/kptr_restrict", "kernel/modules_disabled", "kernel/panic", "kernel/panic_on_oops",
    "kernel/perf_event_paranoid",
    "kernel/randomize_va_space", "kernel/sysrq", "kernel/unprivileged_bpf_disabled", "kernel/yama/ptrace_scope",
    "user/max_user_namespaces",
)  # fmt: skip
SYSCTLS_NETWORK: Final = (
    "net/ipv4/icmp_ignore_bogus_error_responses", "net/ipv4/ip_forward", "net/ipv4/tcp_syncookies",
    "net/ipv4/conf/*/*", "net/ipv6/conf/*/accept_*", "net/ipv6/conf/*/*forwarding", "net/ipv6/conf/*/disable_ipv6",
)  # fmt: skip
SYSCTL_GUARDED: Final = "net/core/bpf_jit_harden"  # told to who has CAP_SYS_ADMIN, and seen in the box's own network


def _sysctls(*patterns: str) -> Take:
    """`name = value` of what the rules and the manifest look at; slashes as dots, as sysctl(8) does."""

    def take(machine: Machine) -> str:
        paths = [path for each in patterns for path in machine.glob(f"/proc/sys/{each}")]
        lines = []
        for path in sorted(set(paths)):
            try:
                if not machine.stat(path).st_mode & 0o444:  # some can only be written
                    continue
                value = machine.read_text(path, 4096)
            except FileNotFoundError:  # its interface has gone
                continue
            lines.append(_sysctl(path.removeprefix("/proc/sys/"), value))
        return "".join(lines)

    return take


def _sysctl(path: str, value: str) -> str:
    return f"{path.replace('/', '.')} = {' '.join(value.split())}\n"


def _sysctl_guarded(machine: Machine) -> str:
    """Its unit is in a network of its own, where this one is not: systemd opens it and hands it over (`OpenFile=`)."""
    try:
        told = machine.handed("bpf_jit_harden") or machine.read_text(f"/proc/sys/{SYSCTL_GUARDED}", 4096)
    except FileNotFoundError:  # the rule says that it is absent; what the kernel refuses is missing
        return ""
    return _sysctl(SYSCTL_GUARDED, told)


def _modules_known(machine: Machine) -> str:
    """modules.dep's and modules.builtin's names: `dep NAME…`, `builtin NAME…`, of the running kernel."""
    folder = f"/usr/lib/modules/{machine.read_text('/proc/sys/kernel/osrelease', 256).strip()}"
    dep = machine.read_text(f"{folder}/modules.dep", MAX_FACT_BYTES).splitlines()
    builtin = machine.read_text(f"{folder}/modules.builtin", MAX_FACT_BYTES).splitlines()
    return f"dep {' '.join(sorted(modules.names_of(dep)))}\nbuiltin {' '.join(sorted(modules.names_of(builtin)))}\n"


def _iommu_groups(machine: Machine) -> str:
    folder = "/sys/kernel/iommu_groups"
    return f"{len(machine.names(folder)) if machine.exists(folder) else 0}\n"


def _firmware(machine: Machine) -> str:
    return machine.ask("fwupdmgr", "security", "--json", timeout_s=60)


TAKES: Final[dict[str, Take]] = {
    "cmdline": _file("/proc/cmdline"),
    "secure_boot": _binary(f"{EFI}/SecureBoot-{GLOBAL_GUID}"),
    "setup_mode": _binary(f"{EFI}/SetupMode-{GLOBAL_GUID}"),
    "boot_keys": _binary(f"{EFI}/db-{SECURITY_GUID}"),
    "stub": _binary(f"{EFI}/StubInfo-{STUB_GUID}"),
    "loader": _loader,
    "mapped": _mapped,
    "verity_table": _program("dmsetup", "table", "--target", "verity"),
    "verity_status": _program("dmsetup", "status", "--target", "verity"),
    "crypt_table": _program("dmsetup", "table", "--target", "crypt"),
    "mounts": _file("/proc/1/mountinfo"),
    "swaps": _file("/proc/swaps"),
    "lockdown": _file("/sys/kernel/security/lockdown"),
    "event_log": _binary("/sys/kernel/security/tpm0/binary_bios_measurements"),
    "event_log_systemd": _userspace_log,
    "pcrs": _pcrs,
    "slots": _program("rauc", "status", "--output-format=json"),
    "slots_empty": _slots_empty,
    "firmware": _firmware,
    "rollback_index": _rollback_index,
    "luks": _luks,
    "room": _room,
    "write_cache": _files("/sys/block/*/queue/write_cache"),
    "disk_health": _disk_health,
    "sysctls_kernel": _sysctls(*SYSCTLS_KERNEL),
    "sysctls_network": _sysctls(*SYSCTLS_NETWORK),
    "sysctls_guarded": _sysctl_guarded,
    "sig_enforce": _file("/sys/module/module/parameters/sig_enforce"),
    "modules_loaded": _file("/proc/modules"),
    "modules_known": _modules_known,
    "modprobe": _contents("/usr/lib/modprobe.d/*.conf", "/run/modprobe.d/*.conf", "/etc/modprobe.d/*.conf"),
    "cpu_flaws": _files("/sys/devices/system/cpu/vulnerabilities/*"),
    "iommu_groups": _iommu_groups,
    "apparmor": _file("/sys/module/apparmor/parameters/enabled"),
    "apparmor_profiles": _file("/sys/kernel/security/apparmor/profiles"),
    "confinement": _confinement,
    "coredump": _contents("/etc/systemd/coredump.conf", "/usr/lib/systemd/coredump.conf.d/*.conf",
                          "/etc/systemd/coredump.conf.d/*.conf", "/run/systemd/coredump.conf.d/*.conf"),
    "accounts": _accounts,
    "data_rights": _data_rights,
    "sockets": _sockets,
    "units": _program("systemctl", "show", "--all", f"--property={UNIT_PROPERTIES}", "*.service", "*.socket"),
    "manager": _program("systemctl", "show", "--property=RuntimeWatchdogUSec,WatchdogDevice,WatchdogLastPingTimestamp"),
    "ctrl_alt_del": _program("systemctl", "show", "--property=Id,LoadState", "ctrl-alt-del.target"),
    "early_units": _early_units,
    "rescue": _program(
        "systemctl", "show", "--property=Id,LoadState,ExecStart,SuccessAction", "emergency.service", "rescue.service"
    ),
    "enabled": _program("systemctl", "list-unit-files", "--state=enabled,enabled-runtime", "--plain", "--no-legend"),
    "failed": _program("systemctl", "list-units", "--state=failed", "--all", "--plain", "--no-legend"),
    "ruleset": _program("nft", "-j", "--terse", "list", "ruleset"),  # without elements: strangers fill some sets
    "ruleset_sets": _configured_sets,
    "ruleset_signed": _ruleset_signed,
    "links": _links,
    "radios": _radios,
    "llmnr": _program("resolvectl", "llmnr"),
    "mdns": _program("resolvectl", "mdns"),
    "dns": _program("resolvectl", "dns"),
    "chrony_tracking": _program("chronyc", "-c", "tracking"),
    "chrony_sources": _program("chronyc", "-c", "sources"),
    "chrony_authdata": _program("chronyc", "-c", "authdata"),
    "audit_status": _program("auditctl", "-s"),
    "audit_rules": _program("auditctl", "-l"),
    "keys": lambda machine: key_scan.report(machine.root),
    "secrets": lambda machine: secret_scan.report(machine.root),
}  # fmt: skip
