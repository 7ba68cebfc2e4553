"""Every architecture learns four drawn frames by heart: network, targets, losses, engine and decoding fit together."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from overfitting import Lesson, overfit, overfit_boxes

from rigpose_training.pose_config.detectors import available_detectors
from rigpose_training.pose_config.templates import ALIASES, available_models

pytestmark = pytest.mark.usefixtures("one_thread")

FAR = (96, 96)  # frames that crops are cut from
WIDE = (64, 96)  # frames with room for two animals
HEAD = "model.heads.bodypart."


def crop(width: int = 64, height: int = 64, *, margin: int = 8) -> dict[str, Any]:
    """Crops of that size [px], around boxes with that margin."""
    sides = {"width": width, "height": height}
    return {
        "data.bbox_margin": margin,
        **{f"data.{mode}.top_down_crop.{key}": side for mode in ("train", "inference") for key, side in sides.items()},
    }


def bins(width: int = 64, height: int = 64) -> dict[str, Any]:
    """The same for a coordinate classification head."""
    return {
        **crop(width, height),
        f"{HEAD}input_size": [width, height],
        f"{HEAD}target_generator.input_size": [width, height],
        f"{HEAD}in_featuremap_size": [width // 32, height // 32],
    }


def tokens(side: int = 64) -> dict[str, Any]:
    """The same for TokenPose; patches shrink with the crop, so that an animal has several."""
    cells = side // 4
    return {
        **crop(side, side, margin=4),
        "model.neck.feature_size": [cells, cells],
        "model.neck.patch_size": [2, 2],
        f"{HEAD}heatmap_size": [cells, cells],
        f"{HEAD}heatmap_dim": cells**2,
    }


def told(width: int = 64, height: int = 64, *, sigma: float = 0.03) -> dict[str, Any]:
    """The same for a network that is told a rough pose.

    Poses are drawn anew in every epoch, so four frames are many lessons. Here they are wrong by 1 px at most: what
    kinds of error there are is tested elsewhere.
    """
    errors = {f"data.gen_sampling.{kind}_prob": 0.0 for kind in ("jitter", "swap", "inv", "miss")}
    sigmas = {"data.gen_sampling.keypoint_sigmas": sigma}
    return {**crop(width, height), "model.backbone.img_size": [height, width], **errors, **sigmas}


# The template's first weights and offset loss are for thousands of steps.
QUICK_OFFSETS = {f"{HEAD}weight_init": {"type": "dekr", "std": 0.05}, f"{HEAD}criterion.offset.weight": 3}

LESSONS: dict[str, Lesson] = {
    "resnet_50": Lesson(40, 5e-4),
    "resnet_101": Lesson(40, 5e-4, quiet=10),
    "hrnet_w18": Lesson(50, 1e-3, quiet=10),
    "hrnet_w32": Lesson(40, 1e-3, quiet=10),
    "hrnet_w48": Lesson(40, 5e-4, quiet=10),
    "cspnext_s": Lesson(40, 1e-3, radius=17, statistics="running"),
    "cspnext_m": Lesson(40, 5e-4, radius=17, statistics="running"),
    "cspnext_x": Lesson(60, 3e-4, radius=17, statistics="running"),
    "resnet_50, two animals": Lesson(50, 1e-3, animals=2, size=WIDE, radius=5),
    "cspnext_s, two animals": Lesson(80, 1e-3, animals=2, size=WIDE, statistics="running"),
    "dlcrnet_stride16_ms5": Lesson(45, 1e-3, animals=2, size=WIDE, radius=5, statistics="running"),
    "dlcrnet_stride32_ms5": Lesson(35, 5e-4, animals=2, size=WIDE, radius=5, statistics="running"),
    "dekr_w18": Lesson(60, 2e-3, animals=2, size=WIDE, quiet=10, changes=QUICK_OFFSETS),
    "dekr_w32": Lesson(60, 1e-3, animals=2, size=WIDE, quiet=10, changes=QUICK_OFFSETS),
    "dekr_w48": Lesson(70, 1e-3, animals=2, size=WIDE, quiet=10, changes=QUICK_OFFSETS),
    "top_down_resnet_50": Lesson(60, 5e-4, size=FAR, radius=17, changes=crop()),
    "top_down_resnet_101": Lesson(40, 5e-4, size=FAR, radius=17, quiet=10, changes=crop()),
    "top_down_hrnet_w18": Lesson(40, 1e-3, size=FAR, quiet=10, changes=crop()),
    "top_down_hrnet_w32": Lesson(40, 1e-3, size=FAR, quiet=10, changes=crop()),
    "top_down_hrnet_w48": Lesson(35, 5e-4, size=FAR, quiet=10, changes=crop()),
    "top_down_cspnext_s": Lesson(40, 1e-3, size=FAR, radius=24, statistics="running", changes=crop(96, 96)),
    "top_down_cspnext_m": Lesson(40, 5e-4, size=FAR, radius=24, statistics="running", changes=crop(96, 96)),
    "top_down_cspnext_x": Lesson(50, 2e-4, size=FAR, radius=24, statistics="running", changes=crop(96, 96)),
    "rtmpose_s": Lesson(40, 1e-3, size=FAR, quiet=12, changes=bins()),
    "rtmpose_m": Lesson(40, 1e-3, size=FAR, quiet=12, changes=bins()),
    "rtmpose_x": Lesson(30, 1e-3, size=FAR, quiet=10, changes=bins(96, 96)),
    "animaltokenpose_base": Lesson(100, 1e-3, radius=5, quiet=10, changes=tokens()),
    "ctd_coam_w32": Lesson(40, 1e-3, size=FAR, quiet=10, changes=told()),
    "ctd_coam_w48": Lesson(40, 1e-3, size=FAR, quiet=10, changes=told()),
    "ctd_coam_w48_human": Lesson(40, 1e-3, size=FAR, quiet=10, changes=told(64, 96)),
    "ctd_prenet_hrnet_w32": Lesson(45, 1e-3, size=FAR, quiet=10, changes=told()),
    "ctd_prenet_hrnet_w48": Lesson(40, 1e-3, size=FAR, quiet=10, changes=told()),
    "ctd_prenet_rtmpose_s": Lesson(60, 1e-3, size=FAR, quiet=15, changes=told() | bins()),
    "ctd_prenet_rtmpose_m": Lesson(60, 1e-3, size=FAR, quiet=15, changes=told() | bins()),
    "ctd_prenet_rtmpose_x": Lesson(90, 1e-3, size=FAR, quiet=15, changes=told(96, 96, sigma=0.02) | bins(96, 96)),
    "ctd_prenet_rtmpose_x_human": Lesson(90, 1e-3, size=FAR, quiet=15, changes=told(64, 96, sigma=0.02) | bins(64, 96)),
}
MARGIN = {"data.bbox_margin": 4}
BOX_LESSONS: dict[str, Lesson] = {
    "ssdlite": Lesson(60, 1e-3, animals=2, size=WIDE, changes=MARGIN),
    "fasterrcnn_mobilenet_v3_large_fpn": Lesson(100, 1e-3, animals=2, size=WIDE, quiet=10, changes=MARGIN),
    "fasterrcnn_resnet50_fpn_v2": Lesson(90, 1e-3, animals=2, size=WIDE, quiet=10, changes=MARGIN),
}

LARGE = {
    "resnet_101", "hrnet_w32", "hrnet_w48", "cspnext_x", "dlcrnet_stride32_ms5", "dekr_w32", "dekr_w48",
    "top_down_resnet_101", "top_down_hrnet_w32", "top_down_hrnet_w48", "top_down_cspnext_x", "rtmpose_x",
    "ctd_coam_w48", "ctd_coam_w48_human", "ctd_prenet_hrnet_w48", "ctd_prenet_rtmpose_x", "ctd_prenet_rtmpose_x_human",
    "fasterrcnn_resnet50_fpn_v2",
}  # fmt: skip
"""Built like smaller ones, which learn everything: that these begin to learn is enough, and spares minutes."""
QUICK = {"cspnext_s", "cspnext_m", "rtmpose_s", "top_down_cspnext_s", "ctd_prenet_rtmpose_s"}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Gone afterwards: the snapshots of all networks together would fill a disk."""
    yield tmp_path / "training"
    shutil.rmtree(tmp_path / "training")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in sorted(LESSONS.keys() - LARGE)],
)
def test_a_network_learns_four_frames_by_heart(folder: Path, name: str) -> None:
    memory = overfit(folder, name.split(",", maxsplit=1)[0], LESSONS[name])
    assert memory.fall > 10
    assert np.mean(memory.errors) < 1.5
    # Other processors round sums otherwise, and steps as large as these carry that far: one keypoint in ten may stray.
    assert np.quantile(memory.errors, 0.9) <= 2


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(BOX_LESSONS.keys() - LARGE))
def test_a_detector_learns_four_frames_by_heart(folder: Path, name: str) -> None:
    memory = overfit_boxes(folder, name, BOX_LESSONS[name])
    # Its loss counts anchors and regions drawn anew at every step, so it never becomes as small as that of maps, and
    # the last one is a matter of that draw: what it found is the proof.
    assert memory.fall > 2
    # Half of a box is what COCO calls found.
    assert np.mean(memory.overlaps) > 0.7 and np.min(memory.overlaps) > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(LARGE))
def test_a_large_network_begins_to_learn(folder: Path, name: str) -> None:
    learn, lessons = (overfit_boxes, BOX_LESSONS) if name in BOX_LESSONS else (overfit, LESSONS)
    assert learn(folder, name, replace(lessons[name], epochs=lessons[name].epochs // 3, quiet=0)).fall > 1.5


def test_no_model_and_no_detector_is_left_out() -> None:
    assert {name.split(",")[0] for name in LESSONS} == set(available_models()) - set(ALIASES)
    assert set(BOX_LESSONS) == set(available_detectors())
    assert LESSONS.keys() | BOX_LESSONS.keys() > LARGE
