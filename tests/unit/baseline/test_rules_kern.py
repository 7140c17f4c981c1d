"""Kernel: KERN-01 to KERN-09, each on a healthy box, on one that is not, and on garbage."""

import importlib
from pathlib import Path

import pytest

from passevue.baseline.reading.modules import refused
from passevue.baseline.rule import Rule, Status
from passevue.baseline.rules.apparmor_enforced import RULE as APPARMOR_ENFORCED
from passevue.baseline.rules.cpu_flaws import RULE as CPU_FLAWS
from passevue.baseline.rules.iommu_on import RULE as IOMMU_ON
from passevue.baseline.rules.module_denylist import DENIED
from passevue.baseline.rules.module_denylist import RULE as MODULE_DENYLIST
from passevue.baseline.rules.narrow_kernel import RULE as NARROW_KERNEL
from passevue.baseline.rules.no_core_dumps import RULE as NO_CORE_DUMPS
from passevue.baseline.rules.only_signed_modules import RULE as ONLY_SIGNED_MODULES
from passevue.baseline.rules.sysctl_kernel import RULE as SYSCTL_KERNEL
from passevue.baseline.rules.sysctl_net import RULE as SYSCTL_NET
from tests.unit.baseline.a_box import PROFILES, SYSCTLS, ABox, assert_fails, assert_never_fooled, sysctls, unit, units

RULES = (
    SYSCTL_KERNEL,
    SYSCTL_NET,
    ONLY_SIGNED_MODULES,
    MODULE_DENYLIST,
    CPU_FLAWS,
    IOMMU_ON,
    APPARMOR_ENFORCED,
    NARROW_KERNEL,
    NO_CORE_DUMPS,
)
SHIPPED = Path(__file__).parents[3] / "systemd" / "usr" / "lib"
INDIFFERENT = {
    "KERN-04": ("radios: nothing", "modules_known"),  # without the list every module counts as there
    "KERN-09": ("coredump",),  # the kernel already writes to nothing
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.slug)
def test_a_healthy_box_passes(rule: Rule, tmp_path: Path) -> None:
    assert ABox(tmp_path).look(rule).status is Status.PASS


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.slug)
def test_garbage_never_passes(rule: Rule, tmp_path: Path) -> None:
    assert_never_fooled(tmp_path, rule, indifferent=INDIFFERENT.get(rule.id, ()))


@pytest.mark.parametrize("name", ["sysctl_kernel", "narrow_kernel", "sysctl_net"])
def test_each_setting_counts(name: str, tmp_path: Path) -> None:
    rule = {each.slug: each for each in RULES}[name]
    wanted = importlib.import_module(f"passevue.baseline.rules.{name}").WANTED
    for setting in wanted:
        box = ABox(tmp_path)
        box.facts["sysctls"] = sysctls(**{setting.replace(".", "__"): "-1"})
        box.facts["sysctls_guarded"] = box.facts["sysctls_guarded"].replace(" = 2", " = -1")
        assert_fails(rule, box, f"{setting}=-1")


def test_a_kernel_without_kexec_has_no_such_door(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["sysctls"] = sysctls(kernel__kexec_load_disabled=None)
    assert box.look(SYSCTL_KERNEL).status is Status.PASS


def test_a_kernel_without_yama_fails(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["sysctls"] = sysctls(kernel__yama__ptrace_scope=None)
    assert_fails(SYSCTL_KERNEL, box, "kernel.yama.ptrace_scope=absent")


def test_stricter_than_asked_passes(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["sysctls"] = sysctls(kernel__yama__ptrace_scope="3", kernel__perf_event_paranoid="4")
    assert box.look(SYSCTL_KERNEL).status is Status.PASS


def test_a_box_without_ipv6_passes(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["sysctls"] = sysctls(**{name.replace(".", "__"): None for name in SYSCTLS if name.startswith("net.ipv6")})
    assert box.look(SYSCTL_NET).status is Status.PASS


@pytest.mark.parametrize("name", ["sysctl_kernel", "narrow_kernel", "sysctl_net"])
def test_what_the_image_sets_is_what_the_rule_wants(name: str, tmp_path: Path) -> None:
    """systemd/ and the rules are written apart: this keeps them in step."""
    rule = {each.slug: each for each in RULES}[name]
    shipped = {}
    for path in (SHIPPED / "sysctl.d").glob("*.conf"):
        lines = [
            line.split("=", 1) for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")
        ]
        shipped |= {pair[0].strip().lstrip("-"): pair[1].strip() for pair in lines if len(pair) == 2}
    box = ABox(tmp_path)
    box.facts["sysctls"] = "".join(f"{name} = {value}\n" for name, value in shipped.items())
    assert box.look(rule).status is Status.PASS, box.look(rule).observed


@pytest.mark.parametrize("value", ["N", "", "0"])
def test_a_kernel_that_takes_unsigned_modules_fails(value: str, tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["sig_enforce"] = value + "\n"
    assert_fails(ONLY_SIGNED_MODULES, box, f"sig_enforce={value}")


def test_that_loading_is_still_open_is_told_and_no_failure(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["sysctls"] = sysctls(kernel__modules_disabled="0")
    assert box.look(ONLY_SIGNED_MODULES).observed == "sig_enforce=Y modules_disabled=0"


def test_a_loaded_module_of_the_list_fails(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["modules_loaded"] += "usb_storage 81920 0 - Live 0x0000000000000000\n"
    assert_fails(MODULE_DENYLIST, box, "loaded: usb_storage")


def test_a_module_that_is_only_blacklisted_is_loadable(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["modprobe"] = "blacklist usb-storage\n"
    assert_fails(MODULE_DENYLIST, box, "loadable: usb_storage")


def test_an_install_line_taken_back_later_does_not_count(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["modprobe"] += "install usb_storage /sbin/modprobe --ignore-install usb_storage\n"
    assert_fails(MODULE_DENYLIST, box, "loadable: usb_storage")


def test_a_built_in_module_fails(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["modules_known"] = "dep erofs\nbuiltin bluetooth\n"
    assert_fails(MODULE_DENYLIST, box, "built in: bluetooth")


def test_without_the_list_of_modules_each_must_be_refused(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.lack("modules_known")
    assert_fails(MODULE_DENYLIST, box, "loadable: firewire_core")
    box.facts["modprobe"] = "".join(f"install {name} /bin/false\n" for name in DENIED)
    assert box.look(MODULE_DENYLIST).status is Status.PASS


def test_what_the_board_needs_is_allowed(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["modprobe"] = ""
    box.manifest["modules_allowed"] = ["usb-storage"]
    assert box.look(MODULE_DENYLIST).status is Status.PASS


@pytest.mark.parametrize("line", ["wlp2s0 1 wlan device,phy80211", "wwan0 65534 wwan device", "wlan0 1 - wireless"])
def test_a_radio_fails(line: str, tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["links"] += line + "\n"
    assert_fails(MODULE_DENYLIST, box, f"radio: {line.split()[0]}")


def test_a_radio_without_an_interface_fails(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["radios"] = "bluetooth hci0\n"
    assert_fails(MODULE_DENYLIST, box, "bluetooth hci0")


def test_the_modules_that_the_image_shuts_out_are_those_of_the_rule() -> None:
    shipped = "".join(path.read_text(encoding="utf-8") for path in (SHIPPED / "modprobe.d").glob("*.conf"))
    assert set(DENIED) <= refused(shipped)


def test_an_open_flaw_is_named(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["cpu_flaws"] += "/sys/devices/system/cpu/vulnerabilities/retbleed: Vulnerable\n"
    assert_fails(CPU_FLAWS, box, "vulnerable: retbleed")


def test_without_iommu_groups_it_fails(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["iommu_groups"] = "0\n"
    assert_fails(IOMMU_ON, box, "no group")


def test_apparmor_off_fails(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["apparmor"] = "N\n"
    assert_fails(APPARMOR_ENFORCED, box, "off")
    box.lack("apparmor")
    assert_fails(APPARMOR_ENFORCED, box, "off")


@pytest.mark.parametrize("mode", ["complain", "prompt"])
def test_a_profile_that_only_complains_is_named(mode: str, tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["apparmor_profiles"] += f"/usr/bin/some thing ({mode})\n"
    assert_fails(APPARMOR_ENFORCED, box, "/usr/bin/some thing")


def test_a_profile_of_debian_that_only_names_a_program_is_no_harm(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["apparmor_profiles"] += "QtWebEngineProcess (unconfined)\n"
    assert box.look(APPARMOR_ENFORCED).status is Status.PASS
    box.facts["apparmor_profiles"] += "passevue-new (unconfined)\n"
    assert_fails(APPARMOR_ENFORCED, box, "passevue-new")


def test_a_profile_of_the_manifest_that_is_not_loaded_is_named(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.manifest["apparmor"] = [*PROFILES, "passevue-new"]
    assert_fails(APPARMOR_ENFORCED, box, "not loaded: passevue-new")
    box.manifest["apparmor"] = []
    assert_fails(APPARMOR_ENFORCED, box, "the manifest names no profile")


@pytest.mark.parametrize("label", ["unconfined", "passevue-page (complain)"])
def test_a_service_outside_its_profile_is_named(label: str, tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["confinement"] = box.facts["confinement"].replace("passevue-page (enforce)", label)
    assert_fails(APPARMOR_ENFORCED, box, "not confined: passevue-page.service")


@pytest.mark.parametrize("pattern", ["core", "/var/core.%p", "|/usr/share/apport/apport %p", ""])
def test_a_core_that_is_written_fails(pattern: str, tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["sysctls"] = sysctls(kernel__core_pattern=pattern)
    assert_fails(NO_CORE_DUMPS, box, "core_pattern=")


def test_systemd_may_catch_cores_when_it_keeps_none(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["sysctls"] = sysctls(kernel__core_pattern="|/usr/lib/systemd/systemd-coredump %P %u")
    assert box.look(NO_CORE_DUMPS).status is Status.PASS
    box.facts["coredump"] += "Storage=external\n"
    assert_fails(NO_CORE_DUMPS, box, "systemd-coredump")


def test_a_service_with_a_core_limit_is_named(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.facts["units"] = units(unit("passevue-new.service", LimitCORE="infinity"))
    assert_fails(NO_CORE_DUMPS, box, "passevue-new.service")
