"""``rigpose demo``: the whole road on a drawn world, from labels to the error against the truth.

Nothing is prepared: the project is drawn, a small ResNet is trained from random weights, and the video that is
analysed in the end was never seen in training. A second run continues where the first stopped.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rigpose.arrays import Floats
from rigpose_export.demo.road import DemoPlan, Say, say_arrival, walk_road


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


def run_demo(folder: Path, plan: DemoPlan, *, seed: int = 0, say: Say) -> DemoResult:
    """Draw, train, evaluate, export, analyse and compare with the truth.

    Args:
        folder: Where everything is written.
        plan: What is drawn and trained.
        seed: Of the drawn world's recordings.
        say: Takes a line for the user.

    Raises:
        ConfigError: The folder is that of a demo with another number of animals.
    """
    arrival = walk_road(folder, plan, seed=seed, say=say)
    distances = np.linalg.norm(arrival.results.xy - arrival.truth.xy, axis=-1)
    measured = DemoResult(
        error_px=float(distances.mean()),
        p99_px=float(np.percentile(distances, 99)),
        frames_per_second=arrival.frames_per_second,
        seconds=arrival.seconds,
    )
    plot = arrival.h5.with_name("error-against-truth.png")
    _plot_errors(plot, distances, arrival.project.bodyparts)
    error = f"{measured.error_px:.2f} px mean, {measured.p99_px:.2f} px p99 against the truth of the video"
    say_arrival(arrival, plot=plot, measured={"error": error}, say=say)
    return measured


def _judge_by_distance(config: dict[str, Any]) -> None:
    config["runner"] |= {"key_metric": "test.rmse", "key_metric_asc": False}


PLAN = DemoPlan(animals=1, labelled_frames=100, epochs=24, adapt=_judge_by_distance)


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
