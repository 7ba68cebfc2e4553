"""Errors of a network against its labels: over any images, or over a whole shuffle as DeepLabCut does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from rigpose.analyzers.analyzer import PoseAnalyzer
from rigpose.arrays import Floats
from rigpose.errors import ConfigError
from rigpose.measures.box_metrics import BoxMetrics, evaluate_boxes
from rigpose.measures.metrics import Metrics, evaluate_poses
from rigpose.poses import Poses
from rigpose.progress import Progress, progress
from rigpose.schema import parse
from rigpose_training.data.labelled import LabelledImage, with_boxes
from rigpose_training.data.loaders import DLCLoader
from rigpose_training.engine.runner_config import RunnerSection, choose_device
from rigpose_training.engine.snapshots import load_weights, read_snapshot
from rigpose_training.evaluation.choice import choose_detectors, choose_snapshots, named_snapshots
from rigpose_training.evaluation.conditions import conditions_of
from rigpose_training.evaluation.files import Evaluated, Evaluation, write_evaluation
from rigpose_training.evaluation.finders import (
    Conditions,
    DetectedBoxes,
    Finder,
    Found,
    LabelledBoxes,
    WholeFrames,
    find_all,
)
from rigpose_training.evaluation.identity import identity_accuracy
from rigpose_training.evaluation.paf_graph import prune_paf_graph
from rigpose_training.evaluation.parts import Parts, PCutoff, choose_parts, cutoff_of_each
from rigpose_training.models import PoseModel, build_model
from rigpose_training.models.detectors import build_detector
from rigpose_training.project.config import read_project_config
from rigpose_training.project.shuffle import Snapshot
from rigpose_training.task import Task
from rigpose_training.torch_detector import conditional_analyzer, crop_analyzer, top_down_analyzer
from rigpose_training.torch_session import torch_analyzer

if TYPE_CHECKING:
    import pandas as pd

COLOURED_BY = ("bodypart", "individual")


def evaluate_model(
    analyzer: PoseAnalyzer,
    images: Sequence[LabelledImage],
    *,
    pcutoff: float | Sequence[float] = 0.6,
    batch: int = 8,
    description: str = "Evaluating",
    show: Progress = progress,
) -> tuple[list[Poses], Metrics]:
    """Poses of labelled images, in their order, and how good they are.

    Args:
        analyzer: A network in training, a bundle, or anything else that turns frames into poses.
        images: Any sizes; those of one size run together.
        pcutoff: Smallest score that counts in ``rmse_pcutoff``, one, or one per keypoint with unique ones last.
        batch: Images at a time.
        description: Shown before the progress.
        show: How progress is shown.

    Raises:
        MediaError: An image is missing or broken.
    """
    found = find_all(images, WholeFrames(analyzer), batch=batch, description=description, show=show)
    return found.poses, _metrics(found.poses, images, pcutoff)


def evaluate_network(  # noqa: PLR0913 (the names and order that DeepLabCut's users write)
    config: str | Path,
    shuffles: int | Iterable[int] = (1,),
    trainingsetindex: int | Literal["all"] = 0,
    *,
    snapshotindex: int | str | None = None,
    detector_snapshot_index: int | str | None = None,
    snapshots_to_evaluate: Sequence[str] | None = None,
    comparison_bodyparts: str | Sequence[str] | None = None,
    plotting: bool | str = False,
    pcutoff: PCutoff | None = None,
    device: str = "auto",
    per_keypoint_evaluation: bool = False,
    modelprefix: str = "",
    prune_graph: bool = True,
    Shuffles: int | Iterable[int] | None = None,
) -> pd.DataFrame:
    """Evaluate snapshots on the train and test images of their shuffles, and write DeepLabCut's files.

    A top-down model looks into the boxes of its detector; where the shuffle has no trained one, into boxes around the
    labels, as DeepLabCut does. A conditional one starts from the poses that ``inference.conditions`` names.

    Args:
        config: The project's ``config.yaml``.
        shuffles: Indices of shuffles.
        trainingsetindex: Which of the project's training fractions, or ``"all"``.
        snapshotindex: Which snapshot in DeepLabCut's order (-1 is the best one), ``"best"``, ``"all"``, or none for
            what the project's ``config.yaml`` says.
        detector_snapshot_index: The same for the detector of a top-down model; or ``"labels"`` for boxes around the
            labels, which tells the pose network's errors from the detector's.
        snapshots_to_evaluate: Names such as ``snapshot-050`` instead of ``snapshotindex``.
        comparison_bodyparts: Names of the only body parts that count, or ``"all"``.
        plotting: Draw labels and predictions into every image, coloured by ``"bodypart"`` (or true) or by
            ``"individual"``, and plot errors and the training curve.
        pcutoff: Smallest score that counts in ``rmse_pcutoff``; none for what ``config.yaml`` says.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        per_keypoint_evaluation: Write the mean error of each keypoint too.
        modelprefix: Folder above the models, seldom used.
        prune_graph: Let the first evaluation of a model with part affinity fields choose the edges of its graph,
            as DeepLabCut's does; it writes them into ``pytorch_config.yaml``.
        Shuffles: DeepLabCut's older name of ``shuffles``.

    Returns:
        One row per snapshot, indexed and named like ``CombinedEvaluation-results.csv``.

    Raises:
        RigposeError: Anything that is missing or does not fit, in one sentence.
    """
    import pandas as pd

    if isinstance(plotting, str) and plotting not in COLOURED_BY:
        raise ConfigError(f"plotting: {plotting!r} is none of True, False, {', '.join(COLOURED_BY)}.")
    chosen = shuffles if Shuffles is None else Shuffles
    indices = [chosen] if isinstance(chosen, int) else list(chosen)
    fractions = read_project_config(config).training_fractions
    sets = range(len(fractions)) if trainingsetindex == "all" else [trainingsetindex]
    wanted = _Wanted(
        snapshot_index=snapshotindex,
        detector_index=detector_snapshot_index,
        names=snapshots_to_evaluate,
        parts=comparison_bodyparts,
        pcutoff=pcutoff,
        device=device,
        plotting="bodypart" if plotting is True else plotting or None,
        per_keypoint=per_keypoint_evaluation,
        prune=prune_graph,
    )
    tables = []
    for trainset_index in sets:
        for shuffle in indices:
            loader = DLCLoader(config, trainset_index=trainset_index, shuffle=shuffle, modelprefix=modelprefix)
            tables += _evaluate_shuffle(loader, wanted)
    return pd.concat(tables)


@dataclass(frozen=True)
class _Wanted:
    """What ``evaluate_network`` was asked for, beside the shuffles."""

    snapshot_index: int | str | None
    detector_index: int | str | None
    names: Sequence[str] | None
    parts: str | Sequence[str] | None
    pcutoff: PCutoff | None
    device: str
    plotting: str | None
    per_keypoint: bool
    prune: bool


def _evaluate_shuffle(loader: DLCLoader, wanted: _Wanted) -> list[pd.DataFrame]:
    project = loader.project_config
    index = project.snapshot_index if wanted.snapshot_index is None else wanted.snapshot_index
    snapshots = loader.snapshots()
    if wanted.names is not None:
        snapshots = named_snapshots(snapshots, wanted.names, loader.model_folder)
    else:
        snapshots = choose_snapshots(snapshots, index, loader.model_folder)
    detector_index = project.detector_snapshot_index if wanted.detector_index is None else wanted.detector_index
    parts = choose_parts(loader.bodyparts, loader.unique_bodyparts, wanted.parts)
    pcutoff = project.pcutoff if wanted.pcutoff is None else wanted.pcutoff
    pcutoff = cutoff_of_each(pcutoff, parts, [*loader.bodyparts, *loader.unique_bodyparts])
    runner = parse(RunnerSection, loader.model_cfg["runner"], where="runner")
    model = build_model(loader.model_cfg).to(choose_device(wanted.device, loader.model_cfg, runner))
    tables = []
    for detector in choose_detectors(loader, detector_index):
        for snapshot in snapshots:
            load_weights(model, read_snapshot(snapshot.path)["model"], source=snapshot.path)
            if wanted.prune:
                prune_paf_graph(loader, model, show=progress)
            finder = finder_of(loader, model, detector)
            train, test = (
                evaluate_part(
                    loader.images(mode),
                    finder,
                    Judgement(parts, pcutoff, loader.bbox_margin),
                    batch=project.batch_size,
                    description=f"{snapshot.path.stem}, {mode} images",
                )
                for mode in ("train", "test")
            )
            evaluation = Evaluation(loader, snapshot, detector, parts, pcutoff, train=train, test=test)
            tables.append(write_evaluation(evaluation, per_keypoint=wanted.per_keypoint))
            if wanted.plotting:
                from rigpose_training.evaluation.plots import plot_evaluation

                plot_evaluation(evaluation, by=wanted.plotting)
    return tables


def finder_of(loader: DLCLoader, model: PoseModel, detector: Snapshot | None) -> Finder:
    """How the model of a shuffle finds animals: by its method, and by whether there is a detector.

    Raises:
        ConfigError: A configuration that lacks what the method needs.
        SnapshotError: A snapshot that does not fit it.
    """
    project, config = loader.project_config, loader.model_cfg
    task = Task(config.get("method") or "bu")
    if task is Task.BOTTOM_UP:
        return WholeFrames(torch_analyzer(model, config, skeleton=project.skeleton))
    device = next(model.parameters()).device
    if task is Task.COND_TOP_DOWN:
        analyzer = conditional_analyzer(model, config, batch=project.batch_size)
        return Conditions(analyzer, conditions_of(loader, device))
    if detector is None:
        return LabelledBoxes(crop_analyzer(model, config, batch=project.batch_size), loader.bbox_margin)
    network = build_detector(config["detector"]["model"])
    load_weights(network, read_snapshot(detector.path)["model"], source=detector.path)
    # torchvision's detectors do not run on Metal.
    network = network.to("cpu" if device.type == "mps" else device)
    return DetectedBoxes(top_down_analyzer(model, network, config, batch=project.batch_size))


@dataclass(frozen=True)
class Judgement:
    """What counts.

    Attributes:
        parts: Keypoints.
        pcutoff: Smallest score in ``rmse_pcutoff``, one, or one for each of ``parts.names``.
        bbox_margin: Around the keypoints of an animal whose box nobody drew [px].
    """

    parts: Parts
    pcutoff: float | list[float]
    bbox_margin: float


def evaluate_part(
    images: Sequence[LabelledImage], finder: Finder, judgement: Judgement, *, batch: int, description: str
) -> Evaluated:
    """What is found in labelled images, and how good it is.

    Raises:
        MediaError: An image is missing or broken.
    """
    found = find_all(images, finder, batch=batch, description=description)
    poses = [judgement.parts.of_poses(p) for p in found.poses]
    judged = [judgement.parts.of_image(image) for image in images]
    metrics = _metrics(poses, judged, judgement.pcutoff)
    boxes = _box_metrics(found, images, judgement.bbox_margin)
    return Evaluated(judged, poses, metrics, _identity(poses, judged), boxes)


def _identity(poses: Sequence[Poses], images: Sequence[LabelledImage]) -> Floats | None:
    if all(p.identity_scores is None for p in poses):
        return None
    return identity_accuracy(poses, [image.xy for image in images])


def _metrics(poses: Sequence[Poses], images: Sequence[LabelledImage], pcutoff: float | Sequence[float]) -> Metrics:
    truth = [image.xy for image in images]
    unique = [image.unique_xy for image in images]
    if not any(map(len, unique)):
        return evaluate_poses(poses, truth, pcutoff=pcutoff)
    if not any(xy.shape[1] for xy in truth):
        # As in DeepLabCut, unique keypoints alone are judged as one animal.
        pairs = zip(poses, unique, strict=True)
        alone = [Poses.empty(len(xy)) if p.unique is None else Poses.from_array(p.unique[None]) for p, xy in pairs]
        return evaluate_poses(alone, [xy[None] for xy in unique], pcutoff=pcutoff)
    return evaluate_poses(poses, truth, unique_truth=unique, pcutoff=pcutoff)


def _box_metrics(found: Found, images: Sequence[LabelledImage], margin: float) -> BoxMetrics | None:
    if not found.boxes:
        return None
    truth = []
    for image in with_boxes(images, margin):
        boxes = np.asarray(image.boxes)
        boxes = boxes[~np.isnan(boxes).any(axis=1)]
        truth.append(np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1))
    return evaluate_boxes(found.boxes, truth)
