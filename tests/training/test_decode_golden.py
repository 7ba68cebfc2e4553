"""Every decoder against poses that DeepLabCut decoded from drawn maps and from random networks' maps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rigpose.arrays import Floats
from rigpose.errors import ConfigError
from rigpose.grouping.paf import group_paf
from rigpose.poses import Poses
from rigpose_training import decode_maps
from rigpose_training.dense import build_dense, grouping_of
from rigpose_training.dense.identity import IdentityPredictor, IdentityReader
from rigpose_training.pose_config.files import read_pose_config

POSITION = 1e-3  # px: half a cell would be 4
SCORE = 1e-5
ROUNDING = 1e-6  # float32 sums of the smoothing in another order


@pytest.mark.parametrize("name", ["heatmap_plain", "heatmap_locref", "heatmap_clip"])
def test_drawn_maps_decode_to_deeplabcuts_poses(golden: Path, name: str) -> None:
    facts = json.loads((golden / "decode" / f"{name}.json").read_text())
    with np.load(golden / "decode" / f"{name}.npz") as arrays:
        reference = {key: arrays[key] for key in arrays.files}
    scenes = sorted({key.split(".")[0] for key in reference})
    assert len(scenes) > 1
    for scene in scenes:
        maps = {
            kind: reference[f"{scene}.{kind}"][None].astype(np.float32)
            for kind in ("heatmap", "locref")
            if f"{scene}.{kind}" in reference
        }
        (poses,) = decode_maps(facts["predictor"], maps, facts["stride"])
        found = poses.to_array()
        expected = reference[f"{scene}.poses"][0]
        assert found.shape == expected.shape
        np.testing.assert_allclose(found[..., :2], expected[..., :2], atol=POSITION)
        np.testing.assert_allclose(found[..., 2], expected[..., 2], atol=SCORE)


def read_scenes(golden: Path, name: str) -> tuple[dict[str, Any], dict[str, dict[str, Floats]]]:
    """The facts, and per scene its arrays by kind, maps as float32 batches."""
    facts = json.loads((golden / "decode" / f"{name}.json").read_text())
    scenes: dict[str, dict[str, Floats]] = {}
    with np.load(golden / "decode" / f"{name}.npz") as arrays:
        for key in arrays.files:
            scene, kind = key.split(".")
            drawn = kind not in ("poses", "truth") and name != "simcc"
            values = arrays[key].astype(np.float32)
            scenes.setdefault(scene, {})[kind] = values[None] if drawn else values
    return facts, scenes


def animals(deeplabcut: Floats) -> Floats:
    """DeepLabCut's poses (N, K, 3 or 5) without the rows of -1 that mean nobody."""
    return deeplabcut[~(deeplabcut == -1).all(axis=(1, 2))]


def animal_scores(poses: Poses) -> Floats:
    assert poses.animal_score is not None
    return poses.animal_score


def assert_same_animals(found: Poses, expected: Floats) -> None:
    """The same animals in the same order; as many keypoints missing, and the others where they are there."""
    assert len(found) == len(expected)
    missing = np.isnan(expected[..., 0])
    np.testing.assert_array_equal(np.isnan(found.xy[..., 0]), missing)
    # Offsets of random networks reach 1e5 px, where float32 steps are 0.01 px.
    np.testing.assert_allclose(found.xy[~missing], expected[~missing, :2], rtol=1e-6, atol=POSITION)
    np.testing.assert_allclose(found.score[~missing], expected[~missing, 2], atol=SCORE)


@pytest.mark.parametrize("name", ["paf", "paf_pruned", "dekr", "dekr_refined", "simcc"])
def test_drawn_scenes_decode_to_deeplabcuts_animals(golden: Path, name: str) -> None:
    facts, scenes = read_scenes(golden, name)
    counts = set()
    for arrays in scenes.values():
        maps = {kind: values for kind, values in arrays.items() if kind not in ("poses", "truth")}
        found = decode_maps(facts["predictor"], maps, facts.get("stride", 1))
        for poses, recorded in zip(found, arrays["poses"], strict=True):
            expected = animals(recorded)
            assert_same_animals(poses, expected)
            counts.add(len(expected))
            if name.startswith("paf") and len(poses):
                # Affinities are rounded to three decimals; the last bit before that may tip one of them over.
                np.testing.assert_allclose(animal_scores(poses), expected[:, 0, 4], atol=1e-3)
    assert counts == {1} if name == "simcc" else len(counts) > 1


NETWORKS = [
    *(f"paf.{name}" for name in ("resnet_50", "resnet_101", "hrnet_w18", "hrnet_w32", "hrnet_w48")),
    *("dlcrnet_stride16_ms5", "dlcrnet_stride32_ms5", "dekr_w18", "dekr_w32", "dekr_w48"),
    *("rtmpose_s", "rtmpose_m", "rtmpose_x", "animaltokenpose_base", "top_down_resnet_50", "top_down_hrnet_w32"),
    *("ctd_coam_w32", "ctd_prenet_hrnet_w32", "ctd_prenet_rtmpose_s"),
]


@pytest.mark.parametrize("name", NETWORKS)
def test_maps_of_random_networks_decode_to_deeplabcuts_animals(golden: Path, name: str) -> None:
    folder = golden / "networks"
    facts = json.loads((folder / f"{name}.json").read_text())
    predictor = read_pose_config(folder / f"{name}.yaml")["model"]["heads"]["bodypart"]["predictor"]
    with np.load(folder / f"{name}.npz") as arrays:
        maps = {key.split(".")[-1]: arrays[key] for key in arrays.files if key.startswith("output.bodypart.")}
        recorded = arrays["prediction.bodypart.poses"]
    stride = facts["strides"]["bodypart"]
    found = decode_maps(predictor, maps, stride)
    clear = [True] * len(found)
    if name.startswith("paf.hrnet"):
        # Logits of 1e6 saturate these heatmaps, so that rounding alone decides which of thousands of peaks are best.
        clear = _clearly_best(predictor, maps, stride)
    for poses, expected, comparable in zip(found, recorded, clear, strict=True):
        assert len(poses) == len(animals(expected))
        if comparable:
            assert_same_animals(poses, animals(expected))


def _clearly_best(predictor: dict[str, Any], maps: dict[str, Floats], stride: float) -> list[bool]:
    """Per frame, whether the scores of every part's best peaks differ by more than rounding."""
    peaks = build_dense(predictor, stride)({k: torch.as_tensor(v) for k, v in maps.items()})["peaks"].numpy()
    score = -np.sort(-np.nan_to_num(peaks[..., 2]), axis=2)[..., : predictor["num_animals"] + 1]
    return [bool((-np.diff(frame, axis=1) > ROUNDING).all()) for frame in score]


@pytest.mark.parametrize("name", ["paf", "paf_pruned"])
@pytest.mark.parametrize("per_animal", [1, 8])
def test_the_number_of_peaks_that_the_graph_gives_changes_no_animal(golden: Path, name: str, per_animal: int) -> None:
    """Only the best ``num_animals`` peaks of a part count, and noise makes more than these."""
    facts, scenes = read_scenes(golden, name)
    most = 0
    for arrays in scenes.values():
        maps = {kind: torch.as_tensor(arrays[kind]) for kind in ("heatmap", "locref", "paf")}
        predictor = facts["predictor"] | {"peaks_per_animal": per_animal}
        candidates = {k: v.numpy() for k, v in build_dense(predictor, facts["stride"])(maps).items()}
        most = max(most, int(np.isfinite(candidates["peaks"][..., 0]).sum(axis=2).max()))
        (found,) = group_paf(candidates, grouping_of(predictor))  # pyright: ignore[reportArgumentType]
        assert_same_animals(found, animals(arrays["poses"][0]))
    assert most == 5 if per_animal == 1 else most > 10


def test_a_drawn_square_is_found_at_its_centre() -> None:
    """Anchor: the pooled picture of a square has its best cell where the square is, in input pixels."""
    image = torch.zeros(1, 1, 64, 96)
    image[..., 16:24, 40:48] = 1.0  # covers 40..48 x 16..24, so its centre is (44, 20)
    heatmap = torch.nn.functional.avg_pool2d(image, 8)
    decoder = build_dense({"type": "HeatmapPredictor", "apply_sigmoid": False, "location_refinement": False}, 8.0)
    keypoints = decoder({"heatmap": heatmap})["keypoints"]
    torch.testing.assert_close(keypoints, torch.tensor([[[44.0, 20.0, 1.0]]]))


def test_the_first_of_equal_maxima_wins() -> None:
    heatmap = torch.zeros(1, 2, 3, 5)
    heatmap[0, 1, 1, 2] = heatmap[0, 1, 2, 0] = 1.0
    decoder = build_dense({"type": "HeatmapPredictor", "apply_sigmoid": False, "location_refinement": False}, 2.0)
    keypoints = decoder({"heatmap": heatmap})["keypoints"][0, :, :2]
    torch.testing.assert_close(keypoints, torch.tensor([[1.0, 1.0], [5.0, 3.0]]))


def test_a_map_with_nan_is_a_missing_keypoint_and_not_a_place() -> None:
    heatmap = np.zeros((1, 2, 4, 4), np.float32)
    heatmap[0, 1] = np.nan
    predictor = {"type": "HeatmapPredictor", "apply_sigmoid": False, "location_refinement": False}
    (poses,) = decode_maps(predictor, {"heatmap": heatmap}, 4)
    assert np.isfinite(poses.xy[0, 0]).all()
    assert np.isnan(poses.xy[0, 1]).all() and np.isnan(poses.score[0, 1])


def test_two_drawn_animals_are_found_at_their_squares_centres_by_affinity_fields() -> None:
    """Anchor: the squares are drawn in image pixels, and the field along the lines between them."""
    centres = np.array([[[20, 36], [84, 36]], [[20, 100], [84, 116]]])  # (2 animals, 2 parts) [px]
    pictures, field = torch.zeros(1, 2, 144, 128), torch.zeros(1, 2, 18, 16)
    for (x, y), (x2, y2) in centres:
        for part, (left, top) in enumerate(((x - 4, y - 4), (x2 - 4, y2 - 4))):
            pictures[0, part, top : top + 8, left : left + 8] = 1.0
        way = np.array([x2 - x, y2 - y]) / np.hypot(x2 - x, y2 - y)
        for step in np.linspace(0, 1, 50):
            row, column = int((y + step * (y2 - y)) // 8), int((x + step * (x2 - x)) // 8)
            field[0, :, row - 1 : row + 2, column] = torch.as_tensor(way, dtype=torch.float32)[:, None]
    predictor = {
        "type": "PartAffinityFieldPredictor", "num_animals": 2, "num_multibodyparts": 2, "graph": [[0, 1]],
        "edges_to_keep": [0], "apply_sigmoid": False,
    }  # fmt: skip
    maps = {
        "heatmap": torch.nn.functional.avg_pool2d(pictures, 8).numpy(),
        "locref": np.zeros((1, 4, 18, 16), np.float32),
        "paf": field.numpy(),
    }
    (poses,) = decode_maps(predictor, maps, 8)
    order = np.argsort(poses.xy[:, 0, 1])
    np.testing.assert_allclose(poses.xy[order], centres, atol=POSITION)
    # The integral of a unit field along its own direction is the length.
    np.testing.assert_allclose(animal_scores(poses), 1.0, atol=0.1)


def test_two_drawn_animals_are_found_at_their_squares_centres_by_dekr() -> None:
    """Anchor: squares for the centres, and offsets that point from each square's cell to a keypoint in pixels."""
    centres, away = np.array([[46, 22], [90, 62]]), np.array([[0, 0], [-12, 8]])  # [px]
    pictures, offset = torch.zeros(1, 3, 96, 128), np.zeros((1, 4, 24, 32), np.float32)
    for x, y in centres:
        pictures[0, 2, y - 2 : y + 2, x - 2 : x + 2] = 1.0
        offset[0, 2:, y // 4, x // 4] = -away[1] / 4  # from the keypoint to the cell [cells]
        for part, (dx, dy) in enumerate(away):
            pictures[0, part, y + dy - 2 : y + dy + 2, x + dx - 2 : x + dx + 2] = 1.0
    heatmap = torch.nn.functional.avg_pool2d(pictures, 4).numpy()
    predictor = {"type": "DEKRPredictor", "num_animals": 2, "apply_sigmoid": False, "use_heatmap": False}
    (poses,) = decode_maps(predictor, {"heatmap": heatmap, "offset": offset}, 4)
    order = np.argsort(poses.xy[:, 0, 0])
    np.testing.assert_allclose(poses.xy[order], centres[:, None] + away, atol=POSITION)


def test_simcc_says_the_first_best_bin_and_nothing_where_no_bin_stands_out() -> None:
    x, y = np.zeros((1, 2, 64), np.float32), np.zeros((1, 2, 48), np.float32)
    x[0, 0, [21, 40]], y[0, 0, 7] = 1.0, 1.0
    (poses,) = decode_maps({"type": "SimCCPredictor", "sigma": [5.66, 6.93]}, {"x": x, "y": y}, 32)
    np.testing.assert_allclose(poses.to_array()[0, 0], [10.5, 3.5, 0.5], atol=1e-6)
    assert np.isnan(poses.to_array()[0, 1]).all()
    (normalised,) = decode_maps(
        {"type": "SimCCPredictor", "apply_softmax": False, "normalize_outputs": True}, {"x": 4 * x, "y": y / 2}, 32
    )
    np.testing.assert_allclose(normalised.to_array()[0, 0], [10.5, 3.5, 0.5], atol=1e-6)


@pytest.mark.parametrize("stride", [1.0, 2.0, 8.0])
def test_identity_is_what_the_enlarged_maps_say(stride: float) -> None:
    """DeepLabCut enlarges the maps to the input's size and reads the nearest pixel."""
    from torchvision.transforms.functional import InterpolationMode, resize

    rng = np.random.default_rng(0)
    maps = torch.from_numpy(rng.normal(0, 3, (2, 3, 9, 12)).astype(np.float32))
    height, width = int(9 * stride), int(12 * stride)
    places = rng.uniform(-5, 1.1 * max(height, width), (2, 4, 6, 2)).astype(np.float32)
    places[0, 0, 0], places[0, 0, 1] = [2.5, 3.5], [-0.5, 4.5]  # halves are rounded to even
    places[1, 2, 3] = np.nan
    found = IdentityReader(IdentityPredictor("IdentityPredictor"), stride)({"heatmap": maps}, torch.from_numpy(places))
    large = torch.sigmoid(resize(maps, [height, width], InterpolationMode.BILINEAR, antialias=True)).numpy()
    pixel = np.rint(np.nan_to_num(places)).astype(int).clip(0, [width - 1, height - 1])
    expected = np.stack([large[b][:, pixel[b, ..., 1], pixel[b, ..., 0]].transpose(1, 2, 0) for b in range(2)])
    expected[1, 2, 3] = 0
    np.testing.assert_allclose(found["identity"], expected, atol=ROUNDING)


def test_a_map_smaller_than_the_number_of_peaks_still_decodes() -> None:
    predictor = {
        "type": "PartAffinityFieldPredictor", "num_animals": 9, "num_multibodyparts": 2, "graph": [[0, 1]],
        "edges_to_keep": [0],
    }  # fmt: skip
    maps = {"heatmap": torch.zeros(1, 2, 2, 3), "locref": torch.zeros(1, 4, 2, 3), "paf": torch.zeros(1, 2, 2, 3)}
    found = build_dense(predictor, 8.0)(maps)
    # Equal cells are all peaks, in the order of the rows; the other slots are empty.
    assert found["peaks"].shape == (1, 2, 18, 3) and found["affinity"].shape == (1, 1, 18, 18)
    corners = [[4, 4], [12, 4], [20, 4], [4, 12], [12, 12], [20, 12]]
    smoothed = found["peaks"][0, 0, :, 2]
    best = torch.isfinite(smoothed)
    assert 1 <= best.sum() <= 6 and [xy for xy in found["peaks"][0, 0, best, :2].tolist() if xy not in corners] == []
    assert torch.isnan(found["peaks"][0, 0, ~best]).all() and not found["affinity"].isnan().any()


def test_of_equal_peaks_the_first_rows_are_given() -> None:
    """Engines choose among equal cells as they like; a saturated map has many."""
    heatmap = torch.zeros(1, 1, 40, 40)
    heatmap[0, 0, 2:38:6, 2:38:6] = 1.0  # 36 equal peaks
    heatmap[0, 0, 32, 32] = 1.5
    predictor = {
        "type": "PartAffinityFieldPredictor", "num_animals": 4, "num_multibodyparts": 1, "graph": [],
        "edges_to_keep": [], "apply_sigmoid": False,
    }  # fmt: skip
    found = build_dense(predictor, 1.0)({"heatmap": heatmap, "locref": torch.zeros(1, 2, 40, 40)})["peaks"][0, 0]
    assert found[:, :2].int().tolist() == [[2, 2], [8, 2], [14, 2], [20, 2], [26, 2], [32, 2], [2, 8], [32, 32]]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"nms_radius": 4}, "odd number"),
        ({"edges_to_keep": [0, 1]}, "graph has 1 edges"),
        ({"num_uniquebodyparts": 1}, "head of their own"),
        ({"num_animal": 1}, "did you mean num_animals"),
    ],
)
def test_a_predictor_that_cannot_be_is_refused(changes: dict[str, Any], words: str) -> None:
    predictor = {
        "type": "PartAffinityFieldPredictor", "num_animals": 2, "num_multibodyparts": 2, "graph": [[0, 1]],
        "edges_to_keep": [0],
    }  # fmt: skip
    with pytest.raises(ConfigError, match=words):
        build_dense(predictor | changes, 8.0)
