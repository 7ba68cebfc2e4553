"""The road that both demos walk: a drawn project, a network from random weights, a bundle, an analysed video.

Each step looks whether it is done, so that a run that was stopped goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rigpose.bundles.bundle import Bundle
from rigpose.errors import ConfigError
from rigpose.files.results import Results, read_results
from rigpose.load import load
from rigpose.progress import progress
from rigpose.videos.analysis import AnalysisOptions
from rigpose.videos.labelled_video import label_video
from rigpose_export.analysis import kept_bundle
from rigpose_export.source import shuffle_source
from rigpose_training.engine.train import train_network
from rigpose_training.evaluation.evaluate import evaluate_network
from rigpose_training.pose_config.files import read_pose_config, write_pose_config
from rigpose_training.project.config import ProjectConfig, read_project_config
from rigpose_training.project.create import create_training_dataset
from rigpose_training.project.shuffle import existing_shuffles, find_shuffle
from rigpose_training.scene.project import read_truth, write_project, write_video
from rigpose_training.scene.world import Scene, SceneTruth

SIZE = (256, 256)
VIDEO_FRAMES = 300
NETWORK = "resnet_18"
SEEDS_APART = 1000
"""Between a project's recording and its unseen one, so that demos of neighbouring seeds share none."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class DemoPlan:
    """What a demo draws and trains.

    Attributes:
        animals: In every picture.
        labelled_frames: Pictures with labels.
        epochs: Of training.
        adapt: Fits what ``make_small`` leaves of a shuffle's configuration, in place, to the drawn animals.
        video_frames: Of the unseen video.
    """

    animals: int
    labelled_frames: int
    epochs: int
    adapt: Callable[[dict[str, Any]], None]
    video_frames: int = VIDEO_FRAMES


@dataclass(frozen=True)
class Arrival:
    """What lies at the end of the road.

    Attributes:
        project: The drawn project.
        evaluation: Row of the evaluation's table, by column.
        evaluation_folder: Where its files are.
        bundle: The exported network.
        device: What the analysis ran on.
        results: What was found in the unseen video.
        truth: What is there.
        h5: Table of the results.
        csv: The same as text.
        labelled: The video with the results drawn in.
        frames_per_second: Of the analysis, from the encoded video to the files.
        seconds: Of the whole road.
    """

    project: ProjectConfig
    evaluation: Mapping[Any, Any]
    evaluation_folder: Path
    bundle: Bundle
    device: str
    results: Results
    truth: SceneTruth
    h5: Path
    csv: Path | None
    labelled: Path
    frames_per_second: float
    seconds: float


def walk_road(folder: Path, plan: DemoPlan, *, seed: int, say: Say) -> Arrival:
    """Draw, train, evaluate, export, analyse and draw what was found.

    Args:
        folder: Where everything is written.
        plan: What.
        seed: Of the drawn world's recordings.
        say: Takes a line for the user.

    Raises:
        ConfigError: The folder is that of a demo with another number of animals.
    """
    begun = time.perf_counter()
    folder = folder.resolve()
    say(
        f"1/5 drawing a project of {plan.labelled_frames} labelled frames and a video of {plan.video_frames} unseen "
        f"ones, {_animals(plan.animals)} in each ..."
    )
    project = prepare_project(folder, plan, seed=seed)
    video, truth = _unseen_video(folder, plan, seed=seed)
    say(f"2/5 training a small ResNet from random weights, {plan.epochs} epochs; a few minutes on two cores ...")
    train_network(project.path, epochs=plan.epochs, weights="random", seed=seed)
    say("3/5 evaluating on the project's own train and test images ...")
    table = evaluate_network(project.path, plotting=True)
    say("4/5 exporting to a bundle and proving that it gives the network's poses ...")
    bundle = kept_bundle(project, shuffle_source(project, shuffle=1))
    say("5/5 analysing the unseen video with the bundle (no torch from here on) ...")
    analyzer = load(bundle)
    result = analyzer.analyze(video, AnalysisOptions(overwrite=True))
    labelled = label_video(video, results=result.h5, skeleton=True, trail=20, overwrite=True, show=progress)
    return Arrival(
        project=project,
        evaluation=table.iloc[-1].to_dict(),
        evaluation_folder=find_shuffle(project, index=1).evaluation_folder,
        bundle=bundle,
        device=analyzer.session.device,
        results=read_results(result.h5),
        truth=truth,
        h5=result.h5,
        csv=result.csv,
        labelled=labelled,
        frames_per_second=result.frames_per_second,
        seconds=time.perf_counter() - begun,
    )


def say_arrival(arrival: Arrival, *, plot: Path, measured: Mapping[str, str], say: Say) -> None:
    """Tell where everything is, and what was measured.

    Args:
        arrival: The end of the road.
        plot: The picture of the errors.
        measured: What to say about the error, by name.
        say: Takes a line for the user.
    """
    row = arrival.evaluation
    for name, value in (
        ("project", arrival.project.root),
        ("evaluation", f"train {row['train rmse']:.2f} px, test {row['test rmse']:.2f} px (labelled images)"),
        ("plots", arrival.evaluation_folder),
        ("", plot),
        ("bundle", arrival.bundle.path),
        ("table", arrival.h5),
        ("", arrival.csv),
        ("labelled video", arrival.labelled),
        *measured.items(),
        ("speed", f"{arrival.frames_per_second:.1f} frames/s on {arrival.device}, video to files"),
        ("time", f"{arrival.seconds:.0f} s in all"),
    ):
        say(f"{name:<15} {value}")


def prepare_project(folder: Path, plan: DemoPlan, *, seed: int) -> ProjectConfig:
    """The drawn project with a shuffle whose ``pytorch_config.yaml`` asks for a small network.

    Raises:
        ConfigError: The folder is that of a demo with another number of animals.
    """
    root = folder / "project"
    if not (root / "config.yaml").exists():
        write_project(root, seed=seed, labelled_frames=plan.labelled_frames, size=SIZE, animals=plan.animals)
    project = read_project_config(root)
    if (there := len(project.individuals)) != plan.animals:
        raise ConfigError(
            f"{folder}: holds a demo with {_animals(there)}, not {plan.animals}; name another folder or remove it."
        )
    if not existing_shuffles(project):
        create_training_dataset(root, net_type="resnet_50", seed=seed)
    path = find_shuffle(project, index=1).pose_config_path
    config = read_pose_config(path)
    if config["net_type"] != NETWORK:
        make_small(config, epochs=plan.epochs)
        plan.adapt(config)
        write_pose_config(path, config)
    return project


def make_small(config: dict[str, Any], *, epochs: int) -> None:
    """Edit a ResNet's configuration as a user would: ResNet-18, crops of 192 px, a schedule for few epochs."""
    config["net_type"] = NETWORK
    config["model"]["backbone"]["model_name"] = "resnet18"
    config["model"]["backbone_output_channels"] = 512
    head = config["model"]["heads"]["bodypart"]
    for part in head.keys() & {"heatmap_config", "locref_config", "paf_config"}:
        head[part]["channels"][0] = 512
    # Seen from above the animal points anywhere, and the camera's height does not change.
    config["data"]["train"]["affine"] = {"p": 1.0, "rotation": 180, "scaling": [0.8, 1.2], "translation": 0}
    config["data"]["train"]["crop_sampling"] |= {"width": 192, "height": 192}
    runner = config["runner"]
    runner["optimizer"]["params"]["lr"] = 1e-3
    runner["scheduler"]["params"] = {"lr_list": [[2e-4], [4e-5]], "milestones": [epochs * 6 // 10, epochs * 17 // 20]}
    runner["eval_interval"] = epochs // 3
    runner["snapshots"] |= {"save_epochs": epochs}


def _unseen_video(folder: Path, plan: DemoPlan, *, seed: int) -> tuple[Path, SceneTruth]:
    """A recording of the same world in which the animals walk elsewhere, and what is where in it."""
    video = folder / "unseen.mp4"
    truth = video.with_name("unseen_truth.npz")
    if not (video.exists() and truth.exists()):
        scene = Scene(seed + SEEDS_APART, size=SIZE, animals=plan.animals)
        write_video(video, scene, plan.video_frames, save_truth=True)
    return video, read_truth(truth)


def _animals(count: int) -> str:
    return "1 animal" if count == 1 else f"{count} animals"
