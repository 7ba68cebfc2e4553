"""The drawn world as a DeepLabCut project and as videos: what a lab would have on disk."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from rigpose.arrays import Floats
from rigpose.errors import MediaError, ProjectError
from rigpose_training.scene.world import KEYPOINTS, SKELETON, Scene

TASK = "scene"
SCORER = "truth"
DATE = "Jan1"
VIDEO = "walk"
# Labelled frames are picked from a recording this many times as long, so that few of them look alike.
FRAMES_PER_LABEL = 12


def write_project(
    folder: Path,
    *,
    seed: int = 0,
    labelled_frames: int = 60,
    size: tuple[int, int] = (256, 256),
    animals: int = 1,
) -> Path:
    """A whole project with a recording and labelled frames taken from it.

    Args:
        folder: The project's folder, made here; it appears under its name when it is whole.
        seed: Of the scene; another seed gives another recording of the same lab.
        labelled_frames: How many pictures are labelled.
        size: (H, W) of the pictures.
        animals: With more than one the project is a multi-animal project.

    Returns:
        The path of its ``config.yaml``.

    Raises:
        ProjectError: The folder exists already.
        MediaError: The recording cannot be written.
    """
    folder = Path(folder).absolute()
    if folder.exists():
        raise ProjectError(f"{folder} exists already; choose another folder or remove it first.")
    building = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(building, ignore_errors=True)
    (building / "videos").mkdir(parents=True)
    recording = building / "videos" / f"{VIDEO}.mp4"
    frames = labelled_frames * FRAMES_PER_LABEL
    truth = write_video(recording, Scene(seed, size=size, animals=animals), frames)
    picked = np.random.default_rng(seed).choice(frames, labelled_frames, replace=False)
    _write_labels(building, recording, truth, np.sort(picked).tolist())
    config = _project_config(folder, size, animals)
    text = yaml.safe_dump(config, sort_keys=False, default_flow_style=False)
    (building / "config.yaml").write_text(text, encoding="utf-8")
    building.replace(folder)
    return folder / "config.yaml"


def write_video(path: Path, scene: Scene, frames: int, *, fps: float = 30.0, save_truth: bool = False) -> Floats:
    """Film a scene.

    Args:
        path: An ``.mp4`` file; it appears under its name when it is whole.
        scene: What is filmed, from its frame 0 on.
        frames: How many.
        fps: Frames per second.
        save_truth: Write ``{stem}_truth.npz`` beside it, with ``xy`` and ``keypoints``.

    Returns:
        (F, N, K, 2) where the animals are [frame px].

    Raises:
        MediaError: The file cannot be written.
    """
    path = Path(path)
    # OpenCV chooses the container by the ending, so the temporary name keeps it.
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    height, width = scene.size
    codec = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(partial), codec, fps, (width, height))
    if not writer.isOpened():
        raise MediaError(f"{path}: OpenCV cannot write a video there; check the folder and .mp4.")
    truth = np.empty((frames, scene.animals, len(KEYPOINTS), 2))
    try:
        for t in range(frames):
            picture, truth[t] = scene.frame(t)
            writer.write(picture)
    finally:
        writer.release()
    if save_truth:
        np.savez_compressed(path.with_name(f"{path.stem}_truth.npz"), xy=truth, keypoints=np.array(KEYPOINTS))
    partial.replace(path)
    return truth


def _write_labels(project: Path, recording: Path, truth: Floats, picked: list[int]) -> None:
    """Extract the picked frames from the recording and label them, as a person in DeepLabCut does."""
    folder = project / "labeled-data" / VIDEO
    folder.mkdir(parents=True)
    digits = int(np.ceil(np.log10(len(truth))))
    names = {t: f"img{t:0{digits}d}.png" for t in picked}
    capture = cv2.VideoCapture(str(recording))
    for t in range(len(truth)):
        read, picture = capture.read()
        if not read:
            raise MediaError(f"{recording}: frame {t} cannot be read back; check OpenCV's mp4v.")
        if t in names:
            cv2.imwrite(str(folder / names[t]), picture)
    capture.release()
    _write_table(folder, [names[t] for t in picked], truth[picked])


def _write_table(folder: Path, images: list[str], xy: Floats) -> None:
    """``CollectedData_{scorer}`` as .h5 and .csv, for (F, N, K, 2) labels [frame px]."""
    import pandas as pd

    individuals = _individuals(xy.shape[1])
    if len(individuals) > 1:
        names = ["scorer", "individuals", "bodyparts", "coords"]
        levels = [[SCORER], individuals, list(KEYPOINTS), ["x", "y"]]
    else:
        names = ["scorer", "bodyparts", "coords"]
        levels = [[SCORER], list(KEYPOINTS), ["x", "y"]]
    table = pd.DataFrame(
        xy.reshape(len(xy), -1),
        index=pd.MultiIndex.from_tuples([("labeled-data", VIDEO, image) for image in images]),
        columns=pd.MultiIndex.from_product(levels, names=names),
    )
    stem = folder / f"CollectedData_{SCORER}"
    table.to_csv(stem.with_suffix(".csv"))
    table.to_hdf(stem.with_suffix(".h5"), key="df_with_missing", mode="w")


def _individuals(animals: int) -> list[str]:
    return ["individual_1"] if animals == 1 else [f"individual{i + 1}" for i in range(animals)]


def _project_config(folder: Path, size: tuple[int, int], animals: int) -> dict[str, Any]:
    """What DeepLabCut writes into a new project's ``config.yaml``, with the scene's names."""
    several = animals > 1
    height, width = size
    return {
        "Task": TASK,
        "scorer": SCORER,
        "date": DATE,
        "multianimalproject": several,
        "identity": False if several else None,
        "project_path": str(folder),
        "engine": "pytorch",
        "video_sets": {str(folder / "videos" / f"{VIDEO}.mp4"): {"crop": f"0, {width}, 0, {height}"}},
        "bodyparts": "MULTI!" if several else list(KEYPOINTS),
        "individuals": _individuals(animals),
        "uniquebodyparts": [],
        "multianimalbodyparts": list(KEYPOINTS) if several else [],
        "start": 0,
        "stop": 1,
        "numframes2pick": 20,
        "skeleton": [list(bone) for bone in SKELETON],
        "skeleton_color": "black",
        "pcutoff": 0.6,
        "dotsize": 4,
        "alphavalue": 0.7,
        "colormap": "rainbow",
        "TrainingFraction": [0.9],
        "iteration": 0,
        "default_net_type": "resnet_50",
        "default_augmenter": "default",
        "default_track_method": "ellipse" if several else None,
        "snapshotindex": -1,
        "detector_snapshotindex": -1,
        "batch_size": 8,
        "detector_batch_size": 1,
        "cropping": False,
        "x1": 0,
        "x2": width,
        "y1": 0,
        "y2": height,
        "corner2move2": [50, 50],
        "move2corner": True,
        "SuperAnimalConversionTables": None,
    }
