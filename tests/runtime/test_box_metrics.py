from __future__ import annotations

import contextlib
import io
from dataclasses import astuple

import numpy as np
import pytest

from rigpose.measures.box_metrics import Boxes, evaluate_boxes, intersection_over_union


def images(seed: int, count: int = 12) -> tuple[list[Boxes], list[np.ndarray]]:
    """Labels, and boxes that are near them, doubled, misplaced or missing; scores tie now and then."""
    rng = np.random.default_rng(seed)
    predicted, truth = [], []
    for _ in range(count):
        corner = rng.uniform(0, 80, (rng.integers(0, 5), 2))
        labels = np.concatenate([corner, corner + rng.uniform(4, 40, corner.shape)], axis=1)
        near = labels + rng.normal(0, rng.choice([0.0, 1.0, 4.0]), labels.shape)
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        doubled = near[: rng.integers(0, 2)] + 1.0
        stray = np.tile(rng.uniform(0, 50, (rng.integers(0, 3), 2)), 2) + np.array([0, 0, 20, 20])
        boxes = np.concatenate([near[rng.random(len(near)) < 0.9], doubled, stray])
        predicted.append(Boxes(boxes, rng.random(len(boxes)).round(1)))
        truth.append(labels)
    return predicted, truth


def by_pycocotools(predicted: list[Boxes], truth: list[np.ndarray]) -> list[float]:
    coco = pytest.importorskip("pycocotools.coco")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    with contextlib.redirect_stdout(io.StringIO()):
        labels = coco.COCO()
        labels.dataset = {
            "info": {},
            "images": [{"id": i} for i in range(1, len(truth) + 1)],
            "categories": [{"id": 1}],
            "annotations": [],
        }
        found = []
        for i, (boxes, label) in enumerate(zip(predicted, truth, strict=True), start=1):
            for x1, y1, x2, y2 in label.tolist():
                entry = {"image_id": i, "category_id": 1, "iscrowd": 0, "bbox": [x1, y1, x2 - x1, y2 - y1]}
                entry |= {"id": len(labels.dataset["annotations"]) + 1, "area": (x2 - x1) * (y2 - y1)}
                labels.dataset["annotations"].append(entry)
            found += [
                [i, x1, y1, x2 - x1, y2 - y1, score, 1]
                for (x1, y1, x2, y2), score in zip(boxes.xyxy.tolist(), boxes.score.tolist(), strict=True)
            ]
        labels.createIndex()
        evaluation = cocoeval.COCOeval(labels, labels.loadRes(np.array(found)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    # All areas and at most 100 boxes: the first and the last entry of their axes.
    precision = evaluation.eval["precision"][:, :, 0, 0, -1].mean(axis=1)
    recall = evaluation.eval["recall"][:, 0, 0, -1]
    return [100 * value for each in (precision, recall) for value in (each.mean(), each[0], each[5])]


@pytest.mark.parametrize("seed", range(20))
def test_the_metrics_are_those_of_pycocotools(seed: int) -> None:
    predicted, truth = images(seed)
    expected = by_pycocotools(predicted, truth)
    assert 0 < expected[0] < 100
    assert astuple(evaluate_boxes(predicted, truth)) == pytest.approx(expected, abs=1e-9)  # the same sums in float64


def test_only_the_best_hundred_boxes_of_an_image_count() -> None:
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 500, (130, 2))
    boxes = np.concatenate([corner, corner + 30], axis=1)
    predicted, truth = [Boxes(boxes, np.linspace(1, 0, 130))], [boxes[::2]]
    assert astuple(evaluate_boxes(predicted, truth)) == pytest.approx(by_pycocotools(predicted, truth), abs=1e-9)


def test_a_box_of_half_the_area_has_an_iou_of_a_half() -> None:
    whole, half = np.array([[10.0, 20.0, 30.0, 60.0]]), np.array([[10.0, 20.0, 20.0, 60.0]])
    assert intersection_over_union(whole, half).item() == 0.5
    found = evaluate_boxes([Boxes(half, np.ones(1))], [whole])
    assert (found.mAP_50, found.mAP_75) == (pytest.approx(100), 0)
    assert found.mAR == pytest.approx(10)  # one threshold of ten


def test_nothing_found_is_zero_and_nothing_labelled_is_no_number() -> None:
    nobody = Boxes(np.empty((0, 4)), np.empty(0))
    box = np.array([[0.0, 0.0, 9.0, 9.0]])
    assert evaluate_boxes([nobody], [box]).mAP == 0.0
    assert np.isnan(evaluate_boxes([Boxes(box, np.ones(1))], [np.empty((0, 4))]).mAP)
    assert np.isnan(evaluate_boxes([], []).mAP)
