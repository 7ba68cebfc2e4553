"""Run by DeepLabCut's own Python: its network from a shuffle made here, with a snapshot made here, and trained on.

Usage: python run_snapshot.py FOLDER

FOLDER holds ``request.json`` (``config``: the project; ``shuffle``; ``snapshots``: of the pose network, and of the
detector or null; ``batch_size``), ``inputs.npz`` (``images`` (B, 3, H, W) normalised RGB; ``conditions`` (B, K, 3) for
a conditional network), pictures ``*.png`` and ``known.npz`` with what is known of each picture in the order of their
names: ``boxes`` (F, N, 4) x, y, width, height or ``conditions`` (F, N, K, 3), if the network asks for it.

Its network loads the snapshot, strictly; then DeepLabCut's ``train_network`` goes on from it for one epoch, and a new
network loads what that wrote. ``given.npz`` and ``trained.npz`` get the outputs of both: ``maps.*`` of the images,
``poses.*`` of the pictures from DeepLabCut's own inference, and ``detector.*`` likewise. ``answer.json`` names the
``snapshots`` that DeepLabCut wrote, and its ``version``.
"""

from __future__ import annotations

import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from deeplabcut.pose_estimation_pytorch import DLCLoader  # pyright: ignore[reportMissingImports]
from deeplabcut.pose_estimation_pytorch.apis.training import train_network  # pyright: ignore[reportMissingImports]
from deeplabcut.pose_estimation_pytorch.apis.utils import (  # pyright: ignore[reportMissingImports]
    get_detector_inference_runner,
    get_pose_inference_runner,
)
from torchvision.models import MobileNet_V3_Large_Weights, mobilenet_v3_large

sys.path.insert(0, str(Path(__file__).parents[1]))
from network_maps import detector_maps, pose_maps


def main() -> None:
    folder = Path(sys.argv[1])
    request = json.loads((folder / "request.json").read_text())
    stand_in_for_downloads()
    loader = DLCLoader(config=request["config"], trainset_index=0, shuffle=request["shuffle"])
    config = loader.model_config_path
    pose, detector = request["snapshots"]
    run(folder, config, (pose, detector), folder / "given.npz")
    validation = {"runner.eval_interval": 1} | ({"detector.runner.eval_interval": 1} if detector else {})
    train_network(
        request["config"],
        shuffle=request["shuffle"],
        device="cpu",
        snapshot_path=pose,
        detector_path=detector,
        batch_size=request["batch_size"],
        detector_batch_size=request["batch_size"],
        epochs=1,
        detector_epochs=1 if detector else 0,
        save_epochs=1,
        detector_save_epochs=1,
        pytorch_cfg_updates=validation,
    )
    trained = newest(loader, detector=False), newest(loader, detector=True) if detector else None
    run(folder, config, trained, folder / "trained.npz")
    (folder / "answer.json").write_text(json.dumps({"snapshots": trained, "version": version("deeplabcut")}))


def newest(loader: DLCLoader, *, detector: bool) -> str:
    """The snapshot of the last epoch."""
    return str(max(loader.snapshots(detector=detector), key=lambda snapshot: snapshot.epochs).path)


def run(folder: Path, config: Path, pair: tuple[str, str | None], outputs: Path) -> None:
    """Everything that DeepLabCut makes of the inputs with the snapshots of a pose network and perhaps a detector."""
    pose, detector = pair
    with np.load(folder / "inputs.npz") as arrays:
        images = torch.from_numpy(arrays["images"])
        more = {"cond_kpts": arrays["conditions"][:, None]} if "conditions" in arrays.files else {}
    pictures = sorted(folder.glob("*.png"))
    found: dict[str, np.ndarray] = {}
    runner = get_pose_inference_runner(config, pose, device="cpu", batch_size=1)
    with torch.inference_mode():
        maps = pose_maps(runner.model.eval()(images, **more))
    found |= {f"maps.{name}": value for name, value in maps.items()}
    found |= stacked("poses", runner.inference(known(folder, pictures)))
    if detector:
        runner = get_detector_inference_runner(config, detector, device="cpu", batch_size=1)
        runner.model.eval()
        found |= {f"detector.maps.{name}": value for name, value in detector_maps(runner.model, images).items()}
        found |= stacked("detector", runner.inference([str(path) for path in pictures]))
    np.savez(outputs, **found)  # pyright: ignore[reportArgumentType]


def known(folder: Path, pictures: list[Path]) -> list[Any]:
    """The pictures as DeepLabCut's inference takes them, each with its boxes or conditions where it has some."""
    with np.load(folder / "known.npz") as arrays:
        for name, key in (("boxes", "bboxes"), ("conditions", "cond_kpts")):
            if name in arrays.files:
                return [(str(path), {key: rows}) for path, rows in zip(pictures, arrays[name], strict=True)]
    return [str(path) for path in pictures]


def stacked(prefix: str, predictions: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Arrays of all pictures by name; shorter ones are filled with -1."""
    found = {}
    for name in predictions[0]:
        rows = [np.asarray(prediction[name]) for prediction in predictions]
        most = max(len(row) for row in rows)
        found[f"{prefix}.{name}"] = np.stack(
            [np.concatenate([row, np.full((most - len(row), *row.shape[1:]), -1.0)]) for row in rows]
        )
    return found


def stand_in_for_downloads() -> None:
    """Give torchvision's cache a file of random weights where DeepLabCut would fetch some only to overwrite them."""
    torch.hub.set_dir(tempfile.mkdtemp())
    weights = MobileNet_V3_Large_Weights.IMAGENET1K_V1
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    cache.mkdir(parents=True)
    torch.save(mobilenet_v3_large().state_dict(), cache / Path(weights.url).name)


if __name__ == "__main__":
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    main()
