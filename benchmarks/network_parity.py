"""How far every network's outputs are from DeepLabCut's with the same reproducible weights.

    PYTHONPATH=tests python benchmarks/network_parity.py RECORDED [--deeplabcut PYTHON]

``RECORDED`` is a folder of recorded outputs, one ``.json``, ``.npz`` and ``.yaml`` per network. Networks without a
recording are run by DeepLabCut itself where ``PYTHON`` has it. Per network the largest difference of any number of any
map, as a share of that map's range, is appended to ``benchmarks/results/network_parity.jsonl``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import record
from reference_weights import fill, network_input

from rigpose_training.model_table import ONE_ANIMAL, THREE_ANIMALS, model_table
from rigpose_training.models import build_model
from rigpose_training.pose_config.files import read_pose_config, write_pose_config
from rigpose_training.pose_config.templates import make_pose_config

SCRIPT = Path(__file__).parents[1] / "tests" / "deeplabcut" / "network_outputs.py"


def recorded_difference(folder: Path, entry: str) -> float:
    """Of a network whose outputs are recorded."""
    facts = json.loads((folder / f"{entry}.json").read_text())
    with np.load(folder / f"{entry}.npz") as arrays:
        maps = {key.removeprefix("output."): arrays[key] for key in arrays.files if key.startswith("output.")}
        conditions = arrays["cond_kpts"] if "cond_kpts" in arrays.files else None
    if entry.startswith("ctd_") and conditions is None:
        # Drawn like those of the other conditional networks, after an image of the same size.
        with np.load(folder / "ctd_prenet_hrnet_w32.npz") as arrays:
            conditions = arrays["cond_kpts"]
    images = network_input(facts["input"], facts["input_seed"])
    rough = None if conditions is None else torch.from_numpy(conditions[:, 0])
    config = read_pose_config(folder / f"{entry}.yaml")
    return difference(config, facts["parameters"], images, rough, maps)


def live_difference(entry: str, python: str) -> float:
    """Of a network that DeepLabCut runs beside it."""
    kind, _, name = entry.rpartition(".")
    config = make_pose_config(name, ONE_ANIMAL if kind == "single" else THREE_ANIMALS)
    crop = config["data"]["inference"]["top_down_crop"] or {"width": 256, "height": 256}
    width, height = crop["width"], crop["height"]
    images = network_input([2, 3, height, width], 0)
    rough = None
    if name.startswith("ctd_"):
        rng = np.random.default_rng(1)
        poses = rng.uniform([0.1 * width, 0.1 * height, 0.3], [0.9 * width, 0.9 * height, 1], (2, 4, 3))
        rough = torch.from_numpy(poses.astype(np.float32))
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        files = [folder / "config.yaml", folder / "inputs.npz", folder / "outputs.npz"]
        write_pose_config(files[0], config)
        inputs = {"images": images.numpy()} | ({} if rough is None else {"conditions": rough.numpy()})
        np.savez(files[1], **inputs)  # pyright: ignore[reportArgumentType]
        subprocess.run([python, str(SCRIPT), *map(str, files)], check=True, capture_output=True)
        with np.load(files[2]) as arrays:
            maps = {key: arrays[key] for key in arrays.files if key != "state"}
            state = json.loads(str(arrays["state"]))
    return difference(config, state, images, rough, maps)


def difference(
    config: Mapping[str, Any],
    state: Mapping[str, list[int]],
    images: torch.Tensor,
    rough: torch.Tensor | None,
    maps: Mapping[str, np.ndarray],
) -> float:
    """Largest share of a map's range by which one of its numbers differs; state and maps must be the same ones."""
    model = build_model(config).eval()
    ours = {key: list(value.shape) for key, value in model.state_dict().items()}
    if list(ours.items()) != list(state.items()):
        raise SystemExit("the state dict has other entries than DeepLabCut's")
    fill(model, "")
    with torch.inference_mode():
        found = model(images) if rough is None else model(images, rough)
    outputs = {f"{head}.{kind}": value.numpy() for head, kinds in found.items() for kind, value in kinds.items()}
    if outputs.keys() != maps.keys():
        raise SystemExit(f"outputs are {sorted(outputs)}, DeepLabCut's are {sorted(maps)}")
    shares = np.array([np.abs(outputs[key] - maps[key]).max() / np.ptp(maps[key]) for key in maps])
    if not np.isfinite(shares).all():
        raise SystemExit(f"an output is constant or not finite: {dict(zip(maps, shares.tolist(), strict=True))}")
    return float(shares.max())


def main() -> None:
    """Print a line per network and append them all to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recorded", type=Path, help="folder of recorded networks")
    parser.add_argument("--deeplabcut", metavar="PYTHON", help="a Python that has DeepLabCut 3")
    options = parser.parse_args()
    differences: dict[str, float] = {}
    for row in model_table():
        if (options.recorded / f"{row.entry}.npz").is_file():
            differences[row.entry] = recorded_difference(options.recorded, row.entry)
        elif options.deeplabcut:
            differences[row.entry] = live_difference(row.entry, options.deeplabcut)
        else:
            print(f"{row.entry}: no recording, and no DeepLabCut to run it")
            continue
        print(f"{row.entry}: {differences[row.entry]:.1e}")
    rounded = {entry: float(f"{value:.2e}") for entry, value in differences.items()}
    print(record("network_parity", {"deeplabcut": "3.0.2", "worst_relative_difference": rounded}))


if __name__ == "__main__":
    main()
