"""A real network on a video that is played as a camera, and its poses against those of the offline analysis."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from live_case import Figures, PlainOutput, TimedFinder, figure, played
from turns import take_turns

from rigpose.analyzers.top_down import TopDownAnalyzer
from rigpose.live.finding.open_finder import finder_of
from rigpose.live.finding.whole_frame import WholeFrameFinder
from rigpose.live.live_pose import LivePose
from rigpose.live.sources.video_file import VideoFileSource
from rigpose.live.status import RunStatus
from rigpose.live.watched_session import watch_sessions
from rigpose.load import BundleAnalyzer
from rigpose.poses import Poses
from rigpose.videos.video import Video


def timed_finder(analyzer: BundleAnalyzer) -> TimedFinder:
    """The finder of a bundle, with a watch around it; once per analyzer."""
    finder = finder_of(analyzer)
    return TimedFinder(finder, watch_sessions(finder))


def replayed(analyzer: BundleAnalyzer, clip: Path, *, speed: float, repeats: int) -> Figures:
    """Ages, stages and kept frames of a video that is played, and its poses against the offline ones."""
    timed = timed_finder(analyzer)
    kept: dict[int, Poses] = {}

    def keep(pose: LivePose) -> None:
        kept[pose.frame.number] = pose.poses

    def turn() -> RunStatus:
        timed.forget(clip.name)
        kept.clear()
        source = VideoFileSource(clip, speed=speed)
        return played(timed, [source], timed.session_time, recorders=[PlainOutput(send=keep)])

    found = take_turns({"": turn}, repeats)[""]
    stages, counts = [status.stages for status in found], [status.cameras[clip.name] for status in found]
    with Video(clip) as video:
        total = sum(1 for _ in video.frames())
    figures = {
        "age p50 [ms]": figure([s["age"].p50 for s in stages]),
        "age p99 [ms]": figure([s["age"].p99 for s in stages]),
        "frames with poses [%]": figure([100 * c.inferred / total for c in counts]),
        **{
            f"{stage} {part} [ms]": figure([getattr(s[stage], part) for s in stages])
            for stage in ("transfer", "wait", "sessions", "overhead", "judging")
            for part in ("p50", "p99")
        },
    }
    each_alone = isinstance(timed.finder, WholeFrameFinder) or (
        isinstance(analyzer.model, TopDownAnalyzer) and analyzer.model.detect_every == 1
    )
    if not each_alone:
        print("live against offline: left out; this model's poses depend on which frames came before")
        return figures
    with Video(clip) as video:
        apart = [
            _furthest(kept[frame.index], analyzer.predict(frame.image)[0])
            for frame in video.frames()
            if frame.index in kept
        ]
    if not apart:
        raise SystemExit(f"{clip}: no frame of the last turn became poses.")
    figures["live against offline, furthest [px]"] = figure([max(apart)], "0")
    figures["live against offline, frames"] = figure([len(apart)])
    return figures


def _furthest(live: Poses, offline: Poses) -> float:
    """Largest difference of any coordinate [px] or score; infinite where one has what the other has not."""
    furthest = 0.0
    for ours, right in ((live.xy, offline.xy), (live.score, offline.score)):
        if ours.shape != right.shape or (np.isnan(ours) != np.isnan(right)).any():
            return float("inf")
        furthest = max(furthest, float(np.nanmax(np.abs(ours - right), initial=0.0)))
    return furthest
