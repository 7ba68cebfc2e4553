"""The page of an analysed video."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

import numpy as np

from rigpose.arrays import Frames
from rigpose.progress import Progress, silent
from rigpose.report.analysed import Analysed
from rigpose.report.charts import Clock, Mark, lanes, parts_bar, presence, ribbon, score_legend
from rigpose.report.findings import findings, frame_words, needs_a_look, percent
from rigpose.report.markup import Html, join, tag
from rigpose.report.measures import Measures, measure, spread_frames, worst_frames
from rigpose.report.numbers import NOTHING, count, counted, duration
from rigpose.report.page import LOOK, document, section
from rigpose.report.pictures import Picture, drawn_frames, gallery
from rigpose.report.sentences import Sentence, verdict_list
from rigpose.report.tables import facts, large_numbers, nothing, table
from rigpose.videos.drawing import keypoint_colours

MOST_WORST, MOST_SPREAD = 8, 8
"""Pictures of each kind."""
FIRST_EVENTS, MOST_EVENTS = 8, 200
"""Frames that are listed at once, and on a click; the rest is counted."""


def results_page(analysed: Analysed, *, show: Progress = silent) -> str:
    """The page's text.

    Args:
        analysed: The video's poses.
        show: How progress is shown while the video is read.

    Raises:
        MediaError: The video cannot be read, or is not the one that was analysed.
    """
    measures = measure(analysed.results, analysed.display.pcutoff)
    sentences = findings(analysed, measures)
    clock = Clock(measures.frames, analysed.frames_per_second)
    worst = worst_frames(measures, MOST_WORST)
    spread = [frame for frame in spread_frames(measures.frames, MOST_SPREAD) if frame not in worst]
    drawn = drawn_frames(analysed, [*worst, *spread], show=show) if analysed.video is not None else {}
    main = tag(
        "main",
        section("In numbers", large_numbers(_numbers(analysed, measures)), "wide strip"),
        section("In words", verdict_list(sentences)),
        section("Where keypoints are found", _keypoints(analysed, measures), "tight"),
        section("Over time", _over_time(analysed, measures, clock), "wide"),
        section("Frames to look at first", _worst(analysed, measures, clock, worst, drawn), "wide"),
        section("Frames throughout the video", _spread(analysed, clock, spread, drawn), "wide"),
        section("What moved as it should not", _events(analysed, measures, clock)),
        section("What ran", _ran(analysed)),
    )
    header = tag("header", tag("h1", analysed.name), state(sentences), tag("span", _length(clock), class_="aside"))
    return document(f"{analysed.name} · rigpose", LOOK.read_text(encoding="utf-8"), [header, main])


def state(sentences: list[Sentence]) -> Html:
    """Whether anybody must look, in two words."""
    bad = needs_a_look(sentences)
    return tag(
        "span", tag("strong", "look at it" if bad else "looks fine"), class_=f"state {'check' if bad else 'fine'}"
    )


def told_of(analysed: Analysed) -> Iterator[tuple[str, str]]:
    """What ran on what, as far as the metadata say it."""
    known, ours = analysed.facts, analysed.ours
    yield "model", analysed.results.scorer
    if isinstance(checksum := ours.get("model_checksum"), str):
        yield "bundle", f"checksum {checksum[:12]}"
    if device := device_of(analysed):
        yield "device", device
    if rate := speed_of(analysed):
        batch = f", {known['batch_size']} frames at once" if isinstance(known.get("batch_size"), int) else ""
        yield "speed", f"{rate:.1f} frames per s{batch}"
    if isinstance(size := known.get("frame_dimensions"), (list, tuple)) and len(size) == 2:
        per_second = f", {analysed.frames_per_second:g} per s" if analysed.frames_per_second else ""
        yield "frames", f"{size[0]} x {size[1]} px{per_second}"
    if analysed.crop is not None:
        yield "cropped to", str(analysed.crop)
    if isinstance(decoder := ours.get("decoder"), str):
        yield "decoder", decoder
    if isinstance(begun := known.get("start"), (int, float)):
        yield "analysed", datetime.fromtimestamp(begun, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    yield "table", str(analysed.table)
    yield "video", str(analysed.video) if analysed.video is not None else "not found beside the table"
    if not known:
        yield "metadata", "none beside the table, so device and settings are not known"


def device_of(analysed: Analysed) -> str:
    """Device, library and precision; empty where nobody knows."""
    options = _options(analysed)
    device = [str(analysed.ours["device"])] if "device" in analysed.ours else []
    return ", ".join([*device, *(str(options[name]) for name in ("backend", "precision") if name in options)])


def speed_of(analysed: Analysed) -> float:
    """Of the analysis [frames/s]; 0 where nobody knows."""
    rate = analysed.ours.get("frames_per_second")
    return float(rate) if isinstance(rate, (int, float)) else 0.0


def _ran(analysed: Analysed) -> Html:
    settings = {
        name: said
        for name, value in _options(analysed).items()
        if isinstance(value, Mapping) and (said := _settings(value))
    }
    more = [tag("details", tag("summary", "All settings"), facts(settings))] if settings else []
    return join([facts(dict(told_of(analysed))), *more])


def _options(analysed: Analysed) -> Mapping[str, Any]:
    options = analysed.ours.get("options")
    return options if isinstance(options, Mapping) else {}


def _settings(values: Mapping[str, Any]) -> str:
    """Numbers, switches and words; what is longer is in the metadata."""
    plain = {name: value for name, value in values.items() if isinstance(value, (int, float, str, bool))}
    return ", ".join(
        f"{name} {str(value).lower() if isinstance(value, bool) else value if isinstance(value, str) else f'{value:g}'}"
        for name, value in plain.items()
    )


def _numbers(analysed: Analysed, measures: Measures) -> list[tuple[str, str, str]]:
    known = measures.score[np.isfinite(measures.score)]
    told = [
        ("keypoints sure", percent(measures.coverage).removesuffix(" %"), "%"),
        ("median score", f"{np.median(known):.2f}" if len(known) else NOTHING, ""),
        ("jumps", count(len(measures.jumps)), ""),
    ]
    if len(analysed.results.individuals) > 1:
        told.append(("switches", count(len(measures.switches)), "suspected"))
    told.append(("gaps", count(sum(gap.frames < measures.frames for gap in measures.gaps)), "in tracks"))
    if rate := speed_of(analysed):
        told.append(("analysed at", f"{rate:.0f}" if rate >= 10 else f"{rate:.1f}", "frames/s"))
    return told


def _length(clock: Clock) -> str:
    frames = counted(clock.frames, "frame")
    return f"{frames}, {duration(clock.frames / clock.rate)}" if clock.rate else frames


def _keypoints(analysed: Analysed, measures: Measures) -> Html:
    """Of each keypoint how often it is there."""
    jumps = np.bincount([jump.keypoint for jump in measures.jumps], minlength=len(analysed.results.keypoints))
    rows = []
    for i, name in enumerate(analysed.results.keypoints):
        sure, unsure, missing = (float(part[i]) for part in (measures.sure, measures.unsure, measures.missing))
        bar = parts_bar([("sure", sure), ("unsure", unsure), ("missing", missing)])
        rows.append((name, bar, percent(sure), percent(unsure), percent(missing), count(int(jumps[i]))))
    keys = [
        tag("span", tag("i", class_=kind), words)
        for kind, words in (
            ("sure", f"scores {measures.pcutoff:g} or more"),
            ("unsure", "scores less"),
            ("missing", "not found where its animal is"),
        )
    ]
    whole = table("How often each keypoint is found", ("keypoint", "", "sure", "unsure", "missing", "jumps"), rows)
    return join([whole, tag("p", *keys, class_="legend keys")])


def _over_time(analysed: Analysed, measures: Measures, clock: Clock) -> Html:
    several = len(analysed.results.individuals) > 1
    fastest = _fastest(measures)
    per_second = f", {fastest * clock.rate:,.0f} px per s" if clock.rate else ""
    scores = f"Score of each keypoint{', of the worst animal that is there' if several else ''}"
    tracks = f"{'When each animal is there' if several else 'When the animal is there'}, and the speed of its body"
    groups = [
        (f"{scores}: the worst tenth of every stretch of time", _scores(analysed, measures, clock)),
        (f"{tracks}, up to {fastest:.1f} px per frame{per_second}", _tracks(analysed, measures, clock, fastest)),
    ]
    return join([lanes(groups, clock), score_legend(measures.pcutoff)])


def _scores(analysed: Analysed, measures: Measures, clock: Clock) -> list[tuple[str, Html, str]]:
    """A lane for each keypoint."""
    results, rows = analysed.results, []
    here = measures.present.any(axis=1)
    for i, name in enumerate(results.keypoints):
        # An absent animal has no worst keypoint.
        lowest = np.nan_to_num(measures.score[..., i], nan=np.inf).min(axis=1)
        marks = [
            Mark(jump.frame, f"{clock.words(jump.frame)}: jumped {jump.px:.0f} px")
            for jump in measures.jumps
            if jump.keypoint == i
        ]
        lane = ribbon(np.where(here, lowest, np.nan), clock, measures.pcutoff, marks)
        rows.append((name, lane, _counted(len(marks), "jump")))
    if results.unique is not None:
        rows += [
            (name, ribbon(np.nan_to_num(results.unique[:, i, 2]), clock, measures.pcutoff), "")
            for i, name in enumerate(results.unique_keypoints)
        ]
    return rows


def _tracks(analysed: Analysed, measures: Measures, clock: Clock, fastest: float) -> list[tuple[str, Html, str]]:
    """A lane for each animal."""
    names, rows = analysed.results.individuals, []
    for animal, name in enumerate(names):
        there = _stretches(measures, animal)
        marks = [
            Mark(leap.frame, f"{clock.words(leap.frame)}: {leap.px:.0f} px from where it was")
            for leap in measures.leaps
            if animal in (leap.animal, leap.other)
        ]
        gaps = sum(gap.animal == animal and gap.frames < measures.frames for gap in measures.gaps)
        lane = presence(there, measures.speed[:, animal], fastest, clock, marks)
        rows.append((name if len(names) > 1 else "animal", lane, _counted(gaps, "gap") if there else "never"))
    return rows


def _fastest(measures: Measures) -> float:
    """The upper edge of the speed; the few faster frames, which are mostly wrong, must not flatten the others."""
    known = measures.speed[np.isfinite(measures.speed)]
    return max(float(np.quantile(known, 0.995)), 1e-3) if len(known) else 1.0


def _stretches(measures: Measures, animal: int) -> list[tuple[int, int]]:
    """From when to when an animal is there: what is between its gaps."""
    edges = [0]
    for gap in measures.gaps:
        if gap.animal == animal:
            edges += [gap.begin, gap.end]
    edges.append(measures.frames)
    return [(begin, end) for begin, end in zip(edges[::2], edges[1::2], strict=True) if end > begin]


def _counted(number: int, one: str) -> str:
    return counted(number, one) if number else ""


def _worst(
    analysed: Analysed, measures: Measures, clock: Clock, frames: list[int], drawn: Mapping[int, Frames]
) -> Html:
    if not frames:
        return nothing("No frame stands out from the others.")
    pictures = [Picture(drawn[i], clock.words(i), frame_words(analysed, measures, i)) for i in frames if i in drawn]
    if pictures:
        return join([_colours(analysed), gallery(pictures)])
    said = [tag("li", tag("b", clock.words(i)), ": ", frame_words(analysed, measures, i)) for i in frames]
    return join([nothing(_no_pictures(analysed)), tag("ul", *said, class_="list")])


def _spread(analysed: Analysed, clock: Clock, frames: list[int], drawn: Mapping[int, Frames]) -> Html:
    pictures = [Picture(drawn[frame], clock.words(frame)) for frame in frames if frame in drawn]
    return gallery(pictures) if pictures else nothing(_no_pictures(analysed))


def _no_pictures(analysed: Analysed) -> str:
    if analysed.video is not None:
        return "None of these frames could be decoded."
    return "No pictures, as the video is not beside its results; name it with --video."


def _events(analysed: Analysed, measures: Measures, clock: Clock) -> Html:
    """Every jump, leap and switch, by frame."""
    frames = sorted({event.frame for event in (*measures.jumps, *measures.leaps)})
    if not frames:
        return nothing("Nothing.")
    rows = [(clock.words(frame), frame_words(analysed, measures, frame)) for frame in frames[:MOST_EVENTS]]
    told = [facts(dict(rows[:FIRST_EVENTS]))]
    if later := rows[FIRST_EVENTS:]:
        told.append(tag("details", tag("summary", counted(len(later), "more frame")), facts(dict(later))))
    rest = len(frames) - len(rows)
    return join([*told, *([nothing(f"And {counted(rest, 'more frame')}.")] if rest else [])])


def _colours(analysed: Analysed) -> Html:
    """Which colour is whose, in the pictures."""
    results = analysed.results
    names = results.individuals if results.several else (*results.keypoints, *results.unique_keypoints)
    keys = [
        tag("span", tag("i", style=f"background:rgb({red},{green},{blue})"), name)
        for name, (blue, green, red) in zip(names, keypoint_colours(len(names), analysed.display.colormap), strict=True)
    ]
    return tag("p", *keys, class_="legend keys above")
