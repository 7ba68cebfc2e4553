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
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from record import RESULTS, record
from scipy.optimize import linear_sum_assignment
from tracking_scores import score_tracks

from rigpose.analysis import AnalysisOptions
from rigpose.arrays import Array, Floats
from rigpose.bundle import Bundle
from rigpose.load import load
from rigpose.metrics import evaluate_poses
from rigpose.poses import Poses
from rigpose.results import read_results
from rigpose_export.analysis import kept_bundle
from rigpose_export.source import shuffle_source
from rigpose_training.engine.train import train_network
from rigpose_training.evaluation.evaluate import evaluate_network
from rigpose_training.pose_config.files import read_pose_config, update, write_pose_config
from rigpose_training.project.config import ProjectConfig, read_project_config
from rigpose_training.project.create import create_training_dataset
from rigpose_training.project.shuffle import existing_shuffles, find_shuffle
from rigpose_training.scene.occlusion import find_crossings
from rigpose_training.scene.project import read_truth, write_project, write_video
from rigpose_training.scene.world import Scene, SceneTruth, Staging


@dataclass(frozen=True)
class Family:
    """One way to find several animals.

    Attributes:
        shuffle: Its number in the project.
        net_type: As in ``available_models()``.
        rate: Learning rate from random weights.
        detector: Of a top-down pair, as in ``available_detectors()``.
        conditions: The family whose poses a conditional model corrects.
        changes: Dotted keys of its configuration.
        patience: How many times as many epochs it gets: heads without maps of the whole crop learn late.
    """

    shuffle: int
    net_type: str
    rate: float = 1e-3
    detector: str | None = None
    conditions: str | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    patience: int = 1


SIDE = 128
"""Of the crops around an animal [px]; in drawn pictures it is some 80 px long."""


def _crops(**more: Any) -> dict[str, Any]:
    sides = {f"data.{mode}.top_down_crop.{key}": SIDE for mode in ("train", "inference") for key in ("width", "height")}
    return {**sides, **more}


def _narrow(channels: int) -> dict[str, Any]:
    """The smallest HRNet, of which a network reads so many channels."""
    return {"model.backbone.model_name": "hrnet_w18_small", "model.backbone_output_channels": channels}


HEAD = "model.heads.bodypart."
SMALL = {"model.backbone.model_name": "resnet18", "model.backbone_output_channels": 512}
BINS = {
    f"{HEAD}input_size": [SIDE, SIDE],
    f"{HEAD}target_generator.input_size": [SIDE, SIDE],
    f"{HEAD}in_featuremap_size": [SIDE // 32, SIDE // 32],
}
TOLD = {"model.backbone.img_size": [SIDE, SIDE]}
UPRIGHT = {"data.train.affine": None, "data.train.random_bbox_transform": None, "data.train.motion_blur": False}
"""Heads that take coordinates for classes need far more pictures to learn every turn of an animal, and so does DEKR."""
TOKENS = {
    "model.neck.feature_size": [SIDE // 4, SIDE // 4],
    "model.neck.patch_size": [4, 4],
    f"{HEAD}heatmap_size": [SIDE // 4, SIDE // 4],
    f"{HEAD}heatmap_dim": (SIDE // 4) ** 2,
}
FAMILIES = {
    "paf_small": Family(1, "resnet_50", changes=SMALL),
    "paf": Family(2, "resnet_50", rate=5e-4),
    "dlcrnet": Family(3, "dlcrnet_stride16_ms5", rate=5e-4),
    "dekr": Family(4, "dekr_w18", changes={"data.train.affine": None}, patience=2),
    "dekr_small": Family(11, "dekr_w18", changes={"data.train.affine": None, **_narrow(240)}, patience=2),
    "top_down": Family(5, "top_down_resnet_50", rate=5e-4, detector="ssdlite", changes=_crops()),
    "top_down_mobilenet": Family(
        6, "top_down_resnet_50", rate=5e-4, detector="fasterrcnn_mobilenet_v3_large_fpn", changes=_crops()
    ),
    "rtmpose": Family(7, "rtmpose_s", detector="ssdlite", changes=_crops(**BINS, **UPRIGHT), patience=8),
    "tokenpose": Family(
        8, "animaltokenpose_base", rate=3e-4, detector="ssdlite", changes=_crops(**TOKENS, **UPRIGHT), patience=2
    ),
    "tokenpose_small": Family(
        12,
        "animaltokenpose_base",
        detector="ssdlite",
        changes=_crops(**TOKENS, **UPRIGHT, **_narrow(16), **{"model.neck.channels": 16}),
        patience=2,
    ),
    "ctd_coam": Family(9, "ctd_coam_w32", rate=5e-4, conditions="paf_small", changes=_crops(**TOLD)),
    "ctd_prenet": Family(
        10, "ctd_prenet_rtmpose_s", conditions="paf_small", changes=_crops(**TOLD, **BINS, **UPRIGHT), patience=8
    ),
}


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
    "frames_per_second": "frames/s",
}
BEHAVIOUR = {
    "family": "family",
    "epochs": "epochs",
    "test_error_px": "test error [px]",
    "test_mAP": "test mAP",
    "animals_per_frame": "animals per frame",
    "all_found_share": "all found",
    "suspected_switches": "suspected switches",
    "frames_per_second": "frames/s",
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
        write_pose_config(path, _adapted(read_pose_config(path), family, epochs, arguments))
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


def _adapted(config: dict[str, Any], family: Family, epochs: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """The template edited as a user would for small pictures of animals seen from above, and a short schedule."""
    turned = {"p": 1.0, "rotation": 180, "scaling": [0.8, 1.2], "translation": 0}
    changes = {"data.train.affine": turned, **family.changes, **_schedule("", epochs, family.rate)}
    if config["data"]["train"].get("crop_sampling"):
        changes |= {f"data.train.crop_sampling.{side}": arguments.crop for side in ("width", "height")}
    if config.get("detector"):
        # The template's rate is for weights from COCO.
        changes |= _schedule("detector.", arguments.detector_epochs, 1e-3 if arguments.weights == "random" else 1e-4)
    changed = update(config, changes)
    if arguments.weights == "random":
        for backbone in _sections(changed, "freeze_bn_stats"):
            backbone["freeze_bn_stats"] = False
    if config["method"] == "bu":
        # Templates expect frames of about 450 px; in smaller ones the animals' neighbours come into that radius.
        for generator in _sections(changed["model"], "pos_dist_thresh"):
            generator["pos_dist_thresh"] = 8
        for generator in _sections(changed["model"], "width"):
            generator["width"] = 10
        # From random weights the affinities learn too little at the template's 0.1 in so few epochs.
        for criterion in _sections(changed["model"], "paf"):
            criterion["paf"]["weight"] = 0.5
    if "model.backbone_output_channels" in family.changes:
        _fit_channels(changed)
    return changed


def _schedule(at: str, epochs: int, rate: float) -> dict[str, Any]:
    steps = {"lr_list": [[rate / 5], [rate / 25]], "milestones": [epochs * 6 // 10, epochs * 17 // 20]}
    return {
        f"{at}runner.optimizer.params.lr": rate,
        f"{at}runner.scheduler": {"type": "LRListScheduler", "params": steps},
        f"{at}runner.eval_interval": epochs,
        f"{at}runner.snapshots.save_epochs": epochs,
    }


def _fit_channels(config: dict[str, Any]) -> None:
    """Let heads begin with as many channels as a changed backbone gives."""
    for head in config["model"]["heads"].values():
        for part in head.keys() & {"heatmap_config", "locref_config", "paf_config", "offset_config"}:
            head[part]["channels"][0] = config["model"]["backbone_output_channels"]


def _sections(section: Any, key: str) -> Iterator[dict[str, Any]]:
    """All mappings inside that have a key."""
    if isinstance(section, dict):
        if key in section:
            yield section
        for value in section.values():
            yield from _sections(value, key)
    elif isinstance(section, list):
        for value in section:
            yield from _sections(value, key)


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
