"""A structure whose keys never leave their PKCS#11 token: it signs and opens TLS, and entries wait when it is away."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509

from passevue.queue.states import State
from tests.peers import hsm as softhsm
from tests.peers.cabinet import SITE, Cabinet
from tests.peers.dmp import PUBLISH
from tests.peers.pki import Pki
from tests.peers.ris import PAT_TROIS, invented_document_id, invented_exam, invented_person

pytestmark = pytest.mark.skipif(bool(softhsm.missing()), reason=f"not installed: {softhsm.missing()}")


@pytest.fixture(scope="module")
def hsm(tmp_path_factory: pytest.TempPathFactory) -> softhsm.SoftHsm:
    return softhsm.shared(tmp_path_factory.mktemp("hsm"))


@pytest.fixture
async def cabinet(
    tmp_path: Path, pki_folder: Path, hsm: softhsm.SoftHsm, request: pytest.FixtureRequest
) -> AsyncIterator[Cabinet]:
    token = hsm.structure(request.node.name[:32], Pki(pki_folder).structure(SITE.id))
    async with Cabinet(tmp_path / "box", pki_folder, structure=token) as cabinet:
        yield cabinet


def _auth_name(cabinet: Cabinet) -> str:
    certificate = x509.load_pem_x509_certificate(cabinet.pki.structure(SITE.id).auth_certificate.read_bytes())
    return str(certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)


async def test_a_report_is_signed_and_sent_with_the_tokens_keys(cabinet: Cabinet) -> None:
    exam = invented_exam(1)
    cabinet.examine(PAT_TROIS, exam)
    assert (await cabinet.send(cabinet.cda(PAT_TROIS, exam), PAT_TROIS)).code == "AA"
    await cabinet.settled(1)
    assert len(cabinet.dmp.committed) == 1  # the peer has verified VIHF, XAdES and who opened the connection
    spoke = {(one.result, one.mode, one.client) for one in cabinet.dmp.requests}
    assert spoke == {("ok", "INDIRECTE", _auth_name(cabinet))}


async def test_many_reports_go_over_connections_that_the_token_opened_once(cabinet: Cabinet) -> None:
    for number in range(10, 16):
        patient, exam = invented_person(number), invented_exam(number)
        cabinet.examine(patient, exam)
        await cabinet.send(cabinet.cda(patient, exam, document_id=invented_document_id(number)), patient)
    await cabinet.settled(6)
    assert len([one for one in cabinet.dmp.requests if one.action == PUBLISH]) == 6


async def test_a_token_that_is_away_holds_what_comes_and_lets_it_go_once_back(
    cabinet: Cabinet, hsm: softhsm.SoftHsm
) -> None:
    exam = invented_exam(2)
    cabinet.examine(PAT_TROIS, exam)
    hsm.pull()
    try:
        assert (await cabinet.send(cabinet.cda(PAT_TROIS, exam), PAT_TROIS)).code == "AA"  # intake goes on
        await cabinet.until(lambda found: found.by_state[State.HELD] == 1)
        store = cabinet.running.store
        assert store is not None
        (entry,) = await store.entries()
        assert "module de clés" in entry.hint
    finally:
        hsm.put_back()
    await store.release(by="essai")
    await cabinet.settled(1)
    assert len(cabinet.dmp.committed) == 1
