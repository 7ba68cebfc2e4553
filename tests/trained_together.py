"""A program for torchrun: ``trained_together.py FOLDER SETTINGS``, where settings are JSON.

The processes train in one folder and write nothing else there than training does: their images, and the weights that
each ends with, go to folders of their own beside it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from drawn_training import StoppingLoader
from torch.nn.modules.module import register_module_forward_hook

from rigpose_training.engine.beginning import Start
from rigpose_training.engine.train import Machine, train
from rigpose_training.models import PoseModel


def main(folder: Path, settings: dict[str, Any]) -> int:
    torch.set_num_threads(1)
    rank = os.environ["RANK"]
    seen: list[PoseModel] = []
    register_module_forward_hook(lambda module, *_: seen.append(module) if isinstance(module, PoseModel) else None)
    loader = StoppingLoader(
        folder.with_name(f"{folder.name}-{rank}"), config=settings["config"], train=settings["images"]
    )
    loader.model_folder, loader.model_config_path = folder, folder / "pytorch_config.yaml"
    loader.stop_at = settings.get("stops", {}).get(rank, 0)
    status = 0
    try:
        train(loader, Start(weights="random"), Machine(device="cpu"), settings.get("options"))
    except KeyboardInterrupt:
        status = 130
    if seen:
        torch.save(seen[0].state_dict(), folder.with_name(f"{folder.name}-{rank}") / "ended-with.pt")
    return status


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), json.loads(sys.argv[2])))
