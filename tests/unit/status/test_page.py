"""The page over a real connection: what it shows, what it refuses, how it keeps fresh."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest
from aiohttp import ClientSession, ClientTimeout
from hypothesis import given
from hypothesis import strategies as st

from passevue import config
from passevue.queue.states import State
from passevue.status import view
from passevue.status.door import Bucket, Limits, is_our_host
from passevue.status.page import HEADERS, Page, preferred
from passevue.status.summary import Summary
from passevue.status.words import Language
from tests.unit.status import states

PARIS = ZoneInfo("Europe/Paris")


class Scene:
    """What the page looks at; a test changes it."""

    def __init__(self, summary: Summary) -> None:
        self.summary = summary

    async def look(self) -> Summary:
        return self.summary


@asynccontextmanager
async def serving(scene: Scene, limits: Limits | None = None) -> AsyncIterator[tuple[Page, ClientSession]]:
    settings = config.Page.model_construct(host="127.0.0.1", port=0)
    page = Page(settings, scene.look, PARIS, limits=limits, look_every_s=0.02)
    task = asyncio.create_task(page.run())
    await page.started()
    try:
        async with ClientSession(f"http://127.0.0.1:{page.port}", timeout=ClientTimeout(10)) as session:
            yield page, session
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.parametrize("name", states.ALL)
async def test_the_page_is_shown_in_french_first(name: str) -> None:
    async with serving(Scene(states.ALL[name]())) as (_, session):
        answer = await session.get("/")
        html = await answer.text()
    assert answer.status == 200
    assert '<html lang="fr">' in html
    assert {
        "empty": "Tout va bien",
        "calm": "Tout va bien",
        "busy": "À surveiller",
        "trouble": "Une action est attendue",
    }[name] in html


async def test_english_is_shown_when_asked_or_preferred() -> None:
    async with serving(Scene(states.trouble())) as (_, session):
        for path, headers in (("/?lang=en", {}), ("/", {"Accept-Language": "en-GB,en;q=0.9,fr;q=0.5"})):
            html = await (await session.get(path, headers=headers)).text()
            assert "Someone needs to act" in html
            assert "n’" not in re.sub(r'<p class="do" lang="fr">.*?</p>', "", html)  # French only where marked as such
        html = await (await session.get("/?lang=fr", headers={"Accept-Language": "en"})).text()
        assert "Une action est attendue" in html


@pytest.mark.parametrize("path", ["/", "/status.json", "/health", "/ready", "/metrics", "/nowhere"])
async def test_every_answer_carries_the_policy(path: str) -> None:
    async with serving(Scene(states.calm())) as (_, session):
        answer = await session.get(path)
    for name, value in HEADERS.items():
        assert answer.headers[name] == value
    assert "Set-Cookie" not in answer.headers


async def test_the_page_loads_nothing_from_elsewhere_and_holds_no_inline_code() -> None:
    async with serving(Scene(states.trouble())) as (_, session):
        html = await (await session.get("/")).text()
        links = re.findall(r'(?:src|href)="([^"#]+)"', html)
        assert links
        for link in links:
            assert link.startswith("/"), link
            assert (await session.get(link)).status == 200
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]* src=)|javascript:", html)


async def test_static_files_are_served_from_memory_only() -> None:
    async with serving(Scene(states.calm())) as (page, session):
        answer = await session.get(f"/static/{view.STATIC['css'].name}")
        assert answer.headers["Content-Type"].startswith("text/css")
        for path in ("/static/..%2fpage.py", "/static/page.css", "/static/%2e%2e/%2e%2e/etc/passwd", "/static/"):
            assert (await session.get(path)).status == 404
        reader, writer = await asyncio.open_connection("127.0.0.1", page.port)
        writer.write(b"GET /static/../../../../etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert b" 404 " in (await reader.read()).split(b"\r\n")[0]
        writer.close()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
async def test_nothing_can_be_changed_here(method: str) -> None:
    async with serving(Scene(states.calm())) as (_, session):
        assert (await session.request(method, "/")).status == 405


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "[::1].evil", "", "a" * 300]
)
async def test_another_sites_name_for_our_address_is_refused(host: str) -> None:
    async with serving(Scene(states.calm())) as (page, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", page.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % host.encode())
        status = (await reader.read()).split(b"\r\n")[0]
        writer.close()
    assert b" 421 " in status or b" 400 " in status


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:80", "127.0.0.1:8080", "192.168.1.9", "[::1]:8080", "box.local"]
)
def test_our_own_names_and_addresses_are_taken(host: str) -> None:
    assert is_our_host(host, frozenset({"localhost", "box.local"}))


async def test_a_name_that_the_site_gives_is_taken() -> None:
    settings = config.Page.model_construct(host="127.0.0.1", port=0, names=("Passevue.Cabinet.lan",))
    page = Page(settings, Scene(states.calm()).look, PARIS)
    assert is_our_host("passevue.cabinet.lan:8080", page._names)
    assert not is_our_host("passevue.evil.example", page._names)


@given(st.text(max_size=40))
def test_any_host_header_is_ours_or_not(header: str) -> None:
    assert is_our_host(header, frozenset({"localhost"})) in (True, False)


async def test_hostile_text_in_every_shown_value_stays_text() -> None:
    bad = "\"'><script>alert(1)</script><img src=x onerror=y>"
    scene = states.trouble()
    line = replace(states.line(1, State.SET_ASIDE), reason=bad, hint=bad, action=bad)
    counters = replace(scene.counters, by_reason=((State.WAITING, bad, 3),))
    scene = replace(scene, box=bad, version=bad, troubles=(line,), recent=(line,), counters=counters)
    scene = replace(scene, certificates=(replace(scene.certificates[0], setting=bad, structure=bad),))
    async with serving(Scene(scene)) as (_, session):
        for path in ("/", "/?lang=en"):
            html = await (await session.get(path)).text()
            assert "<script>alert" not in html
            assert "<img" not in html


# --- live ----------------------------------------------------------------------------------------------------------


async def _events(session: ClientSession) -> AsyncIterator[str]:
    async with session.get("/events?lang=fr") as answer:
        assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        buffer = ""
        async for chunk in answer.content.iter_any():
            buffer += chunk.decode()
            while "\n\n" in buffer:
                event, buffer = buffer.split("\n\n", 1)
                yield event


async def test_a_change_reaches_those_who_look() -> None:
    scene = Scene(states.calm())
    async with serving(scene) as (_, session):
        events = _events(session)
        assert (await anext(events)).startswith("retry:")
        assert "Tout va bien" in await anext(events)
        scene.summary = states.busy()
        assert "À surveiller" in await anext(events)
        await events.aclose()


async def test_what_had_nothing_to_send_is_told_apart_from_what_was_sent() -> None:
    summary = replace(states.calm(), counters=states.counters(5, nothing=2))
    async with serving(Scene(summary)) as (_, session):
        assert "et 2 sans rien à envoyer" in await (await session.get("/")).text()
        queue = (await (await session.get("/status.json")).json())["queue"]
        assert (queue["settled_today"], queue["nothing_today"]) == (5, 2)


async def test_nothing_new_is_not_sent_again() -> None:
    async with serving(Scene(states.calm())) as (_, session):
        events = _events(session)
        await anext(events)
        await anext(events)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await anext(events)


async def test_live_views_end_when_the_box_stops() -> None:
    async with serving(Scene(states.calm())) as (_, session):
        events = _events(session)
        await anext(events)
        began = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began < 1.5  # aiohttp would wait for the view to end by itself


async def test_more_live_views_than_the_limit_are_refused_and_room_is_given_back() -> None:
    limits = Limits(streams=2, streams_per_address=2, burst=500)
    async with serving(Scene(states.calm()), limits) as (_page, session):
        open_views = [await session.get("/events") for _ in range(2)]
        assert (await session.get("/events")).status == 503
        open_views[0].close()
        for _ in range(100):
            again = await session.get("/events")
            if again.status != 503:
                break
            await asyncio.sleep(0.02)
        assert again.status == 200
        again.close()
        open_views[1].close()


# --- limits --------------------------------------------------------------------------------------------------------


async def test_a_flood_is_slowed_down() -> None:
    async with serving(Scene(states.calm()), Limits(requests_per_s=0.01, burst=5)) as (_, session):
        statuses = [(await session.get("/health")).status for _ in range(8)]
    assert statuses == [200] * 5 + [429] * 3


def test_the_bucket_refills_and_forgets() -> None:
    bucket = Bucket(Limits(requests_per_s=1, burst=2, addresses=3))
    assert [bucket.take("a", 0), bucket.take("a", 0), bucket.take("a", 0)] == [True, True, False]
    assert bucket.take("a", 1)
    for other in "bcdefg":
        assert bucket.take(other, 1)
    assert len(bucket._left) == 3


async def test_silent_connections_are_closed_and_do_not_take_the_room_of_others() -> None:
    limits = Limits(connections=5, connections_per_address=3, first_request_s=0.2)
    async with serving(Scene(states.calm()), limits) as (page, session):
        silent = [await asyncio.open_connection("127.0.0.1", page.port) for _ in range(3)]
        silent[0][1].write(b"GET / HT")  # half a request, for ever
        reader, _writer = await asyncio.open_connection("127.0.0.1", page.port)
        assert await _closed(reader)  # the fourth is closed at once
        for each in silent:
            assert await _closed(each[0])
        assert (await session.get("/health")).status == 200
        for _, writer in (*silent, (reader, _writer)):
            writer.close()


async def _closed(reader: asyncio.StreamReader) -> bool:
    async with asyncio.timeout(5):
        try:
            return await reader.read(1) == b""
        except ConnectionError:
            return True


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n",
        b"\x00" * 5000,
    ],
)
async def test_after_bad_bytes_the_next_good_request_is_answered(raw: bytes) -> None:
    async with serving(Scene(states.calm())) as (page, session):
        reader, writer = await asyncio.open_connection("127.0.0.1", page.port)
        writer.write(raw)
        writer.write_eof()
        async with asyncio.timeout(5):
            answer = await reader.read()
        writer.close()
        assert answer == b"" or re.match(rb"HTTP/1\.[01] 4\d\d ", answer)
        assert (await session.get("/health")).status == 200


def test_the_page_is_served_on_uvloop_too() -> None:
    uvloop = pytest.importorskip("uvloop", reason="uvloop is not there on this platform")

    async def look() -> None:
        async with serving(Scene(states.calm())) as (_, session):
            assert (await session.get("/health")).status == 200
            events = _events(session)
            await anext(events)
            assert "Tout va bien" in await anext(events)
            await events.aclose()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(look())


# --- machines ------------------------------------------------------------------------------------------------------


async def test_ready_says_why_not() -> None:
    scene = Scene(states.calm())
    async with serving(scene) as (_, session):
        assert (await session.get("/ready")).status == 200
        scene.summary = states.trouble()
        answer = await session.get("/ready")
        assert (answer.status, await answer.text()) == (503, "the store takes nothing in\n")
        assert (await session.get("/health")).status == 200


async def test_the_json_is_the_same_summary() -> None:
    async with serving(Scene(states.busy())) as (_, session):
        found = json.loads(await (await session.get("/status.json")).text())
    assert found["verdict"] == "watch"
    assert found["queue"]["by_state"]["ready"] == 34
    assert [each["health"] for each in found["neighbours"]] == ["ok", "ok", "late", "down"]


async def test_metrics_are_prometheus_text() -> None:
    async with serving(Scene(states.busy())) as (page, session):
        page._metrics.tally.received.add("report", "AA")
        text = await (await session.get("/metrics")).text()
    assert 'passevue_entries{state="ready"} 34.0' in text
    assert 'passevue_neighbour_up{neighbour="dmp"} 0.0' in text
    assert 'passevue_received_total{answer="AA",kind="report"} 1.0' in text
    assert "passevue_verdict 1.0" in text


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "fr"),
        ("de", "fr"),
        ("en", "en"),
        ("fr-FR,fr;q=0.9,en;q=0.8", "fr"),
        ("en;q=0.8,fr;q=0.9", "fr"),
        ("en-US,en;q=0.9", "en"),
        ("en;q=nan,fr;q=0", "fr"),
        ("EN;q=1", "en"),
        (";;;,=,q=1", "fr"),
    ],
)
def test_the_browsers_preference_is_read(header: str, language: str) -> None:
    assert preferred(header) is Language(language)
