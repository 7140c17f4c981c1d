"""The catalogue: every rule, in the order of security-baseline.md § 3. One file a rule, its slug the file's name."""

from typing import Final

from passevue.baseline.rule import Rule
from passevue.baseline.rules.anchors_per_endpoint import RULE as CERT_04
from passevue.baseline.rules.apparmor_enforced import RULE as KERN_07
from passevue.baseline.rules.audit_chained import RULE as LOG_03
from passevue.baseline.rules.audit_complete import RULE as LOG_02
from passevue.baseline.rules.audit_writes import RULE as LOG_01
from passevue.baseline.rules.baseline_alive import RULE as APP_01
from passevue.baseline.rules.cabinet_in_clear import RULE as TLS_07
from passevue.baseline.rules.cabinet_peers import RULE as NET_03
from passevue.baseline.rules.cert_validity import RULE as CERT_01
from passevue.baseline.rules.clean_image import RULE as SECR_02
from passevue.baseline.rules.clear_http_list import RULE as TLS_06
from passevue.baseline.rules.client_verifies import RULE as TLS_03
from passevue.baseline.rules.commit_is_on_disk import RULE as STOR_05
from passevue.baseline.rules.config_sane import RULE as APP_03
from passevue.baseline.rules.cpu_flaws import RULE as KERN_05
from passevue.baseline.rules.credentials_only import RULE as SECR_01
from passevue.baseline.rules.data_encrypted import RULE as STOR_01
from passevue.baseline.rules.default_drop import RULE as NET_01
from passevue.baseline.rules.disk_wear import RULE as STOR_06
from passevue.baseline.rules.egress_list import RULE as NET_02
from passevue.baseline.rules.elf_hardening import RULE as SERV_07
from passevue.baseline.rules.erase_works import RULE as STOR_08
from passevue.baseline.rules.file_rights import RULE as ACCT_04
from passevue.baseline.rules.firmware_state import RULE as BOOT_09
from passevue.baseline.rules.health_gate import RULE as UPD_06
from passevue.baseline.rules.identity_matches import RULE as CERT_06
from passevue.baseline.rules.input_bounds import RULE as APP_02
from passevue.baseline.rules.iommu_on import RULE as KERN_06
from passevue.baseline.rules.ipv6_same import RULE as NET_05
from passevue.baseline.rules.kernel_audit import RULE as LOG_07
from passevue.baseline.rules.kernel_lockdown import RULE as BOOT_06
from passevue.baseline.rules.key_bound_to_boot import RULE as STOR_02
from passevue.baseline.rules.keys_not_readable import RULE as CERT_02
from passevue.baseline.rules.known_flaws import RULE as UPD_05
from passevue.baseline.rules.known_peers_only import RULE as NET_08
from passevue.baseline.rules.liste_blanche_fresh import RULE as CERT_05
from passevue.baseline.rules.listeners import RULE as SERV_01
from passevue.baseline.rules.log_export import RULE as LOG_04
from passevue.baseline.rules.measured_boot import RULE as BOOT_07
from passevue.baseline.rules.module_denylist import RULE as KERN_04
from passevue.baseline.rules.mount_options import RULE as STOR_04
from passevue.baseline.rules.name_resolution import RULE as NET_06
from passevue.baseline.rules.narrow_kernel import RULE as KERN_08
from passevue.baseline.rules.no_clear_state import RULE as STOR_03
from passevue.baseline.rules.no_console_way_in import RULE as BOOT_10
from passevue.baseline.rules.no_core_dumps import RULE as KERN_09
from passevue.baseline.rules.no_login import RULE as ACCT_01
from passevue.baseline.rules.no_patient_in_logs import RULE as LOG_06
from passevue.baseline.rules.no_routing import RULE as NET_04
from passevue.baseline.rules.no_shortcuts import RULE as TLS_05
from passevue.baseline.rules.no_way_back import RULE as UPD_03
from passevue.baseline.rules.nothing_shared import RULE as ACCT_02
from passevue.baseline.rules.one_key_one_use import RULE as CERT_03
from passevue.baseline.rules.one_user_per_service import RULE as ACCT_03
from passevue.baseline.rules.only_needed_software import RULE as SERV_04
from passevue.baseline.rules.only_signed_modules import RULE as KERN_03
from passevue.baseline.rules.own_boot_keys import RULE as BOOT_02
from passevue.baseline.rules.page_and_sessions import RULE as ACCT_06
from passevue.baseline.rules.page_inside_only import RULE as NET_07
from passevue.baseline.rules.parsers_apart import RULE as APP_05
from passevue.baseline.rules.pin_and_tokens_never_kept import RULE as CARD_01
from passevue.baseline.rules.release_build import RULE as APP_04
from passevue.baseline.rules.release_key_only import RULE as UPD_02
from passevue.baseline.rules.removal_closes import RULE as CARD_02
from passevue.baseline.rules.resource_bounds import RULE as SERV_06
from passevue.baseline.rules.retention import RULE as LOG_05
from passevue.baseline.rules.revocation_hard_fail import RULE as TLS_04
from passevue.baseline.rules.room_left import RULE as STOR_07
from passevue.baseline.rules.root_read_only import RULE as BOOT_05
from passevue.baseline.rules.sandbox_score import RULE as SERV_03
from passevue.baseline.rules.sbom_and_support_end import RULE as UPD_07
from passevue.baseline.rules.secure_boot import RULE as BOOT_01
from passevue.baseline.rules.signed_cmdline import RULE as BOOT_03
from passevue.baseline.rules.slots_sound import RULE as BOOT_08
from passevue.baseline.rules.suites import RULE as TLS_02
from passevue.baseline.rules.support_session import RULE as ACCT_05
from passevue.baseline.rules.sysctl_kernel import RULE as KERN_01
from passevue.baseline.rules.sysctl_net import RULE as KERN_02
from passevue.baseline.rules.time_floor import RULE as TIME_03
from passevue.baseline.rules.time_sources import RULE as TIME_02
from passevue.baseline.rules.time_synchronised import RULE as TIME_01
from passevue.baseline.rules.units import RULE as SERV_02
from passevue.baseline.rules.update_freshness import RULE as UPD_04
from passevue.baseline.rules.usb_default_deny import RULE as USB_01
from passevue.baseline.rules.usb_hostile import RULE as USB_02
from passevue.baseline.rules.usb_inventory import RULE as USB_03
from passevue.baseline.rules.verity_bundles_only import RULE as UPD_01
from passevue.baseline.rules.verity_root import RULE as BOOT_04
from passevue.baseline.rules.version_floor import RULE as TLS_01
from passevue.baseline.rules.watchdogs import RULE as SERV_05

CATALOGUE: Final[tuple[Rule, ...]] = (
    # 3.1 boot integrity
    BOOT_01,
    BOOT_02,
    BOOT_03,
    BOOT_04,
    BOOT_05,
    BOOT_06,
    BOOT_07,
    BOOT_08,
    BOOT_09,
    BOOT_10,
    # 3.2 storage
    STOR_01,
    STOR_02,
    STOR_03,
    STOR_04,
    STOR_05,
    STOR_06,
    STOR_07,
    STOR_08,
    # 3.3 kernel
    KERN_01,
    KERN_02,
    KERN_03,
    KERN_04,
    KERN_05,
    KERN_06,
    KERN_07,
    KERN_08,
    KERN_09,
    # 3.4 accounts
    ACCT_01,
    ACCT_02,
    ACCT_03,
    ACCT_04,
    ACCT_05,
    ACCT_06,
    # 3.5 services
    SERV_01,
    SERV_02,
    SERV_03,
    SERV_04,
    SERV_05,
    SERV_06,
    SERV_07,
    # 3.6 network
    NET_01,
    NET_02,
    NET_03,
    NET_04,
    NET_05,
    NET_06,
    NET_07,
    NET_08,
    # 3.7 TLS
    TLS_01,
    TLS_02,
    TLS_03,
    TLS_04,
    TLS_05,
    TLS_06,
    TLS_07,
    # 3.8 USB, card, ports
    USB_01,
    USB_02,
    USB_03,
    CARD_01,
    CARD_02,
    # 3.9 time
    TIME_01,
    TIME_02,
    TIME_03,
    # 3.10 logs and audit
    LOG_01,
    LOG_02,
    LOG_03,
    LOG_04,
    LOG_05,
    LOG_06,
    LOG_07,
    # 3.11 certificates
    CERT_01,
    CERT_02,
    CERT_03,
    CERT_04,
    CERT_05,
    CERT_06,
    # 3.12 updates
    UPD_01,
    UPD_02,
    UPD_03,
    UPD_04,
    UPD_05,
    UPD_06,
    UPD_07,
    # 3.13 secrets
    SECR_01,
    SECR_02,
    # 3.14 application
    APP_01,
    APP_02,
    APP_03,
    APP_04,
    APP_05,
)

BY_ID: Final = {rule.id: rule for rule in CATALOGUE}

__all__ = ["BY_ID", "CATALOGUE"]
