"""What every decoder can do, and which one is taken for a file."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Protocol, TypeAlias, get_args

from rigpose.arrays import Frames
from rigpose.errors import ConfigError, MediaError

DecoderName: TypeAlias = Literal["auto", "opencv", "pyav", "nvdec"]
NAMES: tuple[str, ...] = get_args(DecoderName)
MOST_THREADS = 8
"""With more, turning frames into colours, which one thread does, is slower than undoing their compression."""


class Decoder(Protocol):
    """A video, open at one of its frames; at the first one to begin with.

    Frames are decoded one after the other. Only parts of a video that several machines share are sought, and what was
    found there is checked: a seek goes by time, and lands on another frame where frames have other distances than the
    container says, where some are damaged, or where none is whole without those before it.
    """

    @property
    def name(self) -> str:
        """In a user's words."""
        ...

    @property
    def frames_reported(self) -> int | None:
        """What the container says; none if it says nothing."""
        ...

    @property
    def frames_per_second(self) -> float:
        """What the container says; 0 if it says nothing."""
        ...

    @property
    def time(self) -> float:
        """When the frame is shown, from the beginning of the video on [ms]."""
        ...

    def retrieve(self) -> Frames:
        """The frame, (H, W, 3) uint8 BGR and upright; a new array.

        Raises:
            MediaError: It cannot be turned into colours.
        """
        ...

    def advance(self) -> bool:
        """Go to the next frame that can be decoded, past damaged ones; whether there is one."""
        ...

    def seek(self, index: int) -> bool:
        """Go to the frame that is shown when number ``index`` should be; whether there is one."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


def open_decoder(path: Path, name: str = "auto", threads: int | None = None) -> Decoder:
    """Open a video with the decoder of this name.

    ``auto`` is OpenCV, and PyAV, where it is installed, for the files that OpenCV cannot decode (its packages lack
    AV1). For H.264, HEVC and Motion JPEG of 640x480 px, PyAV took 0.95 to 1.5 times OpenCV's time, and for 1920x1080 px
    0.9: trying both on every video would cost more than it brings. The rule looks at nothing that changes from run to
    run. NVDEC is never taken unasked: what it saves depends on the GPU's other work.

    Args:
        path: The video.
        name: One of ``NAMES``.
        threads: How many decode; none for ``default_threads``.

    Raises:
        ConfigError: There is no such decoder.
        MediaError: It cannot decode the file.
        MissingExtraError: It is not installed.
    """
    threads = default_threads() if threads is None else threads
    if name != "auto":
        return _decoder(name)(path, threads)
    try:
        return _decoder("opencv")(path, threads)
    except MediaError as refused:
        if find_spec("av") is None:
            raise MediaError(f'{refused} pip install "rigpose[video]" adds a decoder that knows more codecs.') from None
        try:
            return _decoder("pyav")(path, threads)
        except MediaError:
            raise refused from None


def default_threads() -> int:
    """As many as the cores that this process may use, up to ``MOST_THREADS``.

    Decoding takes the same work with few threads as with many, to a tenth of a millisecond per frame, and stops where
    the batch buffers are full. So where inference is the limit, several threads take no more from it than one does
    (two against one, beside a network on the same two cores: no difference in processor time), and where decoding is
    the limit, they decode up to that many times as fast.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MOST_THREADS, cores)


def _decoder(name: str) -> Callable[[Path, int], Decoder]:
    if name == "opencv":
        from rigpose.decoding.opencv import OpencvDecoder

        return OpencvDecoder
    if name == "pyav":
        from rigpose.decoding.pyav import PyavDecoder

        return PyavDecoder
    if name == "nvdec":
        from rigpose.decoding.nvdec import NvdecDecoder

        return NvdecDecoder
    raise ConfigError(f"decoder {name!r}: there is no such decoder; choose one of {', '.join(NAMES)}.")
