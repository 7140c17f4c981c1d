"""The catalogue: every rule, in the order of security-baseline.md § 3. One file a rule, its slug the file's name."""

from typing import Final

from passevue.baseline.rule import Rule
from passevue.baseline.rules.anchors_per_endpoint import RULE as CERT_04
from passevue.baseline.rules.audit_chained import RULE as LOG_03
from passevue.baseline.rules.audit_complete import RULE as LOG_02
from passevue.baseline.rules.audit_writes import RULE as LOG_01
from passevue.baseline.rules.baseline_alive import RULE as APP_01
from passevue.baseline.rules.cabinet_in_clear import RULE as TLS_07
from passevue.baseline.rules.cert_validity import RULE as CERT_01
from passevue.baseline.rules.clean_image import RULE as SECR_02
from passevue.baseline.rules.clear_http_list import RULE as TLS_06
from passevue.baseline.rules.client_verifies import RULE as TLS_03
from passevue.baseline.rules.config_sane import RULE as APP_03
from passevue.baseline.rules.credentials_only import RULE as SECR_01
from passevue.baseline.rules.health_gate import RULE as UPD_06
from passevue.baseline.rules.identity_matches import RULE as CERT_06
from passevue.baseline.rules.input_bounds import RULE as APP_02
from passevue.baseline.rules.kernel_audit import RULE as LOG_07
from passevue.baseline.rules.keys_not_readable import RULE as CERT_02
from passevue.baseline.rules.known_flaws import RULE as UPD_05
from passevue.baseline.rules.liste_blanche_fresh import RULE as CERT_05
from passevue.baseline.rules.log_export import RULE as LOG_04
from passevue.baseline.rules.no_patient_in_logs import RULE as LOG_06
from passevue.baseline.rules.no_shortcuts import RULE as TLS_05
from passevue.baseline.rules.no_way_back import RULE as UPD_03
from passevue.baseline.rules.one_key_one_use import RULE as CERT_03
from passevue.baseline.rules.parsers_apart import RULE as APP_05
from passevue.baseline.rules.release_build import RULE as APP_04
from passevue.baseline.rules.release_key_only import RULE as UPD_02
from passevue.baseline.rules.retention import RULE as LOG_05
from passevue.baseline.rules.revocation_hard_fail import RULE as TLS_04
from passevue.baseline.rules.sbom_and_support_end import RULE as UPD_07
from passevue.baseline.rules.suites import RULE as TLS_02
from passevue.baseline.rules.time_floor import RULE as TIME_03
from passevue.baseline.rules.time_sources import RULE as TIME_02
from passevue.baseline.rules.time_synchronised import RULE as TIME_01
from passevue.baseline.rules.update_freshness import RULE as UPD_04
from passevue.baseline.rules.verity_bundles_only import RULE as UPD_01
from passevue.baseline.rules.version_floor import RULE as TLS_01

CATALOGUE: Final[tuple[Rule, ...]] = (
    # 3.7 TLS
    TLS_01,
    TLS_02,
    TLS_03,
    TLS_04,
    TLS_05,
    TLS_06,
    TLS_07,
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
