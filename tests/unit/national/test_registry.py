"""Registry client and DMP peer together: every transaction, and every fault of reliability § 7, F-18 to F-24."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import pytest

from passevue import config
from passevue.card.signer import Signer
from passevue.errors import CredentialError, Failing, InDoubt, NetworkError, Refused, TrustError
from passevue.national import wire
from passevue.national.outcome import StaleTarget
from passevue.national.registry import Exchange, Registry
from passevue.national.structures import Structures
from passevue.national.xds import EntryStatus, PatientStatus, ReturnType
from passevue.queue.work import Submission
from tests.peers.dmp import PUBLISH, DmpPeer, Fault
from tests.peers.dmp_registry import DELETED, DEPRECATED
from tests.peers.pki import Pki
from tests.unit.national.submissions import FACTS, INS_CX, STRUCTURE, publication, withdrawal

Settings = Callable[..., config.Registry]


@pytest.fixture
async def impatient(dmp: DmpPeer, structures: Structures, settings: Settings) -> AsyncIterator[Registry]:
    """A client that waits half a second."""
    async with Registry(settings(dmp.url, timeout_s=0.5), structures, "1.2.250.1.999.1") as client:
        yield client


async def find(registry: Registry, submission: Submission) -> str | None:
    found = await registry.find(submission.document_unique_id, STRUCTURE, FACTS)
    return found.entry_uuid if found else None


@pytest.mark.parametrize("digest", ["sha1", "sha256"])
async def test_a_publication_is_taken_and_found_again(
    dmp: DmpPeer, structures: Structures, settings: Settings, signer: Signer, digest: str
) -> None:
    async with Registry(settings(dmp.url, digest=digest), structures, "1.2.250.1.999.1") as registry:
        submission = await publication(signer, digest=digest)
        answer = await registry.publish(submission)
        assert answer.status.endswith(":Success")
        assert answer.message_id.startswith("urn:uuid:")
        assert [one.unique_id for one in dmp.committed] == [submission.document_unique_id]
        assert dmp.documents[submission.document_unique_id].content == submission.kos
        assert await find(registry, submission) == dmp.documents[submission.document_unique_id].entry_uuid


async def test_what_was_never_published_is_not_found(registry: Registry) -> None:
    assert await registry.find("1.2.3.4", STRUCTURE, FACTS) is None


async def test_a_replacement_names_the_entry_uuid_found_at_the_try(
    registry: Registry, dmp: DmpPeer, signer: Signer
) -> None:
    old = await publication(signer)
    await registry.publish(old)
    new = await publication(signer, replaces=old.document_unique_id)
    await registry.publish(new, await find(registry, old))
    assert dmp.documents[old.document_unique_id].status == DEPRECATED
    assert list(dmp.visible) == [new.document_unique_id]


async def test_a_replacement_without_its_target_is_never_sent(registry: Registry, dmp: DmpPeer, signer: Signer) -> None:
    with pytest.raises(Refused, match="TargetUnknown"):
        await registry.publish(await publication(signer, replaces="1.2.3"), None)
    assert not dmp.requests


async def test_a_replacement_of_what_was_replaced_meanwhile_is_a_stale_target(
    registry: Registry, signer: Signer
) -> None:
    old = await publication(signer)
    await registry.publish(old)
    target = await find(registry, old)
    await registry.publish(await publication(signer, replaces=old.document_unique_id), target)
    with pytest.raises(StaleTarget, match="XDSRegistryDeprecatedDocumentError"):
        await registry.publish(await publication(signer, replaces=old.document_unique_id), target)


async def test_a_withdrawal_deletes_and_is_then_not_found(registry: Registry, dmp: DmpPeer, signer: Signer) -> None:
    published = await publication(signer)
    await registry.publish(published)
    entry_uuid = await find(registry, published)
    assert entry_uuid
    answer = await registry.withdraw(withdrawal(published), entry_uuid)
    assert answer.status.endswith(":Success")
    assert dmp.documents[published.document_unique_id].status == DELETED
    assert await find(registry, published) is None


async def test_a_withdrawal_with_a_wrong_original_status_is_refused(registry: Registry, signer: Signer) -> None:
    published = await publication(signer)
    await registry.publish(published)
    entry_uuid = await find(registry, published)
    assert entry_uuid
    with pytest.raises(Refused, match="XDSMetadataUpdateError"):
        await registry.withdraw(withdrawal(published), entry_uuid, EntryStatus.ARCHIVED)


async def test_patient_status_tells_open_closed_and_absent(registry: Registry, dmp: DmpPeer) -> None:
    assert await registry.patient_status(STRUCTURE, FACTS) == PatientStatus(True, True, "VALIDE")
    dmp.closed_patients.add(INS_CX)
    assert await registry.patient_status(STRUCTURE, FACTS) == PatientStatus(True, False, "VALIDE")
    dmp.unknown_patients.add(INS_CX)
    assert await registry.patient_status(STRUCTURE, FACTS) == PatientStatus(False, False, "VALIDE")


async def test_full_metadata_are_refused_in_indirecte_mode(registry: Registry, signer: Signer) -> None:
    published = await publication(signer)
    await registry.publish(published)
    with pytest.raises(Refused, match="AccessNotAuthorised"):
        await registry.find(published.document_unique_id, STRUCTURE, FACTS, ReturnType.LEAF_CLASS)


# F-18, F-19, F-21: the DMP has it, its answer is lost or unreadable

LOST_ANSWERS = [
    Fault.COMMIT_THEN_RESET,
    Fault.COMMIT_THEN_500,
    Fault.COMMIT_THEN_BUSY,
    Fault.COMMIT_THEN_TRUNCATED,
    Fault.COMMIT_THEN_WRONG_TYPE,
    Fault.COMMIT_THEN_WRONG_RELATES_TO,
    Fault.COMMIT_THEN_DUPLICATE,
    Fault.COMMIT_THEN_HUGE,
]


@pytest.mark.parametrize("fault", LOST_ANSWERS)
async def test_a_lost_answer_leaves_doubt_and_the_look_up_finds_one_document(
    registry: Registry, dmp: DmpPeer, signer: Signer, fault: Fault
) -> None:
    submission = await publication(signer)
    dmp.fail(fault)
    with pytest.raises(InDoubt):
        await registry.publish(submission)
    assert await find(registry, submission) is not None
    assert [one.unique_id for one in dmp.committed] == [submission.document_unique_id]


@pytest.mark.parametrize("fault", [Fault.COMMIT_THEN_HANG, Fault.COMMIT_THEN_DRIP, Fault.SLOW])
async def test_a_slow_answer_ends_at_the_deadline_in_doubt(
    impatient: Registry, dmp: DmpPeer, signer: Signer, fault: Fault
) -> None:
    dmp.delay_s = 30
    dmp.fail(fault)
    with pytest.raises(InDoubt):
        await impatient.publish(await publication(signer))


async def test_sending_again_what_was_taken_is_in_doubt_and_never_doubled(
    registry: Registry, dmp: DmpPeer, signer: Signer
) -> None:
    submission = await publication(signer)
    await registry.publish(submission)
    with pytest.raises(InDoubt, match="XDSDuplicateUniqueIdInRegistry"):
        await registry.publish(submission)
    assert len(dmp.committed) == 1


async def test_each_try_has_its_own_message_id_and_vihf(registry: Registry, dmp: DmpPeer, signer: Signer) -> None:
    submission = await publication(signer)
    dmp.fail(Fault.REGISTRY_BUSY, times=2)
    for _ in range(2):
        with pytest.raises(NetworkError):
            await registry.publish(submission)
    await registry.publish(submission)
    tries = [one for one in dmp.requests if one.action == PUBLISH]
    assert len({one.message_id for one in tries}) == 3


async def test_success_without_commit_is_believed(registry: Registry, dmp: DmpPeer, signer: Signer) -> None:
    """F-20: the answer is kept as proof; the next replacement finds out."""
    submission = await publication(signer)
    dmp.fail(Fault.SUCCESS_WITHOUT_COMMIT)
    assert (await registry.publish(submission)).status.endswith(":Success")
    assert await find(registry, submission) is None


# F-22: overload


@pytest.mark.parametrize(("fault", "kind"), [(Fault.TOO_MANY, NetworkError), (Fault.BUSY, InDoubt)])
async def test_retry_after_is_handed_on(
    registry: Registry, dmp: DmpPeer, signer: Signer, fault: Fault, kind: type[NetworkError]
) -> None:
    dmp.fault = fault
    with pytest.raises(NetworkError) as raised:
        await registry.publish(await publication(signer))
    assert type(raised.value) is kind
    assert raised.value.retry_after_s == 3600
    assert not dmp.committed


async def test_a_busy_registry_is_tried_again_without_doubt(registry: Registry, dmp: DmpPeer, signer: Signer) -> None:
    dmp.fail(Fault.REGISTRY_BUSY)
    submission = await publication(signer)
    with pytest.raises(NetworkError) as raised:
        await registry.publish(submission)
    assert not isinstance(raised.value, InDoubt)
    await registry.publish(submission)


async def test_a_generic_error_is_told_with_its_code_for_the_queue_to_count(
    registry: Registry, dmp: DmpPeer, signer: Signer
) -> None:
    dmp.fault = Fault.GENERIC
    with pytest.raises(Failing) as raised:
        await registry.publish(await publication(signer))
    assert raised.value.code == "XDSRegistryError"


# F-24: look-up down while publication works, and the reverse


@pytest.mark.parametrize("fault", [Fault.LOOK_UP_DOWN, Fault.LOOK_UP_PORTAL, Fault.LOOK_UP_RESET])
async def test_a_look_up_that_fails_says_nothing_about_the_document(
    registry: Registry, dmp: DmpPeer, signer: Signer, fault: Fault
) -> None:
    submission = await publication(signer)
    await registry.publish(submission)
    dmp.fault = fault
    with pytest.raises(NetworkError) as raised:
        await find(registry, submission)
    assert not isinstance(raised.value, InDoubt)
    await registry.publish(await publication(signer))  # publication goes on
    dmp.fault = None
    assert await find(registry, submission)


@pytest.mark.parametrize("fault", [Fault.CAPTIVE_PORTAL, Fault.REDIRECT, Fault.PARTIAL, Fault.RECEIVER_FAULT])
async def test_what_is_not_an_answer_of_the_dmp_is_never_success(
    registry: Registry, dmp: DmpPeer, signer: Signer, fault: Fault
) -> None:
    dmp.fail(fault)
    submission = await publication(signer)
    with pytest.raises(InDoubt):
        await registry.publish(submission)
    assert await find(registry, submission) is None
    await registry.publish(submission)


async def test_a_warning_is_success_and_kept(registry: Registry, dmp: DmpPeer, signer: Signer) -> None:
    dmp.fail(Fault.WARNING)
    answer = await registry.publish(await publication(signer))
    assert answer.warnings == ("XDSExtraMetadataNotSaved",)


# Not sent whole


async def test_nobody_listening_is_a_network_error_without_doubt(
    registry: Registry, dmp: DmpPeer, signer: Signer
) -> None:
    submission = await publication(signer)
    await dmp.cut()
    with pytest.raises(NetworkError) as raised:
        await registry.publish(submission)
    assert not isinstance(raised.value, InDoubt)
    await dmp.restore()
    await registry.publish(submission)


async def test_a_connection_cut_in_the_middle_of_a_large_request_is_no_doubt(
    registry: Registry, dmp: DmpPeer, signer: Signer
) -> None:
    """The far side stops reading and resets: the last byte was never handed over."""
    dmp.fail(Fault.RESET_AT_ONCE)
    submission = await publication(signer, kos=b"K" * (64 << 20))
    with pytest.raises(NetworkError) as raised:
        await registry.publish(submission)
    assert not isinstance(raised.value, InDoubt)


async def test_a_far_side_that_accepts_and_says_nothing_is_no_doubt(
    structures: Structures, settings: Settings, signer: Signer
) -> None:
    """TCP accepts, TLS never starts: a black hole."""
    with socket.create_server(("127.0.0.1", 0)) as hole:
        url = f"https://127.0.0.1:{hole.getsockname()[1]}"
        async with Registry(settings(url, timeout_s=0.5), structures, "1.2.250.1.999.1") as registry:
            with pytest.raises(NetworkError) as raised:
                await registry.publish(await publication(signer))
    assert not isinstance(raised.value, InDoubt)


async def test_a_name_that_does_not_resolve_is_a_network_error(structures: Structures, settings: Settings) -> None:
    url = "https://dmp.invalid/services"
    async with Registry(settings(url), structures, "1.2.250.1.999.1") as registry:
        with pytest.raises(NetworkError):
            await registry.find("1.2.3", STRUCTURE, FACTS)


# Trust and credentials


async def test_a_server_of_another_authority_gets_nothing(
    structures: Structures, settings: Settings, signer: Signer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = Pki(tmp_path_factory.mktemp("other"))
    async with (
        DmpPeer(other) as stranger,
        Registry(settings(stranger.url), structures, "1.2.250.1.999.1") as registry,
    ):
        with pytest.raises(TrustError):
            await registry.publish(await publication(signer))
        assert not stranger.requests


async def test_a_server_under_another_name_gets_nothing(
    dmp: DmpPeer, structures: Structures, settings: Settings, pki: Pki
) -> None:
    url = dmp.url.replace("127.0.0.1", "127.0.0.2")
    async with DmpPeer(pki, host="127.0.0.2") as elsewhere:
        paths = pki.server("127.0.0.1", ("localhost",))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(paths.certificate, paths.key)
        await elsewhere.stop()
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.2", 0, ssl=context)
        url = f"https://127.0.0.2:{server.sockets[0].getsockname()[1]}"
        async with Registry(settings(url), structures, "1.2.250.1.999.1") as registry:
            with pytest.raises(TrustError):
                await registry.find("1.2.3", STRUCTURE, FACTS)
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    "alert",
    [
        ssl.ALERT_DESCRIPTION_BAD_CERTIFICATE,
        ssl.ALERT_DESCRIPTION_CERTIFICATE_REVOKED,
        ssl.ALERT_DESCRIPTION_CERTIFICATE_EXPIRED,
        None,
    ],
)
async def test_an_alert_about_our_certificate_holds_the_entry(
    registry: Registry, dmp: DmpPeer, signer: Signer, alert: int | None
) -> None:
    await dmp.refuse_certificates(alert)
    with pytest.raises(CredentialError):
        await registry.publish(await publication(signer))
    await dmp.restore()
    await registry.publish(await publication(signer))


@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_wrong_clock_is_a_matter_of_credentials(
    dmp: DmpPeer, structures: Structures, settings: Settings, signer: Signer, hours: int
) -> None:
    def clock() -> datetime:
        return datetime.now(UTC) + timedelta(hours=hours)

    async with Registry(settings(dmp.url), structures, "1.2.250.1.999.1", clock=clock) as registry:
        with pytest.raises(CredentialError, match="VihfClock"):
            await registry.publish(await publication(signer))


async def test_an_unknown_patient_is_refused(registry: Registry, dmp: DmpPeer, signer: Signer) -> None:
    dmp.unknown_patients.add(INS_CX)
    with pytest.raises(Refused) as raised:
        await registry.publish(await publication(signer))
    assert raised.value.code == "XDSUnknownPatientId"
    assert raised.value.hint


async def test_a_structure_that_is_not_ours_is_never_connected(
    registry: Registry, dmp: DmpPeer, signer: Signer
) -> None:
    with pytest.raises(CredentialError):
        await registry.find("1.2.3", "1999999999", FACTS)
    assert not dmp.requests


# What is told, and how much


async def test_every_try_is_told_without_identity(
    registry: Registry, dmp: DmpPeer, signer: Signer, exchanges: list[Exchange]
) -> None:
    submission = await publication(signer)
    dmp.fail(Fault.COMMIT_THEN_RESET)
    with pytest.raises(InDoubt):
        await registry.publish(submission)
    await find(registry, submission)
    assert [(one.transaction, one.result) for one in exchanges] == [("TD2.1a", "InDoubt"), ("TD3.1b", "ok")]
    assert exchanges[0].set_unique_id == submission.set_unique_id
    assert "162018885045327" not in repr(exchanges)


async def test_twenty_at_once_stay_within_the_connections_allowed(
    registry: Registry, dmp: DmpPeer, signer: Signer
) -> None:
    submissions = [await publication(signer) for _ in range(20)]
    await asyncio.gather(*(registry.publish(one) for one in submissions))
    assert {one.unique_id for one in dmp.committed} == {one.document_unique_id for one in submissions}
    assert len(dmp.committed) == 20


def test_the_last_piece_of_a_request_is_one_byte() -> None:
    chunks = (b"a" * 200_000, b"", b"end")
    pieces = list(wire.pieces(chunks))
    assert b"".join(pieces) == b"".join(chunks)
    assert pieces[-1] == b"d"
    assert max(map(len, pieces)) <= 64 << 10
