import json
import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from passevue.baseline.machine import Unmeasurable
from passevue.baseline.rule import Effect, Status
from passevue.baseline.rules.anchors_per_endpoint import RULE as ANCHORS_PER_ENDPOINT
from passevue.baseline.rules.cert_validity import RULE as CERT_VALIDITY
from passevue.baseline.rules.identity_matches import RULE as IDENTITY_MATCHES
from passevue.baseline.rules.keys_not_readable import RULE as KEYS_NOT_READABLE
from passevue.baseline.rules.liste_blanche_fresh import RULE as LISTE_BLANCHE_FRESH
from passevue.baseline.rules.one_key_one_use import RULE as ONE_KEY_ONE_USE
from tests.peers.pki import Family, KeyPaths, Pki
from tests.unit.baseline.machines import NOW, SITE, Recorded, look, status

STRUCTURE = "10B0127189"


def leaf(pki: Pki, family: Family, struct_id: str = STRUCTURE, days_left: int = 400, **more: Any) -> KeyPaths:
    """A certificate that ends so many days after the moment of these tests."""
    begin = more.pop("not_before", NOW - timedelta(days=300))
    return pki.leaf(family, struct_id, not_before=begin, not_after=NOW + timedelta(days=days_left, hours=1), **more)


class Site:
    """A recorded box with the certificates of a structure where its configuration says."""

    def __init__(self, root: Path, pki: Pki) -> None:
        self.pki = pki
        self.box = Recorded(root)
        self.box.manifest()
        self.box.configured()
        self.put("authority", pki.authority)
        self.put("auth_certificate", leaf(pki, Family.ORG_AUTH_CLI).certificate)
        self.put("sign_certificate", leaf(pki, Family.ORG_SIGN).certificate)

    def put(self, name: str, path: Path) -> None:
        self.box.file(f"{SITE}/{name}.pem", path.read_bytes())


@pytest.fixture
def site(tmp_path: Path, pki: Pki) -> Site:
    return Site(tmp_path, pki)


def test_certificates_with_time_left_pass(site: Site) -> None:
    finding = look(CERT_VALIDITY, site.box.machine())
    assert (finding.status, finding.observed) == (Status.PASS, "2 certificates, 400 days at least")


def test_a_certificate_near_its_end_warns(site: Site) -> None:
    site.put("sign_certificate", leaf(site.pki, Family.ORG_SIGN, days_left=30).certificate)
    finding = look(CERT_VALIDITY, site.box.machine())
    assert (finding.status, finding.effect) == (Status.FAIL, None)
    assert finding.observed == "structures.0.sign_certificate ends in 30 days"


def test_a_certificate_that_has_ended_holds(site: Site) -> None:
    site.put("auth_certificate", leaf(site.pki, Family.ORG_AUTH_CLI, days_left=-1).certificate)
    finding = look(CERT_VALIDITY, site.box.machine())
    assert (finding.status, finding.effect) == (Status.FAIL, Effect.HOLD)


def test_the_end_of_its_private_key_s_usage_counts(site: Site) -> None:
    until: datetime = NOW + timedelta(days=10, hours=1)
    site.put("sign_certificate", leaf(site.pki, Family.ORG_SIGN, key_usage_until=until).certificate)
    assert look(CERT_VALIDITY, site.box.machine()).observed == "structures.0.sign_certificate ends in 10 days"


def test_a_certificate_of_tomorrow_or_of_nothing_holds(site: Site) -> None:
    tomorrow = leaf(site.pki, Family.ORG_SIGN, not_before=NOW + timedelta(days=1))
    site.put("sign_certificate", tomorrow.certificate)
    assert look(CERT_VALIDITY, site.box.machine()).effect is Effect.HOLD
    site.box.file(f"{SITE}/sign_certificate.pem", "no certificate")
    finding = look(CERT_VALIDITY, site.box.machine())
    assert (finding.effect, finding.observed) == (Effect.HOLD, "structures.0.sign_certificate cannot be read")


def test_a_disk_without_a_key_passes(site: Site) -> None:
    site.box.facts["keys"] = json.dumps({"files": 412, "found": []})
    assert status(KEYS_NOT_READABLE, site.box.machine()) is Status.PASS


def test_a_key_on_the_disk_fails_and_is_named_by_its_place(site: Site) -> None:
    site.box.facts["keys"] = json.dumps({"files": 412, "found": ["/var/lib/passevue/left.pem"]})
    finding = look(KEYS_NOT_READABLE, site.box.machine())
    assert (finding.status, finding.observed) == (Status.FAIL, "private key in clear: /var/lib/passevue/left.pem")


def test_each_use_with_its_own_key_passes(site: Site) -> None:
    assert status(ONE_KEY_ONE_USE, site.box.machine()) is Status.PASS


def test_one_key_for_two_uses_fails(site: Site) -> None:
    site.put("sign_certificate", leaf(site.pki, Family.ORG_AUTH_CLI).certificate)
    assert status(ONE_KEY_ONE_USE, site.box.machine()) is Status.FAIL


def test_a_certificate_of_another_family_fails(site: Site) -> None:
    site.put("sign_certificate", leaf(site.pki, Family.ORG_AUTH_CLI, common_name="another").certificate)
    finding = look(ONE_KEY_ONE_USE, site.box.machine())
    assert (finding.status, finding.observed) == (Status.FAIL, "structures.0.sign_certificate is not ORG SIGN")


def test_a_listener_with_the_key_of_a_structure_fails(site: Site) -> None:
    tls = {"certificate": f"{SITE}/auth_certificate.pem", "key": f"{SITE}/auth_key.pem"}
    site.box.configured(page={"tls": tls})
    finding = look(ONE_KEY_ONE_USE, site.box.machine())
    assert finding.observed == "page.tls.certificate has the key of structures.0.auth_certificate"


def test_a_key_of_a_listener_opens_no_call_of_ours(site: Site) -> None:
    """TLS server and TLS client are two uses."""
    tls = {"certificate": f"{SITE}/cabinet.pem", "key": f"{SITE}/cabinet.key"}
    site.put("cabinet", leaf(site.pki, Family.SERV_SSL_SERV).certificate)
    site.box.configured(page={"tls": tls}, ris={"tls": tls})
    assert status(ONE_KEY_ONE_USE, site.box.machine()) is Status.PASS
    site.box.configured(page={"tls": tls}, pacs={"host": "10.0.0.9", "ae_title": "PACS", "tls": tls})
    finding = look(ONE_KEY_ONE_USE, site.box.machine())
    assert finding.observed == "pacs.tls.certificate has the key of page.tls.certificate"


def test_authorities_of_one_realm_pass(site: Site) -> None:
    assert status(ANCHORS_PER_ENDPOINT, site.box.machine()) is Status.PASS


def test_a_leaf_among_authorities_fails(site: Site) -> None:
    site.put("authority", leaf(site.pki, Family.ORG_SIGN).certificate)
    assert status(ANCHORS_PER_ENDPOINT, site.box.machine()) is Status.FAIL


def test_both_realms_at_once_fail(site: Site, tmp_path: Path) -> None:
    production = Pki(tmp_path / "production", "production")
    both = site.pki.authority.read_bytes() + production.authority.read_bytes()
    site.box.file(f"{SITE}/authority.pem", both)
    assert status(ANCHORS_PER_ENDPOINT, site.box.machine()) is Status.FAIL
    shutil.copy(production.authority, site.box.root / f"{SITE}/authority.pem".lstrip("/"))
    assert status(ANCHORS_PER_ENDPOINT, site.box.machine()) is Status.FAIL


def test_the_system_s_own_authorities_fail(site: Site) -> None:
    psc = {"issuer": "https://psc.essai.example", "client_id": "essai", "redirect_url": "https://box.example/psc"}
    site.box.configured(psc=psc)
    assert status(ANCHORS_PER_ENDPOINT, site.box.machine()) is Status.FAIL
    site.box.configured(psc={**psc, "authority": f"{SITE}/authority.pem"})
    assert status(ANCHORS_PER_ENDPOINT, site.box.machine()) is Status.PASS


def test_a_pacs_by_https_is_believed_by_its_own_authority_alone(site: Site) -> None:
    pacs = {"host": "10.0.0.9", "ae_title": "PACS", "dicomweb_url": "https://10.0.0.9/dicom-web"}
    site.box.configured(pacs=pacs)
    assert status(ANCHORS_PER_ENDPOINT, site.box.machine()) is Status.FAIL
    site.box.configured(pacs={**pacs, "authority": f"{SITE}/authority.pem"})
    assert status(ANCHORS_PER_ENDPOINT, site.box.machine()) is Status.PASS
    site.box.configured(pacs={**pacs, "dicomweb_url": "http://10.0.0.9/dicom-web"})  # TLS-07's matter
    assert status(ANCHORS_PER_ENDPOINT, site.box.machine()) is Status.PASS


def test_authorities_that_are_not_there_cannot_be_measured(site: Site) -> None:
    (site.box.root / f"{SITE}/authority.pem".lstrip("/")).unlink()
    with pytest.raises(Unmeasurable):
        look(ANCHORS_PER_ENDPOINT, site.box.machine())


def test_the_liste_blanche_is_not_used_yet(site: Site) -> None:
    assert status(LISTE_BLANCHE_FRESH, site.box.machine()) is Status.NOT_APPLICABLE


def test_the_certificates_of_the_structure_pass(site: Site) -> None:
    assert status(IDENTITY_MATCHES, site.box.machine()) is Status.PASS


def test_the_certificate_of_another_structure_fails(site: Site) -> None:
    site.put("sign_certificate", leaf(site.pki, Family.ORG_SIGN, "10B0999999").certificate)
    finding = look(IDENTITY_MATCHES, site.box.machine())
    assert (finding.status, finding.observed) == (Status.FAIL, "structures.0.sign_certificate is of another structure")


def test_a_missing_certificate_hides_no_wrong_one(site: Site) -> None:
    site.put("sign_certificate", leaf(site.pki, Family.ORG_SIGN, "10B0999999").certificate)
    (site.box.root / f"{SITE}/auth_certificate.pem".lstrip("/")).unlink()
    assert status(IDENTITY_MATCHES, site.box.machine()) is Status.FAIL
    site.put("sign_certificate", leaf(site.pki, Family.ORG_SIGN).certificate)
    with pytest.raises(Unmeasurable):
        look(IDENTITY_MATCHES, site.box.machine())
