"""``rigpose demo``: the whole road on a drawn world, from labels to the error against the truth.

Nothing is prepared: the project is drawn, a small ResNet is trained from random weights, and the video that is
analysed in the end was never seen in training. A second run continues where the first stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rigpose.analysis import AnalysisOptions
from rigpose.arrays import Floats
from rigpose.labelled_video import label_video
from rigpose.load import load
from rigpose.progress import progress
from rigpose.results import read_results
from rigpose_export.analysis import kept_bundle
from rigpose_export.source import shuffle_source
from rigpose_training.engine.train import train_network
from rigpose_training.evaluation.evaluate import evaluate_network
from rigpose_training.pose_config.files import read_pose_config, write_pose_config
from rigpose_training.project.config import ProjectConfig, read_project_config
from rigpose_training.project.create import create_training_dataset
from rigpose_training.project.shuffle import existing_shuffles, find_shuffle
from rigpose_training.scene.project import write_project, write_video
from rigpose_training.scene.world import Scene

SIZE = (256, 256)
LABELLED_FRAMES = 100
VIDEO_FRAMES = 300
EPOCHS = 24
NETWORK = "resnet_18"

Say = Callable[[str], None]


@dataclass(frozen=True)
class DemoResult:
    """What the demo measured.

    Attributes:
        error_px: Mean distance between prediction and truth over all keypoints of the unseen video [frame px].
        p99_px: 99th percentile of the distances [frame px].
        frames_per_second: Of the analysis, from the encoded video to the files.
        seconds: Of the whole demo.
    """

    error_px: float
    p99_px: float
    frames_per_second: float
    seconds: float


def run_demo(folder: Path, *, seed: int = 0, say: Say) -> DemoResult:
    """Draw, train, evaluate, export, analyse and compare with the truth.

    Args:
        folder: Where everything is written.
        seed: Of the drawn world's recordings.
        say: Takes a line for the user.
    """
    begun = time.perf_counter()
    folder = folder.resolve()
    say(f"1/5 drawing a project of {LABELLED_FRAMES} labelled frames and a video of {VIDEO_FRAMES} unseen ones ...")
    project = _project(folder, seed=seed)
    video, truth = _unseen_video(folder, seed=seed)

    say(f"2/5 training a small ResNet from random weights, {EPOCHS} epochs; a few minutes on two cores ...")
    train_network(project.path, epochs=EPOCHS, weights="random", seed=seed)
    say("3/5 evaluating on the project's own train and test images ...")
    table = evaluate_network(project.path, plotting=True)
    say("4/5 exporting to a bundle and proving that it gives the network's poses ...")
    bundle = kept_bundle(project, shuffle_source(project, shuffle=1))
    say("5/5 analysing the unseen video with the bundle (no torch from here on) ...")
    analyzer = load(bundle)
    result = analyzer.analyze(video, AnalysisOptions(overwrite=True))
    labelled = label_video(video, results=result.h5, skeleton=True, trail=20, overwrite=True, show=progress)

    predicted = read_results(result.h5)
    distances = np.linalg.norm(predicted.xy - truth, axis=-1)
    measured = DemoResult(
        error_px=float(distances.mean()),
        p99_px=float(np.percentile(distances, 99)),
        frames_per_second=result.frames_per_second,
        seconds=time.perf_counter() - begun,
    )
    plot = folder / "error-against-truth.png"
    _plot_errors(plot, distances, project.bodyparts)
    row = table.iloc[-1]
    shuffle = find_shuffle(project, index=1)
    for name, value in (
        ("project", project.root),
        ("evaluation", f"train {row['train rmse']:.2f} px, test {row['test rmse']:.2f} px (labelled images)"),
        ("plots", shuffle.evaluation_folder),
        ("", plot),
        ("bundle", bundle.path),
        ("table", result.h5),
        ("", result.csv),
        ("labelled video", labelled),
        ("error", f"{measured.error_px:.2f} px mean, {measured.p99_px:.2f} px p99 against the truth of the video"),
        ("speed", f"{measured.frames_per_second:.1f} frames/s on {analyzer.session.device}, video to files"),
        ("time", f"{measured.seconds:.0f} s in all"),
    ):
        say(f"{name:<15} {value}")
    return measured


def _project(folder: Path, *, seed: int) -> ProjectConfig:
    """The drawn project with a shuffle whose ``pytorch_config.yaml`` asks for a small network.

    Each step looks whether it is done, so that a run that was stopped between two of them goes on.
    """
    root = folder / "project"
    if not (root / "config.yaml").exists():
        write_project(root, seed=seed, labelled_frames=LABELLED_FRAMES, size=SIZE)
    project = read_project_config(root)
    if not existing_shuffles(project):
        create_training_dataset(root, net_type="resnet_50", seed=seed)
    pose_config = find_shuffle(project, index=1).pose_config_path
    if read_pose_config(pose_config)["net_type"] != NETWORK:
        _make_small(pose_config)
    return project


def _make_small(pose_config: Path) -> None:
    """Edit a shuffle as a user would: ResNet-18, crops of 192 px, a schedule for few epochs."""
    config = read_pose_config(pose_config)
    keypoints = len(config["metadata"]["bodyparts"])
    config["net_type"] = NETWORK
    config["model"]["backbone"]["model_name"] = "resnet18"
    config["model"]["backbone_output_channels"] = 512
    head = config["model"]["heads"]["bodypart"]
    head["heatmap_config"]["channels"] = [512, keypoints]
    head["locref_config"]["channels"] = [512, 2 * keypoints]
    # Seen from above the animal points anywhere, and the camera's height does not change.
    config["data"]["train"]["affine"] = {"p": 1.0, "rotation": 180, "scaling": [0.8, 1.2], "translation": 0}
    config["data"]["train"]["crop_sampling"] |= {"width": 192, "height": 192}
    runner = config["runner"]
    runner["optimizer"]["params"]["lr"] = 1e-3
    runner["scheduler"]["params"] = {"lr_list": [[2e-4], [4e-5]], "milestones": [EPOCHS * 6 // 10, EPOCHS * 17 // 20]}
    runner |= {"key_metric": "test.rmse", "key_metric_asc": False, "eval_interval": EPOCHS // 3}
    runner["snapshots"] |= {"save_epochs": EPOCHS}
    write_pose_config(pose_config, config)


def _unseen_video(folder: Path, *, seed: int) -> tuple[Path, Floats]:
    """A recording of the same world with another animal path, and (F, 1, K, 2) where the animal is [frame px]."""
    video = folder / "unseen.mp4"
    truth = video.with_name("unseen_truth.npz")
    if not (video.exists() and truth.exists()):
        write_video(video, Scene(seed + 1000, size=SIZE), VIDEO_FRAMES, save_truth=True)
    with np.load(truth) as arrays:
        return video, arrays["xy"]


def _plot_errors(path: Path, distances: Floats, keypoints: tuple[str, ...]) -> None:
    """Error over time and per keypoint, against the truth of the drawn video."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    over_time, per_keypoint = figure.subplots(1, 2, width_ratios=(2, 1))
    over_time.plot(distances.mean(axis=(1, 2)), linewidth=1)
    over_time.set(xlabel="frame", ylabel="mean error [px]", title="unseen video, against the truth")
    per_keypoint.barh(keypoints, distances.mean(axis=(0, 1)))
    per_keypoint.set(xlabel="mean error [px]")
    figure.savefig(path, dpi=120)
