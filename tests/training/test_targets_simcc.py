from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from rigpose.errors import ConfigError
from rigpose_training.targets import SimCCTarget, simcc_targets

# Two labelled, one without a label, one far to the right of a crop of 64 x 48.
KEYPOINTS = torch.tensor([[[[12.3, 8.6, 2], [40.7, 21.2, 2], [0, 0, 0], [95.0, 20, 2]]]])


def targets(keypoints: torch.Tensor = KEYPOINTS, **changes: Any) -> dict[str, Any]:
    config = SimCCTarget(**({"type": "SimCCGenerator", "input_size": (64, 48)} | changes))
    maps = {"x": torch.zeros(1, 4, 128), "y": torch.zeros(1, 4, 96)}
    return simcc_targets(config, maps, {"keypoints": keypoints}, 32.0)


@pytest.mark.parametrize(
    ("changes", "sums", "bin_24"),
    [
        (
            {"sigma": (5.66, 3.0), "normalize": False},
            {"x": [14.187471, 14.187516], "y": [7.519885, 7.519885]},
            {"x": [0.984513521, 0], "y": [0.0657285303, 1.52299791e-08]},
        ),
        (
            {"sigma": 6.0, "normalize": True},
            {"x": [0.99998957, 1.0], "y": [0.99825007, 1.0]},
            {"x": [0.06557329, 0], "y": [0.0336664468, 0.000738641364]},
        ),
        (
            {"smoothing_type": "standard", "label_smooth_weight": 0.1},
            {"x": [1.0, 1.0], "y": [1.0, 1.0]},
            {"x": [0.000787401572] * 2, "y": [0.00105263153] * 2},
        ),
    ],
)
def test_targets_equal_the_recorded_ones_of_deeplabcut(
    changes: dict[str, Any], sums: dict[str, list[float]], bin_24: dict[str, list[float]]
) -> None:
    found = targets(**changes)
    for axis in ("x", "y"):
        values = found[axis].values[0].numpy()
        np.testing.assert_allclose(values.sum(axis=-1), [*sums[axis], 0, 0], rtol=1e-5)
        np.testing.assert_allclose(values[:, 24], [*bin_24[axis], 0, 0], rtol=1e-5, atol=1e-12)
        np.testing.assert_array_equal(found[axis].weights[0, :, 0], [1, 1, 0, 0])


def test_the_highest_bin_is_the_nearest_to_the_keypoint() -> None:
    found = targets(sigma=(5.66, 5.66))
    assert found["x"].values[0, :2].argmax(dim=-1).tolist() == [25, 81]
    assert found["y"].values[0, :2].argmax(dim=-1).tolist() == [17, 42]


def test_a_bell_partly_inside_the_crop_still_counts() -> None:
    # 3 sigma are 17 bins, and one more: x bins -18 and -19 are the last inside and the first outside.
    at = torch.tensor([[[[-9.0, 20, 2], [-9.5, 20, 2], [72.0, 20, 2], [73.0, 20, 2]]]])
    found = targets(at, sigma=17 / 3)
    assert found["x"].weights[0, :, 0].tolist() == [1, 0, 1, 0]
    assert found["y"].weights[0, :, 0].tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"input_size": (48, 48)}, "makes 96 bins along x, but the head has 128"),
        ({"label_smooth_weight": 0.1}, "needs smoothing_type standard"),
        ({"label_smooth_weight": 1.1, "smoothing_type": "standard"}, "not between 0 and 1"),
        ({"keypoints": KEYPOINTS.expand(1, 2, 4, 3)}, "one animal per image and was given 2"),
    ],
)
def test_what_does_not_fit_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        targets(**changes)
