"""Image files of a data set, decoded once and kept in memory while there is room."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from rigpose.arrays import Frames
from rigpose.errors import MediaError

CACHE_BYTES = 1 << 30


class ImageCache:
    """Decoded images by path.

    Attributes:
        most_bytes: Bound of what is kept.
    """

    def __init__(self, most_bytes: int = CACHE_BYTES) -> None:
        self.most_bytes = most_bytes
        self._images: dict[Path, Frames] = {}
        self._bytes = 0

    def read(self, path: Path) -> Frames:
        """(H, W, 3) uint8 RGB of an image file; see ``read_rgb``."""
        if path in self._images:
            return self._images[path]
        image = read_rgb(path)
        if self._bytes + image.nbytes <= self.most_bytes:
            self._images[path] = image
            self._bytes += image.nbytes
        return image


def read_rgb(path: Path) -> Frames:
    """(H, W, 3) uint8 RGB of an image file.

    Raises:
        MediaError: The file is missing, or is no image.
    """
    try:
        # Not cv2.imread: on Windows it cannot open paths with letters outside ASCII.
        raw = np.fromfile(path, np.uint8)
    except OSError as error:
        raise MediaError(
            f"{path}: the labelled image cannot be read ({error.strerror}); put it back, or delete its labels and "
            "create the training data set again."
        ) from error
    image = cv2.imdecode(raw, cv2.IMREAD_COLOR) if len(raw) else None
    if image is None:
        raise MediaError(
            f"{path}: is no image that OpenCV can decode; extract the frame again, or delete its labels and create "
            "the training data set again."
        )
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)  # type: ignore[return-value]
