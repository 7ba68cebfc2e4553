"""Images per second of a training step, from a batch in memory to new weights: ``training_step.py``.

A project is drawn, with a shuffle for each network. When the environment's RIGPOSE_DEEPLABCUT_PYTHON names a Python
that has DeepLabCut 3, its own runner makes steps with the same network, on the same shuffle and device, in batches of
the same shape, in a process beside this one; both take turns, so that a busy machine slows both alike. Prints both
rates and their ratio for every turn, the rate of the loader that must feed the step, and appends a JSON line per
network to ``benchmarks/results/training_step.jsonl``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from deeplabcut_peer import deeplabcut, version_of
from record import record

from rigpose_training.data.batches import Batching, TrainingBatches
from rigpose_training.data.loaders import DLCLoader
from rigpose_training.engine.options import TrainingOptions
from rigpose_training.engine.runner_config import read_runner
from rigpose_training.engine.schedule import build_optimizer
from rigpose_training.engine.stages import pose_stage
from rigpose_training.engine.state import TrainingState
from rigpose_training.engine.step import Step, choose_precision, training_mode, wrap
from rigpose_training.pose_config.files import update, write_pose_config
from rigpose_training.project.create import create_training_dataset
from rigpose_training.scene.project import write_project

NETWORKS: dict[str, tuple[int, str]] = {
    "resnet_50": (1, "resnet_50"),
    "resnet_50 with affinity fields": (2, "resnet_50"),
    "dekr_w18": (2, "dekr_w18"),
    "top_down_resnet_50": (2, "top_down_resnet_50"),
    "rtmpose_s": (2, "rtmpose_s"),
}
"""Animals of the project, and the ``net_type`` of the shuffle."""


def main() -> None:
    """Measure, print, and append to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", nargs="+", choices=[*NETWORKS], default=[*NETWORKS])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--amp", choices=("auto", "bf16", "fp16", "off"), default="off", help="DeepLabCut has none")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--size", type=int, help="side of the images or crops [px] (default: the configuration's)")
    parser.add_argument("--steps", type=int, default=10, help="of each turn")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, help="of torch, in both processes")
    parser.add_argument("--workers", type=int, default=0, help="of the loader, which is timed alone")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.network:
            print(f"{name}, batches of {arguments.batch_size} on {arguments.device}")
            figures = measured(drawn_shuffle(Path(folder), name, arguments), arguments)
            settings = {"batch_size": arguments.batch_size, "device": arguments.device, "amp": arguments.amp}
            threads = {"threads": torch.get_num_threads(), "steps": arguments.steps}
            print(f"appended to {record('training_step', {'network': name, **settings, **threads, **figures})}")


def drawn_shuffle(folder: Path, name: str, arguments: argparse.Namespace) -> DLCLoader:
    """A project of as many frames as a turn needs, with a shuffle for one network."""
    animals, net_type = NETWORKS[name]
    frames = 2 * arguments.batch_size * arguments.steps  # some are for tests, and some animals may be hidden
    root = folder / f"{animals}-{net_type}"
    config = write_project(root, labelled_frames=min(frames, 200), size=(480, 640), animals=animals)
    (index,) = create_training_dataset(root, net_type=net_type)
    loader = DLCLoader(config, shuffle=index)
    if arguments.size is not None:
        sides = {"width": arguments.size, "height": arguments.size}
        step = "crop_sampling" if loader.model_cfg["data"]["train"].get("crop_sampling") else "top_down_crop"
        section = loader.model_cfg["data"]["train"][step]
        loader.model_cfg = update(loader.model_cfg, {f"data.train.{step}": section | sides})
        write_pose_config(loader.model_config_path, loader.model_cfg)
    return loader


def measured(loader: DLCLoader, arguments: argparse.Namespace) -> dict[str, Any]:
    """Rates of steps and of the loader [images/s], and the ratios of both programs' steps."""
    whole, step = our_step(loader, arguments)
    batches = list(islice((b for b in whole.epoch(1) if len(b["path"]) == arguments.batch_size), arguments.steps))
    request = {
        "config": str(loader.project_config.path),
        "shuffle": loader.shuffle.index,
        **{name: getattr(arguments, name) for name in ("device", "batch_size", "steps", "threads")},
    }
    ours: list[float] = []
    theirs: list[float] = []
    with deeplabcut("deeplabcut_training_step.py", json.dumps(request)) as peer:
        for repeat in range(arguments.repeats + 1):
            ours.append(step_rate(step, batches, arguments.steps))
            line = f"  {repeat}/{arguments.repeats}: {ours[-1]:.2f} images/s"
            if peer is not None:
                theirs.append(peer.turn())
                line += f", DeepLabCut {theirs[-1]:.2f}, ratio {ours[-1] / theirs[-1]:.2f}"
            print(line + (" (to warm up)" if repeat == 0 else ""))
    loading = loader_rate(whole)
    print(f"  the loader delivers {loading:.1f} images/s with {arguments.workers} processes")
    figures: dict[str, Any] = {
        "input": list(batches[0]["image"].shape[1:]),
        "images_per_second": rounded(ours[1:]),
        "loader_images_per_second": round(loading, 1),
        "loader_workers": arguments.workers,
    }
    return figures if not theirs else figures | compared(ours[1:], theirs[1:])


def compared(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    """DeepLabCut's rates, and ours as multiples of them."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    print(f"  ratio: median {statistics.median(ratios):.3f}, from {min(ratios):.3f} to {max(ratios):.3f}")
    return {
        "deeplabcut_torch": version_of("torch"),
        "deeplabcut_images_per_second": rounded(theirs),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "ratio_median": round(statistics.median(ratios), 3),
        "ratio_range": [round(min(ratios), 3), round(max(ratios), 3)],
    }


def our_step(loader: DLCLoader, arguments: argparse.Namespace) -> tuple[TrainingBatches, Step]:
    """The shuffle's batches, and the step that training makes with each."""
    stage, device = pose_stage(loader), torch.device(arguments.device)
    model = stage.build().to(device)
    training_mode(model)
    runner, _ = read_runner(stage.config)
    optimizer = build_optimizer(runner.optimizer, model.parameters())
    precision = choose_precision(arguments.amp, device)
    scaler = torch.amp.GradScaler("cuda", enabled=precision is torch.float16)
    objective, options = stage.objective(model), TrainingOptions()
    state = TrainingState(model=model, optimizer=optimizer, scheduler=None, scaler=scaler)
    dataset = loader.create_dataset(None, "train", stage.task)
    whole = TrainingBatches(dataset, Batching(batch_size=arguments.batch_size, workers=arguments.workers))
    return whole, Step(state, objective, wrap(model, objective, options), precision, options)


def step_rate(step: Step, batches: Sequence[Mapping[str, Any]], steps: int) -> float:
    """Images per second of so many steps; the losses are read after each, as DeepLabCut does."""
    begun = time.perf_counter()
    images = 0
    for batch in islice(cycle(batches), steps):
        terms = step(batch, of=1)
        torch.stack(list(terms.values())).tolist()
        images += len(batch["path"])
    return images / (time.perf_counter() - begun)


def loader_rate(batches: TrainingBatches) -> float:
    """Images per second of a second epoch, whose images are decoded already."""
    begun = time.perf_counter()
    images = sum(len(batch["path"]) for batch in batches.epoch(2))
    return images / (time.perf_counter() - begun)


def rounded(rates: Sequence[float]) -> list[float]:
    """For the record."""
    return [round(rate, 2) for rate in rates]


if __name__ == "__main__":
    main()
