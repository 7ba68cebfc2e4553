"""Boxes of two runs compared as sets: ties have no order, and everything else is seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from rigpose.arrays import Array, Floats
from rigpose.measures.differences import Difference, Tolerance, compare_boxes
from rigpose.models.model_spec import DetectorSpec
from rigpose.parity.answers import boxes_of
from rigpose.poses import Poses

MOST = 4


def drawn(seed: int, score: Sequence[float]) -> Poses:
    """Boxes of 10 to 60 px somewhere in a frame, with these scores."""
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 200, (len(score), 2))
    xy = np.stack([low, low + rng.uniform(10, 60, low.shape)], axis=1).astype(np.float32)
    return Poses(xy, np.repeat(np.array(score, np.float32)[:, None], 2, axis=1))


def judged(right: Poses, other: Poses, *also: Poses) -> Difference:
    return compare_boxes([right], [other], Tolerance(), most=MOST, also=[[answer] for answer in also])


def test_equal_scores_have_no_order() -> None:
    boxes = drawn(0, [0.9, 0.5, 0.5, 0.5, 0.5, 0.5])
    for order in ([0, 1, 2, 3, 4, 5], [0, 4, 1, 5, 3, 2], [0, 5, 4, 3, 2, 1]):
        difference = judged(boxes, boxes.take(np.array(order)))
        assert difference == Difference(MOST, 0.0, 0.0, 0.0, 0.0, beyond=0)
    # Scores as different as rounding makes them are as good as equal.
    near = Poses(boxes.xy, boxes.score + np.linspace(0, 5e-5, 6, dtype=np.float32)[:, None])
    assert judged(boxes, near.take(np.argsort(-near.score[:, 0], kind="stable"))).within


@pytest.mark.parametrize("pixels", [0.5, 0.06])
def test_a_box_that_lies_elsewhere_is_beyond(pixels: float) -> None:
    boxes = drawn(1, [0.9, 0.5, 0.5, 0.5, 0.5])
    for corner in range(2):
        xy = boxes.xy.copy()
        xy[0, corner, 0] += pixels
        difference = judged(boxes, Poses(xy, boxes.score))
        assert difference.beyond == 1 and difference.worst_px == pytest.approx(pixels, abs=1e-4)
    assert judged(boxes, Poses(boxes.xy + np.float32(pixels), boxes.score)).beyond == MOST


def test_another_score_a_lacking_box_and_one_too_many_are_beyond() -> None:
    boxes = drawn(2, [0.9, 0.7, 0.5, 0.5, 0.5, 0.5])
    score = boxes.score.copy()
    score[1] += 0.001
    assert judged(boxes, Poses(boxes.xy, score)).beyond == 1
    # Without the best one, four others of equal scores would fill the places.
    assert judged(boxes, boxes.take(np.array([2, 3, 4, 5]))).beyond > 0
    assert judged(boxes, boxes.take(np.arange(3))).beyond == 1
    assert judged(boxes.take(np.arange(3)), boxes).beyond == 1
    # One box twice is not two.
    assert judged(boxes, boxes.take(np.array([0, 1, 2, 2]))).beyond == 1
    nothing = drawn(0, [])
    assert judged(boxes, nothing).beyond == MOST and judged(nothing, boxes).beyond == MOST
    assert judged(nothing, nothing) == Difference(0, 0.0, 0.0, 0.0, 0.0, beyond=0)


def test_a_box_that_the_reference_has_only_under_rounding_is_right_and_one_that_it_never_has_is_not() -> None:
    boxes, other = drawn(3, [0.9, 0.8, 0.7, 0.6]), drawn(4, [0.6])
    swapped = Poses(np.concatenate([boxes.xy[:3], other.xy]), np.concatenate([boxes.score[:3], other.score]))
    assert judged(boxes, swapped).beyond == 1
    tie = judged(boxes, swapped, swapped)
    assert tie.within and tie.ties == 1 and tie.worst_px == 0
    assert (
        judged(
            boxes, Poses(swapped.xy + np.array([0, 0, 0, 0.5], np.float32)[:, None, None], swapped.score), swapped
        ).beyond
        == 1
    )
    assert judged(boxes, boxes.take(np.arange(3)), swapped).within, "which of two boxes is the fourth, rounding decides"


def choices(scores: Floats) -> list[Poses]:
    """Three runs of a network that sees one animal, and takes other boxes each time for the remaining places."""
    many = drawn(5, [0.9, *scores])
    return [many.take(np.array([0, *range(start, start + 12)])) for start in (1, 13, 25)]


def test_a_choice_among_many_equal_boxes_is_not_judged() -> None:
    first, second, third = choices(np.full(40, 0.5))
    moved = Poses(third.xy + np.float32(0.5), third.score)
    for also in ((), (second,)):
        assert judged(first, third, *also).within and judged(first, third, *also).compared == 1
        assert judged(first, moved, *also).beyond == 1, "the box that is surer than the others is judged"
    alike = [boxes.take(np.arange(1, 13)) for boxes in (first, third)]
    assert judged(*alike).compared == 0 and not judged(*alike).within


def test_a_choice_among_nearly_equal_boxes_is_not_judged_where_the_reference_makes_it_at_random() -> None:
    first, second, third = choices(0.5 + 1e-6 * np.arange(40))
    assert judged(first, third).beyond == 3, "one answer does not say that it is a choice"
    assert judged(first, third, second).within and judged(first, third, second).compared == 1
    assert judged(first, third, first).beyond == 3, "a reference that always gives the same has made no choice"


class Scores:
    """A detector of fixed boxes."""

    device = "cpu"

    def __init__(self, score: Floats) -> None:
        self.score = score

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        boxes = np.tile(np.arange(len(self.score), dtype=np.float32)[:, None], (1, 4)) + np.array(
            [0, 0, 5, 5], np.float32
        )
        count = len(inputs["frames"])
        return {"boxes": np.tile(boxes, (count, 1, 1)), "scores": np.tile(self.score, (count, 1))}


@pytest.mark.parametrize(
    ("score", "count"),
    [
        ([0.9, 0.8, 0.7, 0.6, 0.5, 0.4], 4),
        ([0.9, 0.8, 0.7, 0.6, 0.59999, 0.4], 5),
        ([0.9, 0.8, 0.7, 0.0, 0.0, 0.0], 3),
        ([0.9, 0.8, 0.5, 0.5, 0.5, 0.5], 6),
    ],
)
def test_the_best_boxes_come_with_those_that_rounding_might_put_among_them(score: list[float], count: int) -> None:
    frames = np.zeros((2, 20, 30, 3), np.uint8)
    found = boxes_of(DetectorSpec(MOST // 2), Scores(np.array(score, np.float32)), list(frames), Tolerance())
    assert [len(boxes) for boxes in found] == [count, count]
