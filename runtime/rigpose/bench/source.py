"""Where the frames of a measurement come from: a video, or pictures in memory."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rigpose.arrays import Frames
from rigpose.bundles.bundle import Bundle
from rigpose.bundles.golden import read_golden
from rigpose.videos.video import Video, VideoFrame


class Source(Protocol):
    """Frames of one size, which can be had again and again."""

    @property
    def name(self) -> str:
        """For people."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the frames [px]."""
        ...

    @property
    def frames_per_second(self) -> float | None:
        """Of the recording; none where the frames are no recording."""
        ...

    @property
    def decodes(self) -> bool:
        """Whether a decoder works for every frame."""
        ...

    def frames(self) -> Generator[VideoFrame, None, None]:
        """All of them, in order, from the front."""
        ...


@dataclass(frozen=True)
class VideoSource:
    """A video, decoded anew each time.

    Attributes:
        path: The file.
        size: (H, W) of its frames [px].
        frames_per_second: What the container says; none if it says nothing.
        decoder: What decodes it.
    """

    path: Path
    size: tuple[int, int]
    frames_per_second: float | None
    decoder: str
    decodes: bool = True

    @classmethod
    def of(cls, path: Path, decoder: str = "auto") -> VideoSource:
        """Look into a video.

        Args:
            path: The file.
            decoder: As of ``Video``; what ``auto`` means is chosen once.

        Raises:
            MediaError: It cannot be read.
        """
        with Video(path, decoder=decoder) as video:
            return cls(path, (video.height, video.width), video.frames_per_second or None, video.decoder)

    @property
    def name(self) -> str:
        """The file's, and what decodes it."""
        return f"{self.path.name} by {self.decoder}"

    def frames(self) -> Generator[VideoFrame, None, None]:
        """See ``Source``."""
        with Video(self.path, decoder=self.decoder) as video:
            yield from video.frames()


@dataclass(frozen=True)
class MemorySource:
    """Pictures that lie in memory.

    Attributes:
        pictures: Of one size, (H, W, 3) uint8 BGR.
        name: What they are.
    """

    pictures: Sequence[Frames]
    name: str
    frames_per_second: float | None = None
    decodes: bool = False

    @classmethod
    def golden(cls, bundle: Bundle) -> MemorySource:
        """The frames that came with a bundle.

        Raises:
            BundleError: They cannot be read.
        """
        frames = read_golden(bundle).frames
        return cls(frames, f"the bundle's {len(frames)} golden frames, again and again")

    @property
    def size(self) -> tuple[int, int]:
        """See ``Source``."""
        height, width = self.pictures[0].shape[:2]
        return height, width

    def frames(self) -> Generator[VideoFrame, None, None]:
        """See ``Source``."""
        for index, picture in enumerate(self.pictures):
            yield VideoFrame(index, 0.0, picture)
