from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rigpose.arrays import Floats, Frames
from rigpose.errors import ConfigError
from rigpose.models.preprocess import InputSpec, Resize, plan
from rigpose_training.data import photometric
from rigpose_training.data.transforms import build_transforms
from rigpose_training.data.truth import Truth
from rigpose_training.data.warp import Warp
from rigpose_training.pose_graph import PixelNormalisation
from rigpose_training.spec import Normalisation

# A disc's centre of mass is found to a few hundredths of a pixel; the smallest bug is a quarter of one.
DISC_TOLERANCE = 0.1


def disc(x: float, y: float, *, size: tuple[int, int] = (200, 240), radius: float = 6.0) -> Frames:
    """A soft-edged disc on black, centred on pixel index x, y."""
    columns, rows = np.meshgrid(np.arange(size[1]), np.arange(size[0]))
    grey = np.clip(radius + 0.5 - np.hypot(columns - x, rows - y), 0, 1) * 255
    return np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)


def centre_of_mass(image: Frames) -> Floats:
    grey = image[..., 0].astype(float)
    columns, rows = np.meshgrid(np.arange(grey.shape[1]), np.arange(grey.shape[0]))
    return np.array([(grey * columns).sum(), (grey * rows).sum()]) / grey.sum()


def one_point(x: float, y: float) -> Floats:
    return np.array([[[x, y]]], np.float32)


def one(x: float, y: float) -> Truth:
    return Truth.of(one_point(x, y))


@settings(max_examples=60, deadline=None)
@given(st.floats(60, 180), st.floats(60, 140), st.integers(0, 2**31))
def test_a_drawn_disc_lands_on_its_transformed_keypoint(x: float, y: float, seed: int) -> None:
    section = {
        "hflip": True,
        "affine": {"p": 1.0, "rotation": 180, "scaling": [0.7, 1.4], "translation": 7},
        "crop_sampling": {"width": 150, "height": 260, "max_shift": 0.3, "method": "keypoints"},
        "motion_blur": {"p": 1.0},
        "auto_padding": {"pad_height_divisor": 32, "pad_width_divisor": 32, "border_mode": "constant"},
    }
    found = build_transforms(section)(disc(x, y), one(x, y), np.random.default_rng(seed))
    assert found.image.shape == (288, 160, 3)
    here = found.truth.keypoints[0, 0]
    if np.isnan(here).any() or (here < 14).any() or (here > np.array([160, 288]) - 14).any():
        return  # cut off, so its centre of mass is another
    np.testing.assert_allclose(centre_of_mass(found.image), here, atol=DISC_TOLERANCE)


def test_bent_pixels_and_keypoints_bend_alike() -> None:
    moved, apart = [], []
    for seed in range(60):
        image, xy = photometric.bend(disc(100, 90, radius=1.5), one_point(100, 90)[0], np.random.default_rng(seed))
        moved.append(xy[0] - [100, 90])
        apart.append(centre_of_mass(image) - xy[0])
    # The field changes within a few pixels, so a disc of 3 px does not follow its centre exactly; keypoints
    # that stayed, or went the other way, would be as far apart as they should have moved, or twice as far.
    assert np.std(apart) < 0.4 * np.std(moved)


def test_motion_blur_keeps_the_centre_of_mass() -> None:
    for seed in range(30):
        image = photometric.motion_blur(disc(100, 90), np.random.default_rng(seed))
        np.testing.assert_allclose(centre_of_mass(image), [100, 90], atol=DISC_TOLERANCE)


@pytest.mark.parametrize("resize", [{"height": 120, "width": 100}, {"height": 90, "width": 300, "keep_ratio": False}])
def test_resizing_gives_the_rigs_pixels_and_labels_that_its_way_back_restores(resize: dict[str, Any]) -> None:
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (200, 240, 3), dtype=np.uint8), (0, 0), 4)
    steps = plan(InputSpec(resize=Resize(**resize)), 200, 240)
    rig = np.empty((*steps.input_size, 3), np.uint8)
    steps.write(np.asarray(image, np.uint8), out=rig)
    xy = np.array([[[30.5, 70.25], [200.0, 150.0]]], np.float32)
    found = build_transforms({"resize": resize})(np.asarray(image, np.uint8), Truth.of(xy), np.random.default_rng(0))
    assert found.image.shape == rig.shape
    h, w = steps.content_size
    # Two interpolations of one smooth picture; the last row and column meet the black beside them.
    difference = np.abs(found.image[: h - 1, : w - 1].astype(int) - rig[: h - 1, : w - 1])
    assert difference[1:, 1:].max() <= 3
    np.testing.assert_allclose(steps.to_frame.apply(found.truth.keypoints), xy, atol=1e-4)


def test_boxes_follow_as_the_upright_boxes_around_what_they_became_and_end_at_the_border() -> None:
    boxes = np.array([[100.0, 40, 30, 20], [0, 80, 20, 40], [np.nan] * 4])
    truth = Truth.of(np.full((3, 1, 2), np.nan, np.float32), boxes=boxes)
    image = np.zeros((201, 241, 3), np.uint8)  # turns about 120, 100

    def seen(section: dict[str, Any], seed: int = 0) -> Floats:
        return build_transforms(section)(image, truth, np.random.default_rng(seed)).truth.boxes

    mirrored = seen({"hflip": {"p": 1.0}})
    np.testing.assert_allclose(mirrored[:2], [[110, 40, 30, 20], [220, 80, 20, 40]])
    doubled = seen({"affine": {"p": 1.0, "scaling": 2}})
    np.testing.assert_allclose(doubled[0], [80, 0, 60, 20])  # its upper half left the image
    assert np.isnan(doubled[1:]).all()  # wholly outside, and never there
    turned = seen({"affine": {"p": 1.0, "rotation": 30}})
    # The angle is unknown; the centre turns with it, and an upright box around a turned one is not smaller.
    centre = turned[0, :2] + turned[0, 2:] / 2 - [120, 100]
    assert np.hypot(*centre) == pytest.approx(np.hypot(-5, -50), abs=1e-3)
    assert turned[0, 2] * turned[0, 3] >= 600


def test_a_flip_exchanges_left_and_right_of_every_individual() -> None:
    transform = build_transforms({"hflip": {"p": 1.0, "symmetries": [[0, 2]]}})
    xy = np.array([[[10, 1], [20, 2], [30, 3]], [[40, 4], [50, 5], [60, 6]]], np.float32)
    found = transform(np.zeros((50, 100, 3), np.uint8), Truth.of(xy), np.random.default_rng(0))
    expected = [[[69, 3], [79, 2], [89, 1]], [[39, 6], [49, 5], [59, 4]]]
    np.testing.assert_array_equal(found.truth.keypoints, expected)


@settings(max_examples=60, deadline=None)
@given(st.integers(-30, 30), st.integers(-30, 30), st.integers(1, 40), st.integers(1, 40), st.booleans())
def test_whole_pixels_move_as_a_warp_would_move_them(x: int, y: int, h: int, w: int, mirror: bool) -> None:  # noqa: FBT001
    image = np.random.default_rng(0).integers(1, 256, (20, 25, 3), dtype=np.uint8)
    pixels = np.array([[-1 if mirror else 1, 0, x], [0, 1, y], [0, 0, 1]], float)
    expected = cv2.warpAffine(image, pixels[:2], (w, h), flags=cv2.INTER_NEAREST)
    np.testing.assert_array_equal(Warp(pixels, pixels, (h, w)).image(image), expected)


def test_keypoints_that_leave_the_image_and_missing_ones_are_nan() -> None:
    transform = build_transforms({"affine": {"p": 1.0, "scaling": [4, 4]}})
    xy = np.array([[[50, 50], [1, 1], [np.nan, np.nan]]], np.float32)
    found = transform(np.zeros((100, 100, 3), np.uint8), Truth.of(xy), np.random.default_rng(0))
    assert np.isnan(found.truth.keypoints[0]).all(axis=1).tolist() == [False, True, True]


def test_a_crop_keeps_its_keypoint_and_shifts_to_both_sides() -> None:
    section = {"crop_sampling": {"width": 40, "height": 40, "max_shift": 0.1, "method": "keypoints"}}
    transform = build_transforms(section)
    image = np.zeros((400, 400, 3), np.uint8)
    seen = np.array(
        [transform(image, one(200, 200), np.random.default_rng(i)).truth.keypoints[0, 0] for i in range(400)]
    )
    assert not np.isnan(seen).any()
    assert seen.min() >= 15.5 and seen.max() <= 24.5  # the middle +- a tenth of 40, and half a pixel of rounding
    # 400 uniform draws from -4..4 have a mean within 0.12 (one sigma); a one-sided shift would be 2 away.
    np.testing.assert_allclose(seen.mean(axis=0), [20, 20], atol=0.5)


def test_uniform_crops_reach_both_ends_of_the_image() -> None:
    image = np.repeat(np.arange(12, dtype=np.uint8)[None, :, None], 10, axis=0).repeat(3, axis=2)
    transform = build_transforms({"crop_sampling": {"width": 10, "height": 10, "max_shift": 0.1, "method": "uniform"}})
    starts = {int(transform(image, one(5, 5), np.random.default_rng(i)).image[0, 0, 0]) for i in range(60)}
    assert starts == {0, 1, 2}


def test_density_prefers_crowded_keypoints() -> None:
    crowd = [[50, 50], [51, 50], [50, 51], [51, 51]]
    xy = np.array([[*crowd, [350, 350]]], np.float32)
    section = {"crop_sampling": {"width": 40, "height": 40, "max_shift": 0.0, "method": "density"}}
    transform = build_transforms(section)
    image = np.zeros((400, 400, 3), np.uint8)
    alone = sum(
        not np.isnan(transform(image, Truth.of(xy), np.random.default_rng(i)).truth.keypoints[0, 4, 0])
        for i in range(300)
    )
    # 1 of 17 crops by weight, about 18; without weights it would be 60.
    assert 5 <= alone <= 35


def test_covered_keypoints_become_nan_and_others_stay() -> None:
    columns, rows = np.meshgrid(np.arange(100), np.arange(100))
    xy = np.stack([columns, rows], axis=-1).reshape(1, -1, 2).astype(np.float32)
    image, seen = photometric.cover(np.full((100, 100, 3), 255, np.uint8), xy, np.random.default_rng(0))
    hidden = np.isnan(seen[0, :, 0]).reshape(100, 100)
    np.testing.assert_array_equal(hidden, image[..., 0] == 0)
    assert 10 <= hidden.sum() <= 250


def test_noise_has_the_variance_that_was_asked_for() -> None:
    grey = np.full((200, 200, 3), 128, np.uint8)
    variances = [
        (photometric.add_noise(grey, np.random.default_rng(i), std=20.0).astype(float) - 128).var() for i in range(200)
    ]
    # Uniform from 0 to 400: the mean of 200 draws is 200 +- 8.
    assert 170 < np.mean(variances) < 230
    assert max(variances) < 405


def test_grey_and_even_histograms_change_colours_only() -> None:
    image = np.random.default_rng(0).integers(0, 200, (40, 50, 3), dtype=np.uint8)
    faded = photometric.fade(image, np.random.default_rng(0))
    assert np.ptp(faded.astype(int), axis=2).mean() < 0.55 * np.ptp(image.astype(int), axis=2).mean()
    assert photometric.equalise(image).max() == 255


def test_normalisation_equals_that_of_the_exported_graph() -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    for imagenet, unit in ((True, False), (False, True), (False, False)):
        transform = build_transforms({"normalize_images": imagenet, "scale_to_unit_range": unit})
        graph = PixelNormalisation(Normalisation(imagenet=imagenet, unit_range=unit))
        bgr = torch.from_numpy(image[None, ..., ::-1].copy())
        # The same three numbers per channel, in another order of operations: float32 rounding of values up to 255.
        np.testing.assert_allclose(transform.to_network(image), graph(bgr)[0].numpy(), rtol=1e-5, atol=2e-6)


def test_the_same_generator_gives_the_same_sample() -> None:
    section = {"affine": {}, "crop_sampling": {"width": 64, "height": 64}, "gaussian_noise": True, "covering": True}
    transform = build_transforms(section)
    image = np.random.default_rng(0).integers(0, 255, (100, 120, 3), dtype=np.uint8)
    first, again = (transform(image, one(50, 60), np.random.default_rng(4)) for _ in range(2))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.truth.keypoints, again.truth.keypoints)


def test_the_image_that_was_given_is_untouched() -> None:
    image = disc(50, 60)
    before = image.copy()
    section = {"covering": {"p": 1.0}, "motion_blur": {"p": 1.0}, "gaussian_noise": True, "grayscale": {"p": 1.0}}
    for seed in range(4):
        build_transforms(section)(image, one(50, 60), np.random.default_rng(seed))
    np.testing.assert_array_equal(image, before)


def test_padding_keeps_the_image_at_the_named_corner() -> None:
    image = np.full((30, 40, 3), 200, np.uint8)
    padding = {"min_height": 50, "min_width": 60, "position": "bottom_right", "border_mode": "constant"}
    found = build_transforms({"auto_padding": padding})(image, one(3, 4), np.random.default_rng(0))
    assert found.image.shape == (50, 60, 3)
    assert found.image[20:, 20:].min() == 200 and found.image[:20].max() == 0
    np.testing.assert_array_equal(found.truth.keypoints[0, 0], [23, 24])


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"affin": {}}, "data.train.affin: unknown key; did you mean affine"),
        ({"affine": {"rotations": 30}}, "did you mean rotation"),
        ({"affine": {"scaling": [0, 1]}}, "no scale"),
        ({"crop_sampling": {"width": 10, "height": 10, "method": "hybird"}}, "did you mean hybrid"),
        ({"crop_sampling": {"width": 0, "height": 10}}, "no size"),
        ({"auto_padding": {"min_width": 10, "pad_width_divisor": 32}}, "not both"),
    ],
)
def test_a_mistake_in_the_section_is_named(section: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build_transforms(section)


def test_sections_that_deeplabcut_writes_are_accepted(golden: Any) -> None:
    import yaml

    for path in sorted((golden / "networks").glob("*.yaml")):
        data = yaml.safe_load(path.read_text())["data"]
        for section in (data["train"], data["inference"]):
            build_transforms(section)
