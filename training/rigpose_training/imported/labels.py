"""Labels of another tool in memory, whichever it was."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import TypeAlias

import numpy as np

from rigpose.arrays import Floats, Frames
from rigpose.errors import ProjectError


@dataclass(frozen=True)
class VideoFrame:
    """A frame that has to be decoded.

    Attributes:
        video: The file.
        index: The frame's number, from 0.
    """

    video: Path
    index: int


Picture: TypeAlias = Path | VideoFrame | Callable[[], Frames]
"""Where a labelled picture comes from: an image file, a video, or the labels' own file."""


@dataclass(frozen=True, eq=False)
class ImportedFrame:
    """A labelled picture.

    Attributes:
        video: The recording it is from, which names its folder in ``labeled-data``.
        image: Its file name there.
        picture: Where it comes from.
        xy: (N, K, 2) x, y [image px], the middle of the first pixel being (0, 0); NaN where nothing was labelled.
        unique_xy: (U, 2) likewise, of the keypoints that exist once per picture.
    """

    video: str
    image: str
    picture: Picture
    xy: Floats = field(repr=False)
    unique_xy: Floats = field(repr=False, default_factory=lambda: np.empty((0, 2)))


@dataclass(frozen=True, eq=False)
class ImportedLabels:
    """Everything in a file of labels.

    Attributes:
        source: The file.
        keypoints: K names.
        individuals: N names.
        named: Whether the file names the individuals; otherwise they are numbered in each picture.
        frames: In the file's order.
        unique_keypoints: U names.
        skeleton: Pairs of names.
        videos: Name of a recording -> its file, where that is at hand.
        scorer: Who labelled, where the file says so.
        notes: Sentences for the user about what the file has and a project has not.
    """

    source: Path
    keypoints: tuple[str, ...]
    individuals: tuple[str, ...]
    named: bool
    frames: tuple[ImportedFrame, ...] = field(repr=False)
    unique_keypoints: tuple[str, ...] = ()
    skeleton: tuple[tuple[str, str], ...] = ()
    videos: dict[str, Path] = field(default_factory=dict)
    scorer: str | None = None
    notes: tuple[str, ...] = ()


def place_animals(
    pictures: Sequence[Sequence[tuple[str | None, Floats]]], keypoints: int, *, order: Sequence[str] | None = None
) -> tuple[tuple[str, ...], bool, list[Floats]]:
    """Give each animal of each picture a row.

    Args:
        pictures: Per picture its animals: name, if it has one, and places (K, 2).
        keypoints: K.
        order: All names, as the individuals shall be ordered; none if names do not count. They do only if every
            animal has one, and none twice in a picture.

    Returns:
        The individuals' names, whether they are the file's, and per picture (N, K, 2).
    """
    every = [[name for name, _ in picture] for picture in pictures]
    named = order is not None and all(None not in found and len(set(found)) == len(found) for found in every)
    if order is not None and named:
        seen = {name for found in every for name in found}
        individuals = tuple(name for name in dict.fromkeys(order) if name in seen)
    else:
        most = max(map(len, every), default=0)
        individuals = tuple(f"individual{i + 1}" for i in range(most))
    if len(individuals) == 1 and not named:
        individuals = ("individual_1",)
    placed = []
    for picture in pictures:
        xy = np.full((len(individuals), keypoints, 2), np.nan)
        for row, (name, animal) in enumerate(picture):
            xy[individuals.index(str(name)) if named else row] = animal
        placed.append(xy)
    return individuals, named, placed


def frame_name(index: int, frames: int) -> str:
    """DeepLabCut's name for a frame of a video that has so many."""
    digits = max(1, math.ceil(math.log10(max(frames, index + 1, 2))))
    return f"img{index:0{digits}d}.png"


def find_file(named: str, source: Path, folder: Path | None) -> Path | None:
    """A file that labels name, perhaps on another machine: in ``folder``, where they say, or beside them.

    In the folders it may lie as deep as the labels say, or directly.
    """
    parts = PureWindowsPath(named).parts if "\\" in named else Path(named).parts
    inside = [Path(*parts[i:]) for i in range(len(parts))]
    if folder is not None:
        places = [folder / tail for tail in inside]
    else:
        places = [Path(named), *(source.parent / tail for tail in inside)]
    return next((place for place in places if place.is_file()), None)


def not_there(source: Path, missing: Sequence[str]) -> ProjectError:
    """The error that pictures of labels cannot be found."""
    others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    return ProjectError(f"{source}: {missing[0]}{others} cannot be found; name the folder that has them with --images.")


def shifted(xy: Floats, *, corner: bool) -> Floats:
    """Places counted from the middle of the first pixel, of such or of places counted from its outer corner."""
    return xy - 0.5 if corner else xy


def folder_name(parts: Sequence[str], source: Path) -> str:
    """Name of the folder in ``labeled-data`` for pictures in a folder with these parts; the source's if none."""
    kept = [part for part in parts if part not in ("..", ".", "/", "\\") and not part.endswith(":\\")]
    return "_".join(kept) or source.stem
