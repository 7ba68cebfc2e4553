"""Run by DeepLabCut's own Python: opens a shuffle, its data and its model, and prints what it found as JSON.

Usage: python check_shuffle_opens.py CONFIG SHUFFLE
"""

from __future__ import annotations

import json
import sys
from typing import Any

import deeplabcut.pose_estimation_pytorch as dlc  # pyright: ignore[reportMissingImports]
from deeplabcut.generate_training_dataset.metadata import (  # pyright: ignore[reportMissingImports]
    TrainingDatasetMetadata,
)
from deeplabcut.pose_estimation_pytorch.data.dlcloader import (  # pyright: ignore[reportMissingImports]
    _load_mat_dataset,
    _load_pickle_dataset,
)
from deeplabcut.pose_estimation_pytorch.models import DETECTORS, PoseModel  # pyright: ignore[reportMissingImports]


def detector_parameters(section: Any) -> int:
    """Entries of the detector's state."""
    return 0 if section is None else len(DETECTORS.build(dict(section["model"])).state_dict())


def main() -> None:
    config, shuffle = sys.argv[1], int(sys.argv[2])
    loader = dlc.DLCLoader(config=config, trainset_index=0, shuffle=shuffle)
    task = loader.pose_task
    datasets = {
        mode: loader.create_dataset(
            transform=dlc.build_transforms(loader.model_cfg["data"][mode if mode == "train" else "inference"]),
            mode=mode,
            task=task,
        )
        # The conditions of test images are predictions, which a new shuffle's bottom-up model has not made yet.
        for mode in (("train",) if task == dlc.Task.COND_TOP_DOWN else ("train", "test"))
    }
    model = PoseModel.build(loader.model_cfg["model"])
    folder = loader.project_path / "training-datasets" / "iteration-0"
    multi = loader.project_cfg["multianimalproject"]
    task_name, suffix = loader.project_cfg["Task"], "pickle" if multi else "mat"
    (file,) = folder.glob(f"*/{task_name}_*[0-9]shuffle{shuffle}.{suffix}")
    load = _load_pickle_dataset if multi else _load_mat_dataset
    sizes, table = load(file, loader.project_cfg["scorer"], params=loader.get_dataset_parameters())
    metadata = TrainingDatasetMetadata.load(config, load_splits=True)
    item = datasets["train"][0]
    found = {
        "split": loader.split,
        "train": len(datasets["train"]),
        "test": len(datasets.get("test", [])),
        "task": task.name,
        "detector_parameters": detector_parameters(loader.model_cfg["detector"]),
        "image_shape": list(item["image"].shape),
        "keypoints_shape": list(item["annotations"]["keypoints"].shape),
        "parameters": len(model.state_dict()),
        "sizes": [[int(side) for side in size] for size in sizes],
        "dataset_rows": len(table),
        "metadata": [shuffle.index for shuffle in metadata.shuffles],
        "scorer": loader.scorer(loader.model_folder / "snapshot-best-010.pt"),
        "evaluation_folder": str(loader.evaluation_folder),
    }
    print("FOUND " + json.dumps(found))


if __name__ == "__main__":
    main()
