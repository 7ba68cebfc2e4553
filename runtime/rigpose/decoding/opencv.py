"""OpenCV's FFmpeg: the decoder that is always there.

It passes over a damaged frame without a word; that shows only as a gap in the time stamps.
"""

from __future__ import annotations

from pathlib import Path

import cv2

from rigpose.arrays import Frames
from rigpose.errors import MediaError

MOST_DAMAGED_IN_A_ROW = 250
"""So many failures in a row end a video whose container promises more."""


class OpencvDecoder:
    """A video that OpenCV decodes.

    Attributes:
        name: ``opencv``.
        frames_reported: See ``Decoder``.
        frames_per_second: See ``Decoder``.
    """

    name = "opencv"

    def __init__(self, path: Path, threads: int) -> None:
        """Open a file.

        Args:
            path: The video.
            threads: How many decode.

        Raises:
            MediaError: It is no video, or not one frame can be decoded.
        """
        self._path = path
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_ANY, [cv2.CAP_PROP_N_THREADS, threads])
        if not self._capture.isOpened():
            raise MediaError(
                f"{path}: OpenCV cannot open this as a video (cut short, or no video at all); "
                "try to play it, or convert it with ffmpeg."
            )
        reported = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.frames_reported = reported if reported > 0 else None
        self.frames_per_second = float(self._capture.get(cv2.CAP_PROP_FPS))
        self._decoded = 0
        if not self.advance():
            self.close()
            raise MediaError(f"{path}: not one frame can be decoded; try to play it or convert it with ffmpeg.")

    @property
    def time(self) -> float:
        """See ``Decoder``."""
        return float(self._capture.get(cv2.CAP_PROP_POS_MSEC))

    def retrieve(self) -> Frames:
        """See ``Decoder``."""
        whole, image = self._capture.retrieve()
        if not whole:
            raise MediaError(
                f"{self._path}: frame {self._decoded - 1} was decoded but not converted to colour; convert the video "
                "with ffmpeg."
            )
        return image  # type: ignore[return-value]

    def advance(self) -> bool:
        """See ``Decoder``."""
        promised = (self.frames_reported or 0) - self._decoded
        attempts = 1 + max(0, min(promised, MOST_DAMAGED_IN_A_ROW))
        found = any(self._capture.grab() for _ in range(attempts))
        self._decoded += found
        return found

    def seek(self, index: int) -> bool:
        """See ``Decoder``."""
        self._capture.set(cv2.CAP_PROP_POS_FRAMES, index)
        self._decoded = index
        return self.advance()

    def close(self) -> None:
        """See ``Decoder``."""
        self._capture.release()
