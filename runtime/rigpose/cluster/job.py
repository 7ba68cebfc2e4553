"""The course of a cluster's job: videos are opened, shared among the workers, merged, and written."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from rigpose.cluster.devices import ClusterDevice
from rigpose.cluster.merging import MergedVideo
from rigpose.cluster.segments import Segment, SegmentPoses
from rigpose.cluster.worker import Refusal, WorkerFacts
from rigpose.cluster.workers import Hand, Workers
from rigpose.errors import BackendError, MediaError, ResultError
from rigpose.progress import Advance
from rigpose.videos.journalled_video import JournalledVideo, finished_result
from rigpose.videos.metadata import ResultIdentity
from rigpose.videos.outcome import AnalysisInterrupted, AnalysisOptions, VideoFailure, VideoResult

MOST_TRIES = 3
"""A segment whose worker dies so often is the likely cause."""
SECONDS_BETWEEN_LOOKS = 2.0
"""How often machines that came back, or are new, are looked for."""
SECONDS_OF_PATIENCE = 60.0
"""So long a job waits for workers to load their models before it says that it does."""
SECONDS_TO_SETTLE = 10.0
"""So long a job that is stopped waits for tables that are being written."""
SECONDS_WITHOUT_WORKERS = 120.0
"""So long a job waits for a machine when it has none."""

Each = Callable[[VideoResult | VideoFailure], None]


@dataclass(frozen=True, eq=False)
class _Task:
    """What a worker was asked for."""

    kind: Literal["open", "frames", "tables"]
    hand: Hand
    video: MergedVideo | None = None
    segment: Segment | None = None


class Job:
    """Videos through the workers of a cluster.

    Args:
        workers: None of them started yet.
        identity: Whose results these are.
        options: How to analyse.
        each: Called with what came of each video, in the order in which they are done.
        warn: Called with a sentence about a machine.
        fits: What is wrong with a worker, in words; empty if nothing is.
    """

    def __init__(
        self,
        workers: Workers,
        *,
        identity: ResultIdentity,
        options: AnalysisOptions,
        each: Each,
        warn: Callable[[str], None],
        fits: Callable[[WorkerFacts], str],
    ) -> None:
        self._workers, self._identity, self._options = workers, identity, options
        self._each, self._warn, self._fits = each, warn, fits
        self._ray = workers.ray
        self._tasks: dict[Any, _Task] = {}
        self._todo: deque[Path] = deque()
        self._open: list[MergedVideo] = []
        self._deaths: dict[tuple[Path, Segment | None], list[ClusterDevice]] = defaultdict(list)
        self._looked = self._had_workers = time.perf_counter()

    def start(self, advance: Advance) -> None:
        """Start a worker on every device and wait until each has loaded its model.

        Args:
            advance: Told of every one that has.

        Raises:
            BackendError: One of them cannot do the work, or there is no device.
        """
        self._start_missing()
        if not self._tasks:
            raise BackendError(
                f"cluster: none of its machines has a device that is {self._workers.asked}; see ray status."
            )
        patience: float | None = SECONDS_OF_PATIENCE
        while self._tasks:
            arrived = self._arrived(timeout=patience)
            for task, outcome in arrived:
                refused = self._refused(task.hand, outcome)
                if refused:
                    raise BackendError(refused)
                advance(1)
            if not arrived:
                waiting = ", ".join(task.hand.device.name for task in self._tasks.values())
                self._warn(f"cluster: still waiting for {waiting}; ray status shows whether another job has them.")
                patience = None

    def run(self, videos: Iterable[Path], advance: Advance) -> None:
        """Analyse them all.

        Args:
            videos: In the order in which they are begun.
            advance: Told of every frame whose poses are on disk, with the rate of every device.

        Raises:
            AnalysisInterrupted: Ctrl-C; what is on disk stays there.
            BackendError: All machines are gone.
        """
        self._todo.extend(videos)
        try:
            while self._todo or self._open:
                self._give_out(advance)
                for task, outcome in self._arrived(timeout=1.0):
                    self._take(task, outcome, advance)
                self._look_at_machines()
        except KeyboardInterrupt as stopped:
            self._settle_tables(advance)
            kept = sum(video.video.journal.frames for video in self._open)
            raise AnalysisInterrupted(
                f"stopped with {len(self._todo) + len(self._open)} videos to go; {kept} frames of those that were "
                "begun are kept, and the same command continues from there."
            ) from stopped
        finally:
            for video in self._open:
                video.video.close()
            self._workers.let_go(self._workers.hands)

    def _give_out(self, advance: Advance) -> None:
        """Tables first, which are the last thing that a video needs; then segments."""
        for video in [video for video in self._open if video.ended]:
            self._give_tables(video)
        given = True
        while given:
            # Whoever has least comes first, and nobody gets a second one while another has none.
            idle = sorted(self._workers.ready(), key=lambda hand: hand.segments)
            given = [hand for hand in idle if self._workers.has_room(hand) and self._give_segment(hand, advance)]

    def _give_segment(self, hand: Hand, advance: Advance) -> bool:
        """Give a worker its next segment; whether there is one for it."""
        assert hand.facts is not None
        found = self._next_segment(hand.facts, hand, advance)
        if found is None:
            return False
        video, segment = found
        options = replace(self._options, batch=video.video.batch, decoder=video.video.source.decoder)
        self._ask(_Task("frames", hand, video, segment), "analyze", video.video.path, segment, options)
        hand.segments += 1
        hand.begun = hand.begun or time.perf_counter()
        return True

    def _next_segment(self, facts: WorkerFacts, hand: Hand, advance: Advance) -> tuple[MergedVideo, Segment] | None:
        while True:
            for video in self._open:
                if video.hardware != facts.hardware:
                    continue
                segment = video.take(lambda one, path=video.video.path: self._may_have(hand, path, one))
                if segment is not None:
                    return video, segment
            if not self._todo or not self._open_next(facts, hand, advance):
                return None

    def _may_have(self, hand: Hand, path: Path, segment: Segment) -> bool:
        """Where a worker died with a segment, it is another device's turn, if there is one."""
        died = self._deaths.get((path, segment))
        if not died or hand.facts is None or hand.device not in died:
            return True
        return all(other.device in died for other in self._workers.of(hand.facts.hardware))

    def _open_next(self, facts: WorkerFacts, hand: Hand, advance: Advance) -> bool:
        """Open the next video, or say why not; false if the worker that was to have it is dead."""
        from ray.exceptions import RayError, RayTaskError

        path = self._todo.popleft()

        def period_of(height: int, width: int) -> int:
            period = self._ray.get(hand.ask("period", height, width))
            if isinstance(period, Refusal):
                raise MediaError(period.sentence)
            return period

        try:
            there = finished_result(facts, path, self._identity, self._options)
            if there is not None:
                self._each(there)
                return True
            video = JournalledVideo(
                facts,
                path,
                identity=self._identity,
                options=self._options,
                period_of=period_of,
            )
        except (MediaError, ResultError) as error:
            self._each(VideoFailure(path, str(error)))
            return True
        except RayTaskError as error:
            self._each(VideoFailure(path, _unforeseen(path, hand, error).sentence))
            return True
        except RayError:
            self._todo.appendleft(path)
            return False
        advance(video.resumed_at)
        self._open.append(MergedVideo(video, facts.hardware))
        return True

    def _give_tables(self, video: MergedVideo) -> None:
        if any(task.kind == "tables" and task.video is video for task in self._tasks.values()):
            return
        free = [hand for hand in self._workers.of(video.hardware) if not hand.writes]
        if not free:
            return
        hand, frames = min(free, key=lambda hand: hand.segments), video.video.journal.frames
        # From here on the journal is the worker's.
        video.video.close()
        hand.writes = True
        task = _Task("tables", hand, video)
        self._ask(task, "write", video.video.path, self._options, frames, video.frames_per_second)

    def _ask(self, task: _Task, method: str, *arguments: Any) -> None:
        self._tasks[task.hand.ask(method, *arguments)] = task

    def _arrived(self, timeout: float | None) -> list[tuple[_Task, Any]]:
        """What came since the last look; of a worker that died, an error of Ray's."""
        from ray.exceptions import RayError

        if not self._tasks:
            time.sleep(timeout or 0.0)
            return []
        references, _ = self._ray.wait(list(self._tasks), num_returns=1, timeout=timeout)
        arrived = []
        for reference in references:
            try:
                outcome = self._ray.get(reference)
            except RayError as error:
                outcome = error
            arrived.append((self._tasks.pop(reference), outcome))
        return arrived

    def _settle_tables(self, advance: Advance) -> None:
        """Wait for the tables that are being written, and for nothing else."""
        self._tasks = {reference: task for reference, task in self._tasks.items() if task.kind == "tables"}
        while self._tasks and (arrived := self._arrived(timeout=SECONDS_TO_SETTLE)):
            for task, outcome in arrived:
                self._take(task, outcome, advance)

    def _take(self, task: _Task, outcome: Any, advance: Advance) -> None:
        from ray.exceptions import RayTaskError

        if task.kind == "open":
            refused = self._refused(task.hand, outcome)
            if refused:
                self._warn(f"{refused.rstrip('.')}; the job goes on without it.")
            return
        assert task.video is not None
        if task.kind == "frames":
            task.hand.segments -= 1
        else:
            task.hand.writes = False
        if isinstance(outcome, RayTaskError):
            outcome = _unforeseen(task.video.video.path, task.hand, outcome)
        if isinstance(outcome, Exception):
            self._lost(task)
        elif task.kind == "frames":
            advance(self._take_frames(task, task.video, outcome), note=self._rates())
        else:
            self._take_tables(task.video, outcome)

    def _refused(self, hand: Hand, outcome: Any) -> str:
        """Why a worker that was to load its model is none; empty if it is one."""
        if isinstance(outcome, WorkerFacts):
            wrong = self._fits(outcome)
            if not wrong:
                hand.facts = outcome
                return ""
            outcome = Refusal(f"{wrong}; install the same there as here.")
        self._workers.leave_out(hand)
        if isinstance(outcome, Refusal):
            return f"cluster, {hand.device.name}: {outcome.sentence}"
        cause = " ".join(str(outcome).split())[-300:].rstrip(". ")
        return (
            f'cluster, {hand.device.name}: no worker runs there (... {cause}); install "rigpose[cluster]" of the same '
            "version there, or take the machine out of the cluster."
        )

    def _take_frames(self, task: _Task, video: MergedVideo, outcome: SegmentPoses | Refusal) -> int:
        """What came of a segment; how many frames are on disk now that were not."""
        assert task.segment is not None
        if not video.is_out(task.segment):
            return 0
        try:
            if isinstance(outcome, SegmentPoses):
                self._workers.worked(task.hand, outcome.frames)
                return video.add(outcome)
            if task.segment.sought:
                video.cannot_seek(task.segment)
            else:
                self._fail(video, outcome.sentence)
        except ResultError as error:
            self._fail(video, str(error))
        return 0

    def _take_tables(self, video: MergedVideo, outcome: VideoResult | Refusal) -> None:
        if isinstance(outcome, Refusal):
            self._fail(video, outcome.sentence)
            return
        self._open.remove(video)
        own = video.video
        warnings = (*outcome.warnings, *own.begun_anew())
        if video.read_through is not None:
            slow = f"its frames cannot be sought exactly, so one worker read it from frame {video.read_through} on."
            warnings = (*warnings, f"{own.path}: {slow}")
        self._each(replace(outcome, resumed_at=own.resumed_at, warnings=warnings))

    def _lost(self, task: _Task) -> None:
        """A worker died; what it had is given to another."""
        video, segment, device = task.video, task.segment, task.hand.device
        assert video is not None
        if task.hand in self._workers.hands and self._workers.died(task.hand):
            self._warn(f"cluster, {device.name}: its workers keep dying; the job goes on without it.")
        if segment is not None and not video.is_out(segment):
            return
        path, died = video.video.path, self._deaths[video.video.path, segment]
        died.append(device)
        if len(died) >= MOST_TRIES:
            what = "its tables" if segment is None else f"its frames from {segment.start} on"
            self._fail(
                video,
                f"{path}: {MOST_TRIES} workers died with {what}, the last one on {device.name}; look whether its "
                "memory is enough, or take a smaller --batch.",
            )
        elif segment is not None:
            video.give_back(segment)

    def _fail(self, video: MergedVideo, sentence: str) -> None:
        if video in self._open:
            self._open.remove(video)
            video.video.close()
            self._each(VideoFailure(video.video.path, sentence))

    def _start_missing(self) -> None:
        for hand in self._workers.start_missing():
            self._ask(_Task("open", hand), "open")

    def _look_at_machines(self) -> None:
        now = time.perf_counter()
        if self._workers.ready():
            self._had_workers = now
        elif now - self._had_workers > SECONDS_WITHOUT_WORKERS:
            raise BackendError(
                f"cluster: no machine has been able to work for {SECONDS_WITHOUT_WORKERS:.0f} s; the frames so far are "
                "kept, and the same command continues from there."
            )
        if now - self._looked >= SECONDS_BETWEEN_LOOKS:
            self._looked = now
            self._start_missing()

    def _rates(self) -> str:
        """Frames per second of every device, the fastest first, as far as a line has room."""
        hands = sorted(self._workers.ready(), key=lambda hand: -hand.frames_per_second)
        said = [f"{hand.device.name} {hand.frames_per_second:.0f}/s" for hand in hands[:4]]
        return ", ".join(said) + (f" and {len(hands) - 4} more" if len(hands) > 4 else "")


def _unforeseen(path: Path, hand: Hand, error: Any) -> Refusal:
    """For an error that no worker should have raised: it ends this video and no other."""
    cause = " ".join(str(error.cause).split())[:300].rstrip(". ")
    return Refusal(f"{path}: failed on {hand.device.name} ({cause}).")
