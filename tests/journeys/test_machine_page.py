"""The site admin at the machine's page: a bundle, a configuration, the recovery key, the erasure; and nobody else."""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from passevue.config_example import example
from passevue.provision import configure, package, recovery
from passevue.provision.configure import Desk as RootDesk
from passevue.stick import wire
from passevue.stick.wire import Kind
from passevue.update.journey import State, begun, cancelled
from passevue.update.machine import Machine
from passevue.update.orders import Order, Orders, Wish
from passevue.update.row_file import RowFile
from tests.peers.front_desk import Browser, FrontDesk
from tests.peers.stick import Stick, formatted, reader

PASSWORD = "le scanner est au sous-sol"
SERIAL = "7F3A-90C1-22BE"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
SECRET = "-".join(["cbdefghi"] * 8)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[FrontDesk]:
    async with FrontDesk(tmp_path, serial=SERIAL) as desk:
        yield desk


@pytest.fixture
async def admin(desk: FrontDesk) -> AsyncIterator[Browser]:
    async with desk.browser() as browser:
        code = await asyncio.to_thread((box(desk) / "page/claim-code").read_text)
        await browser.get("/sign-in/site")
        await browser.post("/sign-in/site/claim", code=code.strip(), password=PASSWORD, again=PASSWORD)
        await browser.get("/site/machine")
        yield browser


def box(desk: FrontDesk) -> Path:
    return desk.folder / "box"


async def ordered(desk: FrontDesk, wish: Wish) -> Order | None:
    return await asyncio.to_thread(Orders(box(desk)).take, wish, desk.clock(), ())


async def refused(desk: FrontDesk) -> list[tuple[str, str]]:
    """What the audit trail has of refusals: the event and its words, each by the site admin."""
    records = [line for line in (await desk.audited()).splitlines() if '-refused" codeSystemName="Passevue"' in line]
    assert all('EventOutcomeIndicator="4"' in each and 'UserID="site-admin"' in each for each in records)
    kinds = [re.findall(r'csd-code="([a-z-]+-refused)"', each)[0] for each in records]
    said = [re.findall(r"<EventOutcomeDescription>(.*)</EventOutcomeDescription>", each)[0] for each in records]
    return list(zip(kinds, said, strict=True))


async def must_be_refused(desk: FrontDesk, *expected: tuple[str, str]) -> None:
    """These and no others; what is noted is written soon."""
    async with asyncio.timeout(10):
        while len(found := await refused(desk)) < len(expected):  # noqa: ASYNC110 - a file
            await asyncio.sleep(0.05)
    assert found == [*expected]


async def test_the_site_page_leads_to_the_machine(admin: Browser) -> None:
    assert "/site/machine" in await admin.get("/site")
    text = await admin.get("/site/machine")
    assert SERIAL in text
    assert "Aucune mise à jour en cours" in text


async def test_an_uploaded_bundle_is_ordered_once_it_is_whole(desk: FrontDesk, admin: Browser) -> None:
    content = os.urandom(3 << 20)
    text = await admin.send("/site/machine/update", now="yes", bundle=content)
    assert "C’est demandé" in text
    order = await ordered(desk, Wish.INSTALL)
    assert order is not None
    assert (order.by, order.values["now"], order.values["kind"]) == ("site-admin", True, "feature")
    kept = box(desk) / "orders" / order.text("bundle")
    assert await asyncio.to_thread(kept.read_bytes) == content
    assert (await asyncio.to_thread(kept.stat)).st_mode & 0o777 == 0o640, "the host zone reads it"
    assert "install-asked" in await desk.audited()


@pytest.mark.parametrize(
    ("parts", "noted"),
    [({}, []), ({"bundle": b""}, [("update-refused", "upload empty 127.0.0.1")]), ({"other": b"x"}, [])],
)
async def test_an_upload_without_its_file_orders_nothing(
    desk: FrontDesk, admin: Browser, parts: dict[str, bytes], noted: list[tuple[str, str]]
) -> None:
    text = await admin.send("/site/machine/update", **parts)
    assert "Choisissez" in text or "vide" in text
    assert await ordered(desk, Wish.INSTALL) is None
    assert not await asyncio.to_thread(lambda: list((box(desk) / "orders").glob("*.raucb")))
    await must_be_refused(desk, *noted)


@pytest.mark.parametrize(
    ("parts", "words", "why"),
    [
        ({"document": bytes(package.MAX_BYTES + 1), "signature": b"x"}, "trop gros", "too-large"),
        ({"document": b"x", "signature": bytes(package.MAX_SIGNATURE + 1)}, "pas une signature", "too-large"),
        ({"document": b"x"}, "tous les fichiers", "file-missing"),
    ],
)
async def test_a_configuration_that_is_refused_before_it_is_ordered_is_audited(
    desk: FrontDesk, admin: Browser, parts: dict[str, bytes], words: str, why: str
) -> None:
    assert words in await admin.send("/site/machine/configuration", **parts)
    assert await ordered(desk, Wish.CONFIGURE) is None
    await must_be_refused(desk, ("configuration-refused", f"upload {why} 127.0.0.1"))
    assert ".bin" not in await desk.audited(), "names of files may be names of people"


async def test_an_upload_that_the_disk_does_not_take_is_audited(desk: FrontDesk, admin: Browser) -> None:
    def no_folder() -> None:
        folder = box(desk) / "orders"
        if folder.is_dir():
            folder.rmdir()
        folder.write_bytes(b"")

    await asyncio.to_thread(no_folder)
    assert "accepte pas l’écriture" in await admin.send("/site/machine/update", bundle=b"x")
    await must_be_refused(desk, ("update-refused", "upload disk 127.0.0.1"))


async def test_an_upload_that_breaks_off_leaves_nothing(desk: FrontDesk, admin: Browser) -> None:
    async def half() -> AsyncIterator[bytes]:
        yield (
            f'--x\r\nContent-Disposition: form-data; name="token"\r\n\r\n{admin.token}\r\n'
            '--x\r\nContent-Disposition: form-data; name="bundle"; filename="b"\r\n\r\n'
        ).encode()
        yield bytes(200_000)
        raise ConnectionResetError

    headers = {"Origin": desk.url, "Content-Type": "multipart/form-data; boundary=x"}
    with pytest.raises(Exception):  # noqa: B017 - the browser's own
        await admin.session.post(desk.url + "/site/machine/update", data=half(), headers=headers)
    async with asyncio.timeout(5):
        while await asyncio.to_thread(lambda: list((box(desk) / "orders").glob("*.raucb"))):  # noqa: ASYNC110 - a file
            await asyncio.sleep(0.05)
    assert await ordered(desk, Wish.INSTALL) is None
    await must_be_refused(desk, ("update-refused", "upload broken-off 127.0.0.1"))


async def test_strangers_and_old_pages_upload_nothing(desk: FrontDesk, admin: Browser) -> None:
    assert "avait vieilli" in await admin.send("/site/machine/update", token="0" * 64, bundle=b"x")
    async with desk.browser() as stranger:
        await stranger.get("/sign-in")
        await stranger.send("/site/machine/update", bundle=b"x")
        assert SERIAL not in await stranger.get("/site/machine")
    assert await ordered(desk, Wish.INSTALL) is None
    assert not await asyncio.to_thread(lambda: list((box(desk) / "orders").glob("*.raucb")))
    assert await refused(desk) == []


async def test_an_update_that_waits_is_postponed_or_cancelled_from_the_page(desk: FrontDesk, admin: Browser) -> None:
    row = begun("1", "b.raucb", "1.5.0", "1.4.2", "site-admin", desk.clock(), kind="feature", now=False)
    await asyncio.to_thread(RowFile(box(desk)).write, row)
    text = await admin.get("/site/machine")
    assert "La version 1.5.0 attend" in text
    await admin.post("/site/machine/update/postpone")
    assert await ordered(desk, Wish.POSTPONE) is not None
    await admin.post("/site/machine/update/cancel")
    assert await ordered(desk, Wish.CANCEL) is not None


async def test_an_update_is_followed_from_its_order_to_its_end(desk: FrontDesk, admin: Browser) -> None:
    rows = RowFile(box(desk))
    live = 'data-events="/site/machine/events/update"'
    assert "C’est demandé" in await admin.send("/site/machine/update", now="yes", bundle=b"a bundle")
    shown = await admin.get("/site/machine")
    assert live in shown, "nobody has taken the order yet"
    order = await ordered(desk, Wish.INSTALL)
    assert order is not None
    row = begun(order.id, "b.raucb", "1.5.0", "1.4.2", order.by, desk.clock(), kind="feature", now=True)
    async with asyncio.timeout(60), admin.events("/site/machine/events/update") as events:
        assert "Une mise à jour est demandée" in (await anext(events))[1]
        await asyncio.to_thread(rows.write, replace(row, state=State.WRITING, percent=40))
        name, part = await anext(events)
        assert (name, 'value="40"' in part, '25 %">' in part) == ("part", True, True)
        await asyncio.to_thread(rows.write, replace(row, state=State.WRITTEN))
        assert "redémarrera dès" in (await anext(events))[1]
        assert live in await admin.get("/site/machine")
        await asyncio.to_thread(rows.write, replace(row, state=State.DONE))
        assert [each async for each in events] == [("go", "/site/machine")]
    assert live not in await admin.get("/site/machine")


async def test_what_was_cancelled_is_no_longer_asked_for(desk: FrontDesk, admin: Browser) -> None:
    await admin.send("/site/machine/update", now="yes", bundle=b"a bundle")
    order = await ordered(desk, Wish.INSTALL)
    assert order is not None
    row = begun(order.id, "b.raucb", "1.5.0", "1.4.2", order.by, desk.clock(), kind="feature", now=False)
    await asyncio.to_thread(RowFile(box(desk)).write, cancelled(row, desk.clock()))
    assert "a été annulée" in await admin.get("/site/machine")


async def test_a_bundle_is_kept_while_nobody_knows_whether_it_waits(desk: FrontDesk, admin: Browser) -> None:
    def waits() -> Path:
        path, file = Orders(box(desk)).draft(".raucb")
        file.close()
        os.utime(path, (0, 0))
        (box(desk) / "update").mkdir(exist_ok=True)
        (box(desk) / "update/journey.json").write_text("not a row")
        return path

    bundle = await asyncio.to_thread(waits)
    assert "ne se lit pas" in await admin.get("/site/machine")
    assert await asyncio.to_thread(bundle.exists)


async def test_erasing_wants_the_serial_and_the_password(desk: FrontDesk, admin: Browser) -> None:
    assert "rien n’a été effacé" in await admin.post("/site/machine/erase", serial="0000-0000-0000", password=PASSWORD)
    assert "mot de passe du site" in await admin.post("/site/machine/erase", serial=SERIAL, password="un autre, faux")
    assert await ordered(desk, Wish.ERASE) is None
    assert "s’efface" in await admin.post("/site/machine/erase", serial=SERIAL.lower(), password=PASSWORD)
    order = await ordered(desk, Wish.ERASE)
    assert order is not None
    assert order.text("serial") == SERIAL.lower()


async def test_an_upload_that_outlives_its_session_orders_nothing(desk: FrontDesk, admin: Browser) -> None:
    token = admin.token

    async def half_signed_in() -> AsyncIterator[bytes]:
        yield (
            f'--x\r\nContent-Disposition: form-data; name="token"\r\n\r\n{token}\r\n'
            '--x\r\nContent-Disposition: form-data; name="bundle"; filename="b"\r\n\r\n'
        ).encode()
        yield bytes(200_000)
        async with asyncio.timeout(20):
            while not await asyncio.to_thread(lambda: list((box(desk) / "orders").glob("*.raucb"))):  # noqa: ASYNC110 - a file
                await asyncio.sleep(0.02)
        await admin.post("/sign-out")
        yield b"\r\n--x--\r\n"

    headers = {"Origin": desk.url, "Content-Type": "multipart/form-data; boundary=x"}
    async with admin.session.post(desk.url + "/site/machine/update", data=half_signed_in(), headers=headers) as answer:
        assert answer.url.path == "/sign-in"
    assert await ordered(desk, Wish.INSTALL) is None
    assert "install-asked" not in await desk.audited()


async def test_what_is_shown_at_the_machine_goes_with_the_session(desk: FrontDesk, admin: Browser) -> None:
    assert 'data-events="/session/events"' in await admin.get("/site/machine")


@pytest.mark.parametrize("form", ["erase", "recovery"])
async def test_a_session_that_was_left_open_is_no_place_to_guess_the_password_at(
    desk: FrontDesk, admin: Browser, form: str
) -> None:
    path, fields = f"/site/machine/{form}", {"serial": SERIAL, "act": "show"}
    for _ in range(5):
        assert "mot de passe du site" in await admin.post(path, password="un autre, faux", **fields)
    assert "Trop d’échecs" in await admin.post(path, password=PASSWORD, **fields)
    assert await ordered(desk, Wish.ERASE) is None
    assert await ordered(desk, Wish.RECOVERY) is None


@pytest.fixture
async def root(desk: FrontDesk) -> AsyncIterator[None]:
    """The programs that systemd starts as root."""

    def prepared() -> RootDesk:
        (desk.folder / "kept").mkdir()
        (desk.folder / "kept/key").write_text(SECRET + "\n")
        (box(desk) / "config").mkdir(exist_ok=True)
        (box(desk) / "config/provisioning.pub").write_bytes(package.key_pem(KEY.public_key()))
        return RootDesk(box(desk), Machine(desk.folder), lambda *told: None, lambda *key: None)

    here = await asyncio.to_thread(prepared)

    async def watch() -> None:
        while True:
            now = desk.clock() + timedelta(seconds=1)
            await asyncio.to_thread(configure.work, box(desk), here, (), now)
            await asyncio.to_thread(
                recovery.work, box(desk), desk.folder / "kept/key", os.geteuid(), lambda *told: None, now
            )
            await asyncio.sleep(0.05)

    task = asyncio.create_task(watch())
    yield
    task.cancel()
    await asyncio.wait([task])


async def test_a_signed_configuration_is_put_in_place_and_a_forged_one_told(
    desk: FrontDesk, admin: Browser, root: None
) -> None:
    document = f"schema = 1\nnumber = 4\nconfiguration = '''\n{example()}'''\n".encode()
    forged = await admin.send("/site/machine/configuration", document=document, signature=bytes(64))
    assert "La signature n’est pas celle" in forged
    text = await admin.send("/site/machine/configuration", document=document, signature=KEY.sign(document))
    assert "Configuration en place" in text
    assert "n° 4" in text.replace("\N{NO-BREAK SPACE}", " ").replace("\n", " ")


async def test_the_recovery_key_is_shown_to_who_types_the_password_again(
    desk: FrontDesk, admin: Browser, root: None
) -> None:
    assert SECRET not in await admin.post("/site/machine/recovery", act="show", password="un autre, faux")
    assert SECRET in await admin.post("/site/machine/recovery", act="show", password=PASSWORD)
    assert SECRET not in await admin.get("/site/machine")
    assert "oubliée" in await admin.post("/site/machine/recovery", act="noted", password=PASSWORD)
    assert SECRET not in await admin.post("/site/machine/recovery", act="show", password=PASSWORD)


async def test_a_recovery_key_that_is_shown_does_not_go_by_itself(desk: FrontDesk, admin: Browser, root: None) -> None:
    row = begun("1", "b.raucb", "1.5.0", "1.4.2", "site-admin", desk.clock(), kind="feature", now=True)
    await asyncio.to_thread(RowFile(box(desk)).write, replace(row, state=State.WRITING))
    assert 'http-equiv="refresh"' in await admin.get("/site/machine")
    shown = await admin.post("/site/machine/recovery", act="show", password=PASSWORD)
    assert SECRET in shown
    assert 'http-equiv="refresh"' not in shown
    assert 'data-events="/session/events"' in shown


def stick(desk: FrontDesk, **files: bytes) -> AbstractContextManager[list[str]]:
    """The box's reader with a stick in it: `box_toml` is called box.toml there."""
    named = {name.replace("_", "."): content for name, content in files.items()}
    return reader(desk.folder / "stick.sock", Stick(formatted(desk.folder, named)))


async def test_a_bundle_comes_from_the_stick_as_from_a_browser(desk: FrontDesk, admin: Browser) -> None:
    content = os.urandom(3 << 20)
    with await asyncio.to_thread(stick, desk, new_raucb=content, Photos_zip=b"x"):
        assert "C’est demandé" in await admin.update_from_stick(now="yes", bundle="")
    order = await ordered(desk, Wish.INSTALL)
    assert order is not None
    assert (order.by, order.values["now"], order.values["kind"]) == ("site-admin", True, "feature")
    kept = box(desk) / "orders" / order.text("bundle")
    assert await asyncio.to_thread(kept.read_bytes) == content
    assert (await asyncio.to_thread(kept.stat)).st_mode & 0o777 == 0o640, "the host zone reads it"
    told = await desk.audited()
    assert 0 < told.index("stick-asked") < told.index("install-asked")


@pytest.mark.parametrize(
    ("files", "words", "why"),
    [
        ({"box_toml": b"x"}, "n’a pas de mise à jour", "stick-file"),
        ({"a_raucb": b"1", "b_raucb": b"2"}, "plusieurs", "stick-files"),
    ],
)
async def test_a_stick_that_does_not_say_what_is_meant_orders_nothing(
    desk: FrontDesk, admin: Browser, files: dict[str, bytes], words: str, why: str
) -> None:
    with await asyncio.to_thread(stick, desk, **files):
        assert words in await admin.update_from_stick()
    assert await ordered(desk, Wish.INSTALL) is None
    await must_be_refused(desk, ("update-refused", f"stick {why} 127.0.0.1"))


async def test_a_stick_that_is_pulled_out_leaves_nothing(desk: FrontDesk, admin: Browser) -> None:
    image = await asyncio.to_thread(formatted, desk.folder, {"new.raucb": os.urandom(3 << 20)})
    pulled = Stick(image)
    pulled.gone_after = 8
    with reader(desk.folder / "stick.sock", pulled):
        assert "retirée" in await admin.update_from_stick()
    assert await ordered(desk, Wish.INSTALL) is None
    assert not await asyncio.to_thread(lambda: list((box(desk) / "orders").glob("*.raucb")))
    await must_be_refused(desk, ("update-refused", "stick stick-unreadable 127.0.0.1"))


async def test_what_the_reader_of_sticks_says_is_a_word_of_ours_in_the_trail(desk: FrontDesk, admin: Browser) -> None:
    async def odd(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(wire.frame(Kind.TROUBLE, {"code": "dupont-marie", "hint": "Cette clé est illisible."}))
        writer.close()

    async with await asyncio.start_unix_server(odd, str(desk.folder / "stick.sock")):
        assert "illisible" in await admin.post("/site/machine/configuration/stick")
    await must_be_refused(desk, ("configuration-refused", "stick stick-unreadable 127.0.0.1"))
    assert "dupont" not in await desk.audited()


async def test_without_a_stick_or_its_reader_the_page_says_so(desk: FrontDesk, admin: Browser) -> None:
    assert "lecteur de clés USB du boîtier ne répond pas" in await admin.update_from_stick()
    with reader(desk.folder / "stick.sock", None):
        assert "Aucune clé USB" in await admin.update_from_stick()
    why = ("stick stick-away 127.0.0.1", "stick stick-none 127.0.0.1")
    await must_be_refused(desk, *(("update-refused", each) for each in why))


async def test_while_a_stick_is_read_the_page_shows_how_far_and_reads_no_other(desk: FrontDesk, admin: Browser) -> None:
    goes_on = asyncio.Event()

    async def slow(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(wire.frame(Kind.FILE, {"field": "bundle", "size": 8}) + wire.frame(Kind.DATA, b"half"))
        await goes_on.wait()
        writer.write(wire.frame(Kind.DATA, b"rest") + wire.frame(Kind.DONE))
        writer.close()

    async with await asyncio.start_unix_server(slow, str(desk.folder / "stick.sock")):
        await admin.post("/site/machine/update/stick")
        shown = await admin.until("/site/machine", 'value="50"')
        assert 'data-events="/site/machine/events/stick"' in shown
        assert 'name="bundle"' not in shown, "no second update meanwhile"
        assert "déjà en cours" in await admin.post("/site/machine/update/stick")
        async with asyncio.timeout(20), admin.events("/site/machine/events/stick") as events:
            name, part = await anext(events)
            assert (name, "50 %" in part) == ("part", True)
            goes_on.set()
            assert [each async for each in events][-1] == ("go", "/site/machine")
    assert await ordered(desk, Wish.INSTALL) is not None


async def test_a_stick_that_outlives_its_session_orders_nothing(desk: FrontDesk, admin: Browser) -> None:
    goes_on, taken = asyncio.Event(), asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        await goes_on.wait()
        writer.write(wire.frame(Kind.FILE, {"field": "bundle", "size": 1}) + wire.frame(Kind.DATA, b"x"))
        writer.write(wire.frame(Kind.DONE))
        await reader.read()
        taken.set()
        writer.close()

    async with await asyncio.start_unix_server(slow, str(desk.folder / "stick.sock")):
        await admin.post("/site/machine/update/stick")
        async with asyncio.timeout(20), admin.events("/site/machine/events/stick") as events:
            await admin.post("/sign-out")
            assert [each async for each in events][-1] == ("go", "/sign-in")
        goes_on.set()
        await asyncio.wait_for(taken.wait(), 20)
        async with asyncio.timeout(5):
            while await asyncio.to_thread(lambda: list((box(desk) / "orders").glob("*.raucb"))):  # noqa: ASYNC110 - a file
                await asyncio.sleep(0.02)
    assert await ordered(desk, Wish.INSTALL) is None
    assert "install-asked" not in await desk.audited()
    assert await refused(desk) == [], "it was signed out: that is in the trail"


async def test_a_bundle_beyond_the_bounds_is_refused_before_it_comes(desk: FrontDesk, admin: Browser) -> None:
    async def huge(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(wire.frame(Kind.FILE, {"field": "bundle", "size": 1 << 40}))
        writer.close()

    async with await asyncio.start_unix_server(huge, str(desk.folder / "stick.sock")):
        assert "trop gros" in await admin.update_from_stick()
    assert not await asyncio.to_thread(lambda: list((box(desk) / "orders").glob("*.raucb")))
    await must_be_refused(desk, ("update-refused", "stick too-large 127.0.0.1"))


async def test_strangers_have_no_stick_read(desk: FrontDesk, admin: Browser) -> None:
    async with desk.browser() as stranger:
        await stranger.get("/sign-in")
        for path in ("/site/machine/update/stick", "/site/machine/configuration/stick"):
            await stranger.post(path)
            assert stranger.path == "/sign-in"
    admin.token = "0" * 64
    assert "avait vieilli" in await admin.post("/site/machine/update/stick")
    assert "stick-asked" not in await desk.audited()
    assert await refused(desk) == []


async def test_a_configuration_comes_from_the_stick_and_a_forged_one_is_told(
    desk: FrontDesk, admin: Browser, root: None
) -> None:
    document = f"schema = 1\nnumber = 4\nconfiguration = '''\n{example()}'''\n".encode()
    with await asyncio.to_thread(stick, desk, box_toml=document, box_toml_sig=bytes(64)):
        assert "La signature n’est pas celle" in await admin.post("/site/machine/configuration/stick")
    with await asyncio.to_thread(stick, desk, box_toml=document, box_toml_sig=KEY.sign(document)):
        assert "Configuration en place" in await admin.post("/site/machine/configuration/stick")
    assert not await asyncio.to_thread(lambda: list((box(desk) / "orders").glob("*.toml")))


async def test_on_a_laptop_there_is_no_machine(tmp_path: Path) -> None:
    async with FrontDesk(tmp_path) as desk, desk.browser() as browser:
        answer = await browser.session.get(desk.url + "/site/machine")
        assert answer.status == 404
