"""The picture of a rough pose: DeepLabCut's pixels, drawn here by OpenCV on whole images."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from rigpose.errors import ConfigError
from rigpose_training.models.backbones.coam import Resize
from rigpose_training.models.conditions import ConditionImage, KeypointEncoderConfig

# Of 255; float32 holds 255 with steps of 1.5e-5.
PIXEL = 1e-4


def encoder(height: int, width: int, keypoints: int, kernel: tuple[int, int] = (15, 15)) -> ConditionImage:
    config = KeypointEncoderConfig("StackedKeypointEncoder", keypoints, kernel)
    return ConditionImage(config, (height, width))


def draw(drawn: ConditionImage, conditions: np.ndarray) -> np.ndarray:
    height, width = drawn.img_size
    images = torch.zeros(len(conditions), 3, height, width)
    return drawn(images, torch.from_numpy(conditions.astype(np.float32))).numpy()


def opencv_picture(conditions: np.ndarray, height: int, width: int, kernel: tuple[int, int]) -> np.ndarray:
    """(K, H, W) what DeepLabCut hands its networks: dots of 255, blurred, the brightest pixel of the animal 255."""
    picture = np.zeros((height, width, len(conditions)))
    for k, (x, y, score) in enumerate(conditions):
        if score > 0 and 0 <= x <= width and 0 <= y <= height:
            picture[int(y) - 1, int(x) - 1, k] = 255
    picture = cv2.GaussianBlur(picture, kernel, sigmaX=0)
    if picture.max() > 0:
        picture *= 255 / picture.max()
    return picture.reshape(height, width, -1).transpose(2, 0, 1)


@pytest.mark.parametrize(
    ("height", "width", "kernel"), [(64, 96, (15, 15)), (96, 64, (9, 21)), (32, 32, (5, 3))], ids=str
)
def test_the_picture_is_the_one_that_opencv_blurs(height: int, width: int, kernel: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    # Places beyond the borders, scores below zero, and dots within a blur's radius of a border are among them.
    xy = rng.uniform(-4, [width + 4, height + 4], (30, 5, 2))
    conditions = np.concatenate([xy, rng.uniform(-0.3, 1, (30, 5, 1))], axis=2).astype(np.float32)
    found = draw(encoder(height, width, 5, kernel), conditions)
    expected = np.stack([opencv_picture(pose, height, width, kernel) for pose in conditions])
    assert np.count_nonzero(expected.max(axis=(2, 3)) == 0) > 10
    np.testing.assert_allclose(found, expected, atol=PIXEL)


def test_the_rough_poses_of_the_recorded_networks_are_drawn_alike(golden: Path) -> None:
    with np.load(golden / "networks" / "ctd_prenet_rtmpose_s.npz") as arrays:
        poses = arrays["cond_kpts"][:, 0]
    expected = np.stack([opencv_picture(pose, 256, 256, (15, 15)) for pose in poses])
    np.testing.assert_allclose(draw(encoder(256, 256, 4), poses), expected, atol=PIXEL)


@pytest.mark.parametrize(
    ("place", "pixel"),
    [
        ((40.0, 20.0), (39, 19)),
        ((40.9, 20.9), (39, 19)),
        ((96.0, 64.0), (95, 63)),  # the far edges count as inside
        ((1.0, 1.0), (0, 0)),
        ((0.9, 20.0), (95, 19)),  # the first column goes round to the last one
        ((40.0, 0.0), (39, 63)),
    ],
)
def test_a_dot_is_brightest_one_pixel_left_of_and_above_its_keypoint(
    place: tuple[float, float], pixel: tuple[int, int]
) -> None:
    picture = draw(encoder(64, 96, 1), np.array([[[*place, 0.5]]]))[0, 0]
    row, column = np.unravel_index(picture.argmax(), picture.shape)
    assert (column, row) == pixel
    np.testing.assert_allclose(picture.max(), 255, atol=PIXEL)


def test_a_missing_keypoint_has_no_dot_and_an_animal_without_any_has_an_empty_picture() -> None:
    nan = np.nan
    pose = [[40, 20, 1], [nan, nan, nan], [nan, nan, 1], [40, 20, 0], [-0.1, 20, 1], [40, 64.1, 1]]
    picture = draw(encoder(64, 96, 6), np.array([pose, [[nan, nan, nan]] * 6]))
    assert picture[0, 0].max() > 254
    assert not picture[0, 1:].any() and not picture[1].any()


def test_the_picture_is_not_part_of_the_weights() -> None:
    assert not encoder(64, 96, 3).state_dict()


def test_what_does_not_fit_the_picture_is_named() -> None:
    drawn = encoder(64, 96, 3)
    with pytest.raises(ConfigError, match=r"96 x 64 px.*found 64 x 64.*width: 96, height: 64"):
        drawn(torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 3))
    with pytest.raises(ConfigError, match=r"num_joints.*\(B, 3, 3\).*\(1, 1, 3, 3\)"):
        drawn(torch.zeros(1, 3, 64, 96), torch.zeros(1, 1, 3, 3))
    with pytest.raises(ConfigError, match=r"kernel_size.*odd"):
        encoder(64, 96, 3, (14, 15))


def test_two_matrices_resize_as_torch_does_with_antialiasing() -> None:
    images = torch.rand(2, 3, 64, 96)
    expected = torch.nn.functional.interpolate(images, size=(12, 16), mode="bilinear", antialias=True)
    torch.testing.assert_close(Resize((64, 96), (12, 16))(images), expected, atol=1e-5, rtol=0)
