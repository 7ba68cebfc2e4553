"""A project on disk whose only video was analysed for several animals, and what other tools read of it."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from animal_scenes import INDIVIDUALS, KEYPOINTS, UNIQUE, scene
from projects_on_disk import write_project

from rigpose.files.animal_files import write_detections, write_tracks
from rigpose.files.results import ResultFiles
from rigpose.models.model_spec import DekrGrouping, ModelSpec
from rigpose.poses import Poses
from rigpose.tracking import TrackingSettings, track
from rigpose.videos.metadata import write_meta
from rigpose_training.project.config import read_project_config
from rigpose_training.project.create import create_training_dataset
from rigpose_training.project.shuffle import existing_shuffles

FRAMES = 60
WIDTH, HEIGHT = 320, 288
SCRIPT = Path(__file__).parent / "deeplabcut" / "read_animal_files.py"
OF_DEEPLABCUT = (
    "load_analyzed_data", "stitch", "filter_predictions", "labeled_video", "all_detections", "convert_detections"
)  # fmt: skip
OF_OTHERS = ("movement", "napari", "keypoint_moseq")


def analysed_project(root: Path, *, unique: tuple[str, ...] = UNIQUE) -> ResultFiles:
    """Make the project and the files of its video ``cage.mp4``, which has three animals and these unique keypoints."""
    write_project(root, individuals=INDIVIDUALS, unique=unique, config="dotsize: 6\ncolormap: rainbow\nalphavalue: 1\n")
    (index,) = create_training_dataset(root, net_type="resnet_50")
    # DeepLabCut names results after the snapshot; nobody opens it.
    snapshot = next(root.glob("dlc-models-pytorch/**/train")) / "snapshot-005.pt"
    snapshot.touch()
    (shuffle,) = (found for found in existing_shuffles(read_project_config(root)) if found.index == index)
    config = root / "config.yaml"
    listed = "\n".join(f"- {name}" for name in KEYPOINTS)
    settings = "snapshotindex: -1\ndetector_snapshotindex: -1\ndefault_track_method: ellipse\nskeleton: []\n"
    settings += "skeleton_color: black\npcutoff: 0.6\nidentity: false\nx1: 0\nx2: 320\ny1: 0\ny2: 288\n"
    config.write_text(config.read_text().replace("- nose\n- tail", listed) + settings)

    video = _write_video(root / "videos" / "cage.mp4")
    scorer = shuffle.scorer("resnet_50", snapshot)
    files = ResultFiles.of(video, scorer)
    spec = ModelSpec("dekr", "dekr_w18", KEYPOINTS, INDIVIDUALS, unique, grouping=DekrGrouping(max_animals=3))
    frames: list[Poses | None] = []
    for frame in scene(unique=bool(unique), frames=FRAMES):
        joints = frame["bodyparts"]
        found = Poses.from_array(np.where(np.isnan(joints[..., :1]), np.nan, joints))
        frames.append(replace(found, unique=frame.get("unique")))
    write_meta(files.meta, _facts(scorer, unique))
    write_detections(files, frames, spec)
    tracks = track(frames, TrackingSettings(), animals=len(INDIVIDUALS))
    write_tracks(files, frames, tracks, spec=spec, scorer=scorer, suffix="_el", save_csv=True)
    return files


def read_by(python: str, root: Path, readers: tuple[str, ...]) -> dict[str, Any]:
    """What each reader of another tool's Python found, or the sentence with which it gave up."""
    done = subprocess.run(
        [python, str(SCRIPT), str(root), *readers], capture_output=True, text=True, check=False, timeout=600
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("READ ")]
    assert len(lines) == len(readers), done.stderr[-3000:]
    return dict(json.loads(line.removeprefix("READ ")) for line in lines)


def _write_video(path: Path) -> Path:
    path.parent.mkdir()
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 30, (WIDTH, HEIGHT))
    assert writer.isOpened()
    for number in range(FRAMES):
        writer.write(np.full((HEIGHT, WIDTH, 3), 60 + number, np.uint8))
    writer.release()
    return path


def _facts(scorer: str, unique: tuple[str, ...]) -> dict[str, Any]:
    return {
        "Scorer": scorer,
        "nframes": FRAMES,
        "fps": 30.0,
        "frame_dimensions": (WIDTH, HEIGHT),
        "individuals": list(INDIVIDUALS),
        "bodyparts": list(KEYPOINTS),
        "unique_bodyparts": list(unique),
        "cropping": False,
        "cropping_parameters": [0, WIDTH, 0, HEIGHT],
    }
