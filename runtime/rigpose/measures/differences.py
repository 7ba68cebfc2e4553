"""How far two runs of one model are apart, and what still counts as the same.

Some decisions hang on rounding alone: which of two equal cells is the peak, which of two equal pairs is linked, which
of two equal boxes comes first. There the training framework itself gives several answers when its numbers are disturbed
as little as rounding does, and each of these is right. So what differs from the first is compared with all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from rigpose.arrays import Array, Floats
from rigpose.poses import Poses


@dataclass(frozen=True)
class Tolerance:
    """What still counts as the same pose, or the same box.

    Attributes:
        position_px: Per keypoint; half a map cell, the smallest real mistake, is a hundred times more.
        position_relative: Added per px of the coordinate: float32 keeps about 1e-7 of a number, and untrained
            networks point far outside the frame.
        box_px: Per corner of a box. A detector scales its frame, and moves and stretches anchors of up to half the
            frame by exponentials; crops are cut at whole pixels, so a twentieth of one never shows.
        score: Of keypoints and animals, a twentieth of the last digit that cutoffs are said with; of a score above 1,
            which untrained networks give, this part of it. Summing float32 in another order moves scores of a trained
            SimCC network by half of it, and those of heatmaps by a thousandth.
        box_score: Of boxes.
    """

    position_px: float = 0.01
    position_relative: float = 2e-6
    box_px: float = 0.05
    score: float = 5e-4
    box_score: float = 1e-4


@dataclass(frozen=True)
class Difference:
    """Answers of one run against answers of another, keypoint by keypoint or box by box.

    Attributes:
        compared: How many keypoints (or boxes) were compared.
        worst_px: Largest distance [px], of boxes between corners; of those that both sides have.
        p99_px: 99th percentile of these distances [px].
        mean_px: Their mean [px].
        worst_score: Largest score difference.
        beyond: How many lie beyond the tolerance of every answer that the reference gives.
        ties: How many agree not with the reference's first answer, but with another one that rounding alone decides.
        missing: How many only one side has, or has of another individual; all of them count as beyond.
    """

    compared: int
    worst_px: float
    p99_px: float
    mean_px: float
    worst_score: float
    beyond: int
    ties: int = 0
    missing: int = 0

    @property
    def within(self) -> bool:
        """Whether everything lies within the tolerance and something was compared."""
        return self.beyond == 0 and self.compared > 0


def compare(
    reference: Sequence[Poses],
    found: Sequence[Poses],
    tolerance: Tolerance,
    *,
    also: Sequence[Sequence[Poses]] = (),
) -> Difference:
    """Compare poses frame by frame, animal by animal, keypoint by keypoint.

    Animals are compared in the order of the grouping, or where that does not fit, because they score alike, each with
    the one that is nearest. Scores of animals count as their keypoints' scores do, and keypoints that exist once per
    frame as one more animal; an animal that is another individual is missing.

    Args:
        reference: The poses that count as right.
        found: The poses to judge; a different number of animals is beyond any tolerance.
        tolerance: What counts as the same.
        also: Further answers of the reference, each for all frames; what agrees with one of them is right.

    Returns:
        The differences; a keypoint that only one side has is ``missing``.
    """
    chosen = [
        _nearest([_Gap.between(answer[f], other, tolerance) for answer in (reference, *also)])
        for f, other in enumerate(found)
    ]
    if len(reference) != len(found):
        raise ValueError(f"{len(reference)} frames of reference poses but {len(found)} frames of poses to judge")
    gaps = [gap for gap, _ in chosen]
    distance, score, beyond = (
        np.concatenate([getattr(gap, name) for gap in gaps] or [np.empty(0)])
        for name in ("distance", "score", "beyond")
    )
    return _summary(distance, score, beyond, ties=sum(ties for _, ties in chosen))


@dataclass(frozen=True)
class _Gap:
    """One frame of an answer against the poses to judge, per keypoint.

    Attributes:
        distance: (M,) [px], infinite where only one side has the keypoint.
        score: (M,) largest difference of its scores.
        beyond: (M,) whether the keypoint is beyond the tolerance.
        comparable: Whether both sides have as many animals.
    """

    distance: Floats
    score: Floats
    beyond: Array
    comparable: bool

    @classmethod
    def between(cls, right: Poses, other: Poses, tolerance: Tolerance) -> _Gap:
        if len(right) == len(other):
            in_order = cls._of_rows(_rows(right), _rows(other), tolerance)
            if not in_order.beyond.any() or len(right) < 2:
                return in_order
            mine, theirs = matched_animals(right, other)
            nearest = cls._of_rows(_rows(right.take(mine[np.argsort(theirs)])), _rows(other), tolerance)
            return min(in_order, nearest, key=lambda gap: gap.wrong)
        mine, theirs = matched_animals(right, other)
        both = cls._of_rows(_rows(right.take(mine)), _rows(other.take(theirs)), tolerance)
        missing = abs(len(right) - len(other)) * right.keypoints
        return cls(
            np.concatenate([both.distance, np.full(missing, np.inf)]),
            np.concatenate([both.score, np.zeros(missing)]),
            np.concatenate([both.beyond, np.ones(missing, bool)]),
            comparable=False,
        )

    @property
    def wrong(self) -> tuple[int, int, float]:
        """How wrong it is: keypoints beyond the tolerance, those without a distance, the sum of the others."""
        there = np.isfinite(self.distance)
        return int(self.beyond.sum()), int((~there).sum()), float(self.distance[there].sum())

    @classmethod
    def _of_rows(cls, first: Floats, second: Floats, tolerance: Tolerance) -> _Gap:
        distance = np.linalg.norm(first[:, :2] - second[:, :2], axis=1)
        absent, absent_there = np.isnan(first[:, :2]).any(axis=1), np.isnan(second[:, :2]).any(axis=1)
        distance = np.where(absent & absent_there, 0.0, np.where(absent ^ absent_there, np.inf, distance))
        distance = np.where(first[:, -1] == second[:, -1], distance, np.inf)
        scores = np.nan_to_num(first[:, 2:-1])
        score = np.abs(scores - np.nan_to_num(second[:, 2:-1]))
        extent = np.abs(np.nan_to_num(first[:, :2])).max(axis=1)
        beyond = distance > tolerance.position_px + tolerance.position_relative * extent
        beyond |= (score > tolerance.score * np.maximum(np.abs(scores), 1.0)).any(axis=1)
        return cls(distance, score.max(axis=1), beyond, comparable=True)


def matched_animals(first: Poses, second: Poses) -> tuple[Array, Array]:
    """Which animal of one answer is which of the other: rows of both, (P,) each, so that together they lie nearest.

    A keypoint that only one of two animals has counts as further away than any that both have.
    """
    gaps = np.linalg.norm(first.xy[:, None].astype(np.float64) - second.xy[None], axis=-1)  # (N, M, K)
    far = np.nanmax(np.where(np.isfinite(gaps), gaps, np.nan), initial=0) + 1
    one_sided = np.isnan(first.xy[:, None, :, 0]) ^ np.isnan(second.xy[None, :, :, 0])
    cost = np.where(np.isfinite(gaps), gaps, np.where(one_sided, far, 0)).sum(axis=-1)
    return linear_sum_assignment(cost)


def _rows(poses: Poses) -> Floats:
    """(M, 5 + I) of all keypoints of a frame: x, y [px], scores, and last which individual the animal is.

    The scores are the keypoint's, its animal's, and how much it looks like each of I individuals.
    """
    N, K = poses.score.shape
    animal = np.zeros(N) if poses.animal_score is None else poses.animal_score
    identity = np.full(N, -1) if poses.identity is None else poses.identity
    alike = np.empty((N, K, 0)) if poses.identity_scores is None else poses.identity_scores
    columns = [poses.xy, poses.score[..., None], np.broadcast_to(animal[:, None, None], (N, K, 1)), alike]
    columns += [np.broadcast_to(identity[:, None, None], (N, K, 1))]
    joined = np.concatenate(columns, axis=2).astype(np.float64)
    rows = joined.reshape(N * K, joined.shape[2])
    if poses.unique is None:
        return rows
    return np.concatenate([rows, np.pad(poses.unique.astype(np.float64), ((0, 0), (0, rows.shape[1] - 3)))])


def _nearest(gaps: Sequence[_Gap]) -> tuple[_Gap, int]:
    """The gap to the reference's first answer, or to another where that is beyond the tolerance; how many of these."""
    first = gaps[0]
    comparable = [gap for gap in gaps if gap.comparable]
    if not first.beyond.any() or not comparable:
        return first, 0
    beyond = np.stack([gap.beyond for gap in comparable])  # (A, M)
    which = beyond.argmin(axis=0)  # the first answer within, or the first of all
    row = np.arange(beyond.shape[1])
    distance, score = (np.stack([getattr(g, name) for g in comparable])[which, row] for name in ("distance", "score"))
    ties = int((which > 0).sum()) if first.comparable else len(row)
    return _Gap(distance, score, beyond[which, row], comparable=True), ties


def compare_boxes(
    reference: Sequence[Poses],
    found: Sequence[Poses],
    tolerance: Tolerance,
    *,
    most: int,
    also: Sequence[Sequence[Poses]] = (),
) -> Difference:
    """Compare the best boxes frame by frame as sets: among equal scores, rounding decides the order.

    Each of the best boxes that were found must be a box of one of the answers, no two of them the same one; and each of
    the best boxes that all answers have must be found. A box of neither kind that scores as many others do, so that
    the choice among them says nothing, is not compared.

    Args:
        reference: The boxes that count as right, as ``boxes_of`` gives them.
        found: The boxes to judge.
        tolerance: What counts as the same.
        most: How many of a frame are the best; further ones are there because their scores may be equal to theirs.
        also: Further answers of the reference, each for all frames.

    Returns:
        The differences, box by box; one that was not found is infinitely far.
    """
    if len(reference) != len(found):
        raise ValueError(f"{len(reference)} frames of reference boxes but {len(found)} frames of boxes to judge")
    frames = [
        _judged_boxes([answer[f] for answer in (reference, *also)], other, tolerance, most)
        for f, other in enumerate(found)
    ]
    rows = np.concatenate([rows for rows, _ in frames] or [np.empty((0, 3))])
    return _summary(rows[:, 0], rows[:, 1], rows[:, 2] > 0, ties=sum(ties for _, ties in frames))


def _judged_boxes(answers: Sequence[Poses], found: Poses, tolerance: Tolerance, most: int) -> tuple[Floats, int]:
    """(M, 3) distance [px], score difference, whether beyond the tolerance; and how many only a later answer has."""
    judged = np.stack([_paired_boxes(found, answer, tolerance) for answer in answers])[:, :most]  # (A, M, 3)
    which = judged[..., 2].argmin(axis=0)  # the first answer that has the box, or the first of all
    rows = judged[which, np.arange(judged.shape[1])]
    judged_rows = ~(_undecided(found, answers, tolerance, most)[:most] & (rows[:, 2] > 0))
    rows, which = rows[judged_rows], which[judged_rows]
    sought = answers[0].take(np.arange(min(most, len(answers[0]))))
    lacking = np.stack([_paired_boxes(sought, other, tolerance)[:, 2] > 0 for other in (found, *answers[1:])])
    lacking[0] &= ~_undecided(sought, answers, tolerance, most)
    missed = int((lacking[0] & ~lacking[1:].any(axis=0)).sum())
    # A box that was found in the place of another one is counted already.
    missed = max(0, missed - int(rows[:, 2].sum()))
    missing = np.tile([np.inf, 0.0, 1.0], (missed, 1))
    return np.concatenate([rows, missing]), int((which > 0).sum())


def _undecided(boxes: Poses, answers: Sequence[Poses], tolerance: Tolerance, most: int) -> Array:
    """(N,) whether more boxes than are compared score as these do, the very same or so that the answers choose others.

    So it is where a network tells nothing apart: of its thousands of anchors any choice is as good as another.
    """
    first, others = answers[0], answers[1:]
    difference = np.abs(boxes.score[:, None, 0] - first.score[None, :, 0])
    undecided = (difference == 0).sum(axis=1) > most
    if others:
        changing = np.stack([_paired_boxes(first, other, tolerance)[:, 2] > 0 for other in others]).any(axis=0)
        equal = difference <= 2 * tolerance.box_score
        undecided |= (equal.sum(axis=1) > most) & (2 * (equal & changing).sum(axis=1) >= equal.sum(axis=1))
    return undecided


def _paired_boxes(boxes: Poses, others: Poses, tolerance: Tolerance) -> Floats:
    """Per box the distance of the worse corner to the box it is paired with, the score difference, whether beyond.

    Boxes are paired one to one, as many as possible within the tolerance, the others with the nearest that are left.
    """
    corners = np.linalg.norm(boxes.xy[:, None].astype(np.float64) - others.xy[None], axis=-1)  # (N, M, 2)
    distance = corners.max(axis=-1)
    score = np.abs(boxes.score[:, None, 0] - others.score[None, :, 0])
    extent = np.abs(boxes.xy).max(axis=(1, 2), initial=0)[:, None]
    beyond = (distance > tolerance.box_px + tolerance.position_relative * extent) | (score > tolerance.box_score)
    far = distance.max(initial=0) + 1
    rows, columns = linear_sum_assignment(distance + beyond * far * (1 + len(boxes)))
    judged = np.tile([np.inf, 0.0, 1.0], (len(boxes), 1))
    judged[rows] = np.stack([a[rows, columns] for a in (distance, score, beyond)], axis=1)
    return judged


def _summary(distance: Floats, score: Floats, beyond: Array, *, ties: int) -> Difference:
    measured = distance[np.isfinite(distance)]
    there = len(measured) > 0
    return Difference(
        compared=len(distance),
        worst_px=float(measured.max()) if there else 0.0,
        p99_px=float(np.percentile(measured, 99, method="higher")) if there else 0.0,
        mean_px=float(measured.mean()) if there else 0.0,
        worst_score=float(score.max(initial=0.0)),
        beyond=int(beyond.sum()),
        ties=ties,
        missing=len(distance) - len(measured),
    )
