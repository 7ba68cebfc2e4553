"""What happened when, in lanes over one axis of time; and lines over steps.

A lane is as wide as its place on the page, whatever that is, and its name and numbers are text of the page, so that
they can be read on a telephone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from rigpose.arrays import Floats
from rigpose.report.axis import Axis, points
from rigpose.report.markup import Html, join, tag
from rigpose.report.numbers import count, share

ACROSS = 1000
"""Units from the first frame to the last."""
MOST_CELLS = 160
"""Of a ribbon. More would be narrower than a telephone can show."""
MOST_TICKS = 250
"""Of a lane."""
MOST_POINTS = 500
"""Of a line, for the same reason on a large screen."""
LANE, MARKS = 19, 7
"""Height of a ribbon, and of the upper part of it that is free for marks [units], which are px."""
TALL = 46
"""Height of a lane with a line."""


@dataclass(frozen=True)
class Clock:
    """Frames -> times.

    Attributes:
        frames: How many there are.
        rate: Frames per second; 0 where nobody knows, and then frames stand for times.
    """

    frames: int
    rate: float

    def at(self, frame: float) -> float:
        """Where the frame begins [units across]."""
        return ACROSS * frame / max(self.frames, 1)

    def words(self, frame: int) -> str:
        """When a frame is."""
        return f"frame {count(frame)}" + (f" at {self._time(frame)}" if self.rate else "")

    def span(self, begin: int, end: int) -> str:
        """From when to when."""
        if end - begin == 1:
            return self.words(begin)
        times = f", {self._time(begin)} to {self._time(end)}" if self.rate else ""
        return f"frames {count(begin)} to {count(end - 1)}{times}"

    def ticks(self) -> list[tuple[float, str]]:
        """Places [0, 1] and names of round times."""
        if not self.rate:
            axis = Axis(self.frames, 0, 1, unit="frames", whole=False)
            return [(axis.at(tick), count(int(tick))) for tick in axis.ticks if tick == int(tick)]
        seconds = self.frames / self.rate
        per, unit = next((per, unit) for per, unit, least in _UNITS if seconds >= least)
        axis = Axis(seconds / per, 0, 1, unit=unit, whole=False)
        return [(axis.at(tick), f"{round(tick, 6):g}") for tick in axis.ticks]

    @property
    def name(self) -> str:
        """What the axis says."""
        if not self.rate:
            return "frame"
        seconds = self.frames / self.rate
        return "time, " + next(unit for _, unit, least in _UNITS if seconds >= least)

    def _time(self, frame: int) -> str:
        seconds = frame / self.rate
        if seconds < 60:
            return f"{seconds:.2f} s"
        whole = int(seconds)
        hours = f"{whole // 3600}:" if whole >= 3600 else ""
        return f"{hours}{whole // 60 % 60:02d}:{seconds % 60:04.1f}"


_UNITS = ((3600.0, "h", 3 * 3600.0), (60.0, "min", 180.0), (1.0, "s", 0.0))


@dataclass(frozen=True)
class Mark:
    """Something at a frame, which a lane shows as a tick."""

    frame: int
    words: str


def ribbon(values: Floats, clock: Clock, pcutoff: float, marks: Sequence[Mark] = (), *, told: bool = True) -> Html:
    """Scores as colours.

    Args:
        values: (F,) [0, 1]; NaN where there is nothing to score.
        clock: Of the F frames.
        pcutoff: From which score on a keypoint is used, where the colours change most.
        marks: Drawn above it.
        told: Whether each cell says its scores; where not, neighbours of one colour are one cell, to save room.
    """
    cells: list[tuple[int, int, int, str]] = []
    for begin, end in _bins(len(values), MOST_CELLS):
        part = values[begin:end]
        known = part[np.isfinite(part)]
        if not len(known):
            continue
        # The worst tenth of a cell, not its mean: a few bad frames must not drown in a long video.
        colour = level(float(np.quantile(known, 0.1)), pcutoff)
        words = f"{clock.span(begin, end)}: score {known.mean():.2f}, lowest {known.min():.2f}"
        if not told and cells and cells[-1][1:3] == (begin, colour):
            cells[-1] = (cells[-1][0], end, colour, words)
        else:
            cells.append((begin, end, colour, words))
    drawn = [
        tag(
            "rect", *([tag("title", words)] if told else []), class_=f"q{colour}", x=clock.at(begin),
            # A hair more than its width, so that no gap shows between neighbours.
            width=clock.at(end) - clock.at(begin) + 0.4, y=MARKS, height=LANE - MARKS,
        )
        for begin, end, colour, words in cells
    ]  # fmt: skip
    return _lane([*drawn, *_ticks(marks, clock, MARKS - 1)], LANE)


def _levels(pcutoff: float) -> tuple[float, float, float]:
    """Scores at which a ribbon changes its colour; the one in the middle is the cutoff."""
    return pcutoff / 2, pcutoff, (1 + pcutoff) / 2


def level(score: float, pcutoff: float) -> int:
    """Which colour: 0 is worst, 3 is best."""
    return sum(score >= least for least in _levels(pcutoff))


def presence(
    present: Sequence[tuple[int, int]], speed: Floats, fastest: float, clock: Clock, marks: Sequence[Mark] = ()
) -> Html:
    """When an animal was there, and how fast.

    Args:
        present: From when to when, ends excluded.
        speed: (F,) of its body; NaN where nobody knows.
        fastest: The speed at the upper edge.
        clock: Of the F frames.
        marks: Drawn over it.
    """
    bars = [
        tag(
            "rect", tag("title", f"there in {clock.span(begin, end)}"), class_="there",
            x=clock.at(begin), width=max(clock.at(end) - clock.at(begin), 1.0), y=TALL - 6, height=6,
        )
        for begin, end in present
    ]  # fmt: skip
    lines = []
    for line in _lines(speed, clock):
        heights = [(x, (TALL - 9) * (1 - min(value / fastest, 1)) + 1) for x, value in line]
        floor = [(heights[-1][0], TALL - 8.0), (heights[0][0], TALL - 8.0)]
        lines += [tag("polygon", points=points([*heights, *floor])), tag("polyline", points=points(heights))]
    return _lane([*lines, *bars, *_ticks(marks, clock, TALL)], TALL)


def lanes(groups: Sequence[tuple[str, Sequence[tuple[str, Html, str]]]], clock: Clock) -> Html:
    """Lanes below each other over one axis.

    Args:
        groups: What each group of lanes is, and of each of its lanes the name, the lane, and what is said at its end.
        clock: Of all of them.
    """
    cells: list[Html] = []
    for words, rows in groups:
        cells.append(tag("p", words))
        for name, lane, end in rows:
            cells += [tag("div", name, class_="name", title=name), lane, tag("div", end, class_="end")]
    ticks = [tag("span", name, style=f"left:{100 * place:.2f}%") for place, name in clock.ticks()]
    axis = [tag("div", clock.name, class_="name axis"), tag("div", *ticks, class_="ticks"), tag("div", class_="end")]
    return tag("div", *cells, *axis, class_="lanes")


def score_legend(pcutoff: float) -> Html:
    """What the colours of ribbons mean."""
    worst, cutoff, good = (f"{value:.2f}".rstrip("0") for value in _levels(pcutoff))
    words = f"missing or under {worst}", f"{worst} to {cutoff}", f"{cutoff} to {good}", f"score {good} and more"
    keys = [tag("span", tag("i", class_=f"q{i}"), text) for i, text in reversed(list(enumerate(words)))]
    mark = tag("span", tag("i", class_="tick"), "jump, leap or switch")
    return tag("p", *keys, tag("span", tag("i", class_="none"), "animal absent"), mark, class_="legend keys")


def parts_bar(parts: Iterable[tuple[str, float]]) -> Html:
    """Parts of a whole beside each other.

    Args:
        parts: Class and size of each.
    """
    pieces = [
        tag("i", class_=kind, style=f"flex-grow:{size:.5f}", title=f"{kind}: {share(round(size * 100000), 100000)}")
        for kind, size in parts
        if size > 0
    ]
    return tag("div", *pieces, class_="shares", aria_hidden="true")


def curves(
    lines: Sequence[tuple[str, str, Sequence[tuple[float, float]]]], words: str, upright: str, along: str
) -> Html:
    """Lines over steps, with axes.

    Args:
        lines: Name, class and places of each.
        words: What the picture shows, for those who cannot see it.
        upright: Name of the upright axis.
        along: Name of the lower one.
    """
    width, height, left, right, top, bottom = 420, 210, 42, 8, 24, 34
    everything = [place for _, _, line in lines for place in line]
    if not everything:
        return tag("p", "Nothing was logged.", class_="nothing")
    across = Axis(max(x for x, _ in everything) or 1, left, width - right, unit="", whole=False)
    up = Axis(max(y for _, y in everything) or 1, height - bottom, top, unit="")
    drawn: list[Html] = [
        *(tag("line", x1=left, x2=width - right, y1=up.at(tick), y2=up.at(tick)) for tick in up.ticks),
        *(tag("text", f"{round(t, 6):g}", x=left - 6, y=up.at(t) + 4, text_anchor="end") for t in up.ticks),
        *(
            tag("text", f"{round(t, 6):g}", x=across.at(t), y=height - bottom + 14, text_anchor="middle")
            for t in across.ticks
        ),
        tag("text", upright, x=0, y=12),
        tag("text", along, x=width - right, y=height - 4, text_anchor="end"),
    ]
    pictures: list[Html] = [tag("g", *drawn, class_="axis")]
    for name, kind, line in lines:
        places = [(across.at(x), up.at(y)) for x, y in line]
        if len(places) == 1:
            # A line of one point would not be seen.
            pictures.append(tag("circle", tag("title", name), class_=kind, cx=places[0][0], cy=places[0][1], r=3))
        elif places:
            pictures.append(tag("polyline", tag("title", name), class_=kind, points=points(places)))
    keys = [tag("span", tag("i", class_=kind), name) for name, kind, line in lines if line]
    chart = tag("svg", *pictures, viewBox=f"0 0 {width} {height}", role="img", aria_label=words, class_="chart")
    return join([tag("p", *keys, class_="legend"), chart])


def _lane(drawn: Sequence[Html], height: int) -> Html:
    """Stretched to the width of its place, and no higher for it."""
    return tag(
        "svg", *drawn, viewBox=f"0 0 {ACROSS} {height}", preserveAspectRatio="none", class_="lane",
        style=f"height:{height}px", role="img", aria_hidden="true",
    )  # fmt: skip


def _ticks(marks: Sequence[Mark], clock: Clock, height: int) -> list[Html]:
    """A tick for each place that the eye can tell from the next; one that stands for several says so."""
    places: dict[int, list[Mark]] = {}
    for mark in marks:
        places.setdefault(int(clock.at(mark.frame + 0.5) * MOST_TICKS / ACROSS), []).append(mark)
    drawn = []
    for first, *others in places.values():
        words = f"{first.words}, and {count(len(others))} more here" if others else first.words
        x = clock.at(first.frame + 0.5)
        drawn.append(tag("line", tag("title", words), class_="mark", x1=x, x2=x, y1=0, y2=height))
    return drawn


def _bins(frames: int, most: int) -> list[tuple[int, int]]:
    """Frames in at most so many groups, from when to when."""
    edges = np.unique(np.linspace(0, frames, min(frames, most) + 1).round().astype(int)).tolist()
    return list(pairwise(edges))


def _lines(values: Floats, clock: Clock) -> list[list[tuple[float, float]]]:
    """The largest value of each group of frames, broken where nothing is known."""
    lines: list[list[tuple[float, float]]] = [[]]
    for begin, end in _bins(len(values), MOST_POINTS):
        known = values[begin:end][np.isfinite(values[begin:end])]
        if len(known):
            lines[-1].append((clock.at((begin + end) / 2), float(known.max())))
        elif lines[-1]:
            lines.append([])
    return [line for line in lines if len(line) > 1]
