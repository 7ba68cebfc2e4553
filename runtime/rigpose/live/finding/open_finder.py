"""Bundle -> ``PoseFinder``: which way of looking a model has, and what a live run may say about it."""

from __future__ import annotations

from pathlib import Path

from rigpose.analyzers.combined import CombinedAnalyzer
from rigpose.analyzers.patch_search import PatchSearchAnalyzer
from rigpose.analyzers.run_options import RunOptions
from rigpose.analyzers.top_down import CropAnalyzer, TopDownAnalyzer
from rigpose.analyzers.tracking_crop import TrackingAnalyzer
from rigpose.bundles.bundle import Bundle
from rigpose.choice.backend import AutoOptions
from rigpose.errors import ConfigError
from rigpose.live.finding.boxes import BoxesFinder
from rigpose.live.finding.cropped import CroppedFinder
from rigpose.live.finding.patches import PatchesFinder
from rigpose.live.finding.pose_finder import PoseFinder
from rigpose.live.finding.region import RegionFinder
from rigpose.live.finding.whole_frame import WholeFrameFinder
from rigpose.load import BundleAnalyzer, load
from rigpose.tracking.settings import TrackingSettings
from rigpose.videos.video import Crop

SEARCH_S = 0.25
"""No lost animal waits longer than this for the detector, which for its sake looks at no more than every tenth of 40
frames in a second."""


def open_finder(  # noqa: PLR0913  # each is a word that a user says
    bundle: str | Path | Bundle,
    *,
    device: str = "auto",
    threads: int | None = None,
    backend: str = "onnxruntime",
    precision: str | None = None,
    conditions: str | Path | Bundle | None = None,
    options: RunOptions | None = None,
    auto: AutoOptions | None = None,
    part: Crop | None = None,
    redetect_s: float | None = None,
    search_s: float | None = SEARCH_S,
    ids: TrackingSettings | None = None,
) -> PoseFinder:
    """Open a bundle for live frames.

    Args:
        bundle: As of ``rigpose.load``, and so are the next ones.
        device: See there.
        threads: See there.
        backend: See there.
        precision: See there.
        conditions: See there.
        options: See there; ``detect_every``, ``dynamic_crop``, ``patch_search`` and ``max_animals`` say how live
            animals are followed, too.
        auto: See there.
        part: As of ``finder_of``, and so are the next ones.
        redetect_s: See there.
        search_s: See there.
        ids: See there.

    Raises:
        BundleError: As of ``rigpose.load``; or frames alone are not enough for the model.
        ConfigError: As of ``rigpose.load`` and ``finder_of``.
        BackendError: As of ``rigpose.load``.
    """
    analyzer = load(
        bundle,
        device=device,
        threads=threads,
        backend=backend,
        precision=precision,
        conditions=conditions,
        options=options,
        auto=auto,
    )
    return finder_of(analyzer, part=part, redetect_s=redetect_s, search_s=search_s, ids=ids)


def finder_of(
    analyzer: BundleAnalyzer,
    *,
    part: Crop | None = None,
    redetect_s: float | None = None,
    search_s: float | None = SEARCH_S,
    ids: TrackingSettings | None = None,
) -> PoseFinder:
    """The way of looking at live frames that belongs to a loaded bundle.

    Args:
        analyzer: As ``rigpose.load`` gives it. Its sessions are run by the finder from now on.
        part: Of every frame, in which alone the animals are looked for; none for all of it [frame px].
        redetect_s: A pair's detector looks at least so often [s]; none for ``detect_every`` alone.
        search_s: When an animal of a pair is lost, the detector looks at the same frame, but for the sake of lost
            animals no more often than this [s]; none leaves them lost until the next detection.
        ids: How several animals are told apart; none for the defaults.

    Raises:
        BundleError: Frames alone are not enough for the model.
        ConfigError: ``redetect_s`` or ``ids`` for a model that has no use for it, or a time below zero.
    """
    analyzer.check_complete()
    finder = _whole_frames(analyzer, redetect_s, search_s, ids)
    return finder if part is None else CroppedFinder(finder, part)


def _whole_frames(
    analyzer: BundleAnalyzer, redetect_s: float | None, search_s: float | None, ids: TrackingSettings | None
) -> PoseFinder:
    model = analyzer.model
    follows_boxes = isinstance(model, TopDownAnalyzer)
    of_one = analyzer.spec.task == "single_animal" or isinstance(model, PatchSearchAnalyzer)
    if redetect_s is not None and not follows_boxes:
        raise ConfigError(
            f"redetect: {analyzer.bundle.path} has no detector that could leave out frames; leave it out."
        )
    if ids is not None and of_one:
        raise ConfigError(f"ids: {analyzer.bundle.path} finds one animal, which is number 0; leave the settings out.")
    if isinstance(model, TrackingAnalyzer):
        return RegionFinder(model)
    if isinstance(model, PatchSearchAnalyzer):
        return PatchesFinder(model)
    if follows_boxes:
        return BoxesFinder(model, ids or TrackingSettings(), redetect_s=redetect_s, search_s=search_s)
    told_apart = None if of_one else ids or TrackingSettings()
    assert not isinstance(model, CropAnalyzer)  # which is not complete
    return WholeFrameFinder(model, told_apart, "detector" if isinstance(model, CombinedAnalyzer) else "whole")
