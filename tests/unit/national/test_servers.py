"""Servers that the lists speak of: what is written to them, what is kept back, and when it goes again (TLS-04)."""

import asyncio
import shutil
import ssl
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, given
from hypothesis import settings as of_property
from hypothesis import strategies as st

from passevue import config
from passevue.card.cps_signer import CpsSigner
from passevue.card.signer import Signer
from passevue.errors import BoxError, ConfigError, CredentialError, TrustError
from passevue.national.personal import InPerson, PersonalSigner, direct_facts
from passevue.national.psc import Psc
from passevue.national.psc_claims import Situation
from passevue.national.psc_identity import PscIdentity
from passevue.national.registry import Registry
from passevue.national.servers import Servers
from passevue.national.structures import Structures
from passevue.national.vihf import Mode
from tests.clocks import StoppedClock
from tests.peers.ans import Lists
from tests.peers.card import Holder, Profile
from tests.peers.dmp import DmpPeer
from tests.peers.pki import CRL_URL, Pki, StructurePaths
from tests.peers.pki_authority import list_name, write
from tests.peers.pki_persons import Persons
from tests.peers.psc import PscPeer
from tests.peers.tls_listener import TlsListener
from tests.unit.card.only_signs import OnlySigns
from tests.unit.national.submissions import FACTS, STRUCTURE, publication

Settings = Callable[..., config.Registry]
OFF_LOOP = ThreadPoolExecutor(1)  # what blocks, asked for by tests on the loop as well as by others
SUB_CA = "TEST AC IGC-SANTE ELEMENTAIRE ORGANISATIONS"


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


class Kept:
    """The folder of lists of one box, and what lies in it."""

    def __init__(self, pki: Pki, folder: Path, clock: StoppedClock) -> None:
        self.root, self.sub = (Lists(one.certificate, one.key) for one in pki.authorities())
        self.folder, self.clock = folder, clock
        shutil.copytree(pki.lists, folder)
        self.servers = Servers("registry.authority", pki.authority, folder, clock)
        self.servers.load()

    def path(self, lists: Lists) -> Path:
        return self.folder / list_name(lists.authority)

    def put(self, lists: Lists, content: bytes) -> None:
        """Another file in place of that authority's, read at once."""
        write(self.path(lists), content)
        OFF_LOOP.submit(self.servers.look).result()

    def lose(self) -> Servers:
        """A box that starts without the list of the sub-CA."""
        self.path(self.sub).unlink()
        fresh = Servers("registry.authority", self.servers.authority, self.folder, self.clock)
        OFF_LOOP.submit(fresh.load).result()
        return fresh


def speaking(servers: Servers, keys: StructurePaths) -> Structures:
    """The keys of one structure that speaks to these."""
    structures = Structures([config.Structure(**keys.as_config())], servers, "test")
    OFF_LOOP.submit(structures.load).result()
    return structures


@pytest.fixture
def kept(pki: Pki, tmp_path: Path, clock: StoppedClock) -> Kept:
    return Kept(pki, tmp_path / "crl", clock)


@pytest.fixture
def server(pki: Pki) -> x509.Certificate:
    return pki.server("127.0.0.1", ("localhost",)).load()[0]


@pytest.fixture
async def listener(pki: Pki) -> AsyncIterator[TlsListener]:
    async with TlsListener(pki) as listener:
        yield listener


@pytest.fixture
async def asked(
    kept: Kept, keys: StructurePaths, listener: TlsListener, settings: Settings
) -> AsyncIterator[Callable[[], "asyncio.Task[object]"]]:
    """Asks the listener, which never answers, whether a patient has a DMP."""
    structures = speaking(kept.servers, keys)
    url = f"https://127.0.0.1:{listener.port}/services"
    async with Registry(settings(url, timeout_s=20), structures, "1.2.250.1.999.1") as registry:
        yield lambda: asyncio.create_task(registry.patient_status(STRUCTURE, FACTS))


# What keeps it back: an error, and what a person reads of it


def revoked(kept: Kept, server: x509.Certificate) -> None:
    kept.put(kept.sub, kept.sub.make(revoked=[server.serial_number]))


def revoked_by_a_list_that_has_ended(kept: Kept, server: x509.Certificate) -> None:
    kept.put(kept.sub, kept.sub.make(revoked=[server.serial_number]))
    kept.clock.now += timedelta(days=30)


def authority_revoked(kept: Kept, server: x509.Certificate) -> None:
    kept.put(kept.root, kept.root.make(revoked=[kept.sub.authority.serial_number]))


def list_ended(kept: Kept, server: x509.Certificate) -> None:
    now = kept.clock.now
    kept.put(kept.sub, kept.sub.make(this_update=now - timedelta(minutes=4), next_update=now + timedelta(hours=1)))
    kept.clock.now = now + timedelta(hours=1, seconds=1)


def list_of_the_root_ended(kept: Kept, server: x509.Certificate) -> None:
    now = kept.clock.now
    kept.put(kept.root, kept.root.make(this_update=now - timedelta(minutes=4), next_update=now + timedelta(hours=1)))
    kept.clock.now = now + timedelta(hours=1, seconds=1)


def clock_behind(kept: Kept, server: x509.Certificate) -> None:
    kept.clock.now -= timedelta(days=2)


KEPT_BACK = {
    revoked: (TrustError, "revoked", "révoqué"),
    revoked_by_a_list_that_has_ended: (TrustError, "revoked", "révoqué"),
    authority_revoked: (TrustError, "revoked", "révoqué"),
    list_ended: (CredentialError, f"the CRL of {SUB_CA} ended", f"« {SUB_CA} » est périmée depuis le"),
    list_of_the_root_ended: (CredentialError, "RACINE IGC-SANTE ELEMENTAIRE ended", "est périmée depuis le"),
    clock_behind: (CredentialError, "of later than now", "l'horloge du boîtier retarde"),
}


@pytest.mark.parametrize("why", KEPT_BACK)
async def test_no_byte_of_a_request_reaches_a_server_that_is_not_vouched_for(
    kept: Kept,
    server: x509.Certificate,
    listener: TlsListener,
    asked: Callable[[], "asyncio.Task[object]"],
    why: Callable[[Kept, x509.Certificate], None],
) -> None:
    why(kept, server)
    kind, message, hint = KEPT_BACK[why]
    with pytest.raises(BoxError, match=message) as refused:
        await asked()
    assert isinstance(refused.value, kind)
    assert hint in refused.value.hint
    await listener.left(1)
    assert listener.received == b""


async def test_a_server_on_no_list_is_written_to(
    listener: TlsListener, asked: Callable[[], "asyncio.Task[object]"]
) -> None:
    task = asked()
    await listener.reads(b"POST /services/patients")
    task.cancel()


async def test_a_box_without_a_list_writes_nothing_until_it_comes(
    kept: Kept, keys: StructurePaths, dmp: DmpPeer, settings: Settings
) -> None:
    servers = kept.lose()
    structures = speaking(servers, keys)
    async with Registry(settings(dmp.url), structures, "1.2.250.1.999.1") as registry:
        with pytest.raises(CredentialError, match=f"no CRL of {SUB_CA} is held") as refused:
            await registry.patient_status(STRUCTURE, FACTS)
        assert "n'a pas encore été reçue" in refused.value.hint
        assert not dmp.requests
        running = asyncio.create_task(servers.run())
        await asyncio.to_thread(write, kept.path(kept.sub), kept.sub.make())
        async with asyncio.timeout(30):
            while not dmp.requests:
                try:
                    await registry.patient_status(STRUCTURE, FACTS)
                except CredentialError:
                    await asyncio.sleep(0.05)
        running.cancel()


async def test_a_server_that_was_revoked_and_shows_another_certificate_is_spoken_to_again(
    kept: Kept, keys: StructurePaths, dmp: DmpPeer, settings: Settings, server: x509.Certificate, signer: Signer
) -> None:
    """The certificate stays the same here, and leaves the list, as one that was only suspended does."""
    structures = speaking(kept.servers, keys)
    revoked(kept, server)
    async with Registry(settings(dmp.url), structures, "1.2.250.1.999.1") as registry:
        submission = await publication(signer)
        with pytest.raises(TrustError):
            await registry.publish(submission)
        assert (dmp.requests, dmp.committed) == ([], [])
        kept.put(kept.sub, kept.sub.make(this_update=kept.clock.now + timedelta(seconds=1)))
        await registry.publish(submission)
        assert len(dmp.committed) == 1


async def test_a_connection_that_is_kept_open_outlives_no_revocation(
    kept: Kept, keys: StructurePaths, dmp: DmpPeer, settings: Settings, server: x509.Certificate
) -> None:
    structures = speaking(kept.servers, keys)
    async with Registry(settings(dmp.url), structures, "1.2.250.1.999.1") as registry:
        await registry.patient_status(STRUCTURE, FACTS)
        revoked(kept, server)
        for _ in range(2):  # on the open connection, then on a new one
            with pytest.raises(TrustError, match="revoked"):
                await registry.patient_status(STRUCTURE, FACTS)
        assert len(dmp.requests) == 1


async def test_a_list_that_ends_while_a_connection_is_open_ends_it(
    kept: Kept, keys: StructurePaths, dmp: DmpPeer, settings: Settings, server: x509.Certificate
) -> None:
    structures = speaking(kept.servers, keys)
    async with Registry(settings(dmp.url), structures, "1.2.250.1.999.1") as registry:
        await registry.patient_status(STRUCTURE, FACTS)
        kept.clock.now += timedelta(days=30)
        with pytest.raises(CredentialError, match="ended"):
            await registry.patient_status(STRUCTURE, FACTS)
        assert len(dmp.requests) == 1


async def test_a_publication_is_never_in_doubt_for_it(
    kept: Kept, keys: StructurePaths, dmp: DmpPeer, settings: Settings, server: x509.Certificate, signer: Signer
) -> None:
    """Refused on a connection that was open: not sent whole, so the DMP need not be asked what became of it."""
    structures = speaking(kept.servers, keys)
    async with Registry(settings(dmp.url), structures, "1.2.250.1.999.1") as registry:
        await registry.patient_status(STRUCTURE, FACTS)
        revoked(kept, server)
        with pytest.raises(TrustError, match="revoked"):
            await registry.publish(await publication(signer))
        assert not dmp.committed


async def test_a_persons_connection_is_held_to_the_same_lists(
    kept: Kept,
    pki: Pki,
    keys: StructurePaths,
    settings: Settings,
    server: x509.Certificate,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    persons = Persons(tmp_path_factory.mktemp("persons"))
    card = persons.card_keys(Profile(holder=Holder(id_nat=FACTS.name_id)))
    sign, tls = OnlySigns(card.signature), OnlySigns(card.authentication)
    here = Situation(STRUCTURE, "", "SA08", "10", "SM44", "", "RADIOLOGUE", "CAMILLE")
    person = PersonalSigner(FACTS.name_id, Mode.DIRECTE, here, datetime.now(UTC), CpsSigner(sign), tls)
    facts = direct_facts(FACTS, person, 1)
    in_person = InPerson()
    in_person.choose(1, person)
    structures = speaking(kept.servers, keys)
    revoked(kept, server)
    async with (
        DmpPeer(pki, persons=persons) as dmp,
        Registry(settings(dmp.url), structures, "1.2.250.1.999.1", in_person=in_person) as registry,
    ):
        with pytest.raises(TrustError, match="revoked"):
            await registry.patient_status(STRUCTURE, facts)
        assert not dmp.requests


async def test_pro_sante_connect_is_held_to_its_lists(
    kept: Kept, keys: StructurePaths, psc_peer: PscPeer, psc_settings: config.Psc, tmp_path: Path, pki: Pki
) -> None:
    kept.put(kept.sub, kept.sub.make(revoked=[pki.server("127.0.0.1", ("localhost",)).load()[0].serial_number]))
    identity = PscIdentity(keys.auth_certificate, keys.auth_key, kept.servers)
    async with Psc(psc_settings, identity, tmp_path / "psc", retry_waits_s=()) as psc:
        with pytest.raises(TrustError, match="revoked"):
            await psc.begin_code()
        kept.put(kept.sub, kept.sub.make(this_update=kept.clock.now + timedelta(seconds=1)))
        await psc.begin_code()


# What lies on the disk


def test_a_list_of_another_authority_is_not_believed(kept: Kept, server: x509.Certificate) -> None:
    servers = kept.lose()
    write(kept.path(kept.sub), kept.root.make())
    servers.look()
    with pytest.raises(CredentialError, match="no CRL"):
        servers.vouch(_der(server))


def test_a_list_with_a_forged_signature_is_not_believed(kept: Kept, server: x509.Certificate) -> None:
    servers = kept.lose()
    forged = Lists(kept.sub.authority, kept.root.key).make()
    write(kept.path(kept.sub), forged)
    servers.look()
    with pytest.raises(CredentialError, match="no CRL"):
        servers.vouch(_der(server))


@pytest.mark.parametrize("content", [b"", b"\x30\x82", b"<html>Bienvenue</html>"])
def test_what_is_no_list_leaves_the_one_that_is_held(kept: Kept, server: x509.Certificate, content: bytes) -> None:
    revoked(kept, server)
    kept.put(kept.sub, content)
    with pytest.raises(TrustError, match="revoked"):
        kept.servers.vouch(_der(server))


@pytest.mark.parametrize(("place", "speaks"), [(CRL_URL["test"], True), ("http://crl.invalid/another.crl", False)])
def test_a_list_of_other_certificates_of_the_same_authority_vouches_for_none(
    kept: Kept, server: x509.Certificate, place: str, speaks: bool
) -> None:
    """One of several that an authority may have: that the server is not on it says nothing."""
    here = x509.IssuingDistributionPoint(
        [x509.UniformResourceIdentifier(place)], None, False, False, None, False, False
    )
    kept.put(kept.sub, kept.sub.make(extensions=[(here, True)]))
    if speaks:
        kept.servers.vouch(_der(server))
        return
    with pytest.raises(CredentialError, match="no CRL"):
        kept.servers.vouch(_der(server))


def test_an_older_list_does_not_bring_a_revoked_server_back(kept: Kept, server: x509.Certificate) -> None:
    revoked(kept, server)
    kept.put(kept.sub, kept.sub.make(this_update=kept.clock.now - timedelta(days=1)))
    with pytest.raises(TrustError, match="revoked"):
        kept.servers.vouch(_der(server))


def test_a_list_that_is_taken_away_is_held_until_it_ends(kept: Kept, server: x509.Certificate) -> None:
    kept.path(kept.sub).unlink()
    kept.servers.look()
    kept.servers.vouch(_der(server))
    kept.clock.now += timedelta(days=30)
    with pytest.raises(CredentialError, match="ended"):
        kept.servers.vouch(_der(server))


def test_an_authority_that_the_file_lacks_is_asked_for(
    kept: Kept, pki: Pki, server: x509.Certificate, tmp_path: Path
) -> None:
    alone = tmp_path / "root.pem"
    alone.write_bytes((pki.folder / "root.pem").read_bytes())
    servers = Servers("psc.authority", alone, kept.folder)
    servers.load()
    with pytest.raises(CredentialError, match=r"not in psc\.authority") as refused:
        servers.vouch(_der(server))
    assert "« psc.authority »" in refused.value.hint


def test_authorities_that_are_renewed_are_taken_with_their_lists(
    kept: Kept, pki: Pki, server: x509.Certificate, tmp_path: Path
) -> None:
    file = tmp_path / "authority.pem"
    file.write_bytes((pki.folder / "root.pem").read_bytes())
    servers = Servers("registry.authority", file, kept.folder)
    servers.load()
    write(file, pki.authority.read_bytes())
    servers.look()
    servers.vouch(_der(server))


@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN CERTIFICATE-----\n!\n"])
def test_a_file_without_authorities_is_told_at_start(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "authority.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"registry\.authority"):
        Servers("registry.authority", path, tmp_path).load()


@of_property(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_any_bytes_for_a_list_change_nothing(kept: Kept, server: x509.Certificate, content: bytes) -> None:
    kept.put(kept.sub, content)
    kept.servers.vouch(_der(server))


def test_nothing_is_written_before_a_handshake(kept: Kept) -> None:
    near = kept.servers.context().wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="localhost")
    with pytest.raises(ssl.SSLError):
        near.write(b"x")


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)
