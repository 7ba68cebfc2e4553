"""The drawn world as a DeepLabCut project and as videos: what a lab would have on disk."""

from __future__ import annotations

import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from rigpose.arrays import Floats
from rigpose.errors import MediaError, ProjectError
from rigpose_training.scene.occlusion import find_crossings
from rigpose_training.scene.world import KEYPOINTS, LANDMARK, SKELETON, Scene, SceneTruth, Staging

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
    staging: Staging | None = None,
) -> Path:
    """A whole project with a recording and labelled frames taken from it.

    What is hidden is not labelled.

    Args:
        folder: The project's folder, made here; it appears under its name when it is whole.
        seed: Of the scene; another seed gives another recording of the same lab.
        labelled_frames: How many pictures are labelled.
        size: (H, W) of the pictures.
        animals: With more than one the project is a multi-animal project.
        staging: What the scene shows besides. Marked animals keep their individual in every label, and the project
            says so (``identity``); the landmark is a unique bodypart. Both need several animals.

    Returns:
        The path of its ``config.yaml``.

    Raises:
        ProjectError: The folder exists already, or one animal is to have what only multi-animal projects have.
        MediaError: The recording cannot be written.
    """
    folder, staging = Path(folder).absolute(), staging or Staging()
    if animals == 1 and (staging.marked or staging.landmark):
        raise ProjectError(
            f"{folder}: a project of one animal has neither identity nor unique bodyparts; ask for more animals."
        )
    if folder.exists():
        raise ProjectError(f"{folder} exists already; choose another folder or remove it first.")
    building = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(building, ignore_errors=True)
    (building / "videos").mkdir(parents=True)
    recording = building / "videos" / f"{VIDEO}.mp4"
    frames = labelled_frames * FRAMES_PER_LABEL
    truth = _film(recording, Scene(seed, size=size, animals=animals, staging=staging), frames, fps=30.0)
    picked = np.random.default_rng(seed).choice(frames, labelled_frames, replace=False)
    _write_labels(building, recording, truth, np.sort(picked).tolist())
    config = _project_config(folder, size, animals, staging)
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
        save_truth: Write ``{stem}_truth.npz`` beside it, for ``read_truth``.

    Returns:
        (F, N, K, 2) where the animals are, hidden ones too [frame px].

    Raises:
        MediaError: The file cannot be written.
    """
    truth = _film(Path(path), scene, frames, fps=fps)
    if save_truth:
        runs = [(*crossing.animals, crossing.first, crossing.last) for crossing in find_crossings(truth.overlaps)]
        np.savez_compressed(
            path.with_name(f"{path.stem}_truth.npz"),
            **{field.name: getattr(truth, field.name) for field in fields(truth)},
            keypoints=np.array(KEYPOINTS),
            crossings=np.array(runs, int).reshape(-1, 4),
        )
    return truth.xy


def read_truth(path: Path) -> SceneTruth:
    """The truth that ``write_video`` saved, with a leading axis F.

    Besides, the file has ``keypoints``, the names, and ``crossings``, (C, 4): two animals, first and last frame.
    """
    with np.load(path) as arrays:
        return SceneTruth(**{field.name: arrays[field.name] for field in fields(SceneTruth)})


def _film(path: Path, scene: Scene, frames: int, *, fps: float) -> SceneTruth:
    # OpenCV chooses the container by the ending, so the temporary name keeps it.
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    height, width = scene.size
    codec = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(partial), codec, fps, (width, height))
    if not writer.isOpened():
        raise MediaError(f"{path}: OpenCV cannot write a video there; check the folder and .mp4.")
    truth = []
    try:
        for t in range(frames):
            writer.write(scene.frame(t)[0])
            truth.append(scene.full_truth(t))
    finally:
        writer.release()
    partial.replace(path)
    return SceneTruth(
        **{field.name: np.stack([getattr(moment, field.name) for moment in truth]) for field in fields(SceneTruth)}
    )


def _write_labels(project: Path, recording: Path, truth: SceneTruth, picked: list[int]) -> None:
    """Extract the picked frames from the recording and label them, as a person in DeepLabCut does."""
    folder = project / "labeled-data" / VIDEO
    folder.mkdir(parents=True)
    frames = len(truth.xy)
    digits = int(np.ceil(np.log10(frames)))
    names = {t: f"img{t:0{digits}d}.png" for t in picked}
    capture = cv2.VideoCapture(str(recording))
    for t in range(frames):
        read, picture = capture.read()
        if not read:
            raise MediaError(f"{recording}: frame {t} cannot be read back; check OpenCV's mp4v.")
        if t in names:
            cv2.imwrite(str(folder / names[t]), picture)
    capture.release()
    xy, unique = truth.labels
    _write_table(folder, [names[t] for t in picked], xy[picked], unique[picked])


def _write_table(folder: Path, images: list[str], xy: Floats, unique: Floats) -> None:
    """``CollectedData_{scorer}`` as .h5 and .csv, for labels (F, N, K, 2) and (F, U, 2) [frame px]."""
    import pandas as pd

    individuals = _individuals(xy.shape[1])
    parts = [(SCORER, individual, name) for individual in individuals for name in KEYPOINTS]
    names = ["scorer", "individuals", "bodyparts", "coords"]
    if unique.shape[1]:
        parts.append((SCORER, "single", LANDMARK))
    columns = pd.MultiIndex.from_tuples([(*part, axis) for part in parts for axis in ("x", "y")], names=names)
    table = pd.DataFrame(
        np.concatenate([xy.reshape(len(xy), -1), unique.reshape(len(xy), -1)], axis=1),
        index=pd.MultiIndex.from_tuples([("labeled-data", VIDEO, image) for image in images]),
        columns=columns if len(individuals) > 1 else columns.droplevel("individuals"),
    )
    stem = folder / f"CollectedData_{SCORER}"
    table.to_csv(stem.with_suffix(".csv"))
    table.to_hdf(stem.with_suffix(".h5"), key="df_with_missing", mode="w")


def _individuals(animals: int) -> list[str]:
    return ["individual_1"] if animals == 1 else [f"individual{i + 1}" for i in range(animals)]


def _project_config(folder: Path, size: tuple[int, int], animals: int, staging: Staging) -> dict[str, Any]:
    """What DeepLabCut writes into a new project's ``config.yaml``, with the scene's names."""
    several = animals > 1
    height, width = size
    return {
        "Task": TASK,
        "scorer": SCORER,
        "date": DATE,
        "multianimalproject": several,
        "identity": staging.marked if several else None,
        "project_path": str(folder),
        "engine": "pytorch",
        "video_sets": {str(folder / "videos" / f"{VIDEO}.mp4"): {"crop": f"0, {width}, 0, {height}"}},
        "bodyparts": "MULTI!" if several else list(KEYPOINTS),
        "individuals": _individuals(animals),
        "uniquebodyparts": [LANDMARK] if staging.landmark else [],
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
