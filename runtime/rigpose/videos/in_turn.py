"""Videos one after the other, without a pause between them.

While one video is in the graphs, the next one is opened and decoded as far as its batch buffers reach, and the tables
of the one before are written. More than these three are never open, so memory does not grow with their number.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rigpose.errors import MediaError, ResultError
from rigpose.progress import Progress, silent
from rigpose.videos.one_video import OneVideo
from rigpose.videos.outcome import AnalysisInterrupted, VideoFailure, VideoResult


@dataclass(frozen=True)
class _Turn:
    """A video that waits for its turn.

    Attributes:
        video: The file, or why there is none.
        opening: It is being opened in another thread; none if that must wait until the videos before are done with.
    """

    video: Path | VideoFailure
    opening: Future[OneVideo] | None = None


class InTurn:
    """Analyses videos in order; leaving the block stops what is under way and keeps its frames.

    Args:
        h5_of: The table of a video.
        overwrite: Whether tables that are there are made anew.
        finished: The result of a video that needs no analysis, or none.
        open_video: Opens one.
        show: Progress per video.
    """

    def __init__(
        self,
        *,
        h5_of: Callable[[Path], Path],
        overwrite: bool,
        finished: Callable[[Path], VideoResult | None],
        open_video: Callable[[Path], OneVideo],
        show: Progress,
    ) -> None:
        self._h5_of, self._overwrite, self._finished = h5_of, overwrite, finished
        self._open_video, self._show = open_video, show
        self._opener = ThreadPoolExecutor(1, thread_name_prefix="rigpose-open")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="rigpose-tables")
        # Of the video whose turn it is, and of the next one.
        self._openings: deque[Future[OneVideo]] = deque(maxlen=2)
        self._current: OneVideo | None = None
        self._upcoming: _Turn | None = None
        self._written: tuple[OneVideo, Future[VideoResult | VideoFailure]] | None = None
        self._in_flight: list[Path] = []

    def outcomes(self, videos: Iterable[Path | VideoFailure]) -> Generator[VideoResult | VideoFailure, None, None]:
        """What comes of each, in order; that of a video comes when the next one has been through the graphs.

        Raises:
            AnalysisInterrupted: Ctrl-C; the message says what is kept.
        """
        waiting = iter(videos)
        try:
            self._upcoming = self._begin(next(waiting, None))
            while (turn := self._upcoming) is not None:
                opening = turn.opening
                self._upcoming = None if opening is None else self._begin(next(waiting, None))
                if opening is None:
                    # Files that another video of this call has made must be whole before they are looked at.
                    yield from self._settle()
                outcome = self._infer(turn)
                yield from self._settle()
                if opening is None:
                    self._upcoming = self._begin(next(waiting, None))
                if isinstance(outcome, OneVideo):
                    yield from self._tables_of(outcome)
                else:
                    yield outcome
        except KeyboardInterrupt as stopped:
            yield from self._settle_interrupted(stopped)
            raise
        except Exception:
            yield from self._settle()
            raise

    def close(self) -> None:
        """Stop what is under way and let go of it."""
        if self._written is not None:
            one, writing = self._written
            one.interrupt()
            wait([writing])
        for opening in self._openings:
            if not opening.cancel():
                with suppress(Exception):
                    opening.result().close()
        if self._current is not None:
            self._current.close()
        self._opener.shutdown()
        self._writer.shutdown()

    def __enter__(self) -> InTurn:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _begin(self, video: Path | VideoFailure | None) -> _Turn | None:
        """Open the next video in another thread, unless its files are there or being made."""
        if video is None or isinstance(video, VideoFailure):
            return None if video is None else _Turn(video)
        h5 = self._h5_of(video).resolve()
        in_flight, self._in_flight = self._in_flight, [*self._in_flight[-1:], h5]
        if h5 in in_flight or (h5.exists() and not self._overwrite):
            return _Turn(video)
        self._openings.append(self._opener.submit(self._open_video, video))
        return _Turn(video, self._openings[-1])

    def _infer(self, turn: _Turn) -> OneVideo | VideoResult | VideoFailure:
        """Bring a video through the graphs; what came of it if there is nothing to write."""
        if isinstance(turn.video, VideoFailure):
            return turn.video
        try:
            if turn.opening is None and (result := self._finished(turn.video)) is not None:
                return result
            self._current = turn.opening.result() if turn.opening else self._open_video(turn.video)
            self._current.infer(self._show)
        except (MediaError, ResultError) as error:
            if self._current is not None:
                self._current.close()
                self._current = None
            return VideoFailure(turn.video, str(error))
        return self._current

    def _tables_of(self, one: OneVideo) -> Iterator[VideoResult | VideoFailure]:
        """Write the tables beside the next video, or here and now where there is none."""
        if self._upcoming is None:
            yield self._write(one, self._show)
        else:
            # One bar at a time: that of the frames, which takes longer.
            self._written = (one, self._writer.submit(self._write, one, silent))
        self._current = None

    def _write(self, one: OneVideo, show: Progress) -> VideoResult | VideoFailure:
        with one:
            try:
                return one.write(show)
            except (MediaError, ResultError) as error:
                return VideoFailure(one.path, str(error))

    def _settle(self) -> Iterator[VideoResult | VideoFailure]:
        """Wait for the tables that are being written."""
        if self._written is not None:
            # Ctrl-C may come while waiting; whoever handles it finds that there is still something to wait for.
            wait([self._written[1]])
            (_, writing), self._written = self._written, None
            yield writing.result()

    def _settle_interrupted(self, stopped: KeyboardInterrupt) -> Iterator[VideoResult | VideoFailure]:
        """What was finished all the same.

        Raises:
            AnalysisInterrupted: With a sentence for each video that was not.
        """
        sentences = [str(stopped)] if isinstance(stopped, AnalysisInterrupted) else []
        if not sentences and self._current is not None:
            sentences = [self._current.kept()]
        if self._written is not None:
            self._written[0].interrupt()
            try:
                yield from self._settle()
            except AnalysisInterrupted as also:
                sentences.insert(0, str(also))
        if sentences:
            raise AnalysisInterrupted(" ".join(sentences)) from stopped
