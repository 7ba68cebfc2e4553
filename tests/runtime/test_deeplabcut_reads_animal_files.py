"""DeepLabCut itself opens, stitches, smooths and draws the files of several animals, and its own come back."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from analysed_animals import FRAMES, OF_DEEPLABCUT, analysed_project, read_by
from animal_scenes import INDIVIDUALS, UNIQUE

from rigpose.files.results import read_results

PYTHON = os.environ.get("RIGPOSE_DEEPLABCUT_PYTHON", "")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="RIGPOSE_DEEPLABCUT_PYTHON names no Python that has DeepLabCut 3"),
]


def test_deeplabcut_works_with_the_files_and_its_own_are_read(tmp_path: Path) -> None:
    root = tmp_path / "project"
    files = analysed_project(root)
    found = read_by(PYTHON, root, OF_DEEPLABCUT)
    assert found["load_analyzed_data"] == [["_el.h5", [FRAMES, 42]], [".h5", [FRAMES, 42]]]
    assert found["stitch"][1:] == [[FRAMES, 42], [*INDIVIDUALS, "single"]]
    assert found["labeled_video"] == ["_el_id_p60_labeled.mp4"]
    assert found["filter_predictions"] is found["all_detections"] is found["convert_detections"] is True

    ours, smooth = read_results(files.tracks("_el")), read_results(files.tracks("_el_filtered"))
    assert smooth.individuals == ours.individuals and smooth.unique_keypoints == UNIQUE
    # A median over five frames of an animal that moves by a pixel per frame, with noise of a fifth.
    assert np.nanmedian(abs(smooth.xy - ours.xy)) < 1
    boxes = read_results(files.tracks("_bx"))
    assert boxes.individuals == INDIVIDUALS and boxes.unique_keypoints == UNIQUE
    assert boxes.xy.shape[1:] == ours.xy.shape[1:]
