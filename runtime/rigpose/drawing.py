"""Poses drawn into frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from rigpose.arrays import Floats, Frames
from rigpose.errors import ConfigError
from rigpose.poses import Poses
from rigpose.schema import suggest

Colour = tuple[int, int, int]
"""Blue, green, red."""

# OpenCV's rainbow runs from red to violet, the one that projects name from violet to red.
COLORMAPS = {
    "autumn": cv2.COLORMAP_AUTUMN,
    "bone": cv2.COLORMAP_BONE,
    "cividis": cv2.COLORMAP_CIVIDIS,
    "cool": cv2.COLORMAP_COOL,
    "hot": cv2.COLORMAP_HOT,
    "hsv": cv2.COLORMAP_HSV,
    "inferno": cv2.COLORMAP_INFERNO,
    "jet": cv2.COLORMAP_JET,
    "magma": cv2.COLORMAP_MAGMA,
    "pink": cv2.COLORMAP_PINK,
    "plasma": cv2.COLORMAP_PLASMA,
    "rainbow": cv2.COLORMAP_RAINBOW,
    "spring": cv2.COLORMAP_SPRING,
    "summer": cv2.COLORMAP_SUMMER,
    "turbo": cv2.COLORMAP_TURBO,
    "twilight": cv2.COLORMAP_TWILIGHT,
    "viridis": cv2.COLORMAP_VIRIDIS,
    "winter": cv2.COLORMAP_WINTER,
}
REVERSED_IN_OPENCV = frozenset({"rainbow"})
NAMED_COLOURS: dict[str, Colour] = {
    "black": (0, 0, 0),
    "blue": (255, 0, 0),
    "gray": (128, 128, 128),
    "green": (0, 128, 0),
    "grey": (128, 128, 128),
    "orange": (0, 165, 255),
    "red": (0, 0, 255),
    "white": (255, 255, 255),
    "yellow": (0, 255, 255),
}
SUBPIXEL_BITS = 4
"""OpenCV draws at fixed-point coordinates with so many fractional bits."""


@dataclass(frozen=True)
class DrawStyle:
    """How poses look.

    Attributes:
        pcutoff: Keypoints that score less are not drawn.
        colormap: Name of the colours of the keypoints, as in a project's configuration; ``_r``
            reverses it.
        radius: Of a keypoint [frame px].
        skeleton: Pairs of keypoint numbers to join.
        skeleton_color: Its colour.
        trail: Frames whose keypoints stay visible as a line.
    """

    pcutoff: float = 0.6
    colormap: str = "rainbow"
    radius: int = 4
    skeleton: tuple[tuple[int, int], ...] = ()
    skeleton_color: str = "black"
    trail: int = 0


def keypoint_colours(count: int, colormap: str) -> list[Colour]:
    """As many colours as keypoints, spread over the whole colormap."""
    name = colormap.removesuffix("_r")
    if name not in COLORMAPS:
        raise ConfigError(f"colormap {colormap!r} is not known{suggest(name, COLORMAPS)}.")
    steps = np.linspace(0, 255, count).round().astype(np.uint8)
    if (name != colormap) != (name in REVERSED_IN_OPENCV):
        steps = 255 - steps
    colours = cv2.applyColorMap(steps[None], COLORMAPS[name])[0]
    return [(int(b), int(g), int(r)) for b, g, r in colours]


def draw_poses(frame: Frames, poses: Poses, *, style: DrawStyle, earlier: Sequence[Poses] = ()) -> Frames:
    """A copy of the frame (H, W, 3) with the poses drawn in.

    Args:
        frame: BGR.
        poses: In its coordinates [frame px].
        style: How.
        earlier: Poses of the frames before, oldest first, for the trail.
    """
    drawn = frame.copy()
    colours = keypoint_colours(poses.keypoints, style.colormap)
    _draw_trail(drawn, (*earlier, poses), colours, style.pcutoff)
    bone = _named_colour(style.skeleton_color)
    for animal, seen in zip(poses.xy, _seen(poses, style.pcutoff), strict=True):
        for a, b in style.skeleton:
            if seen[a] and seen[b]:
                _line(drawn, animal[a], animal[b], bone, thickness=2)
        for keypoint in np.flatnonzero(seen):
            _dot(drawn, animal[keypoint], style.radius, colours[keypoint])
    return drawn


def _named_colour(name: str) -> Colour:
    if name not in NAMED_COLOURS:
        raise ConfigError(f"skeleton colour {name!r} is not known{suggest(name, NAMED_COLOURS)}.")
    return NAMED_COLOURS[name]


def _seen(poses: Poses, pcutoff: float) -> NDArray[np.bool_]:
    """(N, K) whether a keypoint is drawn."""
    found = np.isfinite(poses.xy).all(axis=-1)
    return found & (np.nan_to_num(poses.score, nan=0.0) >= pcutoff)


def _draw_trail(canvas_out: Frames, path: Sequence[Poses], colours: list[Colour], pcutoff: float) -> None:
    """Join each keypoint to where it was in the frame before, the fainter the longer ago.

    Animals keep their place in line.
    """
    for step, (before, after) in enumerate(pairwise(path), start=1):
        both = min(len(before), len(after))
        seen = _seen(before, pcutoff)[:both] & _seen(after, pcutoff)[:both]
        for animal, keypoint in np.argwhere(seen):
            start, end = before.xy[animal, keypoint], after.xy[animal, keypoint]
            _faint_line(canvas_out, start, end, colours[keypoint], opacity=step / len(path))


def _faint_line(canvas_out: Frames, start: Floats, end: Floats, colour: Colour, *, opacity: float) -> None:
    """A thin line that lets the picture through; only the part of the picture that it crosses is touched."""
    height, width = canvas_out.shape[:2]
    corners = np.stack([start, end])
    x1, y1 = np.clip(np.floor(corners.min(axis=0)).astype(int) - 2, 0, (width, height))
    x2, y2 = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 2, 0, (width, height))
    if x1 >= x2 or y1 >= y2:
        return
    part = canvas_out[y1:y2, x1:x2]
    opaque = part.copy()
    corner = np.asarray((x1, y1), np.float32)
    _line(opaque, start - corner, end - corner, colour, thickness=1)
    part[:] = cv2.addWeighted(opaque, opacity, part, 1 - opacity, 0)


def _line(canvas_out: Frames, start: Floats, end: Floats, colour: Colour, *, thickness: int) -> None:
    cv2.line(canvas_out, fixed_point(start), fixed_point(end), colour, thickness, cv2.LINE_AA, SUBPIXEL_BITS)


def _dot(canvas_out: Frames, centre: Floats, radius: int, colour: Colour) -> None:
    radius <<= SUBPIXEL_BITS
    cv2.circle(canvas_out, fixed_point(centre), radius, colour, -1, cv2.LINE_AA, SUBPIXEL_BITS)


def fixed_point(point: Floats) -> tuple[int, int]:
    """A point in OpenCV's sub-pixel drawing coordinates.

    Networks learn DeepLabCut's labels, which count from the centre of the first pixel, as OpenCV's drawing does.
    """
    x, y = np.rint(point * (1 << SUBPIXEL_BITS)).astype(int)
    return int(x), int(y)
