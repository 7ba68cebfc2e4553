"""Live poses drawn into their frame, as labelled videos have them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from rigpose.arrays import Array, Frames
from rigpose.bundles.bundle import Display
from rigpose.geometry import ScaleShift
from rigpose.models.model_spec import ModelSpec
from rigpose.poses import Poses
from rigpose.videos.drawing import DrawStyle, draw_poses, draw_predicted

LONGEST_SIDE = 960
"""Larger frames are drawn smaller: nobody sees more of them in a corner of a screen, and it costs less [px]."""


@dataclass(frozen=True)
class LiveDrawing:
    """How the poses of a run are drawn, in the colours of its project.

    Attributes:
        style: Dots, lines and colours.
        animals: Most animals of a frame; where there are several, each has a colour of its own and its number.
    """

    style: DrawStyle
    animals: int = 1

    @classmethod
    def of(cls, spec: ModelSpec, display: Display) -> LiveDrawing:
        """As the bundle of a project says."""
        number = {name: index for index, name in enumerate(spec.keypoints)}
        several = len(spec.individuals) > 1
        style = DrawStyle(
            pcutoff=display.pcutoff,
            colormap=display.colormap,
            # The project's dot size is a diameter.
            radius=max(1, display.dot_size // 2),
            skeleton=tuple((number[a], number[b]) for a, b in spec.skeleton if a in number and b in number),
            skeleton_color=display.skeleton_color,
            color_by="individual" if several else "bodypart",
            boxes=several,
        )
        return cls(style, len(spec.individuals))

    def draw(self, image: Frames, poses: Poses, ids: Array, predicted: Poses | None = None) -> Frames:
        """A picture with the poses in it, its longer side at most ``LONGEST_SIDE``.

        Args:
            image: (H, W, 3) BGR; it stays as it is.
            poses: [frame px].
            ids: (N,) number of each animal, -1 where it has none yet.
            predicted: The same animals where they will be [frame px]: hollow diamonds. None where nothing predicts.
        """
        height, width = image.shape[:2]
        scale = min(1.0, LONGEST_SIDE / max(height, width))
        style = self.style
        if scale < 1:
            size = max(1, round(width * scale)), max(1, round(height * scale))
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
            x, y = size[0] / width, size[1] / height
            # Poses count from the centre of the first pixel, and the picture's corner is what stays in place.
            to_picture = ScaleShift((x, y), ((x - 1) / 2, (y - 1) / 2))
            poses = poses.moved(to_picture)
            predicted = None if predicted is None else predicted.moved(to_picture)
            style = replace(style, radius=max(2, round(style.radius * scale)))
        rows, names = in_rows(poses, ids, self.animals)
        drawn = draw_poses(image, rows, style=style, names=names if self.animals > 1 else ())
        if predicted is not None:
            draw_predicted(drawn, in_rows(predicted, ids, self.animals)[0], style=style)
        return drawn


def in_rows(poses: Poses, ids: Array, animals: int) -> tuple[Poses, list[str]]:
    """Each animal in the row of its number, so that it keeps its colour; and the number, to write beside it.

    Args:
        poses: N animals.
        ids: (N,) their numbers, -1 for none. Two numbers that want one row are put into different ones.
        animals: Rows that there are at least.
    """
    count = max(animals, len(poses))
    free, names = list(range(count)), [""] * count
    xy = np.full((count, poses.keypoints, 2), np.nan, np.float32)
    score = np.full((count, poses.keypoints), np.nan, np.float32)
    for animal in np.argsort(ids < 0, kind="stable"):
        number = int(ids[animal])
        row = number % count if number >= 0 and number % count in free else free[0]
        free.remove(row)
        xy[row], score[row] = poses.xy[animal], poses.score[animal]
        names[row] = str(number) if number >= 0 else ""
    return Poses(xy, score, unique=poses.unique), names
