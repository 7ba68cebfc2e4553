"""Images per second that the training loader delivers, without any network: ``loader_rate.py PROJECT``.

For each task the same section of augmentations, DeepLabCut's default, is loaded in batches. When the environment's
RIGPOSE_DEEPLABCUT_PYTHON names a Python that has DeepLabCut 3, its own loader runs on the same shuffle in a process
beside this one, and both take turns, so that a busy machine slows both alike. Prints rates and their ratio, and appends
a JSON line per task to ``benchmarks/results/loader_rate.jsonl``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

from deeplabcut_peer import deeplabcut
from record import record

from rigpose_training.data.batches import Batching, TrainingBatches
from rigpose_training.data.loaders import DLCLoader
from rigpose_training.data.transforms import build_transforms

COLOURS: dict[str, Any] = {"gaussian_noise": 12.75, "motion_blur": True, "normalize_images": True}
TURN = {"p": 0.5, "rotation": 30, "scaling": [1.0, 1.0], "translation": 0}
SECTIONS: dict[str, dict[str, Any]] = {
    "bu": {
        **COLOURS,
        "affine": {**TURN, "scaling": [0.5, 1.25]},
        "crop_sampling": {"width": 448, "height": 448, "max_shift": 0.1, "method": "hybrid"},
    },
    "td": {**COLOURS, "affine": TURN, "top_down_crop": {"width": 256, "height": 256}},
    "detect": {
        "affine": {**TURN, "translation": 40},
        "hflip": True,
        "normalize_images": True,
        "collate": {
            "type": "ResizeFromDataSizeCollate",
            "min_scale": 0.4,
            "max_scale": 1.0,
            "min_short_side": 128,
            "max_short_side": 1152,
            "multiple_of": 32,
            "to_square": False,
        },
    },
}
"""DeepLabCut's defaults by task."""


def main() -> None:
    """Measure, print, and append to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path)
    parser.add_argument("--shuffle", type=int, default=1)
    parser.add_argument("--task", nargs="+", choices=[*SECTIONS], default=[*SECTIONS])
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--images", type=int, default=300, help="least number of images per repeat, in whole epochs")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    loader = DLCLoader(arguments.project, shuffle=arguments.shuffle)
    for task in arguments.task:
        figures = {
            "project": loader.project_config.root.name,
            "shuffle": arguments.shuffle,
            "task": task,
            "batch_size": arguments.batch_size,
            "workers": arguments.workers,
            **measured(loader, task, arguments),
        }
        print(f"appended to {record('loader_rate', figures)}")


def measured(loader: DLCLoader, task: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Rates [images/s]: of the first epochs, in which every image is decoded once, and of the ones after them."""
    section = SECTIONS[task]
    dataset = loader.create_dataset(build_transforms(section), "train", task)
    batches = TrainingBatches(dataset, Batching(batch_size=arguments.batch_size, workers=arguments.workers))
    epochs = -(-arguments.images // len(dataset))
    request = {
        "epochs": epochs,
        "config": str(loader.project_config.path),
        "shuffle": arguments.shuffle,
        "task": dataset.task.name,
        "section": section,
        "batch_size": arguments.batch_size,
        "workers": arguments.workers,
    }
    ours: list[float] = []
    theirs: list[float] = []
    with deeplabcut("deeplabcut_loader_rate.py", json.dumps(request)) as peer:
        for repeat in range(arguments.repeats + 1):
            ours.append(rate(batches, range(repeat * epochs + 1, (repeat + 1) * epochs + 1)))
            line = f"{task} {repeat}/{arguments.repeats}: {ours[-1]:.1f} images/s"
            if peer is not None:
                theirs.append(peer.turn())
                line += f", DeepLabCut {theirs[-1]:.1f}, ratio {ours[-1] / theirs[-1]:.2f}"
            print(line)
    figures: dict[str, Any] = {
        "items": len(dataset),
        "epochs_per_repeat": epochs,
        "first_images_per_second": round(ours[0], 1),
        "images_per_second": [round(value, 1) for value in ours[1:]],
    }
    return figures if not theirs else figures | compared(ours, theirs)


def compared(ours: list[float], theirs: list[float]) -> dict[str, Any]:
    """DeepLabCut's rates, and ours as multiples of them."""
    ratios = [a / b for a, b in zip(ours[1:], theirs[1:], strict=True)]
    print(f"ratio: median {statistics.median(ratios):.2f}, from {min(ratios):.2f} to {max(ratios):.2f}")
    return {
        "deeplabcut_first_images_per_second": round(theirs[0], 1),
        "deeplabcut_images_per_second": [round(value, 1) for value in theirs[1:]],
        "first_ratio": round(ours[0] / theirs[0], 2),
        "ratios": [round(ratio, 2) for ratio in ratios],
        "ratio_median": round(statistics.median(ratios), 2),
        "ratio_range": [round(min(ratios), 2), round(max(ratios), 2)],
    }


def rate(batches: TrainingBatches, epochs: range) -> float:
    """Images per second of some epochs."""
    begun = time.perf_counter()
    delivered = sum(len(batch["path"]) for epoch in epochs for batch in batches.epoch(epoch))
    return delivered / (time.perf_counter() - begun)


if __name__ == "__main__":
    main()
