"""DeepLabCut's own training step, timed for ``training_step.py``, which runs this with a Python that has DeepLabCut.

Takes the request as JSON and says ``ready``; for each line on standard input goes over its batches, which lie in
memory, and answers ``rate IMAGES_PER_SECOND``.
"""

from __future__ import annotations

import json
import sys
import time
from itertools import cycle, islice
from typing import Any


def main() -> None:
    """Answer until standard input ends."""
    import torch
    from deeplabcut.pose_estimation_pytorch.data import DLCLoader, build_transforms  # pyright: ignore[reportMissingImports]
    from deeplabcut.pose_estimation_pytorch.models import PoseModel  # pyright: ignore[reportMissingImports]
    from deeplabcut.pose_estimation_pytorch.runners import build_training_runner  # pyright: ignore[reportMissingImports]
    from deeplabcut.pose_estimation_pytorch.task import Task  # pyright: ignore[reportMissingImports]
    from torch.utils.data import DataLoader

    request: dict[str, Any] = json.loads(sys.argv[1])
    if request["threads"]:
        torch.set_num_threads(request["threads"])
    loader = DLCLoader(request["config"], shuffle=request["shuffle"])
    config, task = loader.model_cfg, Task(loader.model_cfg["method"])
    model = PoseModel.build(config["model"], pretrained_backbone=False).to(request["device"])
    runner = build_training_runner(config["runner"], loader.model_folder, task, model, request["device"])
    dataset = loader.create_dataset(build_transforms(config["data"]["train"]), "train", task)
    whole = DataLoader(dataset, batch_size=request["batch_size"], shuffle=True, drop_last=True)
    batches = list(islice(whole, request["steps"]))
    model.train()
    print("ready", flush=True)
    for _ in sys.stdin:
        begun = time.perf_counter()
        for batch in islice(cycle(batches), request["steps"]):
            runner.step(batch, "train")
        seconds = time.perf_counter() - begun
        print(f"rate {request['steps'] * request['batch_size'] / seconds}", flush=True)


if __name__ == "__main__":
    main()
