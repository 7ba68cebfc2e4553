"""Frames with their poses drawn in, small enough to lie inside a page."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from rigpose.arrays import Frames
from rigpose.errors import MediaError
from rigpose.geometry import ScaleShift
from rigpose.poses import Poses
from rigpose.progress import Progress, silent
from rigpose.report.analysed import Analysed
from rigpose.report.markup import Html, tag
from rigpose.videos.drawing import DrawStyle, draw_poses
from rigpose.videos.video import Video

WIDTH = 520
"""Of a picture [px]; larger than its place on a page, so that it is sharp on dense screens."""
MOST_BYTES = 700_000
"""Of the pictures of a gallery; a page has two, and written as text they grow by a third."""
QUALITIES = (86, 78, 68, 55, 40, 25, 10)
"""Of JPEG, tried in turn."""


@dataclass(frozen=True)
class Picture:
    """A frame and what to say about it.

    Attributes:
        image: (H, W, 3) drawn.
        title: Which frame it is.
        words: Why it is shown; empty for no reason of its own.
    """

    image: Frames
    title: str
    words: str = ""


def drawn_frames(analysed: Analysed, rows: Iterable[int], *, show: Progress = silent) -> dict[int, Frames]:
    """Some frames of a video with their poses; rows without a picture are left out.

    Args:
        analysed: Its video must be known.
        rows: Which rows of the table.
        show: How progress is shown: frames are decoded one after the other up to the last that is wanted.

    Raises:
        MediaError: The video cannot be read, or has fewer frames than the table.
    """
    assert analysed.video is not None
    lost = frozenset(analysed.lost)
    wanted = sorted(set(rows) - lost)
    if not wanted:
        return {}
    # A frame that was lost has a row and no number in the video.
    numbers = {row - sum(gone < row for gone in lost): row for row in wanted}
    last = max(numbers)
    style = DrawStyle(
        pcutoff=analysed.display.pcutoff,
        colormap=analysed.display.colormap,
        skeleton=analysed.skeleton,
        skeleton_color="white",
        color_by="individual" if analysed.results.several else "bodypart",
    )
    drawn: dict[int, Frames] = {}
    with Video(analysed.video, crop=analysed.crop) as video, show("pictures", last + 1, "frames") as advance:
        for frame in video.frames():
            if frame.index in numbers:
                row = numbers[frame.index]
                poses = analysed.results.poses(row)
                drawn[row] = drawn_large(frame.image, poses, style)
            advance(1)
            if frame.index == last:
                return drawn
    raise MediaError(
        f"{analysed.video}: has fewer frames than {analysed.table.name} has rows; name the right one with --video."
    )


def drawn_large(frame: Frames, poses: Poses, style: DrawStyle) -> Frames:
    """A frame brought to the pages' width, and poses drawn into it there, so that dots and lines stay sharp."""
    height, width = frame.shape[:2]
    how = cv2.INTER_AREA if width > WIDTH else cv2.INTER_CUBIC
    size = WIDTH, max(1, round(height * WIDTH / width))
    large = np.asarray(cv2.resize(frame, size, interpolation=how), np.uint8)
    return draw_poses(large, poses.moved(into_large(width)), style=replace(style, radius=5))


def into_large(width: int) -> ScaleShift:
    """Places in a frame of this width -> places in its picture.

    Poses count from the centre of the first pixel, and scaling keeps its corner.
    """
    scale = WIDTH / width
    return ScaleShift((scale, scale), (scale / 2 - 0.5, scale / 2 - 0.5))


def gallery(pictures: Sequence[Picture], most: int = MOST_BYTES) -> Html:
    """Pictures beside each other, each with its words.

    Args:
        pictures: What is shown.
        most: Bytes of all of them; they are of one quality, the best that fits.
    """
    encoded: list[bytes] = []
    for quality in QUALITIES:
        encoded = [_jpeg(picture.image, quality) for picture in pictures]
        if sum(map(len, encoded)) <= most:
            break
    figures = []
    for picture, data in zip(pictures, encoded, strict=True):
        height, width = picture.image.shape[:2]
        address = "data:image/jpeg;base64," + b64encode(data).decode()
        image = tag("img", src=address, alt=picture.title, width=str(width), height=str(height))
        words = [tag("span", picture.words)] if picture.words else []
        figures.append(tag("figure", image, tag("figcaption", tag("b", picture.title), *words)))
    return tag("div", *figures, class_="gallery")


def _jpeg(image: Frames, quality: int) -> bytes:
    ok, encoded = cv2.imencode(".jpg", np.ascontiguousarray(image), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert ok
    return encoded.tobytes()
