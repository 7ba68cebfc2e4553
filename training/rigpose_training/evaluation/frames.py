"""Labelled images from disk."""

from __future__ import annotations

from pathlib import Path

from rigpose.arrays import Frames
from rigpose.errors import MediaError
from rigpose.videos.images import read_image


def read_frame(path: Path) -> Frames:
    """A labelled image (H, W, 3) BGR.

    Raises:
        MediaError: It is missing or broken.
    """
    frame = read_image(path)
    if frame is None:
        raise MediaError(f"{path}: this labelled image is missing or broken; restore it, or remove its labels.")
    return frame
