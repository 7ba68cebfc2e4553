"""The labelled pictures of an import, from wherever they are, into their folders."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import cv2

from rigpose.arrays import Frames
from rigpose.errors import MediaError, ProjectError
from rigpose.videos.video import Video
from rigpose_training.imported.labels import ImportedFrame, VideoFrame


def write_pictures(frames: Iterable[ImportedFrame], folder: Path) -> None:
    """Copy image files as they are; frames of videos and of the labels' own file become PNG, which loses nothing.

    Args:
        frames: Of any recordings.
        folder: In which each recording has one.

    Raises:
        MediaError: A picture cannot be read.
        ProjectError: One cannot be written.
    """
    wanted: dict[Path, dict[int, Path]] = defaultdict(dict)
    for frame in frames:
        place = folder / frame.video / frame.image
        place.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(frame.picture, VideoFrame):
            wanted[frame.picture.video][frame.picture.index] = place
        elif isinstance(frame.picture, Path):
            shutil.copyfile(frame.picture, place)
        else:
            _save(place, frame.picture())
    for video, places in wanted.items():
        _extract(video, places)


def _save(place: Path, image: Frames) -> None:
    # OpenCV says nothing of the cause.
    if not cv2.imwrite(str(place), image):
        raise ProjectError(f"{place}: cannot be written, the disk may be full; make room, then import again.")


def _extract(video: Path, places: Mapping[int, Path]) -> None:
    """Decode from the front up to the last wanted frame: seeking is not exact in every video."""
    missing = dict(places)
    with Video(video) as source:
        for frame in source.frames(start=min(places)):
            if (place := missing.pop(frame.index, None)) is not None:
                _save(place, frame.image)
            if not missing:
                return
    raise MediaError(f"{video}: ends before frame {min(missing)}, which is labelled; is it another video of that name?")
