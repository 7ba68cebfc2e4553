"""sleap-nn's own small model: trained by its command on a drawn animal, and exported by its command."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from sleap_environment import VERSION, program

from rigpose.arrays import Floats

NAMES = ("snout", "leftear", "rightear", "tailbase")
"""Of the drawn animal's keypoints as many as the networks of ``random_bundles.py`` have."""
LABELLED, STEPS, SEED = 40, 100, 5
"""Frames with labels, and steps of the one epoch."""
UNET: dict[str, Any] = {"filters": 16, "filters_rate": 2.0, "max_stride": 16, "output_stride": 2}
"""What sleap-nn's own sample for one animal, ``config_single_instance_unet_medium_rf``, has; 3 colours come in."""


def exported_model(python: Path, cache: Path, size: tuple[int, int]) -> Path:
    """The folder that ``sleap-nn export`` wrote, trained and exported if the cache lacks it.

    Args:
        python: One that has sleap-nn.
        cache: Where it is kept.
        size: (H, W) of its frames [px].
    """
    folder = cache / f"sleap-nn-{VERSION}-model-{size[1]}x{size[0]}"
    if folder.exists():
        return folder / "exported"
    part = cache / f".{folder.name}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    video, labels = part / "drawn.mp4", part / "labels.slp"
    write_labels(labels, video, _film(video, size))
    (part / "config.yaml").write_text(yaml.safe_dump(config(labels, part)), encoding="utf-8")
    height, width = map(str, size)
    command = str(program(python))
    subprocess.run([command, "train", "--config", str(part / "config.yaml")], check=True)
    exported = ["--output", str(part / "exported"), "--format", "onnx", "--input-height", height]
    subprocess.run([command, "export", str(part / "unet"), *exported, "--input-width", width], check=True)
    part.rename(folder)
    return folder / "exported"


def config(labels: Path, folder: Path) -> dict[str, Any]:
    """What ``sleap-nn train`` is told, which is its sample's network and one short epoch."""
    return {
        "data_config": {
            "train_labels_path": [str(labels)],
            "val_labels_path": [str(labels)],
            "use_augmentations_train": False,
            "preprocessing": {"ensure_rgb": True},
        },
        "model_config": {
            "backbone_config": {"unet": UNET},
            "head_configs": {"single_instance": {"confmaps": {"sigma": 2.5, "output_stride": 2}}},
        },
        "trainer_config": {
            "trainer_accelerator": "cpu",
            "max_epochs": 1,
            "min_train_steps_per_epoch": STEPS,
            "optimizer": {"lr": 1e-3},
            "save_ckpt": True,
            "ckpt_dir": str(folder),
            "run_name": "unet",
            "enable_progress_bar": False,
        },
    }


def write_labels(path: Path, video: Path, xy: Floats) -> None:
    """A ``.slp`` in which every frame of a video has one animal, by sleap-io.

    Args:
        path: To be written.
        video: Of as many frames.
        xy: (F, len(NAMES), 2) x, y [frame px, the first pixel's centre is 0, as in SLEAP].
    """
    sio = _sleap_io()
    skeleton = sio.Skeleton(nodes=list(NAMES), name="drawn")
    film = sio.Video.from_filename(str(video))
    frames = [
        sio.LabeledFrame(video=film, frame_idx=i, instances=[sio.Instance.from_numpy(each, skeleton)])
        for i, each in enumerate(xy)
    ]
    sio.save_slp(sio.Labels(labeled_frames=frames), str(path), embed=False, verbose=False)


def read_poses(path: Path) -> list[Floats]:
    """Of every frame that a ``.slp`` lists (N, K, 2) x, y of its animals, NaN where a keypoint is not sure."""
    labels = _sleap_io().load_slp(str(path), open_videos=False)
    keypoints = len(labels.skeletons[0].nodes)
    found = [[instance.numpy() for instance in frame.instances] for frame in labels.labeled_frames]
    return [np.array(animals, np.float64).reshape(-1, keypoints, 2) for animals in found]


def _film(video: Path, size: tuple[int, int]) -> Floats:
    from rigpose_training.scene.project import write_video
    from rigpose_training.scene.world import KEYPOINTS, Scene

    truth = write_video(video, Scene(seed=SEED, size=size, animals=1), LABELLED)
    return truth[:, 0, [KEYPOINTS.index(name) for name in NAMES]]


def _sleap_io() -> Any:
    try:
        import sleap_io
    except ImportError as error:
        raise SystemExit('sleap-io writes the labels and is not installed; pip install "rigpose[sleap]"') from error
    return sleap_io
