"""Latency as pictures: inline SVG, the colours by the page's style."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from rigpose.live.status import Moment, Percentiles
from rigpose.report.axis import Axis, points
from rigpose.report.markup import Html, join, tag
from rigpose.report.numbers import count, counted, duration, ms, share

WIDTH, HEIGHT = 420, 210
"""Of the view box [units]; a telephone shows it nearly as large, so that its letters can be read."""
LEFT, RIGHT, TOP, BOTTOM = 36, 8, 44, 34
"""Room for the numbers of the axes and the names of the lines."""
ROWS = 12, 26, 38
"""Where the name of the upright axis and those of the marks stand, each free of the others."""
LETTER = 7
"""Width of one, at most."""
NARROWEST = 6
"""A bar is at least so wide; finer bins are put together."""
TAIL = 0.005
"""The last part of the frames, which the histogram only counts, so that one late frame does not squeeze the rest."""


@dataclass(frozen=True)
class _Bar:
    """Frames whose age is from ``begin`` to ``end`` [ms]."""

    begin: float
    end: float
    frames: int


def age_histogram(histogram: Mapping[float, int], age: Percentiles | None, deadline: float | None) -> Html:
    """How many frames were how old when their poses were there.

    Heights are parts of all frames per millisecond, so that areas compare whatever the bins' widths.
    """
    total = sum(histogram.values())
    if not total or age is None:
        return _nothing("No poses so far.")
    bins = _bins(histogram, age.max)
    axis = Axis(_last(bins, total, deadline), LEFT, WIDTH - RIGHT, unit="ms")
    shown, later = _bars(bins, axis)
    densities = [100 * bar.frames / total / (bar.end - bar.begin) for bar in shown]
    heights = Axis(max(densities, default=1) or 1, HEIGHT - BOTTOM, TOP, unit="%")
    drawn: list[Html] = [_horizontal(heights, "% of frames per ms"), _along(axis, "age when the poses were there, ms")]
    for bar, density in zip(shown, densities, strict=True):
        if bar.frames:
            words = f"{ms(bar.begin)} to {ms(bar.end)} ms: {counted(bar.frames, 'frame')}, {share(bar.frames, total)}"
            drawn.append(_rectangle(axis, heights, bar, density, words))
    marks = [("p50", age.p50, "mark"), ("p99", age.p99, "mark")]
    if deadline is not None:
        marks.append(("deadline", deadline, "limit"))
    drawn.extend(_marks([mark for mark in marks if mark[1] <= axis.end], axis))
    words = f"Histogram of the age of {count(total)} frames: p50 {ms(age.p50)} ms, p99 {ms(age.p99)} ms."
    if not later:
        return _chart(words, drawn)
    beyond = f"Not drawn: {counted(later, 'older frame')}, up to {ms(age.max)} ms."
    return join([_chart(words, drawn), tag("p", beyond, class_="late")])


def age_over_time(moments: Sequence[Moment], deadline: float | None) -> Html:
    """p50 and p99 of the age in every stretch of the run."""
    told = [moment for moment in moments if moment.frames]
    if len(told) < 2:
        return _nothing("Too short so far to say how the age goes on.")
    end = max(moment.begun + moment.seconds for moment in told)
    if len(told) > 2 and told[-1].seconds < told[0].seconds / 2:
        told = told[:-1]  # of a stretch that has just begun, p99 is its oldest frame
    minutes = end >= 300
    axis = Axis(end / (60 if minutes else 1), LEFT, WIDTH - RIGHT, unit="min" if minutes else "s", whole=False)
    oldest = max(moment.age.p99 for moment in told)
    # A far deadline must not flatten the lines.
    limit = deadline if deadline is not None and deadline <= 2 * oldest else None
    ages = Axis(max(oldest, limit or 0) * 1.05 or 1, HEIGHT - BOTTOM, TOP, unit="ms")
    places = [axis.at((moment.begun + moment.seconds / 2) / (60 if minutes else 1)) for moment in told]
    drawn = [_horizontal(ages, "age, ms", row=1), _along(axis, f"time since the first frame, {axis.unit}")]
    if limit is not None:
        y = ages.at(limit)
        drawn.append(tag("line", class_="limit", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y))
        drawn.append(tag("text", "deadline", class_="limit", x=WIDTH - RIGHT, y=y - 4, text_anchor="end"))
    p50, p99 = ([ages.at(getattr(moment.age, name)) for moment in told] for name in ("p50", "p99"))
    between = [*zip(places, p99, strict=True), *reversed(list(zip(places, p50, strict=True)))]
    drawn.append(tag("polygon", class_="between", points=points(between)))
    drawn.extend(
        tag("polyline", class_=name, points=points(list(zip(places, line, strict=True))))
        for name, line in (("p50", p50), ("p99", p99))
    )
    words = (
        f"Age over {duration(end)}: p50 from {ms(told[0].age.p50)} to {ms(told[-1].age.p50)} ms, "
        f"p99 from {ms(told[0].age.p99)} to {ms(told[-1].age.p99)} ms."
    )
    return join([_legend(), _chart(words, drawn)])


def _bins(histogram: Mapping[float, int], oldest: float) -> list[_Bar]:
    """The bins with both borders; the oldest frame ends the last one, which has none."""
    bars: list[_Bar] = []
    begin = 0.0
    for border, frames in histogram.items():
        end = border if math.isfinite(border) else max(oldest, begin)
        if end > begin:
            bars.append(_Bar(begin, end, frames))
        elif frames:
            bars[-1] = _Bar(bars[-1].begin, bars[-1].end, bars[-1].frames + frames)
        begin = end
    return bars


def _last(bins: Sequence[_Bar], total: int, deadline: float | None) -> float:
    """Where the axis ends: after all frames but the tail, and after a deadline that is not far away."""
    soonest = next(
        bar.end
        for bar, so_far in zip(bins, accumulate(bar.frames for bar in bins), strict=True)
        if so_far >= (1 - TAIL) * total
    )
    return max(soonest, deadline * 1.05) if deadline is not None and deadline <= 2 * soonest else soonest


def _bars(bins: Sequence[_Bar], axis: Axis) -> tuple[list[_Bar], int]:
    """Bins put together until each is wide enough to see; and how many frames are beyond the axis."""
    width = NARROWEST * axis.end / (WIDTH - LEFT - RIGHT)
    shown: list[_Bar] = []
    begin, frames = 0.0, 0
    for bar in bins:
        if bar.end > axis.end * (1 + 1e-9):
            break
        frames += bar.frames
        if bar.end - begin >= width:
            shown.append(_Bar(begin, bar.end, frames))
            begin, frames = bar.end, 0
    if frames:
        shown.append(_Bar(begin, min(begin + width, axis.end), frames))
    return shown, sum(bar.frames for bar in bins) - sum(bar.frames for bar in shown)


def _rectangle(axis: Axis, heights: Axis, bar: _Bar, density: float, words: str) -> Html:
    x, y = axis.at(bar.begin), heights.at(density)
    # A hair between the bars, and never a bar that is there but too flat to see.
    width, height = max(axis.at(bar.end) - x - 1, 1.0), max(heights.at(0) - y, 1.5)
    return tag(
        "rect", tag("title", words), class_="bar", x=x, y=heights.at(0) - height, width=width, height=height, rx=1.0
    )


def _marks(marks: Sequence[tuple[str, float, str]], axis: Axis) -> list[Html]:
    """Named upright lines."""
    drawn: list[Html] = []
    free = 0.0
    for name, value, kind in sorted(marks, key=lambda mark: mark[1]):
        x, wide = axis.at(value), LETTER * len(name)
        left = x + 4 + wide > WIDTH
        begin = x - 4 - wide if left else x + 4
        # A name that would meet the one before goes below it.
        y = ROWS[1] if begin >= free else ROWS[2]
        drawn.append(tag("line", class_=kind, x1=x, x2=x, y1=y - 8.0, y2=HEIGHT - BOTTOM))
        drawn.append(tag("text", name, class_=kind, x=begin + wide * left, y=y, text_anchor="end" if left else None))
        free = begin + wide if y == ROWS[1] else 0.0
    return drawn


def _along(axis: Axis, words: str) -> Html:
    """The axis below: its numbers and what they are."""
    numbers = [
        tag("text", f"{tick:g}", x=axis.at(tick), y=HEIGHT - BOTTOM + 14, text_anchor="middle")
        for tick in map(_rounded, axis.ticks)
    ]
    name = tag("text", words, class_="name", x=WIDTH - RIGHT, y=HEIGHT - 4, text_anchor="end")
    return tag("g", *numbers, name, class_="axis")


def _horizontal(axis: Axis, words: str, row: int = 0) -> Html:
    """The axis at the left: its numbers, a line for each, and what they are."""
    lines = [tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=axis.at(tick), y2=axis.at(tick)) for tick in axis.ticks]
    numbers = [
        tag("text", f"{tick:g}", x=LEFT - 6, y=axis.at(tick) + 4, text_anchor="end")
        for tick in map(_rounded, axis.ticks)
    ]
    name = tag("text", words, class_="name", x=0, y=ROWS[row])
    return tag("g", *lines, *numbers, name, class_="axis")


def _rounded(tick: float) -> float:
    return round(tick, 6)


def _legend() -> Html:
    names = (("p50", "p50, half of the frames were younger"), ("p99", "p99, one in a hundred was older"))
    keys = [tag("span", tag("i", class_=name, aria_hidden="true"), words) for name, words in names]
    return tag("p", *keys, class_="legend")


def _chart(words: str, drawn: Sequence[Html]) -> Html:
    return tag("svg", *drawn, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=words, class_="chart")


def _nothing(words: str) -> Html:
    return tag("p", words, class_="nothing")
