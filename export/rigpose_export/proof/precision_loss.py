"""What a graph in another precision loses against the fp32 graph: in poses, and against labels.

All graphs see the same pictures, boxes and rough poses. A picture is read once and shown to every graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from rigpose.analyzers.top_down import BoxAnalyzer
from rigpose.bundles.bundle import Precision, Role
from rigpose.bundles.certificate import Bounds, Loss, Metric
from rigpose.measures.box_metrics import Boxes, evaluate_boxes
from rigpose.measures.differences import Tolerance
from rigpose.measures.drift import Drift, drift
from rigpose.measures.metrics import evaluate_poses
from rigpose.parity.answers import best_boxes, poses_of
from rigpose.parity.replay import LOST_SHARE, drift_of_boxes
from rigpose.poses import Poses
from rigpose.progress import Progress, silent
from rigpose.sessions import Session
from rigpose_export.evidence import Pictures
from rigpose_export.reference import Reference
from rigpose_training.data.labelled import LabelledImage, with_boxes

FP16_PX = 0.1
"""A tenth of a pixel is less than the jitter of any label or camera, and a hundred times what fp32 graphs differ by."""
FP16_BOX_PX = 1.0
"""Crops are cut at whole pixels: a box is as good as another that is less than one away."""
INT8_PX = 4.0
"""Half a cell of the usual map, where no labels say what quantisation costs: more is another peak."""
LEAST_PX = 0.05
"""People click whole pixels, so that a label is 0.4 px (root mean square) from what was meant: a mean error that is a
tenth of that larger than another is no worse."""


def bounds_of(role: Role, precision: Precision, *, labelled: bool) -> Bounds:
    """What a graph may lose: fp16 1 % of error and mAP, int8 5 %, where there are labels; and distances in pixels."""
    if precision == "fp16":
        return Bounds(FP16_BOX_PX if role == "detector" else FP16_PX, 0.01, LEAST_PX)
    return Bounds(None if labelled else INT8_PX, 0.05, LEAST_PX)


@dataclass(frozen=True)
class Answers:
    """What one graph found in all pictures: poses, or boxes and the best of them as poses."""

    poses: list[Poses] = field(default_factory=list)
    boxes: list[Boxes] = field(default_factory=list)


@dataclass(frozen=True)
class Measured:
    """What all graphs found.

    Attributes:
        pictures: How many.
        images: Their labels; nothing where they have none.
        answers: By graph.
    """

    pictures: int
    images: list[LabelledImage]
    answers: dict[str, Answers]


def measure(
    reference: Reference, pictures: Pictures, graphs: Mapping[str, tuple[Role, Session]], *, show: Progress = silent
) -> Measured:
    """Show the pictures to every graph.

    Args:
        reference: Says what the graphs are of.
        pictures: What they see.
        graphs: By name: which of the reference's graphs each is, and its session.
        show: How progress is shown.

    Raises:
        MediaError: A picture is missing or broken.
    """
    answers = {name: Answers() for name in graphs}
    images: list[LabelledImage] = []
    count = 0
    with show("Measuring", len(pictures), "pictures") as advance:
        for picture in pictures:
            for name, (role, session) in graphs.items():
                if role == "pose":
                    answers[name].poses.extend(poses_of(reference.spec, session, [picture.frame], picture.told))
                    continue
                assert reference.detector_spec is not None
                (boxes,) = BoxAnalyzer(reference.detector_spec, session).predict([picture.frame])
                answers[name].boxes.append(boxes)
                answers[name].poses.append(best_boxes(reference.detector_spec, boxes, Tolerance()))
            if picture.image is not None:
                images.append(picture.image)
            count += 1
            advance(1)
    return Measured(count, images, answers)


def metric_of(reference: Reference, role: Role, answers: Answers, images: Sequence[LabelledImage]) -> Metric | None:
    """How good answers are against labels, by the definitions of ``rigpose evaluate``; none without labels."""
    if not images:
        return None
    truth = [image.xy for image in images]
    labelled = sum(int((~np.isnan(xy[..., 0])).any(axis=1).sum()) for xy in truth)
    if role == "detector":
        boxes = [np.asarray(image.boxes) for image in with_boxes(images, reference.spec.box_margin)]
        boxes = [rows[~np.isnan(rows).any(axis=1)] for rows in boxes]
        corners = [np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:]], axis=1) for rows in boxes]
        return Metric(None, _number(evaluate_boxes(answers.boxes, corners).mAP), labelled)
    unique = [image.unique_xy for image in images] if reference.spec.unique_keypoints else None
    metrics = evaluate_poses(answers.poses, truth, unique_truth=unique)
    return Metric(_number(metrics.rmse), _number(metrics.mAP), labelled)


def drift_between(reference: Reference, role: Role, right: Answers, other: Answers) -> Drift:
    """How far one graph's answers lie from another's."""
    if role == "pose":
        return drift(right.poses, other.poses)
    assert reference.detector_spec is not None
    return drift_of_boxes(reference.detector_spec, right.poses, other.poses)


def loss_of(
    role: Role,
    precision: Precision,
    measured: Measured,
    moved: tuple[Drift, Drift],
    metrics: tuple[Metric | None, Metric | None],
) -> Loss:
    """Judge a precision.

    Args:
        role: Of the graph.
        precision: Of the graph.
        measured: On what.
        moved: Its drift on the pictures, and on the golden frames.
        metrics: Of the fp32 graph, and of this one.
    """
    bounds = bounds_of(role, precision, labelled=metrics[0] is not None)
    beyond = [*_moved_too_far(moved[0], bounds, role), *_worse(metrics, bounds)]
    return Loss(measured.pictures, moved[0], moved[1], bounds, tuple(beyond))


def _moved_too_far(moved: Drift, bounds: Bounds, role: Role) -> list[str]:
    what = "boxes" if role == "detector" else "keypoints"
    if not moved.compared:
        return [f"the fp32 graph finds no {what}, so there is nothing to measure"]
    found = []
    if bounds.p99_px is not None and moved.p99_px > bounds.p99_px:
        found.append(
            f"{what} that score {moved.sure_score:.2g} or more move by {moved.p99_px:.3g} px (p99; at most "
            f"{bounds.p99_px:g})"
        )
    if moved.lost > LOST_SHARE * moved.compared:
        found.append(f"{moved.lost} of {moved.compared} sure {what} are lost (at most {LOST_SHARE:.0%})")
    return found


def _worse(metrics: tuple[Metric | None, Metric | None], bounds: Bounds) -> list[str]:
    """What rose or fell by more than its share, and by more than labels can tell."""
    right, other = metrics
    if right is None or other is None:
        return []
    found, share = [], bounds.metric_share
    if right.px_error is not None:
        most = right.px_error + max(share * right.px_error, bounds.least_px)
        if other.px_error is None:
            found.append("nothing is found where labels are")
        elif other.px_error > most:
            found.append(
                f"the mean error is {other.px_error:.3g} px in place of {right.px_error:.3g} (at most {share:.0%} more)"
            )
    if right.mAP is not None:
        # One animal at one of the ten thresholds is the smallest step that mAP has.
        least = right.mAP - max(share * right.mAP, 10 / max(right.labelled, 1))
        if other.mAP is None or other.mAP < least:
            found.append(f"the mAP is {other.mAP or 0:.4g} in place of {right.mAP:.4g} (at most {share:.0%} less)")
    return found


def _number(value: float) -> float | None:
    """None for NaN, which says that nothing could be judged."""
    return None if np.isnan(value) else float(value)
