"""Parts of a video that several workers share, and what tells that they fit together."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import NamedTuple

from rigpose.videos.video import VideoFrame

SEGMENT_FRAMES = 2000
"""Long enough that what a segment costs beside its frames is small: a seek decodes some hundred frames more."""


@dataclass(frozen=True)
class Segment:
    """Neighbouring frames of a video.

    Attributes:
        start: The first of them, a multiple of the batch.
        stop: The one after the last; none for all that follow.
        sought: Frames before it are not decoded, so that what begins it must be checked.
    """

    start: int
    stop: int | None
    sought: bool = False


class FrameMark(NamedTuple):
    """What tells a frame from its neighbours: when it is shown [ms], and a checksum of its pixels."""

    time: float
    checksum: int

    @classmethod
    def of(cls, frame: VideoFrame) -> FrameMark:
        """The mark of a decoded frame."""
        return cls(frame.time, zlib.crc32(frame.image.tobytes()))


@dataclass(frozen=True)
class SegmentPoses:
    """What came of a segment.

    Attributes:
        segment: Which.
        data: Its frames as a journal has them.
        frames: How many.
        first: Mark of its first frame; none if it has none.
        after: Mark of the frame that follows its last one; none where the video ends.
        seconds: From its opening to its last poses, other segments of the same worker in between.
    """

    segment: Segment
    data: bytes
    frames: int
    first: FrameMark | None
    after: FrameMark | None
    seconds: float


def planned(begin: int, frames_reported: int | None, batch: int) -> list[Segment]:
    """How a video is shared; a short one is not.

    The first segment is read from the video's beginning, so that its frames are certain, and each following one is
    checked against the one before it.

    Args:
        begin: First frame that is missing, a multiple of the batch.
        frames_reported: What the container says; none if it says nothing.
        batch: Frames that go through the graphs at once.
    """
    length = -(-SEGMENT_FRAMES // batch) * batch
    # A last piece of less than half a segment stays with the one before it.
    count = 1 if frames_reported is None else max(1, round((frames_reported - begin) / length))
    starts = [begin + i * length for i in range(count)]
    stops = [*starts[1:], None]
    return [Segment(start, stop, sought=i > 0) for i, (start, stop) in enumerate(zip(starts, stops, strict=True))]
