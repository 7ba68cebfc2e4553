from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np
import pytest
from live_chromium import WIDTHS, chromium, fits, opened
from live_statuses import NASTY, before_anything, histogram, percentiles, steady, troubled

from rigpose.errors import ResultError
from rigpose.live.report.charts import age_histogram, age_over_time
from rigpose.live.report.lines import closing_lines, one_line
from rigpose.live.report.page import report_page, write_report
from rigpose.live.report.tables import ledger, outputs, stages
from rigpose.live.report.verdict import verdict
from rigpose.live.sources.source_kind import SourceKind
from rigpose.live.status import FrameCounts, OutputCounts, Percentiles, RunState, RunStatus
from rigpose.report.markup import Html, tag
from rigpose.report.numbers import counted, duration, ms, rate, share
from rigpose.report.sentences import Weight

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PIXEL = 0.02
"""Charts write coordinates to a hundredth of a unit, so that a difference of two is right to twice that."""


def sentences(status: RunStatus) -> dict[str, Weight]:
    return {one.text: one.weight for one in verdict(status)}


def told(status: RunStatus, pattern: str) -> Weight | None:
    """The weight of the only sentence like this; none if there is no such one."""
    found = [weight for text, weight in sentences(status).items() if re.search(pattern, text)]
    assert len(found) <= 1, pattern
    return found[0] if found else None


# Numbers and markup


def test_numbers_are_written_for_people() -> None:
    assert [ms(value) for value in (0.0, 0.123, 9.994, 9.996, 29.96, 99.96, 1234.5, math.nan)] == [
        "0.00", "0.12", "9.99", "10.0", "30.0", "100", "1,234", "\N{EN DASH}",
    ]  # fmt: skip
    assert [share(part, 10000) for part in (0, 1, 10, 2500, 9999, 10000)] == [
        "0 %", "under 0.1 %", "0.1 %", "25.0 %", "over 99.9 %", "100 %",
    ]  # fmt: skip
    assert share(0, 0) == rate(3, 0.0) == "\N{EN DASH}" and rate(300, 10.0) == "30.0" and rate(30000, 20.0) == "1,500"
    assert [duration(seconds) for seconds in (3.21, 245, 3599.9, 7380)] == [
        "3.2 s",
        "4 min 05 s",
        "1 h 00 min",
        "2 h 03 min",
    ]
    assert counted(1, "frame") == "1 frame" and counted(1200, "frame") == "1,200 frames"


def test_whatever_is_no_markup_is_escaped() -> None:
    element = tag("p", NASTY, tag("b", "1 < 2"), class_='"x"', data_name=NASTY, hidden=None)
    assert isinstance(element, Html)
    read = ElementTree.fromstring(element)
    assert read.text == NASTY and read.get("data-name") == NASTY and read.get("class") == '"x"'
    assert read[0].text == "1 < 2" and "hidden" not in read.attrib


# Charts


def drawn(chart: str) -> ElementTree.Element:
    """The chart as a tree."""
    return ElementTree.fromstring(chart[chart.index("<svg") : chart.index("</svg>") + len("</svg>")])


def value_at(svg: ElementTree.Element, x: float) -> float:
    """What the numbers of the lower axis say of a place."""
    texts = [text for text in svg.iterfind(".//g[@class='axis']/text") if text.get("text-anchor") == "middle"]
    places, values = ([float(text.get("x", "")) for text in texts], [float(text.text or "") for text in texts])
    return float(np.polyval(np.polyfit(places, values, 1), x))


def frames_in(chart: str) -> int:
    """As the words of the bars, and those below, count them."""
    words = re.findall(r": ([\d,]+) frames?, ", chart) + re.findall(r"Not drawn: ([\d,]+) older", chart)
    return sum(int(number.replace(",", "")) for number in words)


@pytest.mark.parametrize("seed", range(20))
def test_the_histogram_shows_every_frame_at_its_age(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ages = rng.gamma(rng.uniform(1, 200), rng.uniform(0.01, 3), rng.integers(1, 5000))
    if seed % 2:
        ages[: len(ages) // 100] *= 20
    age = percentiles(ages)
    chart = age_histogram(histogram(ages), age, deadline=None)
    assert frames_in(chart) == len(ages)
    svg = drawn(chart)
    marks = [line for line in svg.iterfind("line") if line.get("class") == "mark"]
    shown = [float(mark.get("x1", "")) for mark in marks]
    values = [value_at(svg, x) for x in shown]
    one_unit = value_at(svg, 101) - value_at(svg, 100)
    for value, expected in zip(values, (age.p50, age.p99), strict=True):
        assert abs(value - expected) < PIXEL * one_unit
    edges = sorted((float(bar.get("x", "")), float(bar.get("width", ""))) for bar in svg.iterfind("rect"))
    for (x, width), (following, _) in pairwise(edges):
        assert x + width <= following + PIXEL


def test_bars_of_equal_density_are_equally_high() -> None:
    # Bins of different widths, all with 3 frames per ms.
    borders = [1.0, 2.0, 4.0, 7.0, 11.0, 16.0, 22.0, 30.0]
    counts = {border: round(3 * (border - before)) for before, border in zip([0.0, *borders], borders, strict=False)}
    age = Percentiles(90, 15.0, 27.0, 29.0, 30.0, 30.0)
    chart = age_histogram({**counts, math.inf: 0}, age, deadline=None)
    heights = [float(bar.get("height", "")) for bar in drawn(chart).iterfind("rect")]
    assert len(heights) >= 5 and max(heights) - min(heights) < PIXEL
    assert frames_in(chart) == 90


def test_a_late_frame_is_counted_and_squeezes_nothing() -> None:
    ages = np.append(np.random.default_rng(0).normal(20, 1, 5000), 900.0)
    chart = age_histogram(histogram(ages), percentiles(ages), deadline=25.0)
    assert "Not drawn: 1 older frame, up to 900 ms." in chart
    svg = drawn(chart)
    assert value_at(svg, 412) < 60  # the right end of the axis
    (limit,) = [line for line in svg.iterfind("line") if line.get("class") == "limit"]
    assert abs(value_at(svg, float(limit.get("x1", ""))) - 25.0) < PIXEL * 60 / 376
    assert "deadline" in [text.text for text in svg.iterfind("text")]


def test_all_frames_in_one_bin_and_none_at_all() -> None:
    assert "<svg" not in age_histogram({}, None, None) and "<svg" not in age_histogram({math.inf: 0}, None, 10.0)
    alone = Percentiles(4, 0.5, 0.5, 0.5, 0.5, 0.5)
    assert frames_in(age_histogram({1.0: 4, math.inf: 0}, alone, None)) == 4
    beyond = Percentiles(4, 2e6, 2e6, 2e6, 2e6, 2e6)
    assert frames_in(age_histogram({1e6: 0, math.inf: 4}, beyond, None)) == 4


def test_the_age_over_time_is_where_the_moments_are() -> None:
    status = steady(slower=2.0)
    svg = drawn(age_over_time(status.moments, None))
    for name in ("p50", "p99"):
        (line,) = svg.findall(f"polyline[@class='{name}']")
        points = [tuple(map(float, point.split(","))) for point in line.get("points", "").split()]
        assert len(points) == len(status.moments)
        middles = [moment.begun + moment.seconds / 2 for moment in status.moments]
        # Points are written to a tenth of a unit.
        assert np.allclose([value_at(svg, x) for x, _ in points], middles, atol=0.06 * 120 / 376)
        ages = np.array([getattr(moment.age, name) for moment in status.moments])
        ys = np.array([y for _, y in points])
        scale, offset = np.polyfit(ages, ys, 1)
        assert scale < 0 and np.abs(scale * ages + offset - ys).max() < 0.06
    *whole, last = status.moments
    (line,) = drawn(age_over_time([*whole, replace(last, seconds=0.2)], None)).findall("polyline[@class='p99']")
    assert len(line.get("points", "").split()) == len(whole)
    assert "<svg" not in age_over_time(status.moments[:1], None)
    assert "time since the first frame, min" in age_over_time(steady(900).moments, None)


# Tables


def test_the_ledger_is_a_sum_and_says_when_it_is_wrong() -> None:
    assert "adds up" in ledger({"top": FrameCounts(10, 4, 3, 2, 1, 0)})
    wrong = ledger({"top": FrameCounts(10, 4, 3, 2, 0, 0)})
    assert "does not add up: 1 frame unaccounted for" in wrong
    assert "5 frames never came" in ledger({"top": FrameCounts(dropped_by_device=5)})


def test_stages_without_a_frame_are_left_out() -> None:
    nothing = Percentiles(0, *[math.nan] * 5)
    one = Percentiles(5, 1.0, 2.0, 3.0, 4.0, 5.0)
    assert "No poses" in stages({"age": nothing})
    table = stages({"wait": nothing, "age": one})
    assert "age" in table and "wait" not in table
    cells = re.findall("<td>(.*?)</td>", table)
    assert cells == ["1.00", "2.00", "3.00", "4.00", "5.00", "2.00"]


def test_outputs_say_when_they_are_in_their_safe_state() -> None:
    assert "in its safe state" in outputs({"light": OutputCounts(in_safe_state=True)})
    assert "in its safe state" not in outputs({"light": OutputCounts()})


# The verdict


def test_a_model_that_keeps_up() -> None:
    status = replace(steady(), cameras={"top": FrameCounts(4800, 4800)}, deadline=500.0)
    assert told(status, "^top: kept up; all 4,800 frames") is Weight.GOOD
    assert told(status, "met the deadline of 500 ms") is Weight.GOOD
    assert told(status, "^No faults") is told(status, "^The ledger adds up") is told(status, "^No drift") is Weight.GOOD
    assert Weight.BAD not in sentences(status).values()


def test_a_model_that_does_not_keep_up_and_what_it_would_take() -> None:
    status = steady()
    text = r"40\.0 % of 12,000 frames became poses; 7,199 gave way .* a frame may take 10\.0 ms, and it took 25\.\d ms"
    assert told(status, text) is Weight.NOTE


def test_a_camera_that_loses_frames_is_as_fast_as_it_counts() -> None:
    half = FrameCounts(6000, 4800, 1200, dropped_by_device=6000)
    status = replace(steady(), cameras={"top": half})
    assert told(status, r"80\.0 % of 6,000 .* a frame may take 10\.0 ms, and it took 25\.\d ms") is Weight.NOTE
    once = replace(status, faults=troubled().faults[:1])
    assert one_line(once).endswith(", 1200 gave way, 1 fault")


def test_what_took_the_time_and_what_spread_it() -> None:
    status = steady()
    assert told(status, r"^Most of the time is spent in the model's graphs: 25\.0 ms") is Weight.NOTE
    slow_wait = replace(status, stages={**status.stages, "wait": Percentiles(9, 50.0, 60.0, 90.0, 90.0, 90.0)})
    assert (
        told(slow_wait, r"waiting for the model .* 50\.0 ms.* Late poses are late mostly waiting .* 40\.0 ms")
        is Weight.NOTE
    )


def test_drift_is_seen_and_said_when_it_passed() -> None:
    assert told(steady(slower=2.0), "^It became slower: p50 of the age went from") is Weight.BAD
    status = steady()
    late = replace(status.moments[20], age=replace(status.moments[20].age, p50=80.0))
    passed = replace(status, moments=(*status.moments[:20], late, *status.moments[21:]))
    assert (
        told(passed, r"^It was slow for a while: 1 min 00 s after the beginning p50 of the age was 80\.0")
        is Weight.NOTE
    )
    assert told(replace(status, moments=status.moments[:3]), "drift|slow for|became slower") is None


def test_trouble_is_said() -> None:
    status = troubled()
    assert told(status, "^The run could not go on after 2 min 00 s: side: was unplugged; plug it in") is Weight.BAD
    assert told(status, r"^17 poses \(0\.4 %\) missed the deadline of 40 ms") is Weight.BAD
    assert told(status, r"^3 faults: output stalled \(1\), deadline missed \(1\) and source lost \(1\)") is Weight.BAD
    assert told(status, "41 frames never came: the camera or its driver dropped them; look at its cable") is Weight.NOTE
    assert told(status, "15 became too old while waiting and 3 failed in inference") is Weight.BAD
    assert told(status, "did not get 1,699 results of 4,800") is Weight.NOTE


def test_an_open_ledger_is_said() -> None:
    status = replace(steady(), cameras={"top": FrameCounts(10, 9)})
    assert told(status, "^The ledger of top does not add up") is Weight.BAD
    assert told(status, "^The ledger adds up") is None


def test_what_the_numbers_do_not_say() -> None:
    status = steady()
    assert told(status, r"^Ages count from exposure by the camera's own clock; .* it took 1\.\d+ ms") is Weight.NOTE
    never = replace(status, stages={**status.stages, "transfer": Percentiles(9, 0.0, 0.0, 0.0, 0.0, 0.0)})
    assert told(never, "^No camera told when it exposed .* come on top") is Weight.NOTE
    some = replace(status, stages={**status.stages, "transfer": Percentiles(9, 0.0, 1.0, 2.0, 2.0, 2.0)})
    assert told(some, "^Some frames came without a time of exposure") is Weight.NOTE
    assert told(status, "when the message has left, not when a light is on") is Weight.NOTE
    few = replace(status, stages={**status.stages, "age": replace(status.stages["age"], count=120)})
    assert told(few, "only 120 frames: run longer before you trust p99.9") is Weight.NOTE


@pytest.mark.parametrize(
    ("kind", "gaps", "ages"),
    [
        (SourceKind.CAMERA, "the camera or its driver dropped them; look at its cable", "by the camera's own clock"),
        (SourceKind.VIDEO_FILE, "could not be read as fast as it plays; add --unpaced", "due by its time stamps"),
        (SourceKind.SIMULATED, "or the camera was asked to lose them", "by the camera's own clock"),
    ],
)
def test_advice_is_for_what_the_source_is(kind: SourceKind, gaps: str, ages: str) -> None:
    counts = {"top": FrameCounts(10, 10, dropped_by_device=3)}
    status = replace(steady(), cameras=counts, sources={"top": kind})
    assert told(status, f"^top: 3 frames never came: .*{gaps}") is Weight.NOTE
    assert told(status, f"^Ages count from .*{ages}") is Weight.NOTE
    assert ("cable" in "".join(sentences(status))) == (kind is SourceKind.CAMERA)
    for text in (ledger(counts), "".join(closing_lines(status))):
        assert "3 frames never came" in text or "3 never came" in text


def test_ages_of_a_file_without_its_own_speed_and_beside_a_camera() -> None:
    at_once = {**steady().stages, "transfer": Percentiles(9, 0.0, 0.0, 0.0, 0.0, 0.0)}
    unpaced = replace(steady(camera="walk.mp4"), stages=at_once, sources={"walk.mp4": SourceKind.VIDEO_FILE})
    assert told(unpaced, "was read: it was played without its own speed") is Weight.NOTE
    beside = replace(unpaced, cameras={**unpaced.cameras, "top": FrameCounts(1, 1)})
    assert told(beside, "^No camera told when it exposed") is Weight.NOTE
    drawn_at_once = replace(unpaced, sources={"walk.mp4": SourceKind.SIMULATED})
    assert told(drawn_at_once, "by the camera's own clock; .* it took 0.00 ms") is Weight.NOTE


def test_nothing_happened() -> None:
    assert told(before_anything(), "^There was no pose at all") is Weight.BAD
    silent = replace(before_anything(), cameras={"top": FrameCounts()})
    assert told(silent, "^top gave no frame") is Weight.BAD


# The page


def test_the_report_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    assert write_report(steady(), path) == path
    before = path.read_bytes()
    with pytest.raises(ResultError, match="cannot be written"):
        write_report(steady(), path / "below.html")
    assert path.read_bytes() == before
    write_report(troubled(), str(path))
    assert path.read_bytes() != before
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]


@pytest.mark.parametrize("status", [steady(), troubled(), before_anything()], ids=["steady", "troubled", "before"])
def test_the_report_needs_nothing_else_and_runs_nothing(status: RunStatus) -> None:
    page = report_page(status)
    assert "<script" not in page and not re.search(r"(src|href)=\"(?!data:,)", page) and "url(" not in page
    assert "@import" not in page


def test_faults_are_timed_from_the_beginning() -> None:
    page = report_page(troubled())
    assert "after 31.5 s" in page and "after 1 min 02 s" in page
    assert "after 31.5 s" not in report_page(replace(troubled(), begun=None))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.mark.parametrize("width", WIDTHS)
def test_the_report_in_a_browser(browser: Browser, tmp_path: Path, width: int) -> None:
    status = replace(troubled(), state=RunState.STOPPED)
    path = write_report(status, tmp_path / "report.html")
    with opened(browser, path.as_uri(), width, dark=width == WIDTHS[1]) as (tab, said):
        assert tab.locator("svg").count() == 2
        for chart in tab.locator("svg").all():
            box = chart.bounding_box()
            assert box is not None and box["width"] > 250 and box["height"] > 120
        for account, frames in zip(tab.locator(".account").all(), status.cameras.values(), strict=True):
            text = account.locator(".ledger").inner_text()
            captured, *parts = [int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", text)]
            assert captured == frames.captured == sum(parts)
        assert NASTY in tab.inner_text("main") and tab.title() == "Live run · rigpose"
        assert fits(tab) and said == []
