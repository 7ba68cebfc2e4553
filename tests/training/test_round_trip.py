"""Keypoints -> targets -> the same decoder that the rig uses -> the same keypoints, for every family.

Perfect maps, so what is left is geometry: nothing but float32 rounding where a family has offsets, half a cell or half
a bin where it has none. A shifted convention shows as half a stride.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from rigpose.arrays import Floats
from rigpose.grouping.identity import assign_identity
from rigpose.grouping.paf import group_paf
from rigpose.models.model_spec import PafGrouping
from rigpose.poses import Poses
from rigpose_training.decode import decode_maps
from rigpose_training.dense import build_dense, grouping_of
from rigpose_training.dense.identity import IdentityPredictor, IdentityReader, candidate_places
from rigpose_training.targets import draw_targets, read_generators

SIZE = (192, 240)  # h, w [px]
# Offsets of up to 17 px in units of 7.28 px, or of 30 cells, in float32.
OFFSET_PX = 1e-3

GAUSSIAN = {"type": "HeatmapGaussianGenerator", "num_heatmaps": 4, "pos_dist_thresh": 17}
PLATEAU = GAUSSIAN | {"type": "HeatmapPlateauGenerator"}
GRAPH = [list(edge) for edge in itertools.combinations(range(4), 2)]
PAF = {
    "type": "SequentialGenerator",
    "generators": [PLATEAU, {"type": "PartAffinityFieldGenerator", "graph": GRAPH, "width": 20}],
}
PAF_PREDICTOR = {
    "type": "PartAffinityFieldPredictor",
    "num_animals": 3,
    "num_multibodyparts": 4,
    "graph": GRAPH,
    "edges_to_keep": list(range(len(GRAPH))),
    "min_affinity": 0.05,
}
DEKR_PREDICTOR = {
    "type": "DEKRPredictor",
    "num_animals": 3,
    "apply_sigmoid": False,
    "use_heatmap": False,
    "clip_scores": True,
    "nms_threshold": 0.05,
}


def animals_in_view() -> np.ndarray:
    """(B, N, K, 3) labels: three animals apart from each other; then two of them, each without one keypoint."""
    rng = np.random.default_rng(7)
    body = np.array([[-16, -12], [17, -9], [14, 15], [-13, 16.0]])
    middle = np.array([[[19.5, 16.4], [120.3, 96.2], [219.6, 173.3]], [[20.4, 171.7], [219.1, 17.3], [0, 0]]])
    xy = middle[:, :, None] + body + rng.uniform(-1, 1, (2, 3, 4, 2))  # the nearest 2 px from the border
    labels = np.concatenate([xy, np.full((2, 3, 4, 1), 2.0)], axis=-1).astype(np.float32)
    labels[1, 2] = labels[1, 0, 3] = labels[1, 1, 1] = 0
    assert (labels[..., :2] < SIZE[::-1]).all() and (labels >= 0).all()
    return labels


def drawn(generator: Mapping[str, Any], stride: float, **annotations: np.ndarray) -> dict[str, np.ndarray]:
    """Targets for maps of the whole image."""
    labels = {name: torch.from_numpy(values) for name, values in annotations.items()}
    size = torch.zeros(1, 1, int(SIZE[0] / stride), int(SIZE[1] / stride))
    maps = {"heatmap": size, "paf": size}
    targets = draw_targets(read_generators(generator, where="target_generator"), maps, labels, stride)
    return {name: target.values.numpy() for name, target in targets.items()}


def logits(probabilities: np.ndarray) -> np.ndarray:
    """What a sigmoid turns into these, but for 1e-6 at either end."""
    inside = probabilities.astype(np.float64).clip(1e-6, 1 - 1e-6)
    return np.log(inside / (1 - inside)).astype(np.float32)


def assert_same_animals(poses: Poses, labels: np.ndarray, *, tolerance: float, missing_is_nan: bool) -> list[int]:
    """Every labelled animal is found once; returns which pose is which animal."""
    present = labels[(labels[..., 2] > 0).any(axis=1)]
    assert len(poses) == len(present)
    truth = np.where(present[..., 2:] > 0, present[..., :2], np.nan)
    away = np.nanmean(np.linalg.norm(poses.xy[:, None] - truth, axis=-1), axis=-1)
    pose, animal = linear_sum_assignment(away)
    expected = truth[animal]
    labelled = np.isfinite(expected)
    np.testing.assert_allclose(poses.xy[pose][labelled], expected[labelled], rtol=0, atol=tolerance)
    if missing_is_nan:
        assert np.isnan(poses.xy[pose][~labelled]).all()
    return [int(a) for a in animal[np.argsort(pose)]]


@pytest.mark.parametrize("generator", [GAUSSIAN, PLATEAU], ids=["gaussian", "plateau"])
@pytest.mark.parametrize("stride", [2.0, 4.0, 8.0])
def test_heatmaps_with_offsets(generator: dict[str, Any], stride: float) -> None:
    labels = animals_in_view().reshape(6, 1, 4, 3)
    predictor = {"type": "HeatmapPredictor", "apply_sigmoid": False, "clip_scores": True}
    for pose, truth in zip(
        decode_maps(predictor, drawn(generator, stride, keypoints=labels), stride), labels, strict=True
    ):
        there = truth[0, :, 2] > 0
        np.testing.assert_allclose(pose.xy[0][there], truth[0][there, :2], rtol=0, atol=OFFSET_PX)
        assert (pose.score[0][there] > 0.5).all() and (pose.score[0][~there] == 0).all()


def test_heatmaps_of_stride_one_are_half_a_pixel_off_as_in_deeplabcut() -> None:
    # Its targets drop the half of a cell's centre there (``cell_centres``), its decoder does not.
    labels = animals_in_view()[:1, 1:2]
    predictor = {"type": "HeatmapPredictor", "apply_sigmoid": False}
    (pose,) = decode_maps(predictor, drawn(GAUSSIAN, 1.0, keypoints=labels), 1.0)
    np.testing.assert_allclose(pose.xy[0], labels[0, 0, :, :2] + 0.5, rtol=0, atol=OFFSET_PX)


@pytest.mark.parametrize("stride", [4.0, 8.0])
def test_heatmaps_without_offsets(stride: float) -> None:
    labels = animals_in_view()[:, :1]
    maps = drawn(GAUSSIAN | {"generate_locref": False}, stride, keypoints=labels)
    predictor = {"type": "HeatmapPredictor", "location_refinement": False}
    poses = decode_maps(predictor, {"heatmap": logits(maps["heatmap"])}, stride)
    for pose, truth in zip(poses, labels, strict=True):
        there = truth[0, :, 2] > 0
        # The nearest cell's centre: half a cell, and float32.
        np.testing.assert_allclose(pose.xy[0][there], truth[0][there, :2], rtol=0, atol=stride / 2 + 1e-3)


def test_unique_bodyparts() -> None:
    unique = np.array([[[12.4, 30.7, 2], [230.1, 3.2, 2]]], np.float32)
    generator = GAUSSIAN | {"num_heatmaps": 2, "label_keypoint_key": "keypoints_unique"}
    maps = drawn(generator, 8.0, keypoints_unique=unique, keypoints=animals_in_view()[:1])
    (pose,) = decode_maps({"type": "HeatmapPredictor", "apply_sigmoid": False}, maps, 8.0)
    np.testing.assert_allclose(pose.xy, unique[..., :2], rtol=0, atol=OFFSET_PX)


def paf_maps(labels: np.ndarray, stride: float) -> dict[str, np.ndarray]:
    """Discs have many highest cells, bells as a network's have one; offsets and fields are the generators' own."""
    maps = drawn(PAF, stride, keypoints=labels)
    return maps | {"heatmap": logits(drawn(GAUSSIAN, stride, keypoints=labels)["heatmap"])}


@pytest.mark.parametrize("stride", [1.0, 4.0, 8.0])
def test_part_affinity_fields(stride: float) -> None:
    labels = animals_in_view()
    poses = decode_maps(PAF_PREDICTOR, paf_maps(labels, stride), stride)
    for pose, truth in zip(poses, labels, strict=True):
        assert_same_animals(pose, truth, tolerance=OFFSET_PX, missing_is_nan=True)


@pytest.mark.parametrize("stride", [2.0, 4.0, 8.0])
def test_dekr(stride: float) -> None:
    labels = animals_in_view()
    if stride == 8.0:
        # Half a cell from the left and top edges nothing is drawn.
        labels[..., :2] = np.where(labels[..., 2:] > 0, labels[..., :2].clip(4.1), 0)
    generator = {"type": "DEKRGenerator", "num_joints": 4, "pos_dist_thresh": 17}
    maps = drawn(generator, stride, keypoints=labels, area=np.full((2, 3), 1000, np.float32))
    for pose, truth in zip(decode_maps(DEKR_PREDICTOR, maps, stride), labels, strict=True):
        animals = assert_same_animals(pose, truth, tolerance=OFFSET_PX, missing_is_nan=False)
        # A keypoint that was not labelled is placed somewhere, with a score that says so.
        there = truth[(truth[..., 2] > 0).any(axis=1)][animals][..., 2] > 0
        assert pose.score[there].min() > 0.3 and (pose.score[~there] < 1e-3).all()


@pytest.mark.parametrize("stride", [4.0])
def test_dekr_with_keypoints_moved_to_their_heatmaps(stride: float) -> None:
    labels = animals_in_view()[:1]
    generator = {"type": "DEKRGenerator", "num_joints": 4, "pos_dist_thresh": 17}
    maps = drawn(generator, stride, keypoints=labels, area=np.full((1, 3), 1000, np.float32))
    (pose,) = decode_maps(DEKR_PREDICTOR | {"use_heatmap": True}, maps, stride)
    assert_same_animals(pose, labels[0], tolerance=stride / 2 + 1e-3, missing_is_nan=False)


@pytest.mark.parametrize(("side", "sigma"), [((240, 192), 5.66), ((256, 256), (6.0, 6.93))])
def test_coordinate_classification(side: tuple[int, int], sigma: Any) -> None:
    labels = animals_in_view().reshape(6, 1, 4, 3)
    generator = {"type": "SimCCGenerator", "input_size": list(side), "sigma": sigma, "normalize": False}
    maps = {"x": torch.zeros(6, 4, 2 * side[0]), "y": torch.zeros(6, 4, 2 * side[1])}
    generators = read_generators(generator, where="target_generator")
    targets = draw_targets(generators, maps, {"keypoints": torch.from_numpy(labels)}, 32.0)
    predictor = {"type": "SimCCPredictor", "sigma": sigma}
    poses = decode_maps(predictor, {name: target.values.numpy() for name, target in targets.items()}, 32.0)
    for pose, truth in zip(poses, labels, strict=True):
        there = truth[0, :, 2] > 0
        # Bins are half a pixel apart, and the nearest one is taken.
        np.testing.assert_allclose(pose.xy[0][there], truth[0][there, :2], rtol=0, atol=0.25 + 1e-4)
        assert np.isnan(pose.xy[0][~there]).all()


def test_identities() -> None:
    labels, stride = animals_in_view(), 4.0
    ids = np.array([[2, 0, 1], [1, 2, -1]])
    generator = PLATEAU | {"num_heatmaps": 3, "heatmap_mode": "INDIVIDUAL", "generate_locref": False}
    identity = logits(drawn(generator, stride, keypoints=labels, individual_ids=ids)["heatmap"])
    maps = {name: torch.from_numpy(values) for name, values in paf_maps(labels, stride).items()}
    candidates = build_dense(PAF_PREDICTOR, stride)(maps)
    reader = IdentityReader(IdentityPredictor("IdentityPredictor"), stride)
    candidates |= reader({"heatmap": torch.from_numpy(identity)}, candidate_places(candidates))
    arrays: dict[str, Floats] = {name: values.numpy() for name, values in candidates.items()}
    grouping = grouping_of(PAF_PREDICTOR)
    assert isinstance(grouping, PafGrouping)
    for pose, truth, individuals in zip(group_paf(arrays, grouping), labels, ids, strict=True):
        named = assign_identity(pose)
        animals = assert_same_animals(named, truth, tolerance=OFFSET_PX, missing_is_nan=True)
        assert named.identity is not None
        assert named.identity.tolist() == individuals[animals].tolist()
