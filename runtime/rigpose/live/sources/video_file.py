"""A recording, played as if a camera gave it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

from rigpose.errors import MediaError
from rigpose.live.captured_frame import CapturedFrame
from rigpose.live.clock import Clock, now
from rigpose.live.faults import LiveError, SourceLostError
from rigpose.live.sources.frame_source import Applied, SourceEndedError
from rigpose.live.sources.source_kind import SourceKind
from rigpose.live.sources.waiting import Sleep, wait_until
from rigpose.videos.video import Video, VideoFrame


class VideoFileSource:
    """Frames of a video file by their time stamps, or one after the other as fast as they are asked for.

    Paced, it does as a camera: a reader who comes late gets the frame that is due now, and the numbers of those before
    it are missing. Not paced, every frame is handed over once and none is passed over.

    Attributes:
        name: See ``FrameSource``.
    """

    kind = SourceKind.VIDEO_FILE

    def __init__(  # noqa: PLR0913  # each is a choice of the user
        self,
        path: Path | str,
        *,
        name: str | None = None,
        paced: bool = True,
        loop: bool = False,
        speed: float = 1.0,
        decoder: str = "auto",
        clock: Clock = now,
        sleep: Sleep = time.sleep,
    ) -> None:
        """Choose a file; ``open`` opens it.

        Args:
            path: The video.
            name: What its frames call their camera; the file's name if none.
            paced: Whether its time stamps count.
            loop: Whether it begins again at its end; numbers and times go on.
            speed: Of playing, 2 for twice as fast.
            decoder: One of ``rigpose.decoding.decoder.NAMES``.
            clock: The clock of the run.
            sleep: Lets time pass.
        """
        self._path = Path(path)
        self.name = self._path.name if name is None else name
        self._paced, self._loop, self._speed, self._decoder = paced, loop, speed, decoder
        self._clock, self._sleep = clock, sleep
        self._video: Video | None = None
        self._closed = True
        # Held while frames are decoded: closing the file under its decoder would take the process with it.
        self._decoding = threading.Lock()

    def open(self) -> Applied:
        """See ``FrameSource``. Numbers are those of the frames in the file, from 0, and go on when it begins again."""
        try:
            self._video = Video(self._path, decoder=self._decoder)
        except MediaError as error:
            raise LiveError(f"{error}") from error
        rate = self._video.frames_per_second
        self._period = 1 / rate if rate > 0 else 0.0
        self._frames: Iterator[VideoFrame] = self._video.frames()
        self._number, self._played = -1, -self._period
        self._before, self._base = 0, 0.0  # frames and seconds of the rounds before this one
        self._begun: float | None = None
        self._coming: CapturedFrame | None = None
        self._closed = False
        shown = rate * self._speed if self._paced and rate > 0 else None
        return Applied(self._video.width, self._video.height, shown)

    def read(self, timeout: float) -> CapturedFrame | None:
        """See ``FrameSource``."""
        if self._video is None:
            raise LiveError(f"{self.name}: is not open; open it before reading.")
        deadline = self._clock() + timeout
        with self._decoding:
            if self._closed:
                return None
            frame = self._coming = self._coming or self._decoded()
        if frame is None:
            raise SourceEndedError(f"{self.name}: was played to its end.")
        wait_until(min(frame.exposed, deadline), self._clock, self._sleep, lambda: self._closed)
        if self._closed or self._clock() < frame.exposed:
            return None
        self._coming = None
        if self._paced:
            with self._decoding:
                frame = self._newest(frame, deadline)
        arrived = self._clock()
        exposed = frame.exposed if self._paced else arrived
        return CapturedFrame(self.name, frame.number, frame.image, arrived, exposed, frame.device_time)

    def close(self) -> None:
        """See ``FrameSource``."""
        self._closed = True
        with self._decoding:
            if self._video is not None:
                self._video.close()
                self._video = None

    def _newest(self, frame: CapturedFrame, deadline: float) -> CapturedFrame:
        """The last frame that is due; a decoder that is slower than the recording must not keep its reader for ever."""
        while True:
            self._coming = None if self._closed else self._decoded()
            if self._coming is None or self._coming.exposed > self._clock():
                return frame
            frame = self._coming
            if self._clock() >= deadline:
                self._coming = None
                return frame

    def _decoded(self) -> CapturedFrame | None:
        """The next frame and when it is due; none at the end."""
        frame = self._next_frame()
        if frame is None and self._loop and self._number >= 0:
            self._again()
            frame = self._next_frame()
        if frame is None:
            return None
        self._number = self._before + frame.index
        # Containers without usable time stamps say 0 again and again, or go back.
        stamped = self._base + frame.time / 1000
        self._played = stamped if stamped > self._played else self._played + self._period
        if self._begun is None:
            self._begun = self._clock() - self._played / self._speed
        due = self._begun + self._played / self._speed if self._paced else self._begun
        return CapturedFrame(self.name, self._number, frame.image, due, due, self._played)

    def _next_frame(self) -> VideoFrame | None:
        try:
            return next(self._frames, None)
        except MediaError as error:
            raise SourceLostError(f"{error}") from error

    def _again(self) -> None:
        if self._video is not None:
            self._video.close()
        self._video = Video(self._path, decoder=self._decoder)
        self._frames = self._video.frames()
        self._before, self._base = self._number + 1, self._played + self._period
