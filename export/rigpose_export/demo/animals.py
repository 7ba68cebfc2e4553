"""``rigpose demo --animals N``: the whole road with several animals, from labels to tracks laid beside the truth.

The animals look alike and walk over each other; part affinity fields group their keypoints, and a tracker follows them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rigpose.arrays import Floats
from rigpose.files.results import ResultFiles, Results
from rigpose.tracking import SUFFIXES, TrackingSettings
from rigpose_export.demo.road import DemoPlan, Say, say_arrival, walk_road
from rigpose_export.demo.tracks import TracksMeasured, measure_tracks, plot_tracks


@dataclass(frozen=True)
class AnimalsDemoResult:
    """What the demo measured.

    Attributes:
        tracks: Of the unseen video, against its truth.
        frames_per_second: Of the analysis, from the encoded video to the files.
        seconds: Of the whole demo.
    """

    tracks: TracksMeasured
    frames_per_second: float
    seconds: float


def run_animals_demo(folder: Path, plan: DemoPlan, *, seed: int = 0, say: Say) -> AnimalsDemoResult:
    """Draw, train, evaluate, export, analyse with tracks and compare with the truth.

    Args:
        folder: Where everything is written.
        plan: As ``plan_of`` makes it.
        seed: Of the drawn world's recordings.
        say: Takes a line for the user.

    Raises:
        ConfigError: The folder is that of a demo with another number of animals.
    """
    arrival = walk_road(folder, plan, seed=seed, say=say)
    tracks = measure_tracks(places(arrival.results), arrival.truth.xy, arrival.truth.visible)
    plot = arrival.h5.with_name("error-against-truth.png")
    plot_tracks(plot, tracks, arrival.results.individuals)
    suffix = SUFFIXES[TrackingSettings().method]
    say_arrival(
        arrival,
        plot=plot,
        measured={
            "tracks": str(ResultFiles.including(arrival.h5).tracks(suffix)),
            "error": f"{tracks.error_px:.2f} px mean, {tracks.p99_px:.2f} px p99 over the visible keypoints of found "
            "animals, against the truth of the video",
            "animals": f"{tracks.found} of {tracks.animals} found, {tracks.missed} missed, {tracks.extra} extra",
            "identity": f"{tracks.switches} switches",
        },
        say=say,
    )
    return AnimalsDemoResult(tracks, arrival.frames_per_second, arrival.seconds)


def plan_of(animals: int) -> DemoPlan:
    """What is drawn and trained for so many animals, at least two."""
    return DemoPlan(animals=animals, labelled_frames=150, epochs=36, adapt=_fit_to_small_animals)


def places(results: Results) -> Floats:
    """(F, T, K, 2) where the tracks are [frame px]; NaN for keypoints that were not found, which have score 0."""
    return np.where(results.score[..., None] > 0, results.xy, np.nan)


def _fit_to_small_animals(config: dict[str, Any]) -> None:
    """Narrower targets, and affinities that weigh more.

    The templates are made for animals of several hundred px. Three of these are about 80 px long each, and at the
    templates' widths one animal's ears, and two animals side by side, run into each other.
    """
    head = config["model"]["heads"]["bodypart"]
    heatmap, affinity = head["target_generator"]["generators"]
    heatmap["pos_dist_thresh"] = 8
    affinity["width"] = 10
    head["criterion"]["paf"]["weight"] = 0.5
