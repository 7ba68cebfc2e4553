"""The course of a cluster's job: videos are opened, shared among the workers, merged, and written."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from rigpose.cluster.devices import ClusterDevice
from rigpose.cluster.merging import MergedVideo
from rigpose.cluster.segments import Segment, SegmentPoses
from rigpose.cluster.videos_in_hand import Each, VideosInHand
from rigpose.cluster.worker import Refusal, WorkerFacts
from rigpose.cluster.workers import Hand, Workers
from rigpose.errors import BackendError, MediaError, ResultError
from rigpose.progress import Advance
from rigpose.videos.metadata import ResultIdentity
from rigpose.videos.outcome import AnalysisInterrupted, AnalysisOptions

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
        in_hand = VideosInHand(videos, identity=self._identity, options=self._options, each=self._each, advance=advance)
        try:
            while in_hand:
                self._give_out(in_hand)
                for task, outcome in self._arrived(timeout=1.0):
                    advance(self._take(task, outcome, in_hand), note=self._rates())
                self._look_at_machines()
        except KeyboardInterrupt as stopped:
            self._settle_tables(in_hand)
            raise AnalysisInterrupted(in_hand.kept()) from stopped
        finally:
            in_hand.close()
            self._workers.let_go(self._workers.hands)

    def _give_out(self, in_hand: VideosInHand) -> None:
        """Tables first, which are the last thing that a video needs; then segments."""
        for video in in_hand.ended():
            self._give_tables(video)
        given = True
        while given:
            # Whoever has least comes first, and nobody gets a second one while another has none.
            idle = sorted(self._workers.ready(), key=lambda hand: hand.segments)
            given = [hand for hand in idle if self._workers.has_room(hand) and self._give_segment(hand, in_hand)]

    def _give_segment(self, hand: Hand, in_hand: VideosInHand) -> bool:
        """Give a worker its next segment; whether there is one, and the worker answers."""
        from ray.exceptions import RayError

        assert hand.facts is not None
        try:
            found = in_hand.next_segment(
                hand.facts,
                lambda height, width: self._period(hand, height, width),
                lambda video, segment: self._may_have(hand, video.video.path, segment),
            )
        except RayError:
            return False
        if found is None:
            return False
        video, segment = found
        options = replace(self._options, batch=video.video.batch, decoder=video.video.source.decoder)
        self._ask(_Task("frames", hand, video, segment), "analyze", video.video.path, segment, options)
        hand.segments += 1
        hand.begun = hand.begun or time.perf_counter()
        return True

    def _period(self, hand: Hand, height: int, width: int) -> int:
        from ray.exceptions import RayTaskError

        try:
            period = self._ray.get(hand.ask("period", height, width))
        except RayTaskError as error:
            raise MediaError(f"frames of {width}x{height} px: {_unforeseen(hand, error)}") from error
        if isinstance(period, Refusal):
            raise MediaError(period.sentence)
        return period

    def _may_have(self, hand: Hand, path: Path, segment: Segment) -> bool:
        """Where a worker died with a segment, it is another device's turn, if there is one."""
        died = self._deaths.get((path, segment))
        if not died or hand.facts is None or hand.device not in died:
            return True
        return all(other.device in died for other in self._workers.of(hand.facts.hardware))

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

    def _settle_tables(self, in_hand: VideosInHand) -> None:
        """Wait for the tables that are being written, and for nothing else."""
        self._tasks = {reference: task for reference, task in self._tasks.items() if task.kind == "tables"}
        while self._tasks and (arrived := self._arrived(timeout=SECONDS_TO_SETTLE)):
            for task, outcome in arrived:
                self._take(task, outcome, in_hand)

    def _take(self, task: _Task, outcome: Any, in_hand: VideosInHand) -> int:
        """What came of a task; how many frames are on disk now that were not."""
        from ray.exceptions import RayTaskError

        if task.kind == "open":
            refused = self._refused(task.hand, outcome)
            if refused:
                self._warn(f"{refused.rstrip('.')}; the job goes on without it.")
            return 0
        assert task.video is not None
        if task.kind == "frames":
            task.hand.segments -= 1
        else:
            task.hand.writes = False
        if isinstance(outcome, RayTaskError):
            # A fault that nobody foresaw ends one video and no other.
            outcome = Refusal(f"{task.video.video.path}: {_unforeseen(task.hand, outcome)}")
        if isinstance(outcome, Exception):
            self._lost(task, in_hand)
        elif task.kind == "frames":
            return self._take_frames(task, task.video, outcome, in_hand)
        elif isinstance(outcome, Refusal):
            in_hand.failed(task.video, outcome.sentence)
        else:
            in_hand.written(task.video, outcome)
        return 0

    def _take_frames(
        self, task: _Task, video: MergedVideo, outcome: SegmentPoses | Refusal, in_hand: VideosInHand
    ) -> int:
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
                in_hand.failed(video, outcome.sentence)
        except ResultError as error:
            in_hand.failed(video, str(error))
        return 0

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

    def _lost(self, task: _Task, in_hand: VideosInHand) -> None:
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
            in_hand.failed(
                video,
                f"{path}: {MOST_TRIES} workers died with {what}, the last one on {device.name}; look whether its "
                "memory is enough, or take a smaller --batch.",
            )
        elif segment is not None:
            video.give_back(segment)

    def _start_missing(self) -> None:
        for hand in self._workers.start_missing():
            self._ask(_Task("open", hand), "open")

    def _look_at_machines(self) -> None:
        now = time.perf_counter()
        if self._workers.hands:
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


def _unforeseen(hand: Hand, error: Any) -> str:
    """For an error that no worker should have raised."""
    cause = " ".join(str(error.cause).split())[:300].rstrip(". ")
    return f"failed on {hand.device.name} ({cause})."
