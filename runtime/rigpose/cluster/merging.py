"""One video whose segments come back in any order: its journal gets them in the right one."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from rigpose.cluster.segments import FrameMark, Segment, SegmentPoses, planned
from rigpose.videos.journalled_video import JournalledVideo


class MergedVideo:
    """A video that several workers share.

    Attributes:
        video: The open video and its journal.
        hardware: What may work at it: another kind could round its poses differently.
        ended: Whether its last frame is in the journal.
        read_through: The frame from which one worker reads it to its end, because what was sought there was another
            frame than the one that follows the frame before; none where all segments fit together.
    """

    def __init__(self, video: JournalledVideo, hardware: str) -> None:
        self.video, self.hardware = video, hardware
        self.ended = False
        self.read_through: int | None = None
        self._todo = deque(planned(video.journal.frames, video.source.frames_reported, video.batch))
        self._out: set[Segment] = set()
        self._waiting: dict[int, SegmentPoses] = {}
        self._after: FrameMark | None = None
        self._begun = time.perf_counter()

    @property
    def frames_per_second(self) -> float:
        """Of all workers together, since it was opened."""
        done = self.video.journal.frames - self.video.resumed_at
        return done / max(time.perf_counter() - self._begun, 1e-9)

    def take(self, wanted: Callable[[Segment], bool]) -> Segment | None:
        """The first segment that is wanted; none if all such are given out."""
        segment = next(filter(wanted, self._todo), None)
        if segment is not None:
            self._todo.remove(segment)
            self._out.add(segment)
        return segment

    def give_back(self, segment: Segment) -> None:
        """The worker that had it is gone; it is the next to be taken."""
        if segment in self._out:
            self._out.remove(segment)
            self._todo.appendleft(segment)

    def is_out(self, segment: Segment) -> bool:
        """Whether what comes of this segment is still wanted."""
        return segment in self._out

    def cannot_seek(self, segment: Segment) -> None:
        """A segment that was sought could not be read; whether the video is damaged shows when it is read through."""
        self.add(SegmentPoses(segment, b"", 0, None, None, 0.0))

    def add(self, poses: SegmentPoses) -> int:
        """Take what came of a segment.

        Returns:
            How many frames went into the journal with it.

        Raises:
            ResultError: The journal cannot be written.
        """
        if poses.segment not in self._out:
            return 0
        self._out.remove(poses.segment)
        self._waiting[poses.segment.start] = poses
        journal = self.video.journal
        before = journal.frames
        while (ready := self._waiting.pop(journal.frames, None)) is not None:
            if ready.segment.sought and ready.first != self._after:
                self._read_through()
                break
            journal.append_packed(ready.data, ready.frames)
            self._after, self.ended = ready.after, ready.after is None
            if self.ended:
                self._forget()
                break
        return journal.frames - before

    def give_up(self) -> None:
        """Let go of the video; its journal stays, and no segment is wanted any more."""
        self._forget()
        self.video.close()

    def _read_through(self) -> None:
        self._forget()
        self.read_through = self.video.journal.frames
        self._todo.append(Segment(self.read_through, None))

    def _forget(self) -> None:
        self._todo.clear()
        self._out.clear()
        self._waiting.clear()
