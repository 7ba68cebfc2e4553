"""Run by DeepLabCut's own Python: the outputs of its network under reproducible weights.

Usage: python network_outputs.py CONFIG INPUTS OUTPUTS

``CONFIG`` is a ``pytorch_config.yaml``; ``INPUTS`` an ``.npz`` with ``images`` and, for a conditional network,
``conditions``; ``OUTPUTS`` gets ``HEAD.MAP`` for every map, and the names and shapes of its state as JSON in ``state``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from deeplabcut.core.config import read_config_as_dict  # pyright: ignore[reportMissingImports]
from deeplabcut.pose_estimation_pytorch.models import PoseModel  # pyright: ignore[reportMissingImports]

sys.path.insert(0, str(Path(__file__).parents[1]))
from reference_weights import fill


def main() -> None:
    """Build, fill, run, write."""
    config, inputs, outputs = sys.argv[1:]
    model = PoseModel.build(read_config_as_dict(config)["model"]).eval()
    fill(model, "")
    with np.load(inputs) as arrays:
        images = torch.from_numpy(arrays["images"])
        more = {"cond_kpts": arrays["conditions"][:, None]} if "conditions" in arrays.files else {}
    with torch.inference_mode():
        found = model(images, **more)
    maps = {f"{head}.{kind}": value.numpy() for head, heads in found.items() for kind, value in heads.items()}
    state = json.dumps({key: list(value.shape) for key, value in model.state_dict().items()})
    np.savez(outputs, state=np.array(state), **maps)


if __name__ == "__main__":
    main()
