"""Pictures of an evaluation: every labelled image, errors, the training curve, and the worst images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from rigpose.arrays import Floats, Frames
from rigpose.files.results import whole_file
from rigpose.geometry import ScaleShift
from rigpose.measures.metrics import Metrics, pair_poses
from rigpose.poses import Poses
from rigpose.videos.drawing import SUBPIXEL_BITS, Colour, fixed_point, keypoint_colours
from rigpose_training.data.loaders import LabelledImage
from rigpose_training.evaluation.files import Evaluated, Evaluation
from rigpose_training.evaluation.frames import read_frame

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORST = 12
BOX: Colour = (200, 200, 200)
TILE = 300
"""Side of a picture on the sheet of the worst images [px]."""


@dataclass(frozen=True)
class Marks:
    """How labels (+) and predictions (disc, x below the cutoff) look.

    Attributes:
        colours: One per keypoint, unique ones last; or one per individual and one more for the unique keypoints.
        by: Which of the two.
        size: Radius of a disc [px].
        pcutoff: One, or one per keypoint.
    """

    colours: Sequence[Colour]
    size: int
    pcutoff: float | Sequence[float]
    by: str = "bodypart"

    def colour(self, animal: int, keypoint: int) -> Colour:
        """Of a keypoint; the unique ones' ``animal`` is -1."""
        return self.colours[keypoint if self.by == "bodypart" else animal % len(self.colours)]

    def cutoff(self, keypoint: int) -> float:
        """Smallest score of a keypoint that is drawn as found."""
        return self.pcutoff if isinstance(self.pcutoff, (int, float)) else self.pcutoff[keypoint]


def plot_evaluation(evaluation: Evaluation, *, by: str = "bodypart") -> None:
    """Draw everything that ``plotting=True`` asks for into the shuffle's evaluation folder, coloured by ``by``."""
    project = evaluation.loader.project_config
    count = len(evaluation.parts.names) if by == "bodypart" else len(evaluation.loader.individuals) + 1
    colours = keypoint_colours(count, project.colormap)
    # DeepLabCut's dot size is a diameter on a figure of the image's size.
    marks = Marks(colours, max(2, round(project.dotsize / 2)), evaluation.pcutoff, by)
    folder = evaluation.loader.evaluation_folder / f"LabeledImages_{evaluation.scorer}"
    draw_labelled_images(folder, evaluation.train, "Training", marks)
    draw_labelled_images(folder, evaluation.test, "Test", marks)
    errors = {name: part.metrics for name, part in evaluation.by_name.items()}
    plot_keypoint_errors(evaluation.file("-keypoint-errors.png"), evaluation.parts.names, errors)
    plot_worst_images(evaluation.file("-worst-images.png"), [evaluation.train, evaluation.test], marks)
    curves = {"-training-curve.png": "learning_stats.csv"}
    if evaluation.detector is not None:
        curves["-detector-training-curve.png"] = "learning_stats_detector.csv"
    for ending, name in curves.items():
        stats = evaluation.loader.model_folder / name
        if stats.exists():
            plot_training_curve(evaluation.file(ending), stats)


def draw_labelled_images(folder: Path, part: Evaluated, name: str, marks: Marks) -> None:
    """Write ``{name}-{video}-{image}`` for every image, with labels and predictions drawn in."""
    for image, poses in zip(part.images, part.poses, strict=True):
        drawn = draw_marks(read_frame(image.path), image, poses, marks)
        with whole_file(folder / f"{name}-{image.path.parent.name}-{image.path.name}") as temporary:
            cv2.imwrite(str(temporary), drawn)


def draw_marks(frame: Frames, image: LabelledImage, poses: Poses, marks: Marks) -> Frames:
    """A copy of the frame (H, W, 3) with labels and predictions [frame px], and the predictions' boxes, drawn in."""
    drawn = frame.copy()
    for row, (x, y, width, height) in enumerate(poses.boxes if poses.boxes is not None else ()):
        corners = fixed_point(np.array([x, y])), fixed_point(np.array([x + width, y + height]))
        colour = BOX if marks.by == "bodypart" else marks.colour(row, 0)
        cv2.rectangle(drawn, *corners, colour, 1, cv2.LINE_AA, SUBPIXEL_BITS)
    for animal, keypoint, x, y, score in _predicted(poses):
        draw = _disc if score >= marks.cutoff(keypoint) else _tilted_cross
        draw(drawn, np.array([x, y]), marks.size, marks.colour(animal, keypoint))
    for animal, keypoint, x, y in _labelled(image):
        _cross(drawn, np.array([x, y]), marks.size + 2, marks.colour(animal, keypoint))
    return drawn


def _predicted(poses: Poses) -> Iterator[tuple[int, int, float, float, float]]:
    """Animal, keypoint, x, y [frame px] and score of all that has a place; unique keypoints are animal -1's."""
    owners = np.arange(len(poses)) if poses.identity is None else poses.identity
    for owner, points in zip(owners.tolist(), poses.to_array(), strict=True):
        for keypoint in np.flatnonzero(np.isfinite(points).all(axis=-1)).tolist():
            yield owner, keypoint, *points[keypoint].tolist()
    for keypoint, (x, y, score) in enumerate([] if poses.unique is None else poses.unique.tolist()):
        if np.isfinite([x, y, score]).all():
            yield -1, poses.keypoints + keypoint, x, y, score


def _labelled(image: LabelledImage) -> Iterator[tuple[int, int, float, float]]:
    """Animal, keypoint, x and y [frame px] of every label; unique keypoints are animal -1's."""
    groups = [*enumerate(image.xy), (-1, image.unique_xy)]
    for owner, points in groups:
        first = 0 if owner >= 0 else image.xy.shape[1]
        for keypoint in np.flatnonzero(np.isfinite(points).all(axis=-1)).tolist():
            yield owner, first + keypoint, *points[keypoint].tolist()


def plot_keypoint_errors(path: Path, keypoints: Sequence[str], parts: dict[str, Metrics]) -> None:
    """A bar per keypoint and part: its mean error [image px]."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(6.0, 1.0 + 0.8 * len(keypoints)), 4.0), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(parts)
    for i, (name, metrics) in enumerate(parts.items()):
        at = np.arange(len(keypoints)) + (i - (len(parts) - 1) / 2) * width
        label = f"{name}, mean {metrics.rmse:.2f} px"
        axes.bar(at, np.nan_to_num(metrics.per_keypoint), width, label=label)
    axes.set_xticks(np.arange(len(keypoints)), keypoints, rotation=30, ha="right")
    axes.set_ylabel("mean error [px]")
    figure.legend(loc="outside upper center", ncols=len(parts), frameon=False)
    _save(figure, path)


def plot_training_curve(path: Path, stats: Path) -> None:
    """Losses, and the test error (for a detector its precision) where it was measured, against the epoch."""
    import pandas as pd
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    table = pd.read_csv(stats, index_col="step")
    losses = [c for c in table.columns if c.endswith(("train.total_loss", "eval.total_loss"))]
    metrics = [c for c in table.columns if c.startswith("metrics/")]
    errors = [c for c in metrics if "rmse" in c]
    boxes = [c for c in metrics if "mAP@" in c]
    tested = (boxes, "test precision [0, 100]") if boxes else (errors, "test error [px]")
    figure = Figure(figsize=(7.0, 6.0), layout="constrained")
    for axes, (names, label) in zip(figure.subplots(2, 1, sharex=True), ((losses, "loss"), tested), strict=True):
        for name in names:
            measured = table[name].dropna()
            axes.plot(measured.index, measured, label=name.split("/")[-1])
        axes.set_ylabel(label)
        if names and names is not boxes:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
        if names:
            axes.legend(frameon=False)
    figure.axes[-1].set_xlabel("epoch")
    _save(figure, path)


def plot_worst_images(path: Path, parts: Sequence[Evaluated], marks: Marks) -> None:
    """A sheet of the images with the largest mean error, the worst first; an empty set gives no sheet."""
    ranked = [entry for part in parts for entry in _errors(part)]
    ranked = sorted(ranked, key=lambda entry: -entry[0])[:WORST]
    if not ranked:
        return
    tiles = [_tile(error, image, poses, marks) for error, image, poses in ranked]
    across = min(4, len(tiles))
    blank = np.zeros_like(tiles[0])
    tiles += [blank] * (-len(tiles) % across)
    rows = [np.hstack(tiles[i : i + across]) for i in range(0, len(tiles), across)]
    with whole_file(path) as temporary:
        cv2.imwrite(str(temporary), np.vstack(rows))


def _errors(part: Evaluated) -> list[tuple[float, LabelledImage, Poses]]:
    """Mean error [image px], image and poses, for images where something could be compared."""
    pairs = pair_poses(part.poses, [image.xy for image in part.images])
    found = []
    for i, (image, poses) in enumerate(zip(part.images, part.poses, strict=True)):
        error = pairs.error[pairs.frame == i]
        if np.isfinite(error).any():
            found.append((float(np.nanmean(error)), image, poses))
    return found


def _tile(error: float, image: LabelledImage, poses: Poses, marks: Marks) -> Frames:
    """The part of the image with all labels and predictions, its name and error below."""
    frame = read_frame(image.path)
    points = np.concatenate([image.xy.reshape(-1, 2), poses.xy.reshape(-1, 2)])
    points = points[np.isfinite(points).all(axis=-1)]
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    side = max(1.5 * float(np.ptp(points, axis=0).max()), 0.25 * min(frame.shape[:2]))
    scale = TILE / side
    # A pixel's index is its centre, half a pixel inside its corner, before and after scaling.
    shift = (side / 2 - middle + 0.5) * scale - 0.5
    onto_tile = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    picture = cv2.warpAffine(frame, onto_tile, (TILE, TILE), flags=cv2.INTER_LINEAR)
    move = ScaleShift((scale, scale), (float(shift[0]), float(shift[1])))
    moved = replace(image, xy=move.apply(image.xy), unique_xy=move.apply(image.unique_xy))
    tile = np.zeros((TILE + 22, TILE + 4, 3), np.uint8)
    tile[:TILE, :TILE] = draw_marks(np.asarray(picture, np.uint8), moved, poses.moved(move), marks)
    text = f"{image.path.parent.name}/{image.path.stem}  {error:.1f} px"
    font, white = cv2.FONT_HERSHEY_SIMPLEX, (255, 255, 255)
    cv2.putText(tile, text, (4, TILE + 15), font, 0.42, white, 1, cv2.LINE_AA)
    return tile


def _save(figure: Figure, path: Path) -> None:
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _disc(canvas_out: Frames, at: Floats, size: int, colour: Colour) -> None:
    radius = size << SUBPIXEL_BITS
    cv2.circle(canvas_out, fixed_point(at), radius, colour, -1, cv2.LINE_AA, SUBPIXEL_BITS)


def _cross(canvas_out: Frames, at: Floats, size: int, colour: Colour) -> None:
    for step in ((size, 0), (0, size)):
        _line(canvas_out, at, np.array(step), colour)


def _tilted_cross(canvas_out: Frames, at: Floats, size: int, colour: Colour) -> None:
    for step in ((size, size), (size, -size)):
        _line(canvas_out, at, np.array(step), colour)


def _line(canvas_out: Frames, at: Floats, step: Floats, colour: Colour) -> None:
    ends = fixed_point(at - step), fixed_point(at + step)
    cv2.line(canvas_out, *ends, (0, 0, 0), 3, cv2.LINE_AA, SUBPIXEL_BITS)
    cv2.line(canvas_out, *ends, colour, 1, cv2.LINE_AA, SUBPIXEL_BITS)
