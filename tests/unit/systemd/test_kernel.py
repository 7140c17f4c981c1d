"""Kernel settings against what ANSSI-BP-028 and the baseline ask for, value by value (KERN-01 to KERN-09, LOG-07)."""

import re

import pytest

from tests.unit.systemd.box_root import TREE

SYSCTL = (TREE / "usr/lib/sysctl.d/90-passevue.conf").read_text()
MODPROBE = (TREE / "usr/lib/modprobe.d/passevue.conf").read_text()
PRELOADED = (TREE / "usr/lib/modules-load.d/passevue.conf").read_text()
AUDIT = (TREE / "etc/audit/audit.rules").read_text()

# R9, R11, R12, R13, R14 of ANSSI-BP-028 v2, as the profiles of ComplianceAsCode (Debian 13) give them; `None`: not
# taken, for the reason that the file states.
ANSSI = {
    "fs.protected_fifos": "2",
    "fs.protected_hardlinks": "1",
    "fs.protected_regular": "2",
    "fs.protected_symlinks": "1",
    "fs.suid_dumpable": "0",
    "kernel.dmesg_restrict": "1",
    "kernel.kptr_restrict": "2",
    "kernel.panic_on_oops": "1",
    "kernel.perf_cpu_time_max_percent": "1",
    "kernel.perf_event_max_sample_rate": "1",
    "kernel.perf_event_paranoid": "2",
    "kernel.pid_max": "65536",
    "kernel.randomize_va_space": "2",
    "kernel.sysrq": "0",
    "kernel.unprivileged_bpf_disabled": "1",
    "kernel.yama.ptrace_scope": "1",
    "net.core.bpf_jit_harden": "2",
    "net.ipv4.conf.all.accept_local": "0",
    "net.ipv4.conf.all.accept_redirects": "0",
    "net.ipv4.conf.all.accept_source_route": "0",
    "net.ipv4.conf.all.arp_filter": None,
    "net.ipv4.conf.all.arp_ignore": None,
    "net.ipv4.conf.all.drop_gratuitous_arp": None,
    "net.ipv4.conf.all.route_localnet": "0",
    "net.ipv4.conf.all.rp_filter": "1",
    "net.ipv4.conf.all.secure_redirects": "0",
    "net.ipv4.conf.all.send_redirects": "0",
    "net.ipv4.conf.all.shared_media": "0",
    "net.ipv4.conf.default.accept_redirects": "0",
    "net.ipv4.conf.default.accept_source_route": "0",
    "net.ipv4.conf.default.rp_filter": "1",
    "net.ipv4.conf.default.secure_redirects": "0",
    "net.ipv4.conf.default.send_redirects": "0",
    "net.ipv4.conf.default.shared_media": "0",
    "net.ipv4.icmp_ignore_bogus_error_responses": "1",
    "net.ipv4.ip_forward": "0",
    "net.ipv4.ip_local_port_range": "32768 65535",
    "net.ipv4.tcp_rfc1337": "1",
    "net.ipv4.tcp_syncookies": "1",
    "net.ipv6.conf.all.accept_ra_defrtr": "0",
    "net.ipv6.conf.all.accept_ra_pinfo": "0",
    "net.ipv6.conf.all.accept_ra_rtr_pref": "0",
    "net.ipv6.conf.all.accept_redirects": "0",
    "net.ipv6.conf.all.accept_source_route": "0",
    "net.ipv6.conf.all.autoconf": "0",
    "net.ipv6.conf.all.max_addresses": None,
    "net.ipv6.conf.all.router_solicitations": "0",
    "net.ipv6.conf.default.accept_ra_defrtr": "0",
    "net.ipv6.conf.default.accept_ra_pinfo": "0",
    "net.ipv6.conf.default.accept_ra_rtr_pref": "0",
    "net.ipv6.conf.default.accept_redirects": "0",
    "net.ipv6.conf.default.accept_source_route": "0",
    "net.ipv6.conf.default.autoconf": "0",
    "net.ipv6.conf.default.max_addresses": None,
    "net.ipv6.conf.default.router_solicitations": "0",
    "vm.mmap_min_addr": "65536",
}
# Where the box is stricter than the text.
STRICTER = {"kernel.perf_event_paranoid": "3", "kernel.yama.ptrace_scope": "3"}
# KERN-08 and the rest of the baseline that ANSSI's table does not have.
BASELINE = {
    "dev.tty.ldisc_autoload": "0",
    "kernel.io_uring_disabled": "2",
    "kernel.kexec_load_disabled": "1",
    "net.ipv4.conf.all.arp_filter": "1",
    "net.ipv4.conf.all.forwarding": "0",
    "net.ipv6.conf.all.forwarding": "0",
    "user.max_user_namespaces": "0",
}
DENIED = (
    "usb-storage", "uas", "firewire-core", "thunderbolt", "bluetooth", "cfg80211", "dccp", "sctp", "rds", "tipc", "can",
    "atm", "cramfs", "hfs", "hfsplus", "jffs2", "udf",
)  # fmt: skip


def _values() -> dict[str, str]:
    lines = [line for line in SYSCTL.splitlines() if line and not line.startswith("#")]
    pairs = [tuple(part.strip() for part in line.split("=", 1)) for line in lines]
    assert len(pairs) == len(dict(pairs)), "a key is there twice"
    return dict(pairs)


@pytest.mark.parametrize("key", sorted(ANSSI))
def test_an_anssi_value_is_kept_or_refused_with_its_reason(key: str) -> None:
    wanted = ANSSI[key]
    if wanted is None:
        short = re.sub(r"\.(all|default)\.", ".*.", key)
        reasons = SYSCTL.partition("# --- left out")[2]
        assert key in reasons or short in reasons or key.rpartition(".")[2] in reasons
    else:
        assert _values()[key] == STRICTER.get(key, wanted)


@pytest.mark.parametrize("key", sorted(BASELINE))
def test_a_value_of_the_baseline_is_kept(key: str) -> None:
    assert _values()[key] == BASELINE[key]


def test_a_core_goes_nowhere() -> None:
    assert _values()["kernel.core_pattern"] == "|/bin/false"


@pytest.mark.parametrize("name", DENIED)
def test_a_module_that_has_no_place_here_cannot_be_loaded(name: str) -> None:
    assert f"install {name} /bin/false" in MODPROBE.splitlines()


def test_denied_means_refused_not_just_not_by_itself() -> None:
    for line in MODPROBE.splitlines():
        if line.startswith("blacklist "):
            assert f"install {line.split()[1]} /bin/false" in MODPROBE
        else:
            assert not line or line.startswith("#") or re.fullmatch(r"install [\w-]+ /bin/false", line), line


def test_what_is_needed_after_loading_is_closed_is_loaded_before_and_not_denied() -> None:
    names = {line for line in PRELOADED.splitlines() if line and not line.startswith("#")}
    assert {"dm_verity", "loop", "nbd", "squashfs", "vfat", "nft_connlimit", "nft_ct", "nft_limit"} <= names
    assert not {name for name in names if f"install {name} " in MODPROBE}


def test_audit_rules_end_by_locking_themselves() -> None:
    rules = [line for line in AUDIT.splitlines() if line and not line.startswith("#")]
    assert rules[0] == "-D"
    assert rules[-1] == "-e 2"
    assert rules.count("-e 2") == 1


@pytest.mark.parametrize("key", ["time", "mount", "modules", "identity", "foreign-program", "credentials"])
def test_the_kernel_tells_of_what_the_baseline_names(key: str) -> None:
    assert re.search(rf"(?m)^-(a always,exit|w) .* -k {key}$", AUDIT)


def test_the_audit_rules_lie_where_others_look_for_them_too() -> None:
    assert (TREE / "etc/audit/rules.d/audit.rules").resolve() == TREE / "etc/audit/audit.rules"


def test_audit_can_never_stop_the_box() -> None:
    """A full trail of the kernel is a warning, never a halt (baseline § 5)."""
    assert re.search(r"(?m)^-f [01]$", AUDIT)
    assert re.search(r"(?m)^--backlog_wait_time 0$", AUDIT)
