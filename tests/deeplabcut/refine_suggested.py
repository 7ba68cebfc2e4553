"""Run by DeepLabCut's Python: extracts the frames that ``rigpose suggest`` chose, then merges what was refined.

Usage: python refine_suggested.py OUR_PROJECT THEIR_PROJECT VIDEO TABLE FRAMES

``THEIR_PROJECT`` is a copy of ours from before the frames came. One line says ``FOUND`` and how they compare.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

MACHINE_LABELS = "machinelabels-iter3.h5"


def main() -> None:
    """Compare, refine, merge."""
    ours, theirs, video, table = (Path(word) for word in sys.argv[1:5])
    _extract(theirs, video, table, json.loads(sys.argv[5]))
    mine, its = ours / "labeled-data" / "mouse", theirs / "labeled-data" / "mouse"
    facts = {
        "files": sorted(path.name for path in mine.iterdir()),
        "same_images": _same_images(mine, its),
        "same_table": _same_table(mine / MACHINE_LABELS, its / MACHINE_LABELS),
        **_merged(ours),
    }
    print("FOUND " + json.dumps(facts))


def _extract(project: Path, video: Path, table: Path, frames: list[int]) -> None:
    """DeepLabCut's own extraction, with the choice of frames taken out of its hands."""
    outliers = importlib.import_module("deeplabcut.refine_training_dataset.outlier_frames")
    outliers.frameselectiontools.UniformFramescv2 = lambda *_arguments: frames
    config = str(project / "config.yaml")
    outliers.ExtractFramesbasedonPreselection(
        frames, "uniform", pd.read_hdf(table), str(video), _config(project), config, savelabeled=False
    )


def _same_images(mine: Path, its: Path) -> bool:
    cv2 = importlib.import_module("cv2")
    names = sorted(path.name for path in its.glob("*.png"))
    assert names == sorted(path.name for path in mine.glob("*.png"))
    return all(np.array_equal(cv2.imread(str(mine / name)), cv2.imread(str(its / name))) for name in names)


def _same_table(mine: Path, its: Path) -> bool:
    a, b = pd.DataFrame(pd.read_hdf(mine)), pd.DataFrame(pd.read_hdf(its))
    # Ours is float64 of the same float32.
    return a.index.equals(b.index) and a.columns.equals(b.columns) and np.array_equal(a, b, equal_nan=True)


def _merged(project: Path) -> dict[str, Any]:
    """What ``merge_datasets`` says before and after a person has refined the labels."""
    outliers = importlib.import_module("deeplabcut.refine_training_dataset.outlier_frames")
    sets = importlib.import_module("deeplabcut.generate_training_dataset.trainingsetmanipulation")
    outliers.merge_datasets(project / "config.yaml")
    refused = _config(project)["iteration"] == 3
    folder = project / "labeled-data" / "mouse"
    # What its labelling window saves.
    refined = pd.DataFrame(pd.read_hdf(folder / MACHINE_LABELS)).drop("likelihood", axis=1, level="coords")
    scorer = refined.columns.get_level_values("scorer")[0]
    refined = refined.rename(columns={scorer: "me"}, level="scorer")
    refined.to_hdf(folder / "CollectedData_me.h5", key="df_with_missing", mode="w")
    outliers.merge_datasets(project / "config.yaml")
    config = _config(project)
    (project / "training").mkdir()
    merged = sets.merge_annotateddatasets(config, project / "training")
    videos = sorted(Path(str(path).replace("\\", "/")).stem for path in config["video_sets"])
    return {
        "refused_to_merge": refused,
        "iteration": config["iteration"],
        "merged_rows": len(merged),
        "videos": videos,
    }


def _config(project: Path) -> Any:
    utilities = importlib.import_module("deeplabcut.utils.auxiliaryfunctions")
    return utilities.read_config(str(project / "config.yaml"))


if __name__ == "__main__":
    main()
