"""The same snapshot and the same video in DeepLabCut's ``analyze_videos`` and in a bundle: how far are the poses apart?

    RIGPOSE_DEEPLABCUT_PYTHON=PYTHON python benchmarks/deeplabcut_videos.py PROJECT --video VIDEO --shuffles 1 4 5

``PYTHON`` has DeepLabCut 3. Each shuffle of PROJECT (which is written to: take a copy) must have a snapshot, so that
its network finds animals; DeepLabCut trains on from it for some epochs and analyses the first frames of the video with
the snapshot that it wrote. The shuffle is exported with that snapshot, and the bundle analyses the same frames. Prints
the differences, and appends them to ``benchmarks/results/deeplabcut_videos.jsonl``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from deeplabcut_peer import PYTHON
from record import record
from scipy.optimize import linear_sum_assignment
from sentences import in_sentences

from rigpose.arrays import Floats
from rigpose.errors import ResultError
from rigpose.files.pickles import load_arrays
from rigpose.files.results import read_results
from rigpose.videos.video import Video
from rigpose_export.analysis import analyze_videos
from rigpose_training.pose_config.files import read_pose_config
from rigpose_training.project.config import ProjectConfig, read_project_config
from rigpose_training.project.shuffle import find_shuffle

SURE = 0.6
"""Keypoints that score at least so much are counted apart."""


def main() -> None:
    """Train on, analyse twice, compare, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path)
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--shuffles", type=int, nargs="+", required=True)
    parser.add_argument("--frames", type=int, default=120, help="of the video's beginning")
    parser.add_argument("--epochs", type=int, default=1, help="that DeepLabCut trains")
    arguments = parser.parse_args()
    if not os.environ.get(PYTHON):
        parser.error(f"set {PYTHON} to a Python that has DeepLabCut 3")
    project = read_project_config(arguments.project)
    folder = project.root / "compared"
    folder.mkdir(exist_ok=True)
    clip = folder / f"{arguments.video.stem}-{arguments.frames}.mp4"
    write_clip(arguments.video, clip, arguments.frames)
    for shuffle in arguments.shuffles:
        theirs, ours = (folder / f"{shuffle}-{who}" for who in ("deeplabcut", "rigpose"))
        shutil.rmtree(theirs, ignore_errors=True)
        shutil.rmtree(ours, ignore_errors=True)
        answer = run_deeplabcut(project, shuffle, clip, theirs, epochs=arguments.epochs)
        pose, detector = answer["snapshots"]
        analyze_videos(
            project.path,
            clip,
            shuffle,
            snapshot_index=pose,
            detector_snapshot_index=detector,
            device="cpu",
            destfolder=ours,
            auto_track=False,
        )
        config = read_pose_config(find_shuffle(project, index=shuffle).pose_config_path)
        figures = {
            "project": project.root.name,
            "shuffle": shuffle,
            "net_type": config["net_type"],
            "snapshots": answer["snapshots"],
            "deeplabcut": answer["version"],
            "epochs_by_deeplabcut": arguments.epochs,
            **compare(read_animals(theirs), read_animals(ours)),
        }
        for key, value in figures.items():
            print(f"{key:<24} {value}")
        print(f"appended to {record('deeplabcut_videos', figures)}")


def write_clip(video: Path, clip: Path, frames: int) -> None:
    """The first frames of a video as a video of their own, so that both sides decode the same file."""
    with Video(video) as source:
        writer = cv2.VideoWriter(
            str(clip), cv2.VideoWriter.fourcc(*"mp4v"), source.frames_per_second, (source.width, source.height)
        )
        for frame in islice(source.frames(), frames):
            writer.write(frame.image)
        writer.release()


def run_deeplabcut(project: ProjectConfig, shuffle: int, clip: Path, folder: Path, *, epochs: int) -> dict[str, Any]:
    """Let DeepLabCut train a shuffle on and analyse the clip into a folder; what it answers."""
    folder.mkdir()
    found = find_shuffle(project, index=shuffle)
    detectors = found.snapshots(prefix="snapshot-detector")
    request = {
        "config": str(project.path),
        "shuffle": shuffle,
        "snapshots": [str(found.snapshots()[-1].path), str(detectors[-1].path) if detectors else None],
        "epochs": epochs,
        "video": str(clip),
        "destination": str(folder),
    }
    (folder / "request.json").write_text(json.dumps(request))
    script = Path(__file__).with_name("deeplabcut_analyze_videos.py")
    # This project's own path must not reach the other Python.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([os.environ[PYTHON], str(script), str(folder / "request.json")], check=True, env=environment)
    return json.loads((folder / "answer.json").read_text())


def read_animals(folder: Path) -> dict[int, Floats]:
    """Frame -> (N, K, 3) x, y [frame px], score of its animals; those of several before they are tracked."""
    for path in folder.glob("*_assemblies.pickle"):
        found = load_arrays(path.read_bytes(), path, error=ResultError)
        return {frame: np.array(animals, float)[..., :3] for frame, animals in found.items() if isinstance(frame, int)}
    (path,) = folder.glob("*.h5")
    table = read_results(path)
    return dict(enumerate(np.concatenate([table.xy, table.score[..., None]], axis=-1)))


def compare(theirs: dict[int, Floats], ours: dict[int, Floats]) -> dict[str, Any]:
    """How far the animals of all frames lie apart, each beside the other side's nearest."""
    distance, score, likelihood, alone = [], [], [], 0
    for frame in sorted(theirs.keys() | ours.keys()):
        one, two = theirs.get(frame, np.empty((0, 1, 3))), ours.get(frame, np.empty((0, 1, 3)))
        alone += abs(len(one) - len(two))
        if not len(one) or not len(two):
            continue
        gaps = np.linalg.norm(one[:, None, :, :2] - two[None, :, :, :2], axis=-1)
        both = ~np.isnan(gaps)
        cost = np.where(both, gaps, 0).sum(axis=-1) / np.maximum(both.sum(axis=-1), 1)
        rows, columns = linear_sum_assignment(np.where(both.any(axis=-1), cost, 1e6))
        for row, column in zip(rows, columns, strict=True):
            there = both[row, column]
            # A keypoint that one side alone has is as far apart as can be.
            alone += int((np.isnan(one[row, :, 0]) != np.isnan(two[column, :, 0])).sum())
            distance.append(gaps[row, column][there])
            score.append(np.abs(one[row, there, 2] - two[column, there, 2]))
            likelihood.append(one[row, there, 2])
    px, likely = np.concatenate(distance), np.concatenate(likelihood)
    return {
        "frames": len(theirs.keys() | ours.keys()),
        "keypoints": len(px),
        "found_by_one_side_only": alone,
        "median_px": float(np.median(px)),
        "p99_px": float(np.percentile(px, 99)),
        "worst_px": float(px.max()),
        "sure_keypoints": int((likely >= SURE).sum()),
        "sure_worst_px": float(px[likely >= SURE].max()) if (likely >= SURE).any() else None,
        "worst_score": float(np.concatenate(score).max()),
    }


if __name__ == "__main__":
    in_sentences(main)
