"""Each family of networks on several animals at once, from labels to tracks, against known truth.

    PYTHONPATH=tests python benchmarks/multi_animal.py FOLDER --family paf dekr --animals 3 --epochs 60
    PYTHONPATH=tests python benchmarks/multi_animal.py FOLDER --project LAB --video videos/pair.mp4

Draws a project and an unseen recording in FOLDER, trains each family, exports its bundle, analyses the recording with
it, and appends what the tracks are worth to ``benchmarks/results/multi_animal.jsonl``. The same call goes on after an
interruption, and a family that is trained is not trained again. With ``--project`` a copy of a real project is trained
instead; nobody knows the truth of its video, so that the figures say how its tracks behave. ``--table`` prints what was
appended so far as tables for a README.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from animal_families import FAMILIES, Family, adapted
from record import RESULTS, record
from scipy.optimize import linear_sum_assignment
from tracking_scores import score_tracks

from rigpose.arrays import Array, Floats
from rigpose.bundles.bundle import Bundle
from rigpose.files.results import read_results
from rigpose.load import load
from rigpose.measures.metrics import evaluate_poses
from rigpose.poses import Poses
from rigpose.videos.analysis import AnalysisOptions
from rigpose_export.analysis import kept_bundle
from rigpose_export.source import shuffle_source
from rigpose_training.engine.train import train_network
from rigpose_training.evaluation.evaluate import evaluate_network
from rigpose_training.pose_config.files import read_pose_config, write_pose_config
from rigpose_training.project.config import ProjectConfig, read_project_config
from rigpose_training.project.create import create_training_dataset
from rigpose_training.project.shuffle import existing_shuffles, find_shuffle
from rigpose_training.scene.occlusion import find_crossings
from rigpose_training.scene.project import read_truth, write_project, write_video
from rigpose_training.scene.world import Scene, SceneTruth, Staging


def main() -> None:
    """Measure, print, and append to the results."""
    arguments = _arguments()
    if arguments.table:
        print("\n\n".join(_table(columns) for columns in (AGAINST_TRUTH, BEHAVIOUR)))
        return
    folder = arguments.folder.resolve()
    if arguments.project is None:
        project, video, truth = _drawn(folder, arguments)
    else:
        project, video, truth = _copied(folder, arguments)
    for name in arguments.family:
        figures = {"family": name, **_measure(project, name, video, truth, arguments)}
        for key, value in figures.items():
            print(f"{key:<24} {value}")
        print(f"appended to {record('multi_animal', figures)}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="where everything is written")
    parser.add_argument("--table", action="store_true", help="print the results so far and do nothing else")
    parser.add_argument("--family", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--detector-epochs", type=int, default=60)
    parser.add_argument("--batch", type=int, default=8, help="images per step of the training")
    parser.add_argument("--crop", type=int, default=192, help="side of what whole-frame networks train on [px]")
    parser.add_argument("--weights", choices=("random", "imagenet"), default="random")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    drawn = parser.add_argument_group("a drawn project")
    drawn.add_argument("--animals", type=int, default=3)
    drawn.add_argument("--size", type=int, default=256, help="side of the pictures [px]")
    drawn.add_argument("--labelled", type=int, default=150, help="pictures with labels")
    drawn.add_argument("--frames", type=int, default=600, help="pictures of the unseen recording")
    drawn.add_argument("--shelter", action="store_true", help="with a roof that animals disappear under")
    drawn.add_argument("--marked", action="store_true", help="with dye that tells the animals apart")
    real = parser.add_argument_group("a real project")
    real.add_argument("--project", type=Path)
    real.add_argument("--video", type=Path, help="relative to the project")
    arguments = parser.parse_args()
    if arguments.project is not None and arguments.video is None:
        parser.error("--project needs the --video to analyse")
    if arguments.folder is None and not arguments.table:
        parser.error("give the FOLDER to work in, or --table")
    return arguments


AGAINST_TRUTH = {
    "family": "family",
    "individuals": "animals",
    "epochs": "epochs",
    "error_px": "error [px]",
    "mAP": "mAP",
    "missed": "missed",
    "extra": "extra",
    "switches": "switches",
    "mota": "MOTA",
    "idf1": "IDF1",
    "hota": "HOTA",
}
BEHAVIOUR = {
    "family": "family",
    "epochs": "epochs",
    "test_error_px": "test error [px]",
    "test_mAP": "test mAP",
    "animals_per_frame": "animals per frame",
    "all_found_share": "all found",
    "suspected_switches": "suspected switches",
}


def _table(columns: Mapping[str, str]) -> str:
    """The newest result of each family that has these figures, as a Markdown table."""
    lines = (RESULTS / "multi_animal.jsonl").read_text(encoding="utf-8").splitlines()
    results = [json.loads(line) for line in lines]
    newest = {(r["data"], r["individuals"], r["family"]): r for r in results if columns.keys() <= r.keys()}
    rows = [list(columns.values()), ["---"] * len(columns)]
    rows += [[f"{result[key]}" for key in columns] for _, result in sorted(newest.items())]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _drawn(folder: Path, arguments: argparse.Namespace) -> tuple[ProjectConfig, Path, SceneTruth]:
    """A drawn project, and a recording of the same world with other walks and its truth."""
    size, animals = (arguments.size, arguments.size), arguments.animals
    staging = Staging(marked=arguments.marked, shelter=arguments.shelter)
    name = "-".join([str(animals), *(each for each in ("shelter", "marked") if getattr(arguments, each))])
    root = folder / f"project-{name}"
    if not root.exists():
        write_project(
            root,
            seed=arguments.seed,
            labelled_frames=arguments.labelled,
            size=size,
            animals=animals,
            staging=staging,
        )
    video = folder / f"unseen-{name}.mp4"
    truth = video.with_name(f"{video.stem}_truth.npz")
    if not (video.exists() and truth.exists()):
        scene = Scene(arguments.seed + 1000, size=size, animals=animals, staging=staging)
        write_video(video, scene, arguments.frames, save_truth=True)
    return read_project_config(root), video, read_truth(truth)


def _copied(folder: Path, arguments: argparse.Namespace) -> tuple[ProjectConfig, Path, None]:
    """A copy of a project's labels, with no shuffle yet, and its video where it is."""
    original = arguments.project.resolve()
    root = folder / original.name
    if not root.exists():
        partial = root.with_name(f".{root.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(original / "labeled-data", partial / "labeled-data")
        config = yaml.safe_load((original / "config.yaml").read_text())
        config["project_path"] = str(root)
        (partial / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        partial.replace(root)
    return read_project_config(root), original / arguments.video, None


def _measure(
    project: ProjectConfig, name: str, video: Path, truth: SceneTruth | None, arguments: argparse.Namespace
) -> dict[str, Any]:
    family = FAMILIES[name]
    begun = time.perf_counter()
    for needed in filter(None, (family.conditions, name)):
        _train(project, FAMILIES[needed], arguments)
    seconds = time.perf_counter() - begun
    labelled = evaluate_network(project.path, shuffles=(family.shuffle,)).iloc[-1]
    tracks, scores, speed = _analyse(project, family, video, arguments.device)
    return {
        "data": "drawn" if truth is not None else project.root.name,
        "net_type": family.net_type,
        "detector": family.detector,
        "conditions": family.conditions,
        "changes": dict(family.changes),
        "individuals": len(project.individuals),
        "labelled_images": sum(1 for _ in project.root.glob("labeled-data/*/*.png")),
        "epochs": _epochs(project, family, arguments),
        "detector_epochs": arguments.detector_epochs if family.detector else None,
        "weights": arguments.weights,
        "seconds_training_here": round(seconds, 1),
        "test_error_px": _rounded(labelled["test rmse"]),
        "test_mAP": _rounded(labelled["test mAP"]),
        **speed,
        **(_against_truth(tracks, scores, truth) if truth is not None else _behaviour(tracks, scores)),
    }


def _train(project: ProjectConfig, family: Family, arguments: argparse.Namespace) -> None:
    """Train a family unless it is trained, and go on where a training stopped."""
    if all(shuffle.index != family.shuffle for shuffle in existing_shuffles(project)):
        create_training_dataset(
            project.path,
            Shuffles=[family.shuffle],
            net_type=family.net_type,
            detector_type=family.detector,
            ctd_conditions=FAMILIES[family.conditions].shuffle if family.conditions else None,
        )
        path = find_shuffle(project, index=family.shuffle).pose_config_path
        epochs = _epochs(project, family, arguments)
        config = adapted(
            read_pose_config(path),
            family,
            epochs=epochs,
            detector_epochs=arguments.detector_epochs,
            crop=arguments.crop,
            random_weights=arguments.weights == "random",
        )
        write_pose_config(path, config)
    borrowed = _borrow_detector(project, family)
    train_network(
        project.path,
        family.shuffle,
        device=arguments.device,
        batch_size=arguments.batch,
        epochs=_epochs(project, family, arguments),
        detector_epochs=0 if borrowed else arguments.detector_epochs,
        weights=arguments.weights,
        seed=arguments.seed,
    )


def _borrow_detector(project: ProjectConfig, family: Family) -> bool:
    """Take the detector of a family that has the same one and is trained, so that they differ in their poses alone."""
    own = find_shuffle(project, index=family.shuffle)
    alike = {other.shuffle for other in FAMILIES.values() if other.detector == family.detector is not None}
    for shuffle in existing_shuffles(project):
        snapshots = shuffle.snapshots(prefix="snapshot-detector")
        if shuffle.index in alike - {family.shuffle} and snapshots:
            shutil.copy2(snapshots[-1].path, own.train_folder)
            return True
    return False


def _epochs(project: ProjectConfig, family: Family, arguments: argparse.Namespace) -> int:
    """As many as give each network the same number of pictures: an epoch of crops has one for every animal."""
    crops = family.detector is not None or family.conditions is not None
    return max(1, family.patience * arguments.epochs // (len(project.individuals) if crops else 1))


def _analyse(project: ProjectConfig, family: Family, video: Path, device: str) -> tuple[Floats, Floats, dict[str, Any]]:
    """Tracks (F, T, K, 2) [frame px] and scores (F, T, K) of the exported model, and how fast it was."""

    def bundle(shuffle: int) -> Bundle:
        return kept_bundle(project, shuffle_source(project, shuffle=shuffle))

    conditions = bundle(FAMILIES[family.conditions].shuffle) if family.conditions else None
    analyzer = load(bundle(family.shuffle), device=device, conditions=conditions)
    options = AnalysisOptions(overwrite=True, destination=project.root / "analysed", save_csv=False)
    result = analyzer.analyze(video, options)
    tracks = read_results(result.h5)
    xy = np.where(tracks.score[..., None] > 0, tracks.xy, np.nan)
    facts = {"frames": result.frames, "frames_per_second": round(result.frames_per_second, 2)}
    return xy, tracks.score, {**facts, "device": analyzer.session.device}


def _against_truth(tracks: Floats, scores: Floats, truth: SceneTruth) -> dict[str, Any]:
    """What tracks are worth; ``mAP`` is that of evaluations, over all frames of the recording."""
    labels, _ = truth.labels
    there = _there(tracks)
    poses = [Poses(xy[rows], score[rows]) for xy, score, rows in zip(tracks, scores, there, strict=True)]
    metrics = evaluate_poses(poses, list(labels))
    tracking = asdict(score_tracks(tracks, truth.xy, truth.visible))
    return {
        "crossings": len(find_crossings(truth.overlaps)),
        "hidden_share": round(float(1 - truth.visible.mean()), 4),
        "error_px": _rounded(metrics.rmse),
        "mAP": _rounded(metrics.mAP),
        "mAR": _rounded(metrics.mAR),
        **{name: round(value, 4) for name, value in tracking.items()},
    }


def _behaviour(tracks: Floats, scores: Floats) -> dict[str, Any]:
    """How tracks behave whose truth nobody knows."""
    there = _there(tracks)
    count = there.sum(axis=1)
    return {
        "animals_per_frame": round(float(count.mean()), 3),
        "all_found_share": round(float((count == tracks.shape[1]).mean()), 4),
        "mean_likelihood": _rounded(scores[there].mean()) if there.any() else None,
        "suspected_switches": suspected_switches(tracks),
    }


def _rounded(value: float) -> float | None:
    """Two decimals; None where nothing could be compared, as JSON has no NaN."""
    return None if np.isnan(value) else round(float(value), 2)


def _there(tracks: Floats) -> Array:
    """(F, T) bool, where a track has an animal."""
    return np.asarray(~np.isnan(tracks).any(axis=-1).all(axis=-1))


def suspected_switches(tracks: Floats) -> int:
    """From how many frames to the next the animals would move less in all if tracks changed places.

    Args:
        tracks: (F, T, K, 2) [frame px], NaN where there is nothing.
    """
    suspected = 0
    for before, after in pairwise(tracks):
        gaps = np.linalg.norm(before[:, None] - after[None], axis=-1)  # (T, T, K)
        known = ~np.isnan(gaps)
        both = np.flatnonzero(np.diagonal(known.any(axis=-1)))
        mean = np.where(known, gaps, 0).sum(axis=-1) / np.maximum(known.sum(axis=-1), 1)
        mean = np.where(known.any(axis=-1), mean, np.inf)[np.ix_(both, both)]
        if len(both) > 1 and np.isfinite(mean).all():
            _, best = linear_sum_assignment(mean)
            suspected += bool((best != np.arange(len(both))).any())
    return suspected


if __name__ == "__main__":
    main()
