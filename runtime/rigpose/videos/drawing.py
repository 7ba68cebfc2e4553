"""Poses drawn into frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from rigpose.arrays import Floats, Frames
from rigpose.errors import ConfigError
from rigpose.poses import Poses
from rigpose.schema import suggest

Colour = tuple[int, int, int]
"""Blue, green, red."""
ColorBy = Literal["bodypart", "individual"]

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
FONT = cv2.FONT_HERSHEY_SIMPLEX
NOBODYS: Colour = (230, 230, 230)
"""Of what belongs to no keypoint or no animal, whichever the colours tell apart."""


@dataclass(frozen=True)
class DrawStyle:
    """How poses look.

    Attributes:
        pcutoff: Keypoints that score less are not drawn.
        colormap: Name of the colours, as in a project's configuration; ``_r`` reverses it.
        radius: Of a keypoint [frame px].
        skeleton: Pairs of keypoint numbers to join.
        skeleton_color: Its colour where colours are those of the keypoints; animals draw theirs in their own.
        trail: Frames whose keypoints stay visible as a line.
        color_by: Whether a colour tells which keypoint or which animal it is.
        boxes: Whether to frame each animal.
    """

    pcutoff: float = 0.6
    colormap: str = "rainbow"
    radius: int = 4
    skeleton: tuple[tuple[int, int], ...] = ()
    skeleton_color: str = "black"
    trail: int = 0
    color_by: ColorBy = "bodypart"
    boxes: bool = False


def keypoint_colours(count: int, colormap: str) -> list[Colour]:
    """As many colours as keypoints, or animals, spread over the whole colormap."""
    name = colormap.removesuffix("_r")
    if name not in COLORMAPS:
        raise ConfigError(f"colormap {colormap!r} is not known{suggest(name, COLORMAPS)}.")
    steps = np.linspace(0, 255, count).round().astype(np.uint8)
    if (name != colormap) != (name in REVERSED_IN_OPENCV):
        steps = 255 - steps
    colours = cv2.applyColorMap(steps[None], COLORMAPS[name])[0]
    return [(int(b), int(g), int(r)) for b, g, r in colours]


def draw_poses(
    frame: Frames, poses: Poses, *, style: DrawStyle, earlier: Sequence[Poses] = (), names: Sequence[str] = ()
) -> Frames:
    """A copy of the frame (H, W, 3) with the poses drawn in.

    Args:
        frame: BGR.
        poses: In its coordinates [frame px]. A row is a track: an animal that is absent is a row of NaN, so that each
            keeps its colour and its trail.
        style: How.
        earlier: Poses of the frames before, oldest first, for the trail, with the same rows.
        names: To write beside the animals, row by row; none for no writing.
    """
    drawn = frame.copy()
    path = (*earlier, poses)
    colours = _colours(poses, max(map(len, path)), style)
    _draw_trail(drawn, path, colours, style.pcutoff)
    shown = _seen(poses, style.pcutoff)
    bone = _named_colour(style.skeleton_color)
    for animal, seen, own in zip(poses.xy, shown, colours, strict=False):
        for a, b in style.skeleton:
            if seen[a] and seen[b]:
                _line(drawn, animal[a], animal[b], bone if style.color_by == "bodypart" else own[a], thickness=2)
        for keypoint in np.flatnonzero(seen):
            if style.color_by == "individual":
                # A dark rim, since bones and neighbours have the same colour.
                _dot(drawn, animal[keypoint], style.radius + 1, (0, 0, 0))
            _dot(drawn, animal[keypoint], style.radius, own[keypoint])
    _draw_unique(drawn, poses, style)
    if style.boxes:
        for animal, seen, own in zip(poses.xy, shown, colours, strict=False):
            if seen.any():
                _frame(drawn, animal[seen], 2 * style.radius, own[0] if style.color_by == "individual" else NOBODYS)
    _draw_names(drawn, poses.xy, shown, names, colours if style.color_by == "individual" else None)
    return drawn


def draw_predicted(canvas_out: Frames, poses: Poses, *, style: DrawStyle) -> None:
    """Draw where animals will be: hollow diamonds and thin lines, to be told from the dots of what was found.

    Every keypoint that is predicted is drawn, one that the frame does not show, too. Keypoints that exist once per
    frame are left out, as nobody predicts them.

    Args:
        canvas_out: (H, W, 3) BGR; it is drawn in.
        poses: In its coordinates [frame px], in the rows of ``draw_poses``.
        style: How the found ones were drawn.
    """
    bone = _named_colour(style.skeleton_color)
    there = _seen(poses, 0.0)
    for animal, seen, own in zip(poses.xy, there, _colours(poses, len(poses), style), strict=True):
        for a, b in style.skeleton:
            if seen[a] and seen[b]:
                _line(canvas_out, animal[a], animal[b], bone if style.color_by == "bodypart" else own[a], thickness=1)
        for keypoint in np.flatnonzero(seen):
            # The dot of a keypoint that stays where it is has room inside.
            _diamond(canvas_out, animal[keypoint], 1.5 * style.radius + 2, own[keypoint])


def _colours(poses: Poses, animals: int, style: DrawStyle) -> list[list[Colour]]:
    """Per animal the colours of its keypoints."""
    if style.color_by == "individual":
        return [[own] * poses.keypoints for own in keypoint_colours(animals, style.colormap)]
    unique = 0 if poses.unique is None else len(poses.unique)
    return [keypoint_colours(poses.keypoints + unique, style.colormap)[: poses.keypoints]] * animals


def _draw_unique(canvas_out: Frames, poses: Poses, style: DrawStyle) -> None:
    """Keypoints that exist once per frame are rings, to be told from those of animals."""
    if poses.unique is None:
        return
    colours = [NOBODYS] * len(poses.unique)
    if style.color_by == "bodypart":
        colours = keypoint_colours(poses.keypoints + len(poses.unique), style.colormap)[poses.keypoints :]
    for (x, y, score), colour in zip(poses.unique, colours, strict=True):
        if np.isfinite([x, y]).all() and score >= style.pcutoff:
            centre, radius = fixed_point(np.array([x, y])), style.radius << SUBPIXEL_BITS
            cv2.circle(canvas_out, centre, radius, (0, 0, 0), 4, cv2.LINE_AA, SUBPIXEL_BITS)
            cv2.circle(canvas_out, centre, radius, colour, 2, cv2.LINE_AA, SUBPIXEL_BITS)


def _frame(canvas_out: Frames, points: Floats, margin: float, colour: Colour) -> None:
    """A rectangle around points (n, 2)."""
    corners = fixed_point(points.min(axis=0) - margin), fixed_point(points.max(axis=0) + margin)
    cv2.rectangle(canvas_out, *corners, colour, 1, cv2.LINE_AA, SUBPIXEL_BITS)


def _draw_names(
    canvas_out: Frames, xy: Floats, shown: NDArray[np.bool_], names: Sequence[str], colours: list[list[Colour]] | None
) -> None:
    """Write each animal's name above it, or below where it would leave the picture or cover another name."""
    height, width = canvas_out.shape[:2]
    # A letter is a thirtieth of the picture's height, and never too small to read.
    scale = max(0.45, height / 30 / 22)
    taken: list[tuple[int, int, int, int]] = []
    for row, name in enumerate(names[: len(xy)]):
        if not shown[row].any():
            continue
        points = xy[row][shown[row]]
        (across, up), down = cv2.getTextSize(name, FONT, scale, 1)
        left = int(np.clip(points[:, 0].mean() - across / 2, 2, max(2, width - across - 2)))
        gap = up // 2 + 6
        above, below = int(points[:, 1].min()) - gap, int(points[:, 1].max()) + gap + up
        places = [(left, bottom - up, left + across, bottom + down) for bottom in (above, below)]
        free = [p for p in places if p[1] > 0 and p[3] < height and not any(_overlap(p, other) for other in taken)]
        x1, y1, x2, y2 = (free or places)[0]
        taken.append((x1, y1, x2, y2))
        corner, colour = (x1, y2 - down), (255, 255, 255) if colours is None else colours[row][0]
        cv2.putText(canvas_out, name, corner, FONT, scale, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.putText(canvas_out, name, corner, FONT, scale, colour, 1, cv2.LINE_AA)


def _overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _named_colour(name: str) -> Colour:
    if name not in NAMED_COLOURS:
        raise ConfigError(f"skeleton colour {name!r} is not known{suggest(name, NAMED_COLOURS)}.")
    return NAMED_COLOURS[name]


def _seen(poses: Poses, pcutoff: float) -> NDArray[np.bool_]:
    """(N, K) whether a keypoint is drawn."""
    found = np.isfinite(poses.xy).all(axis=-1)
    return found & (np.nan_to_num(poses.score, nan=0.0) >= pcutoff)


def _draw_trail(canvas_out: Frames, path: Sequence[Poses], colours: list[list[Colour]], pcutoff: float) -> None:
    """Join each keypoint to where it was in the frame before, the fainter the longer ago."""
    for step, (before, after) in enumerate(pairwise(path), start=1):
        both = min(len(before), len(after))
        seen = _seen(before, pcutoff)[:both] & _seen(after, pcutoff)[:both]
        for animal, keypoint in np.argwhere(seen):
            start, end = before.xy[animal, keypoint], after.xy[animal, keypoint]
            _faint_line(canvas_out, start, end, colours[animal][keypoint], opacity=step / len(path))


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


def _diamond(canvas_out: Frames, centre: Floats, reach: float, colour: Colour) -> None:
    """A hollow square on its corner, with a dark rim, since bones have the same colour."""
    corners = [fixed_point(centre + reach * np.array(way)) for way in ((1, 0), (0, 1), (-1, 0), (0, -1))]
    for own, thickness in (((0, 0, 0), 3), (colour, 1)):
        cv2.polylines(canvas_out, [np.array(corners)], True, own, thickness, cv2.LINE_AA, SUBPIXEL_BITS)  # noqa: FBT003


def fixed_point(point: Floats) -> tuple[int, int]:
    """A point in OpenCV's sub-pixel drawing coordinates.

    Networks learn DeepLabCut's labels, which count from the centre of the first pixel, as OpenCV's drawing does.
    """
    x, y = np.rint(point * (1 << SUBPIXEL_BITS)).astype(int)
    return int(x), int(y)
