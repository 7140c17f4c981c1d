"""Application, secrets, updates: APP, SECR, UPD."""

import hashlib
import json
from datetime import timedelta
from pathlib import Path

import pytest

from passevue.baseline.heartbeat import Heartbeat, write_heartbeat
from passevue.baseline.machine import Unmeasurable
from passevue.baseline.reading.rauc import formats, version
from passevue.baseline.rule import Effect, Status
from passevue.baseline.rules import CATALOGUE
from passevue.baseline.rules.baseline_alive import RULE as BASELINE_ALIVE
from passevue.baseline.rules.config_sane import RULE as CONFIG_SANE
from passevue.baseline.rules.credentials_only import RULE as CREDENTIALS_ONLY
from passevue.baseline.rules.known_flaws import RULE as KNOWN_FLAWS
from passevue.baseline.rules.no_way_back import RULE as NO_WAY_BACK
from passevue.baseline.rules.release_build import RULE as RELEASE_BUILD
from passevue.baseline.rules.release_key_only import RULE as RELEASE_KEY_ONLY
from passevue.baseline.rules.sbom_and_support_end import RULE as SBOM_AND_SUPPORT_END
from passevue.baseline.rules.update_freshness import RULE as UPDATE_FRESHNESS
from passevue.baseline.rules.verity_bundles_only import RULE as VERITY_BUNDLES_ONLY
from passevue.config_example import example
from tests.peers.pki import Pki
from tests.unit.baseline.machines import BOOT_ID, NOW, SITE, Recorded, look, status

SYSTEM_CONF = "/etc/rauc/system.conf"
CONF = """
[system]
compatible=passevue-x86-64
bundle-formats=verity
min-bundle-version=1.0.0

[keyring]
path=/usr/share/passevue/rauc-ca.pem
check-crl=true
check-purpose=codesign-rauc
allowed-signer-cns=Passevue release
"""
RING = b"the release authority"


@pytest.fixture
def box(tmp_path: Path, pki: Pki) -> Recorded:
    made = Recorded(tmp_path)
    made.manifest()
    made.configured()
    made.file(f"{SITE}/authority.pem", pki.authority.read_bytes())
    return made


# --- APP-01 ----------------------------------------------------------------------------------------------------------


def beat(
    box: Recorded,
    age_s: float = 30,
    boot_id: str = BOOT_ID,
    rules: int = len(CATALOGUE),
    place: str = "var/lib/passevue/baseline",
) -> None:
    box.manifest(rules=rules)
    folder = box.root / place
    folder.mkdir(parents=True, exist_ok=True)
    write_heartbeat(folder, Heartbeat(boot_id, 4000.0 - age_s))


def test_an_engine_that_goes_round_passes(box: Recorded) -> None:
    beat(box)
    assert status(BASELINE_ALIVE, box.machine()) is Status.PASS


def test_an_engine_that_is_dead_of_another_boot_or_without_all_rules_fails(box: Recorded) -> None:
    for wrong in ({"age_s": 1800.0}, {"age_s": -10.0}, {"boot_id": "another"}, {"rules": 91}):
        beat(box, **wrong)  # type: ignore[arg-type]
        assert status(BASELINE_ALIVE, box.machine()) is Status.FAIL, wrong


def test_on_the_appliance_its_round_is_told_in_memory(box: Recorded) -> None:
    beat(box, age_s=3000)
    beat(box, place="run/passevue-baseline")
    assert status(BASELINE_ALIVE, box.machine()) is Status.PASS


def test_no_engine_fails(box: Recorded) -> None:
    box.manifest(rules=len(CATALOGUE))
    assert status(BASELINE_ALIVE, box.machine()) is Status.FAIL


# --- APP-03 ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def with_file(box: Recorded) -> Recorded:
    box.config_path = box.file(f"{SITE}/passevue.toml", example(), mode=0o640)
    return box


def test_a_sane_configuration_passes_and_is_known_by_its_hash(with_file: Recorded) -> None:
    finding = look(CONFIG_SANE, with_file.machine())
    assert finding.status is Status.PASS
    assert finding.observed == f"valid, SHA-256 {hashlib.sha256(example().encode()).hexdigest()[:16]}"


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o666, 0o740])
def test_a_configuration_that_others_can_read_or_write_fails(with_file: Recorded, mode: int) -> None:
    assert with_file.config_path is not None
    with_file.config_path.chmod(mode)
    finding = look(CONFIG_SANE, with_file.machine())
    assert (finding.status, finding.observed) == (Status.FAIL, f"mode {mode:04o}")


def test_a_laptop_s_configuration_may_be_read(with_file: Recorded) -> None:
    assert with_file.config_path is not None
    (with_file.root / "usr/share/passevue/manifest.json").unlink()
    with_file.config_path.chmod(0o644)
    assert status(CONFIG_SANE, with_file.machine()) is Status.PASS
    with_file.config_path.chmod(0o666)
    assert status(CONFIG_SANE, with_file.machine()) is Status.FAIL


@pytest.mark.parametrize("text", ["[box", "unknown = 1\n", ""])
def test_a_configuration_that_is_wrong_fails(with_file: Recorded, text: str) -> None:
    with_file.file(f"{SITE}/passevue.toml", text, mode=0o640)
    assert status(CONFIG_SANE, with_file.machine()) is Status.FAIL


def test_a_configuration_that_is_gone_fails_and_an_unknown_one_cannot_be_measured(with_file: Recorded) -> None:
    assert with_file.config_path is not None
    with_file.config_path.unlink()
    assert status(CONFIG_SANE, with_file.machine()) is Status.FAIL
    with_file.config_path = None
    with pytest.raises(Unmeasurable):
        look(CONFIG_SANE, with_file.machine())


# --- APP-04 ----------------------------------------------------------------------------------------------------------


def test_a_production_image_passes(box: Recorded) -> None:
    assert status(RELEASE_BUILD, box.machine()) is Status.PASS


def test_a_development_image_never_works_in_production_and_shows_in_the_test_realm(box: Recorded) -> None:
    box.manifest(profile="development")
    assert look(RELEASE_BUILD, box.machine()).effect is Effect.WARN
    box.configured(box={"realm": "production"})
    finding = look(RELEASE_BUILD, box.machine())
    assert (finding.status, finding.effect) == (Status.FAIL, None)


def test_a_test_authority_in_production_fails(box: Recorded) -> None:
    box.configured(box={"realm": "production"})
    finding = look(RELEASE_BUILD, box.machine())
    assert (finding.status, finding.observed) == (Status.FAIL, "a test authority in registry.authority")


def test_a_simulated_reader_fails(box: Recorded) -> None:
    box.file("/usr/lib/pcsc/drivers/serial/libifdvpcd.so")
    assert status(RELEASE_BUILD, box.machine()) is Status.FAIL


# --- SECR-01 ---------------------------------------------------------------------------------------------------------


def test_no_secret_anywhere_passes(with_file: Recorded) -> None:
    with_file.facts["secrets"] = "[]"
    with_file.file("/usr/lib/systemd/system/passevue-page.service", "[Service]\nEnvironment=LC_ALL=C.UTF-8\n")
    assert status(CREDENTIALS_ONLY, with_file.machine()) is Status.PASS


def test_a_secret_of_a_process_a_unit_or_the_configuration_fails(with_file: Recorded) -> None:
    with_file.facts["secrets"] = '["passevue:DB_PASSWORD"]'
    assert "passevue:DB_PASSWORD" in look(CREDENTIALS_ONLY, with_file.machine()).observed
    with_file.facts["secrets"] = "[]"
    unit = with_file.file(
        "/etc/systemd/system/passevue-page.service", "[Service]\nEnvironment=A=1 DB_PASSWORD=hunter2\n"
    )
    finding = look(CREDENTIALS_ONLY, with_file.machine())
    assert finding.status is Status.FAIL
    assert "hunter2" not in finding.observed
    unit.unlink()
    with_file.file(f"{SITE}/passevue.toml", 'a = "x"\nb = "q7Zt0uVb3Xc9Yd2We5Rf8Tg1Hj4Kl6Mn0Pz"\n', mode=0o640)
    finding = look(CREDENTIALS_ONLY, with_file.machine())
    assert (finding.status, finding.observed) == (Status.FAIL, "line 2 of the configuration looks like a key")


@pytest.mark.parametrize(
    "path", ["/etc/systemd/system/chrony.service", "/usr/lib/systemd/system/passevue-.service.d/20-more.conf"]
)
def test_no_unit_of_the_box_brings_a_secret_nor_what_is_added_to_it(with_file: Recorded, path: str) -> None:
    with_file.facts["secrets"] = "[]"
    masked = with_file.root / "etc/systemd/system/getty.service"
    masked.parent.mkdir(parents=True)
    masked.symlink_to("/dev/null")
    (masked.parent / "alias.service").symlink_to("nowhere.service")
    assert status(CREDENTIALS_ONLY, with_file.machine()) is Status.PASS
    with_file.file(path, "[Service]\nEnvironment=API_TOKEN=abc\n")
    assert look(CREDENTIALS_ONLY, with_file.machine()).observed == f"{path} sets API_TOKEN"


@pytest.mark.parametrize(
    "value",
    [
        "q7Zt0uVb3Xc9Yd2We5Rf8Tg1Hj4Kl6Mn0Pz",
        "K7gNU3sdo/OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=",
        "9c" * 32,
        "postgresql://box:hunter2@db.example/queue",
    ],
)
def test_a_random_word_of_the_configuration_is_a_secret(with_file: Recorded, value: str) -> None:
    with_file.facts["secrets"] = "[]"
    with_file.file(f"{SITE}/passevue.toml", f'token = "{value}"\n', mode=0o640)
    assert status(CREDENTIALS_ONLY, with_file.machine()) is Status.FAIL


@pytest.mark.parametrize(
    "value",
    [
        "/var/lib/passevue/config/keys/structure-10B0127189/auth_certificate.pem",
        "keys/structure-10B0127189/CABINET-du-Port/auth_certificate",
        "a80a366d-fcdb-485f-a280-6bb335861ba6",
        "pkcs11:token=passevue;object=auth?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=jeton.pin",
        "1.2.250.1.999.1.1.8121.1.2.250.1.999.1.1.8121",
        "https://dmp.essai.example:8443/si-dmp-server/v2/services",
        "postgresql://box@db.example:5432/queue",
    ],
)
def test_a_long_word_that_somebody_wrote_is_none(with_file: Recorded, value: str) -> None:
    with_file.facts["secrets"] = "[]"
    with_file.file(f"{SITE}/passevue.toml", f'setting = "{value}"\n', mode=0o640)
    assert status(CREDENTIALS_ONLY, with_file.machine()) is Status.PASS


# --- UPD -------------------------------------------------------------------------------------------------------------


def test_verity_bundles_alone_pass(box: Recorded) -> None:
    box.file(SYSTEM_CONF, CONF)
    assert status(VERITY_BUNDLES_ONLY, box.machine()) is Status.PASS


@pytest.mark.parametrize("value", ["plain", "verity plain", "", "-crypt", "+plain"])
def test_plain_bundles_fail(box: Recorded, value: str) -> None:
    box.file(SYSTEM_CONF, CONF.replace("bundle-formats=verity", f"bundle-formats={value}"))
    assert status(VERITY_BUNDLES_ONLY, box.machine()) is Status.FAIL


def test_formats_are_read_as_rauc_reads_them() -> None:
    assert formats("-plain") == {"verity", "crypt"}
    assert formats("verity crypt") == {"verity", "crypt"}
    assert formats("") == {"plain", "verity", "crypt"}


def ring(box: Recorded, conf: str = CONF, rauc: str = "1.15.2-1", **files: str) -> None:
    box.file(SYSTEM_CONF, conf)
    box.file("/usr/share/passevue/rauc-ca.pem", RING)
    digests = {"/usr/share/passevue/rauc-ca.pem": hashlib.sha256(RING).hexdigest(), **files}
    box.manifest(files=digests, packages=[{"name": "rauc", "version": rauc}])


def test_the_release_authority_alone_passes(box: Recorded) -> None:
    ring(box)
    assert status(RELEASE_KEY_ONLY, box.machine()) is Status.PASS


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("check-crl=true", "check-crl=false"),
        ("check-purpose=codesign-rauc", "check-purpose=any"),
        ("allowed-signer-cns=Passevue release", ""),
        ("check-crl=true", "check-crl=true\nuse-bundle-signing-time=true"),
        ("path=/usr/share/passevue/rauc-ca.pem", "path=/var/lib/passevue/other.pem"),
    ],
)
def test_a_weaker_check_of_who_signed_fails(box: Recorded, line: str, instead: str) -> None:
    ring(box, CONF.replace(line, instead))
    assert status(RELEASE_KEY_ONLY, box.machine()) is Status.FAIL


def test_a_rauc_that_knows_no_signers_by_name_needs_none(box: Recorded) -> None:
    ring(box, CONF.replace("allowed-signer-cns=Passevue release", ""), rauc="1.13-3+deb13u1")
    assert status(RELEASE_KEY_ONLY, box.machine()) is Status.PASS


def test_another_authority_in_its_place_fails(box: Recorded) -> None:
    ring(box)
    box.file("/usr/share/passevue/rauc-ca.pem", b"another")
    assert status(RELEASE_KEY_ONLY, box.machine()) is Status.FAIL


def test_a_version_with_a_floor_below_it_passes(box: Recorded) -> None:
    box.file(SYSTEM_CONF, CONF)
    box.facts["rollback_index"] = json.dumps({"attributes": 0x2202_0022, "value": "0000000000000002"})
    box.manifest(security_floor="1.4.0", rollback_index=2)
    assert status(NO_WAY_BACK, box.machine()) is Status.PASS


def test_a_version_below_the_security_floor_blocks(box: Recorded) -> None:
    box.file(SYSTEM_CONF, CONF)
    box.manifest(security_floor="1.10.0")
    finding = look(NO_WAY_BACK, box.machine())
    assert (finding.status, finding.effect) == (Status.FAIL, Effect.BLOCK)


@pytest.mark.parametrize("least", ["", "min-bundle-version=1.4.3"])
def test_no_floor_or_one_above_what_runs_fails(box: Recorded, least: str) -> None:
    box.file(SYSTEM_CONF, CONF.replace("min-bundle-version=1.0.0", least))
    assert status(NO_WAY_BACK, box.machine()) is Status.FAIL


def test_versions_are_numbers() -> None:
    assert version("1.10.0") > version("1.9.9")
    assert version("1.4.2-rc1+g12") == (1, 4, 2)
    assert version("") == ()


def test_without_a_fleet_there_is_nothing_to_be_fresh(box: Recorded) -> None:
    assert status(UPDATE_FRESHNESS, box.machine()) is Status.NOT_APPLICABLE
    assert status(KNOWN_FLAWS, box.machine()) is Status.NOT_APPLICABLE


def materials(box: Recorded, left: timedelta = timedelta(days=400), sbom: bytes = b"{}") -> None:
    box.file("/usr/share/passevue/sbom.cdx.json", b"{}")
    digest = hashlib.sha256(sbom).hexdigest()
    files = {"/usr/share/passevue/sbom.cdx.json": digest}
    box.manifest(files=files, support_end=(NOW + left).date().isoformat())


def test_a_bill_of_materials_and_long_support_pass(box: Recorded) -> None:
    materials(box)
    assert status(SBOM_AND_SUPPORT_END, box.machine()) is Status.PASS


def test_another_bill_of_materials_fails(box: Recorded) -> None:
    materials(box, sbom=b"[]")
    assert status(SBOM_AND_SUPPORT_END, box.machine()) is Status.FAIL


def test_an_end_of_support_that_is_near_fails(box: Recorded) -> None:
    materials(box, timedelta(days=179))
    assert "in 179 days" in look(SBOM_AND_SUPPORT_END, box.machine()).observed
    box.manifest(files=json.loads("{}"))
    assert status(SBOM_AND_SUPPORT_END, box.machine()) is Status.FAIL
