"""The page of many analysed videos: a row for each, the worst first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rigpose.arrays import Floats
from rigpose.errors import RigposeError
from rigpose.progress import Progress, silent
from rigpose.report.analysed import Analysed, read_analysed
from rigpose.report.charts import Clock, Mark, ribbon, score_legend
from rigpose.report.findings import findings, frame_words, needs_a_look, percent
from rigpose.report.markup import Html, join, tag
from rigpose.report.measures import measure, worst_frames
from rigpose.report.numbers import NOTHING, count, counted, duration, share
from rigpose.report.page import LOOK, document, section
from rigpose.report.pictures import Picture, drawn_frames, gallery
from rigpose.report.results_page import device_of, speed_of
from rigpose.report.sentences import Sentence, Weight, verdict_list
from rigpose.report.tables import large_numbers, nothing

MOST_PICTURES = 12
"""Videos whose worst frame is shown."""


@dataclass(frozen=True)
class Video:
    """One row.

    Attributes:
        analysed: Without its poses there would be nothing to draw.
        score: (F,) the worst keypoint of the animals that are there; NaN where none is.
        coverage: Part of the keypoints that are sure [0, 1].
        jumps: How many.
        marks: When they are.
        switches: Suspected ones.
        absent: Part of the animals' frames in gaps [0, 1].
        sentences: The findings.
        badness: Mean over the frames; what the rows are sorted by.
        worst: The worst frame and what is wrong in it; none where nothing stands out.
    """

    analysed: Analysed
    score: Floats
    coverage: float
    jumps: int
    marks: tuple[Mark, ...]
    switches: int
    absent: float
    sentences: list[Sentence]
    badness: float
    worst: tuple[int, str] | None

    @property
    def clock(self) -> Clock:
        """Of its frames."""
        return Clock(len(self.score), self.analysed.frames_per_second)


def batch_page(tables: Mapping[Path, Path | None], *, failures: Sequence[str] = (), show: Progress = silent) -> str:
    """The page's text. A video that cannot be read is named on the page, and the others go on.

    Args:
        tables: Of the videos, each with where its video is; none to look for it beside the table.
        failures: Sentences about videos that have no table.
        show: How progress is shown.
    """
    videos: list[Video] = []
    failed = list(failures)
    with show("results", len(tables), "videos") as advance:
        for path, video in tables.items():
            try:
                videos.append(_measured(read_analysed(path, video)))
            except RigposeError as error:
                failed.append(str(error))
            advance(1)
    named = len(tables) + len(failures)
    videos.sort(key=lambda video: -video.badness)
    pictures = _pictures(videos[:MOST_PICTURES], failed, show)
    main = tag(
        "main",
        section("In numbers", large_numbers(_numbers(videos, named)), "wide strip"),
        section("In words", verdict_list(_in_words(videos, failed)), "wide"),
        section("Videos, the worst first", _rows(videos), "wide"),
        section("The worst frame of the worst videos", pictures, "wide"),
    )
    bad = sum(needs_a_look(video.sentences) for video in videos) + len(failed)
    state = tag("span", tag("strong", f"look at {bad}" if bad else "all look fine"), class_=f"state {_kind(bad)}")
    header = tag("header", tag("h1", counted(named, "video")), state)
    return document("Videos · rigpose", LOOK.read_text(encoding="utf-8"), [header, main])


def _measured(analysed: Analysed) -> Video:
    measures = measure(analysed.results, analysed.display.pcutoff)
    clock = Clock(measures.frames, analysed.frames_per_second)
    lowest = np.nan_to_num(measures.score, nan=np.inf).min(axis=(1, 2))
    worst = worst_frames(measures, 1)
    gaps = sum(gap.frames for gap in measures.gaps if gap.frames < measures.frames)
    ever = int(measures.present.any(axis=0).sum())
    return Video(
        analysed=analysed,
        score=np.where(np.isfinite(lowest), lowest, np.nan),
        coverage=measures.coverage,
        jumps=len(measures.jumps),
        marks=tuple(
            Mark(frame, clock.words(frame))
            for frame in sorted({event.frame for event in (*measures.jumps, *measures.leaps)})
        ),
        switches=len(measures.switches),
        absent=gaps / max(ever * measures.frames, 1),
        sentences=findings(analysed, measures),
        badness=float(measures.badness.mean()),
        worst=(worst[0], frame_words(analysed, measures, worst[0])) if worst else None,
    )


def _kind(bad: int) -> str:
    return "check" if bad else "fine"


def _numbers(videos: Sequence[Video], named: int) -> list[tuple[str, str, str]]:
    frames = sum(len(video.score) for video in videos)
    covered = sum(video.coverage * len(video.score) for video in videos) / max(frames, 1)
    told = [
        ("videos", count(len(videos)), "" if len(videos) == named else f"of {count(named)}"),
        ("frames", count(frames), ""),
        ("keypoints sure", percent(covered).removesuffix(" %") if frames else NOTHING, "%"),
        ("jumps", count(sum(video.jumps for video in videos)), ""),
        ("switches", count(sum(video.switches for video in videos)), "suspected"),
    ]
    seconds = sum(len(v.score) / v.analysed.frames_per_second for v in videos if v.analysed.frames_per_second)
    return [*told, ("of film", duration(seconds), "")] if seconds else told


def _in_words(videos: Sequence[Video], failed: Sequence[str]) -> list[Sentence]:
    told = [Sentence(Weight.BAD, sentence) for sentence in failed]
    bad = [video for video in videos if needs_a_look(video.sentences)]
    if bad:
        first = ", ".join(video.analysed.name for video in bad[:3])
        more = f" and {count(len(bad) - 3)} more" if len(bad) > 3 else ""
        told.append(
            Sentence(
                Weight.BAD, f"{counted(len(bad), 'video')} ({share(len(bad), len(videos))}) to look at: {first}{more}."
            )
        )
    if len(videos) > len(bad):
        rest = len(videos) - len(bad)
        told.append(Sentence(Weight.GOOD, f"{counted(rest, 'video')} without anything that looks wrong."))
    devices = sorted({device for video in videos if (device := device_of(video.analysed))})
    rates = [rate for video in videos if (rate := speed_of(video.analysed))]
    if devices and rates:
        spread = f"{min(rates):.1f} to {max(rates):.1f}" if len(rates) > 1 else f"{rates[0]:.1f}"
        told.append(Sentence(Weight.NOTE, f"Analysed at {spread} frames per s on {'; '.join(devices)}."))
    scorers = sorted({video.analysed.results.scorer for video in videos})
    if len(scorers) > 1:
        told.append(Sentence(Weight.NOTE, f"By {count(len(scorers))} models: {', '.join(scorers)}."))
    return told


def _rows(videos: Sequence[Video]) -> Html:
    """Each with its name and what is wrong, its score over time, and its numbers."""
    if not videos:
        return nothing("No table could be read.")
    items = []
    for video in videos:
        # What is said after a colon explains it, and is on the video's own page.
        bad = [sentence.text.split(": ")[0] for sentence in video.sentences if sentence.weight is Weight.BAD]
        words = f"{'; '.join(text.rstrip('.') for text in bad)}." if bad else "Nothing looks wrong."
        told = [
            f"{percent(video.coverage)} sure",
            counted(video.jumps, "jump"),
            counted(video.switches, "switch", "switches"),
            f"{percent(video.absent)} in gaps",
            counted(len(video.score), "frame"),
        ]
        items.append(
            tag(
                "li",
                tag("h3", video.analysed.name, class_="bad" if bad else "good"),
                tag("p", words, class_="aside"),
                ribbon(video.score, video.clock, video.analysed.display.pcutoff, video.marks, told=False),
                tag("p", *(tag("span", text) for text in told), class_="told"),
            )
        )
    lead = tag(
        "p", "Over each video's length: the score of the worst keypoint of the animals that are there.", class_="lead"
    )
    # Most projects have the same cutoff; a ribbon of another one says its scores on hover.
    return join([lead, tag("ol", *items, class_="videos"), score_legend(videos[0].analysed.display.pcutoff)])


def _pictures(videos: Sequence[Video], failed: list[str], show: Progress) -> Html:
    pictures = []
    for video in videos:
        if video.worst is None or video.analysed.video is None:
            continue
        frame, words = video.worst
        try:
            drawn = drawn_frames(video.analysed, [frame], show=show)
        except RigposeError as error:
            failed.append(str(error))
            continue
        if frame in drawn:
            title = f"{video.analysed.name}, {video.clock.words(frame)}"
            pictures.append(Picture(drawn[frame], title, words))
    if pictures:
        return gallery(pictures)
    return nothing("No pictures: no frame stands out, or the videos are not beside their results.")
