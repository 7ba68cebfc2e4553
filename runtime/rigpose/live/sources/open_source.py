"""The words that a user types -> a source."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rigpose.live.faults import LiveError
from rigpose.live.sources.asked import Asked
from rigpose.live.sources.frame_source import FrameSource
from rigpose.live.sources.opencv_camera import URL_SCHEMES, OpencvCamera, plain_name
from rigpose.live.sources.simulated import SimulatedCamera
from rigpose.live.sources.simulated_text import SIMULATED, simulated_camera
from rigpose.live.sources.video_file import VideoFileSource

CHOICES = (
    "simulated, simulated:640x480@100,animals=3,drop=0.02, camera:0, rtsp://..., genicam:SERIAL, basler:SERIAL or a "
    "video file"
)


def open_source(text: str, asked: Asked | None = None, *, name: str | None = None, seed: int = 0) -> FrameSource:
    """Make a source; its ``open`` then finds out whether the camera is there.

    Args:
        text: One of ``CHOICES``.
        asked: Its settings; what the text itself says of size and rate wins.
        name: What its frames call their camera; the source's own name if none.
        seed: Of a simulated camera.

    Raises:
        LiveError: It is none of the choices, a setting of a simulated camera makes no sense, or there is no such file.
        MissingExtraError: The camera needs a library that is not installed.
    """
    asked = asked or Asked()
    if text.partition(":")[0].partition("@")[0] == SIMULATED:
        return simulated_camera(text, asked, name=name or SIMULATED, seed=seed)
    kind, _, rest = text.partition(":")
    if kind in URL_SCHEMES and rest.startswith("//"):
        return OpencvCamera(text, asked, name=name)
    if kind == "camera":
        if not rest:
            raise LiveError("camera: say which, such as camera:0 for the first one.")
        return OpencvCamera(int(rest) if rest.isdigit() else rest, asked, name=name)
    if kind in ("genicam", "basler"):
        return _by_serial(kind, rest, asked, name)
    if not Path(text).is_file():
        raise LiveError(f"source {plain_name(text)}: there is no such video file and no such camera; give {CHOICES}.")
    return VideoFileSource(text, name=name, paced=asked.paced, loop=asked.loop)


def open_sources(texts: Sequence[str], asked: Asked | None = None) -> tuple[FrameSource, ...]:
    """Make several sources with names that differ: those of the same name become ``NAME-2``, ``NAME-3`` and so on.

    Raises:
        LiveError: As ``open_source``, or a camera is given twice.
        MissingExtraError: As ``open_source``.
    """
    sources: list[FrameSource] = []
    for place, text in enumerate(texts):
        source = open_source(text, asked, seed=place)
        if not isinstance(source, SimulatedCamera | VideoFileSource) and text in texts[:place]:
            raise LiveError(f"{source.name}: is given twice; give each camera once.")
        taken = {other.name for other in sources}
        if source.name in taken:
            free = next(name for n in range(2, len(texts) + 2) if (name := f"{source.name}-{n}") not in taken)
            source = open_source(text, asked, name=free, seed=place)
        sources.append(source)
    return tuple(sources)


def _by_serial(kind: str, serial: str, asked: Asked, name: str | None) -> FrameSource:
    """An industrial camera; without a serial number, the sentence says which there are."""
    if kind == "genicam":
        from rigpose.live.sources.genicam import GenicamCamera as Camera
        from rigpose.live.sources.genicam import genicam_serials as serials
    else:
        from rigpose.live.sources.basler import BaslerCamera as Camera
        from rigpose.live.sources.basler import basler_serials as serials
    if not serial:
        known = ", ".join(f"{kind}:{number} ({model})" for number, model in serials())
        raise LiveError(f"{kind}: say which camera by its serial number; there is {known or 'none at all'}.")
    return Camera(serial, asked, name=name)
