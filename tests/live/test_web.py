from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote, urlsplit

import cv2
import numpy as np
import pytest
from live_chromium import WIDTHS, chromium, fits, opened
from live_stand_ins import StubFinder, StubSource
from live_statuses import NASTY, before_anything, steady, troubled
from live_viewing import DRAWING, result

from rigpose.arrays import Array, Frames
from rigpose.live.faults import LiveError
from rigpose.live.running.loop import LiveRun
from rigpose.live.status import RunState, RunStatus
from rigpose.live.viewing.picture import LiveDrawing
from rigpose.live.viewing.server import Answer, LocalServer
from rigpose.live.viewing.web import WebPage
from rigpose.poses import Poses
from rigpose.videos.drawing import DrawStyle

if TYPE_CHECKING:
    from playwright.sync_api import Browser

LONG = 30.0
"""Whatever takes longer is broken, however busy the machine is [s]."""


class FakeClock:
    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


class CountedDrawing(LiveDrawing):
    """Says how often it drew and in which threads, and waits for leave to draw."""

    drawn = 0
    threads: ClassVar[set[threading.Thread]] = set()
    leave: threading.Event | None = None

    def draw(self, image: Frames, poses: Poses, ids: Array, predicted: Poses | None = None) -> Frames:
        type(self).drawn += 1
        self.threads.add(threading.current_thread())
        if self.leave is not None:
            assert self.leave.wait(LONG)
        return super().draw(image, poses, ids, predicted)


@pytest.fixture
def counted() -> Iterator[CountedDrawing]:
    CountedDrawing.drawn, CountedDrawing.leave = 0, None
    CountedDrawing.threads.clear()
    yield CountedDrawing(DRAWING.style, DRAWING.animals)
    CountedDrawing.leave = None


@pytest.fixture
def page() -> Iterator[WebPage]:
    with closing(WebPage(troubled, DRAWING)) as page:
        page.open()
        yield page


def get(page: WebPage, path: str, *, host: str | None = None) -> tuple[int, bytes, Mapping[str, str]]:
    """Status, content and headers of the answer to a path after the token, or to a whole one that begins with //."""
    address = urlsplit(page.address)
    connection = http.client.HTTPConnection("127.0.0.1", address.port or 0, timeout=LONG)
    whole = path[1:] if path.startswith("//") else address.path.rstrip("/") + path
    connection.request("GET", whole, headers={} if host is None else {"Host": host})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content, dict(answer.headers)


def test_nothing_is_answered_without_the_token(page: WebPage) -> None:
    token = urlsplit(page.address).path.strip("/")
    assert len(token) >= 32
    for path in ("//", "//status.json", f"//{token}", f"//{token[:-1]}/", f"//{token}x/status.json", "//%00/", "//ä/"):
        status, content, _ = get(page, quote(path, safe="/%"))
        assert status == 403 and b"age" not in content
    for path in ("/", "/status.json"):
        assert get(page, path)[0] == 200
    assert get(page, "/elsewhere")[0] == 404


def test_only_this_computers_own_name_is_answered(page: WebPage) -> None:
    port = urlsplit(page.address).port
    for host in (f"127.0.0.1:{port}", f"localhost:{port}"):
        assert get(page, "/status.json", host=host)[0] == 200
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1:{port}.evil.example", ""):
        assert get(page, "/status.json", host=host)[0] == 403


def test_no_other_page_may_read_or_frame_it(page: WebPage) -> None:
    _, _, headers = get(page, "/")
    assert not [name for name in headers if name.lower().startswith("access-control")]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["Referrer-Policy"] == "no-referrer" and headers["Cache-Control"] == "no-store"


def test_every_page_has_a_token_of_its_own() -> None:
    with closing(WebPage(steady, DRAWING)) as one, closing(WebPage(steady, DRAWING)) as other:
        one.open()
        other.open()
        tokens = {urlsplit(page.address).path for page in (one, other)}
    assert len(tokens) == 2


def test_a_port_in_use_is_said(page: WebPage) -> None:
    port = urlsplit(page.address).port
    assert port is not None
    with pytest.raises(LiveError, match=f"port {port} cannot be used .*; name another, or no port"):
        WebPage(steady, DRAWING, port=port).open()
    with pytest.raises(LiveError, match="port 99999 cannot be used"):
        WebPage(steady, DRAWING, port=99999).open()


def test_it_can_be_opened_and_closed_twice_and_has_an_address_in_between() -> None:
    page = WebPage(before_anything, DRAWING)
    with pytest.raises(LiveError, match="is not open"):
        _ = page.address
    page.open()
    first = page.address
    page.open()
    assert page.address == first and get(page, "/")[0] == 200
    page.close()
    page.close()
    with pytest.raises(OSError):  # noqa: PT011  # the system's own words
        socket.create_connection(("127.0.0.1", urlsplit(first).port or 0), timeout=LONG).close()


def test_names_cannot_become_markup(page: WebPage) -> None:
    page.send(result(1, camera=f"side {NASTY}"))
    for content in (get(page, "/")[1].decode(), json.loads(get(page, "/status.json")[1])["parts"].values()):
        text = content if isinstance(content, str) else "".join(content)
        assert "<script>document" not in text and "&lt;script&gt;document" in text
    assert get(page, "/")[1].decode().count("<script") == 1


def test_a_picture_is_made_only_when_somebody_looks_and_once_for_all(counted: CountedDrawing) -> None:
    clock = FakeClock()
    with closing(WebPage(steady, counted, clock=clock)) as page:
        page.open()
        assert get(page, "/picture.jpg?camera=top")[0] == 204
        for number in range(50):
            page.send(result(number))
        assert counted.drawn == 0
        status, jpeg, headers = get(page, "/picture.jpg?camera=top")
        about = json.loads(headers["X-Picture"])
        assert status == 200 and about == {"picture": 1, "frame": 49, "animals": 1, "age": 29.0, "lead": None}
        picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None and picture.shape == (480, 640, 3)
        page.send(result(50))
        # Too soon for another: other browsers get the same, and the one that has it nothing.
        assert [get(page, f"/picture.jpg?camera=top&after={after}")[0] for after in ("", 1, 1)] == [200, 204, 204]
        assert counted.drawn == 1
        clock.time += 0.1
        assert json.loads(get(page, "/picture.jpg?camera=top&after=1")[2]["X-Picture"])["frame"] == 50
        clock.time += 0.1
        assert get(page, "/picture.jpg?camera=top&after=2")[0] == 204
        assert counted.drawn == 2
    # OpenCV loads its fonts anew in every thread.
    assert len(counted.threads) == 1


def test_the_picture_has_what_is_predicted() -> None:
    with closing(WebPage(steady, DRAWING)) as page:
        page.open()
        shown = result(8, ahead=60.0)
        page.send(shown)
        _, jpeg, headers = get(page, "/picture.jpg?camera=top")
        assert json.loads(headers["X-Picture"])["lead"] == 40.0
        picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None and shown.predicted is not None
        changed = np.abs(picture.astype(int) - shown.frame.image).max(axis=-1)
        for poses in (shown.poses, shown.predicted):
            x, y = np.rint(poses.xy[0, 2]).astype(int)
            # JPEG at this quality is off by less than a tenth of the range on the floor, and colours and rims by more.
            assert changed[y - 8 : y + 9, x - 8 : x + 9].max() > 60
        assert changed[350:].max() < 26 and changed[:60].max() < 26


def test_the_run_is_asked_five_times_a_second_however_many_browsers_look() -> None:
    clock, asked = FakeClock(), []

    def status() -> RunStatus:
        asked.append(clock.time)
        return steady()

    with closing(WebPage(status, DRAWING, clock=clock)) as page:
        page.open()
        for _ in range(5):
            assert get(page, "/status.json")[0] == 200
        assert len(asked) == 1
        clock.time += 0.25
        for _ in range(5):
            assert get(page, "/status.json")[0] == 200
        assert len(asked) == 2


def test_results_are_taken_while_a_picture_is_being_drawn(counted: CountedDrawing) -> None:
    leave = type(counted).leave = threading.Event()
    with closing(WebPage(steady, counted)) as page:
        page.open()
        page.send(result(0))
        got: list[bytes] = []
        browser = threading.Thread(target=lambda: got.append(get(page, "/picture.jpg?camera=top")[1]))
        browser.start()
        until(lambda: counted.drawn == 1)
        for number in range(1, 1000):
            page.send(result(0, height=8, width=300))
            assert not got, number
        leave.set()
        browser.join(LONG)
        assert got and got[0]


def test_a_real_run_is_shown_and_its_ledger_adds_up_at_every_moment() -> None:
    def status() -> RunStatus:
        return run.status()

    page = WebPage(status, LiveDrawing(DrawStyle()))
    finder = StubFinder(0.002)
    run = LiveRun(finder, [StubSource("top")], outputs=[page], session_time=finder)
    run.start()
    try:
        until(lambda: get(page, "/picture.jpg?camera=top")[0] == 200)
        until(lambda: "rect" in told(page)["parts"]["histogram"])
        for _ in range(3):
            assert told(page)["state"] == "running" and "adds up" in told(page)["parts"]["ledger"]
    finally:
        ended = run.stop()
    assert ended.outputs["web page"].failed == 0 and not ended.faults
    with pytest.raises(LiveError, match="is not open"):
        _ = page.address


def told(page: WebPage) -> dict[str, Any]:
    return json.loads(get(page, "/status.json")[1])


def test_more_clients_than_allowed_are_sent_away_and_slow_ones_dropped() -> None:
    slowest = 0.5
    server = LocalServer(0, "token", lambda path, query: Answer(b"here"), at_once=3, slowest=slowest)
    try:
        begun = time.perf_counter()
        idle = [socket.create_connection(("127.0.0.1", server.server_port), timeout=LONG) for _ in range(3)]
        until(lambda: ask(server) == b"")  # all three have their threads
        for client in idle:
            assert client.recv(1) == b""  # dropped, with no answer
        assert time.perf_counter() - begun >= 0.9 * slowest
        until(lambda: ask(server) == b"here")
    finally:
        server.stop()


def test_a_client_that_does_not_read_is_dropped() -> None:
    much = b"x" * (1 << 26)  # more than any socket keeps
    server = LocalServer(
        0, "token", lambda path, query: Answer(much if path == "/much" else b"here"), at_once=1, slowest=0.5
    )
    try:
        client = socket.create_connection(("127.0.0.1", server.server_port), timeout=LONG)
        client.sendall(f"GET /token/much HTTP/1.0\r\nHost: 127.0.0.1:{server.server_port}\r\n\r\n".encode())
        assert client.recv(4).startswith(b"HTTP")
        until(lambda: ask(server) == b"here")
        client.close()
    finally:
        server.stop()


def ask(server: LocalServer) -> bytes:
    """What a request gets; nothing where it is sent away."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=LONG)
    try:
        connection.request("GET", "/token/")
        answer = connection.getresponse()
        return answer.read() if answer.status == 200 else b""
    except (OSError, http.client.HTTPException):
        return b""
    finally:
        connection.close()


def until(holds: Callable[[], bool]) -> None:
    """Wait for something to become true."""
    end = time.perf_counter() + LONG
    while not holds():
        assert time.perf_counter() < end
        time.sleep(0.02)


# In a real browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def fed() -> Iterator[tuple[WebPage, list[RunStatus]]]:
    """A page whose two cameras go on, and the status that it shows."""
    status = [troubled()]
    cameras = list(status[0].cameras)
    over = threading.Event()
    page = WebPage(lambda: status[0], DRAWING)
    page.open()

    def feed() -> None:
        number = 0
        while not over.wait(0.05):
            page.send(result(number, camera=cameras[0], ids=(0, 1)))
            page.send(result(number, camera=cameras[1], height=300, width=400))
            number += 1

    feeder = threading.Thread(target=feed)
    feeder.start()
    yield page, status
    over.set()
    feeder.join()
    page.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_the_browser_shows_picture_numbers_and_charts(
    browser: Browser, fed: tuple[WebPage, list[RunStatus]], width: int
) -> None:
    page, status = fed
    with opened(browser, page.address, width) as (tab, said):
        picture = tab.locator("#picture")
        picture.wait_for(state="visible")
        assert picture.evaluate("it => [it.naturalWidth, it.naturalHeight]") == [640, 480]
        caption, source = tab.inner_text("#caption"), picture.get_attribute("src")
        until(lambda: tab.inner_text("#caption") != caption and picture.get_attribute("src") != source)
        assert "2 animals" in tab.inner_text("#caption")
        tab.select_option("#camera", index=1)
        until(lambda: picture.evaluate("it => it.naturalWidth") == 400)

        assert tab.locator("#histogram rect.bar").count() >= 5
        box = tab.locator("#histogram svg").bounding_box()
        assert box is not None and box["width"] > 250 and box["height"] > 120
        for account, frames in zip(tab.locator(".account").all(), status[0].cameras.values(), strict=True):
            captured, *parts = numbers_in(account.locator(".ledger").inner_text())
            assert captured == frames.captured == sum(parts)
            assert "adds up" in account.inner_text()
        assert "17" in tab.inner_text("#numbers") and "faulted" in tab.inner_text("#state")
        assert NASTY in tab.inner_text("#faults") and NASTY in tab.inner_text("#triggers")

        status[0] = replace(steady(), state=RunState.RUNNING)
        tab.locator("#state.running").wait_for()
        assert tab.inner_text("#faults") == "No faults."
        assert tab.title() == "running · rigpose live"
        assert fits(tab) and said == []


def test_the_browser_never_shows_a_blank_between_two_pictures(
    browser: Browser, fed: tuple[WebPage, list[RunStatus]]
) -> None:
    page, _ = fed
    with opened(browser, page.address, 390) as (tab, said):
        tab.locator("#picture").wait_for(state="visible")
        seen = tab.evaluate(
            """async () => {
                const sources = new Set(), widths = new Set();
                while (sources.size < 10) {
                    const picture = document.getElementById("picture");
                    sources.add(picture.src);
                    widths.add(picture.naturalWidth);
                    await new Promise((resume) => setTimeout(resume));
                }
                return Array.from(widths);
            }"""
        )
        assert seen == [640] and said == []


def test_the_browser_says_that_a_picture_is_old_and_that_the_run_is_gone(browser: Browser) -> None:
    page = WebPage(lambda: steady(camera="top"), DRAWING)
    page.open()
    page.send(result(7))
    with opened(browser, page.address, 390) as (tab, said):
        tab.locator("#picture").wait_for(state="visible")
        until(lambda: tab.inner_text("#caption").startswith("No new picture for"))
        assert said == []
        page.close()
        tab.locator("#lost").wait_for(state="visible")
        assert "last numbers" in tab.inner_text("#lost")


def test_the_browser_shows_a_run_that_has_not_begun(browser: Browser) -> None:
    with closing(WebPage(before_anything, DRAWING)) as page:
        page.open()
        with opened(browser, page.address, 390) as (tab, said):
            assert "loading" in tab.inner_text("#state")
            assert tab.inner_text("#caption") == "Waiting for the first pose."
            assert fits(tab) and said == []


def test_the_browser_says_what_is_found_and_what_is_predicted(browser: Browser) -> None:
    with closing(WebPage(lambda: steady(camera="top"), DRAWING)) as page:
        page.open()
        page.send(result(7))
        with opened(browser, page.address, 390) as (tab, said):
            picture = tab.locator("#picture")
            picture.wait_for(state="visible")
            assert not tab.locator("#key").is_visible()
            page.send(result(8, ahead=60.0))
            tab.locator("#key").wait_for(state="visible")
            assert tab.inner_text("#key").split() == ["found", "predicted", "for", "40", "ms", "after", "exposure"]
            shapes = [tab.locator(f"#key .{kind}").bounding_box() for kind in ("found", "predicted")]
            assert all(shape is not None and 8 <= shape["width"] <= 16 for shape in shapes)
            page.send(result(9))
            tab.locator("#key").wait_for(state="hidden")
            assert fits(tab) and said == []


def numbers_in(text: str) -> list[int]:
    return [int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", text)]
