"""Snapshots of every family go to DeepLabCut and come back: it loads, runs and continues ours, and we its."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from exchange_cases import CASES
from exchanged_snapshots import PYTHON, exchange

# Both run torch in float32, and only the order of sums may differ: relative to each map's range.
RELATIVE = 1e-4
PIXELS = 1e-2  # another cell or bin of half an input pixel would be tenths of a pixel away at least
SCORE = 1e-4
# An epoch of DeepLabCut's moved every map by a tenth of its range or more where this was looked at; none moves nothing.
LEARNT = 1e-3

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="RIGPOSE_DEEPLABCUT_PYTHON names no Python that has DeepLabCut 3"),
]


@pytest.mark.parametrize("name", CASES)
def test_snapshots_go_to_deeplabcut_and_come_back(name: str, tmp_path: Path, one_thread: None) -> None:
    case = CASES[name]
    with TemporaryDirectory(dir=tmp_path) as folder:  # a gigabyte, which pytest would keep
        found = exchange(case, Path(folder))
    for difference in (found.to_deeplabcut, found.from_deeplabcut):
        assert difference.maps <= RELATIVE, found
        assert difference.pixels <= PIXELS and difference.score <= SCORE, found
        # Six keypoints in three pictures; an assembly may have found one of two animals.
        assert difference.keypoints >= 18
        assert difference.boxes is None or difference.boxes <= PIXELS, found
    assert (found.to_deeplabcut.boxes is not None) == (case.detector is not None)
    assert found.learnt > LEARNT
    assert found.epochs == [case.epochs, case.epochs + 1, case.epochs + 2]
    assert found.schedule == found.epochs
    assert found.steps[1] - found.steps[0] == found.steps[2] - found.steps[1] == found.steps[0] // case.epochs
