"""A practitioner publishes a report in their own name: their card signs it, and opens the connection to the DMP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from lxml import etree

from passevue import config
from passevue.document.kos import Maker
from passevue.intake.images import Images
from passevue.intake.pacs import open_pacs
from passevue.national.personal import InPerson
from passevue.national.publication import Publication
from passevue.national.registry import Registry
from passevue.national.structures import Structures
from passevue.national.submission import Origin
from passevue.queue.dispatcher import Dispatcher
from passevue.queue.states import State
from tests.peers import invented
from tests.peers.cabinet import QUICK
from tests.peers.card import Kind
from tests.peers.dmp import PUBLISH, DmpPeer, Fault
from tests.peers.dmp_registry import APPROVED
from tests.peers.dmp_signed import DS
from tests.peers.front_desk import DOCTOR, Browser, FrontDesk
from tests.peers.pacs import PacsPeer
from tests.peers.ris import PAT_TROIS, invented_exam
from tests.peers.ris_report import Doctor
from tests.peers.trusted import servers_of

SLOTS = "{urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0}"


class Centre:
    """A front desk whose entries go somewhere: PACS, registry and dispatcher joined as the box joins them."""

    def __init__(self, desk: FrontDesk, dmp: DmpPeer, pacs: PacsPeer) -> None:
        self.desk = desk
        self.dmp = dmp
        self.pacs = pacs

    async def report(self, authenticator: Doctor = DOCTOR, state: State = State.SET_ASIDE) -> int:
        """The number of its entry; its images are in the PACS."""
        exam = invented_exam(self.desk._exams + 1)
        self.pacs.add(*invented.study(exam.study_uid, patient_id=PAT_TROIS.ipp, accession=exam.accession, slices=2))
        return await self.desk.set_aside(authenticator, state)

    async def until(self, number: int, state: State, within_s: float = 15) -> str:
        """The reason of the entry once it is in `state`."""
        deadline = asyncio.get_running_loop().time() + within_s
        while True:
            shown = await self.desk.store.show(number)
            assert shown is not None
            if shown.line.state is state:
                return shown.line.reason
            assert asyncio.get_running_loop().time() < deadline, f"still {shown}"
            await asyncio.sleep(0.02)

    @asynccontextmanager
    async def publishing(self) -> AsyncIterator[None]:
        """The dispatcher runs."""
        settings, desk = self.desk.config, self.desk
        registry_settings = settings.registry.model_copy(update={"url": self.dmp.url, "timeout_s": 5.0})
        structures = Structures(settings.structures, servers_of(desk.pki), "test", None, desk.clock)
        await asyncio.to_thread(structures.load)
        in_person: InPerson = desk.sign_in.in_person
        oid = settings.box.oid
        images = Images(settings.images, desk.folder / "images")
        pacs = open_pacs(config.Pacs(host="127.0.0.1", port=self.pacs.port, ae_title="PACS"), images)
        origin = Origin(Maker("Essai", "https://db.essai.example/wado", "Europe/Paris"), oid, "sha256")
        async with Registry(registry_settings, structures, oid, clock=desk.clock, in_person=in_person) as registry:
            work = Publication(pacs, desk.store.archive, registry, structures, origin, "test", desk.clock, in_person)
            task = asyncio.create_task(Dispatcher(desk.store, work, policy=QUICK).run())
            try:
                yield
            finally:
                task.cancel()
                await asyncio.wait([task])


@pytest.fixture
async def centre(tmp_path: Path) -> AsyncIterator[Centre]:
    async with (
        FrontDesk(tmp_path) as desk,
        DmpPeer(desk.pki, clock=desk.clock, persons=desk.persons) as dmp,
        PacsPeer() as pacs,
    ):
        yield Centre(desk, dmp, pacs)


@pytest.fixture
async def browser(centre: Centre) -> AsyncIterator[Browser]:
    async with centre.desk.browser() as browser:
        yield browser


async def publish(browser: Browser, number: int) -> str:
    await browser.get(f"/entries/{number}")
    return await browser.post(f"/entries/{number}/publish")


def signed_by(dmp: DmpPeer) -> str:
    """CN of the certificate in the XAdES of the one set that the DMP holds, which it verified."""
    (signature,) = [one for one in dmp.documents.values() if one.mime_type != "application/dicom"]
    text = etree.fromstring(signature.content).findtext(f".//{{{DS}}}X509Certificate", "")
    certificate = x509.load_pem_x509_certificate(
        f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n".encode()
    )
    return str(certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)


@pytest.mark.parametrize("kind", [Kind.CPS3, Kind.CPS4])
async def test_what_was_set_aside_goes_in_the_signatorys_name(centre: Centre, browser: Browser, kind: Kind) -> None:
    number = await centre.report()
    async with centre.publishing():
        centre.desk.hand.put_in(centre.desk.card(kind=kind))
        await browser.sign_in_by_card()
        assert "part en votre nom" in await publish(browser, number)
        await centre.until(number, State.SETTLED)
    assert len(centre.dmp.committed) == 1
    spoke = [(one.result, one.mode, one.client) for one in centre.dmp.requests]
    assert spoke == [("ok", "DIRECTE", DOCTOR.id)] * 2  # TD0.2, TD2.1a
    assert signed_by(centre.dmp) == DOCTOR.id
    assert centre.desk.sign_in.in_person.of(number) is None  # one consent, one publication


async def test_the_next_report_goes_in_the_structures_name_again(centre: Centre, browser: Browser) -> None:
    mine = await centre.report()
    async with centre.publishing():
        centre.desk.hand.put_in(centre.desk.card())
        await browser.sign_in_by_card()
        await publish(browser, mine)
        await centre.until(mine, State.SETTLED)
        other = await centre.report(state=State.WAITING)
        await centre.until(other, State.SETTLED)
    assert [one.mode for one in centre.dmp.requests if one.action == PUBLISH] == ["DIRECTE", "INDIRECTE"]


async def test_a_card_pulled_before_the_try_holds_it_until_its_holder_is_back(centre: Centre, browser: Browser) -> None:
    number = await centre.report()
    centre.desk.hand.put_in(centre.desk.card())
    await browser.sign_in_by_card()
    await publish(browser, number)
    centre.desk.hand.pull()
    await browser.until("/me", "Insérez votre carte")
    async with centre.publishing():
        assert await centre.until(number, State.HELD) == "credential"
        assert centre.dmp.requests == []
        centre.desk.hand.put_in(centre.desk.card())
        await browser.sign_in_by_card()
        assert centre.dmp.requests == []  # being there again is not to agree again
        await publish(browser, number)
        await centre.until(number, State.SETTLED)
    assert {one.mode for one in centre.dmp.requests} == {"DIRECTE"}


async def test_a_card_pulled_between_two_tries_holds_what_it_signed(centre: Centre, browser: Browser) -> None:
    number, other = await centre.report(), await centre.report()
    centre.dmp.fail(Fault.BUSY)
    async with centre.publishing():
        centre.desk.hand.put_in(centre.desk.card())
        await browser.sign_in_by_card()
        await publish(browser, number)
        await centre.until(number, State.IN_DOUBT)
        centre.desk.hand.pull()
        assert await centre.until(number, State.HELD) == "credential"
        centre.desk.hand.put_in(centre.desk.card())
        await browser.sign_in_by_card()
        await publish(browser, other)  # a consent to this one is none to that one
        await centre.until(other, State.SETTLED)
        assert await centre.until(number, State.HELD) == "credential"
        await publish(browser, number)
        await centre.until(number, State.SETTLED)
    assert len(centre.dmp.committed) == 2
    assert [one.mode for one in centre.dmp.requests if one.action == PUBLISH and one.mode] == ["DIRECTE"] * 2


async def test_what_was_in_doubt_is_looked_up_without_the_card(centre: Centre, browser: Browser) -> None:
    number = await centre.report()
    centre.dmp.fail(Fault.COMMIT_THEN_HANG)
    async with centre.publishing():
        centre.desk.hand.put_in(centre.desk.card())
        await browser.sign_in_by_card()
        await publish(browser, number)
        while not centre.dmp.committed:  # noqa: ASYNC110 - the peer has no event for it
            await asyncio.sleep(0.02)
        centre.desk.hand.pull()
        await centre.until(number, State.SETTLED)
    assert len(centre.dmp.committed) == 1
    assert [one.mode for one in centre.dmp.requests][-1] == "INDIRECTE"


async def test_letting_it_go_without_ones_name_sends_it_in_the_structures(centre: Centre, browser: Browser) -> None:
    number = await centre.report()
    centre.desk.hand.put_in(centre.desk.card())
    await browser.sign_in_by_card()
    await publish(browser, number)
    centre.desk.hand.pull()
    await browser.until("/me", "Insérez votre carte")
    async with centre.publishing():
        await centre.until(number, State.HELD)
        centre.desk.hand.put_in(centre.desk.card())
        await browser.sign_in_by_card()
        await browser.get(f"/entries/{number}")
        await browser.post(f"/entries/{number}/release")
        await centre.until(number, State.SETTLED)
    assert {(one.mode, one.client) for one in centre.dmp.requests} == {("INDIRECTE", centre.dmp.requests[0].client)}


async def test_what_the_structure_signed_is_not_promised_in_ones_name(centre: Centre, browser: Browser) -> None:
    number = await centre.report(state=State.WAITING)
    await centre.dmp.cut()
    async with centre.publishing():
        await centre.until(number, State.READY)
    centre.desk.hand.put_in(centre.desk.card())
    await browser.sign_in_by_card()
    assert "déjà signée au nom de la structure" in await publish(browser, number)
    assert centre.desk.sign_in.in_person.of(number) is None


async def test_anothers_report_does_not_go_in_ones_name(centre: Centre, browser: Browser) -> None:
    number = await centre.report(Doctor())
    async with centre.publishing():
        centre.desk.hand.put_in(centre.desk.card())
        await browser.sign_in_by_card()
        assert "signé par quelqu’un d’autre" in await publish(browser, number)
        signer = next(iter(centre.desk.sign_in._signers.values()))
        centre.desk.sign_in.in_person.choose(number, signer)  # were the page to let it through
        await centre.desk.store.retry(number, "essai")
        await asyncio.sleep(0.3)
        assert await centre.until(number, State.SET_ASIDE) == "not-your-report"
    assert centre.dmp.requests == []
    assert not any(one.status == APPROVED for one in centre.dmp.documents.values())
