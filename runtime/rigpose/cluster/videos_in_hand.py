"""The videos of a job: those to come, those that are shared among workers now, and what is said when one is done."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from rigpose.cluster.merging import MergedVideo
from rigpose.cluster.segments import Segment
from rigpose.cluster.worker import WorkerFacts
from rigpose.errors import MediaError, ResultError
from rigpose.progress import Advance
from rigpose.videos.journalled_video import JournalledVideo, finished_result
from rigpose.videos.metadata import ResultIdentity
from rigpose.videos.outcome import AnalysisOptions, VideoFailure, VideoResult

Each = Callable[[VideoResult | VideoFailure], None]


class VideosInHand:
    """They are opened in order, each when a worker has nothing else to do, so that few are open at once.

    Args:
        videos: All of them.
        identity: Whose results these are.
        options: How to analyse.
        each: Called with what came of each video.
        advance: Told of frames that an interrupted run had left.
    """

    def __init__(
        self,
        videos: Iterable[Path],
        *,
        identity: ResultIdentity,
        options: AnalysisOptions,
        each: Each,
        advance: Advance,
    ) -> None:
        self._waiting = deque(videos)
        self._open: list[MergedVideo] = []
        self._identity, self._options = identity, options
        self._each, self._advance = each, advance

    def __len__(self) -> int:
        """How many are not done."""
        return len(self._waiting) + len(self._open)

    def next_segment(
        self,
        facts: WorkerFacts,
        period_of: Callable[[int, int], int],
        wanted: Callable[[MergedVideo, Segment], bool],
    ) -> tuple[MergedVideo, Segment] | None:
        """The next segment for a worker, of the first video that has one; none if there is no more.

        Args:
            facts: Of the worker.
            period_of: As of ``JournalledVideo``; whatever it raises beside a ``MediaError`` is raised here, and the
                video stays the next one.
            wanted: Whether the worker may have a segment.
        """
        while True:
            for video in self._open:
                if video.hardware != facts.hardware:
                    continue
                segment = video.take(lambda one, video=video: wanted(video, one))
                if segment is not None:
                    return video, segment
            if not self._waiting:
                return None
            self._open_next(facts, period_of)

    def ended(self) -> list[MergedVideo]:
        """Those whose frames are all in their journals."""
        return [video for video in self._open if video.ended]

    def written(self, video: MergedVideo, result: VideoResult) -> None:
        """A worker has made its tables."""
        self._open.remove(video)
        own = video.video
        warnings = (*result.warnings, *own.begun_anew())
        if video.read_through is not None:
            slow = f"its frames cannot be sought exactly, so one worker read it from frame {video.read_through} on."
            warnings = (*warnings, f"{own.path}: {slow}")
        self._each(replace(result, resumed_at=own.resumed_at, warnings=warnings))

    def failed(self, video: MergedVideo, sentence: str) -> None:
        """It cannot be analysed; what comes of its segments is no longer wanted."""
        if video in self._open:
            self._open.remove(video)
            video.give_up()
            self._each(VideoFailure(video.video.path, sentence))

    def kept(self) -> str:
        """After an interruption: how far it came."""
        frames = sum(video.video.journal.frames for video in self._open)
        return (
            f"stopped with {len(self)} videos to go; {frames} frames of those that were begun are kept, and the same "
            "command continues from there."
        )

    def close(self) -> None:
        """Let go of those that are open; their journals stay."""
        for video in self._open:
            video.video.close()

    def _open_next(self, facts: WorkerFacts, period_of: Callable[[int, int], int]) -> None:
        path = self._waiting.popleft()
        try:
            there = finished_result(facts, path, self._identity, self._options)
            if there is not None:
                self._each(there)
                return
            video = JournalledVideo(facts, path, identity=self._identity, options=self._options, period_of=period_of)
        except (MediaError, ResultError) as error:
            self._each(VideoFailure(path, str(error)))
            return
        except BaseException:
            self._waiting.appendleft(path)
            raise
        self._advance(video.resumed_at)
        self._open.append(MergedVideo(video, facts.hardware))
