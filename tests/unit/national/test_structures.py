"""The key store: every import check of igc-sante.md § 6, dates, renewal, alerts."""

import asyncio
import os
import shutil
import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from passevue import config
from passevue.errors import ConfigError, CredentialError
from passevue.national.servers import CIPHERS_OF_TLS_1_2, Servers
from passevue.national.structures import Structures
from tests.peers.pki import Family, Pki, StructurePaths
from tests.peers.trusted import servers_of
from tests.unit.national.submissions import STRUCTURE

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def held(pki: Pki, paths: StructurePaths, realm: str = "test", **more: Any) -> Structures:
    made = Structures([config.Structure(**paths.as_config())], servers_of(pki), realm, **more)
    made.load()
    return made


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("production"), realm="production")


def test_good_keys_open_tls_as_the_dmp_asks(structures: Structures) -> None:
    keys = structures.get(STRUCTURE)
    context = keys.ssl_context
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    old = [one["name"] for one in context.get_ciphers() if one["protocol"] == "TLSv1.2"]
    assert sorted(old) == sorted(CIPHERS_OF_TLS_1_2.split(":"))
    assert {one["subject"][-1][0][1] for one in context.get_ca_certs()} == {
        "TEST AC RACINE IGC-SANTE ELEMENTAIRE",
        "TEST AC IGC-SANTE ELEMENTAIRE ORGANISATIONS",
    }


def test_production_keys_are_taken_in_production(production: Pki) -> None:
    assert held(production, production.structure(STRUCTURE), "production").get(STRUCTURE).id == STRUCTURE


@pytest.mark.parametrize("realm", ["test", "production"])
def test_the_other_realm_is_refused(pki: Pki, production: Pki, realm: str) -> None:
    wrong = pki if realm == "production" else production
    with pytest.raises(ConfigError, match=r"registry\.authority"):
        held(wrong, wrong.structure(STRUCTURE), realm)


def test_both_realms_in_one_file_are_refused(pki: Pki, production: Pki, keys: StructurePaths, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(pki.authority.read_bytes() + production.authority.read_bytes())
    made = Structures([config.Structure(**keys.as_config())], Servers("registry.authority", both, pki.lists), "test")
    with pytest.raises(ConfigError, match="only authorities of the test realm"):
        made.load()


def test_a_certificate_that_says_production_is_refused_in_test(pki: Pki, keys: StructurePaths) -> None:
    leaf = pki.leaf(Family.ORG_SIGN, STRUCTURE, origin=0x03)
    wrong = replace(keys, sign_certificate=leaf.certificate, sign_key=leaf.key)
    with pytest.raises(ConfigError, match=r"structures\.0\.sign_certificate"):
        held(pki, wrong)


def test_the_two_families_are_never_taken_for_each_other(pki: Pki, keys: StructurePaths) -> None:
    swapped = replace(
        keys,
        auth_certificate=keys.sign_certificate,
        auth_key=keys.sign_key,
        sign_certificate=keys.auth_certificate,
        sign_key=keys.auth_key,
    )
    with pytest.raises(ConfigError, match=r"structures\.0\.auth_certificate"):
        held(pki, swapped)
    server = pki.server("127.0.0.1")
    with pytest.raises(ConfigError, match="SSL_SERV"):
        held(pki, replace(keys, auth_certificate=server.certificate, auth_key=server.key))


def test_another_structures_certificate_is_refused(pki: Pki, keys: StructurePaths) -> None:
    with pytest.raises(ConfigError, match="expected OU"):
        held(pki, replace(keys, id="1999999999"))
    other = pki.structure("1888888888")
    with pytest.raises(ConfigError, match="expected OU"):
        held(pki, replace(keys, sign_certificate=other.sign_certificate, sign_key=other.sign_key))


def test_a_certificate_of_another_authority_is_refused(
    pki: Pki, keys: StructurePaths, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = Pki(tmp_path_factory.mktemp("other"))
    with pytest.raises(ConfigError, match="no authority of the store"):
        held(pki, other.structure(STRUCTURE))


def test_a_key_that_does_not_match_is_refused(pki: Pki, keys: StructurePaths) -> None:
    with pytest.raises(ConfigError, match=r"structures\.0\.sign_key"):
        held(pki, replace(keys, sign_key=keys.auth_key))


@pytest.mark.parametrize("name", ["auth_certificate", "auth_key", "sign_certificate", "sign_key"])
@pytest.mark.parametrize("content", [None, b"", b"not a key", b"x" * (2 << 20)])
def test_a_missing_or_damaged_file_is_named(
    pki: Pki, keys: StructurePaths, tmp_path: Path, name: str, content: bytes | None
) -> None:
    path = tmp_path / "file.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"structures\.0\."):
        held(pki, replace(keys, **{name: path}))


def test_the_same_structure_twice_is_refused(pki: Pki, keys: StructurePaths) -> None:
    one = config.Structure(**keys.as_config())
    with pytest.raises(ConfigError, match="twice"):
        Structures([one, one], servers_of(pki), "test").load()


def test_relative_keys_are_looked_for_among_the_credentials(pki: Pki, keys: StructurePaths) -> None:
    relative = replace(keys, auth_key=Path(keys.auth_key.name), sign_key=Path(keys.sign_key.name))
    assert held(pki, relative, credentials_dir=pki.folder).get(STRUCTURE)


@pytest.mark.parametrize("family", [Family.ORG_AUTH_CLI, Family.ORG_SIGN])
def test_an_expired_certificate_holds_entries_and_does_not_stop_the_box(
    pki: Pki, keys: StructurePaths, family: Family
) -> None:
    leaf = pki.leaf(family, STRUCTURE, not_after=LONG_AGO)
    role = "auth" if family is Family.ORG_AUTH_CLI else "sign"
    made = held(pki, replace(keys, **{f"{role}_certificate": leaf.certificate, f"{role}_key": leaf.key}))
    with pytest.raises(CredentialError, match="ended on 2026-01-01") as raised:
        made.get(STRUCTURE)
    assert "expiré" in raised.value.hint
    assert [one.level for one in made.states() if one.role == ("AUTH_CLI" if role == "auth" else "SIGN")] == [0]


def test_the_private_key_usage_period_holds_before_the_certificate_ends(pki: Pki, keys: StructurePaths) -> None:
    leaf = pki.leaf(Family.ORG_SIGN, STRUCTURE, key_usage_until=datetime.now(UTC) - timedelta(minutes=5))
    with pytest.raises(CredentialError, match="ORG SIGN certificate ended"):
        held(pki, replace(keys, sign_certificate=leaf.certificate, sign_key=leaf.key)).get(STRUCTURE)


def test_a_clock_that_is_late_holds_entries(pki: Pki, keys: StructurePaths) -> None:
    made = held(pki, keys, clock=lambda: datetime(2020, 1, 1, tzinfo=UTC))
    with pytest.raises(CredentialError, match="not valid before"):
        made.get(STRUCTURE)


def test_an_unknown_structure_holds_its_entries(structures: Structures) -> None:
    assert "1999999999" not in structures
    with pytest.raises(CredentialError):
        structures.get("1999999999")


@pytest.mark.parametrize(
    ("days", "level"), [(400, None), (90, None), (89, 90), (30, 90), (29, 30), (7, 30), (6, 7), (0, 7), (-1, 0)]
)
def test_alerts_come_at_90_30_and_7_days(pki: Pki, keys: StructurePaths, days: int, level: int | None) -> None:
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=500)
    leaf = pki.leaf(Family.ORG_SIGN, STRUCTURE, not_after=until)
    now = until - timedelta(days=days, minutes=1 if days >= 0 else 0)
    made = held(pki, replace(keys, sign_certificate=leaf.certificate, sign_key=leaf.key), clock=lambda: now)
    assert [one.level for one in made.states() if one.role == "SIGN"] == [level]


async def test_a_renewed_certificate_is_taken_without_a_restart(pki: Pki, keys: StructurePaths, tmp_path: Path) -> None:
    files = replace(keys, sign_certificate=tmp_path / "s.pem", sign_key=tmp_path / "s.key")
    old, new = (pki.leaf(Family.ORG_SIGN, STRUCTURE, common_name=name) for name in ("ancien", "nouveau"))
    shutil.copy(old.certificate, files.sign_certificate)
    shutil.copy(old.key, files.sign_key)
    made = await asyncio.to_thread(held, pki, files)
    before = made.get(STRUCTURE)
    assert not await made.renew()
    assert made.get(STRUCTURE) is before
    shutil.copy(new.certificate, files.sign_certificate)
    assert not await made.renew()  # certificate without its key: half way through a renewal
    assert isinstance(made.problem, ConfigError)
    assert made.get(STRUCTURE) is before
    shutil.copy(new.key, files.sign_key)
    assert await made.renew()
    assert made.problem is None
    assert made.get(STRUCTURE).sign.certificate == new.load()[0]
    assert made.get(STRUCTURE).ssl_context is not before.ssl_context


async def test_one_structure_whose_files_are_wrong_keeps_no_other_from_its_new_ones(
    pki: Pki, keys: StructurePaths, tmp_path: Path
) -> None:
    other = pki.structure("10B0999999")
    wrong = replace(keys, sign_key=tmp_path / "first.key")
    files = replace(other, sign_certificate=tmp_path / "s.pem", sign_key=tmp_path / "s.key")
    old, new = (pki.leaf(Family.ORG_SIGN, other.id, common_name=name) for name in ("ancien", "nouveau"))
    shutil.copy(keys.sign_key, wrong.sign_key)
    shutil.copy(old.certificate, files.sign_certificate)
    shutil.copy(old.key, files.sign_key)
    both = [config.Structure(**one.as_config()) for one in (wrong, files)]
    made = Structures(both, servers_of(pki), "test")
    await asyncio.to_thread(made.load)
    wrong.sign_key.write_text("not a key")
    shutil.copy(new.certificate, files.sign_certificate)
    shutil.copy(new.key, files.sign_key)
    assert not await made.renew()
    assert isinstance(made.problem, ConfigError)
    assert made.problem.key == "structures.0.sign_key"
    assert made.get(other.id).sign.certificate == new.load()[0]
    assert made.get(keys.id)


async def test_keys_that_vanish_leave_the_old_ones_in_use(pki: Pki, keys: StructurePaths, tmp_path: Path) -> None:
    files = replace(keys, sign_key=tmp_path / "s.key")
    shutil.copy(keys.sign_key, files.sign_key)
    made = await asyncio.to_thread(held, pki, files)
    os.unlink(files.sign_key)
    assert not await made.renew()
    assert made.get(STRUCTURE)
    assert made.problem is not None
