"""Errors of a network against its labels: over any images, or over a whole shuffle as DeepLabCut does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from rigpose.analyzer import Analyzer
from rigpose.arrays import Frames
from rigpose.errors import ConfigError, MediaError, SnapshotError
from rigpose.images import read_image
from rigpose.metrics import Metrics, evaluate_poses
from rigpose.poses import Poses
from rigpose.progress import Progress, progress
from rigpose.schema import parse
from rigpose_training.data.loaders import DLCLoader, LabelledImage
from rigpose_training.evaluation.files import Evaluated, Evaluation, write_evaluation
from rigpose_training.project.config import read_project_config
from rigpose_training.project.shuffle import Snapshot

if TYPE_CHECKING:
    import pandas as pd

PCutoff: TypeAlias = float | Sequence[float] | Mapping[str, float]
"""One for all keypoints, one for each, or by name; DeepLabCut takes .6 for a name that is left out."""


def evaluate_model(
    analyzer: Analyzer,
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
        pcutoff: Smallest score that counts in ``rmse_pcutoff``, one or K.
        batch: Images at a time.
        description: Shown before the progress.
        show: How progress is shown.

    Raises:
        MediaError: An image is missing or broken.
    """
    order = sorted(range(len(images)), key=lambda i: images[i].size or (0, 0))
    found: dict[int, Poses] = {}
    with show(description, len(images), "images") as advance:
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            poses = analyzer.predict([_read_frame(images[i].path) for i in chosen])
            found.update(zip(chosen, poses, strict=True))
            advance(len(chosen))
    ordered = [found[i] for i in range(len(images))]
    return ordered, evaluate_poses(ordered, [image.xy for image in images], pcutoff=pcutoff)


def evaluate_network(  # noqa: PLR0913 (the names and order that DeepLabCut's users write)
    config: str | Path,
    shuffles: int | Iterable[int] = (1,),
    trainingsetindex: int | Literal["all"] = 0,
    *,
    snapshotindex: int | Literal["all"] | None = None,
    plotting: bool = False,
    pcutoff: PCutoff | None = None,
    device: str = "auto",
    per_keypoint_evaluation: bool = False,
    modelprefix: str = "",
    Shuffles: int | Iterable[int] | None = None,
) -> pd.DataFrame:
    """Evaluate snapshots on the train and test images of their shuffles, and write DeepLabCut's files.

    Args:
        config: The project's ``config.yaml``.
        shuffles: Indices of shuffles.
        trainingsetindex: Which of the project's training fractions, or ``"all"``.
        snapshotindex: Which snapshot in DeepLabCut's order (-1 is the best one), ``"all"``, or none for what the
            project's ``config.yaml`` says.
        plotting: Draw labels and predictions into every image, and plot errors and the training curve.
        pcutoff: Smallest score that counts in ``rmse_pcutoff``; none for what ``config.yaml`` says.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        per_keypoint_evaluation: Write the mean error of each keypoint too.
        modelprefix: Folder above the models, seldom used.
        Shuffles: DeepLabCut's older name of ``shuffles``.

    Returns:
        One row per snapshot, indexed and named like ``CombinedEvaluation-results.csv``.

    Raises:
        RigposeError: Anything that is missing or does not fit, in one sentence.
    """
    import pandas as pd

    chosen = shuffles if Shuffles is None else Shuffles
    indices = [chosen] if isinstance(chosen, int) else list(chosen)
    fractions = read_project_config(config).training_fractions
    sets = range(len(fractions)) if trainingsetindex == "all" else [trainingsetindex]
    wanted = _Wanted(snapshotindex, pcutoff, device, plotting=plotting, per_keypoint=per_keypoint_evaluation)
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
    pcutoff: PCutoff | None
    device: str
    plotting: bool
    per_keypoint: bool


def _evaluate_shuffle(loader: DLCLoader, wanted: _Wanted) -> list[pd.DataFrame]:
    from rigpose_training.engine.runner_config import RunnerSection, choose_device
    from rigpose_training.engine.snapshots import load_weights, read_snapshot
    from rigpose_training.models import build_model
    from rigpose_training.torch_session import torch_analyzer

    project = loader.project_config
    index = project.snapshot_index if wanted.snapshot_index is None else wanted.snapshot_index
    snapshots = choose_snapshots(loader, index)
    pcutoff = project.pcutoff if wanted.pcutoff is None else wanted.pcutoff
    pcutoff = _per_keypoint(pcutoff, loader.bodyparts)
    runner = parse(RunnerSection, loader.model_cfg["runner"], where="runner")
    model = build_model(loader.model_cfg).to(choose_device(wanted.device, loader.model_cfg, runner))
    tables = []
    for snapshot in snapshots:
        load_weights(model, read_snapshot(snapshot.path)["model"], source=snapshot.path)
        analyzer = torch_analyzer(model, loader.model_cfg, skeleton=project.skeleton)
        train, test = (
            Evaluated(
                images := loader.images(mode),
                *evaluate_model(
                    analyzer,
                    images,
                    pcutoff=pcutoff,
                    batch=project.batch_size,
                    description=f"{snapshot.path.stem}, {mode} images",
                ),
            )
            for mode in ("train", "test")
        )
        evaluation = Evaluation(loader, snapshot, pcutoff, train=train, test=test)
        tables.append(write_evaluation(evaluation, per_keypoint=wanted.per_keypoint))
        if wanted.plotting:
            from rigpose_training.evaluation.plots import plot_evaluation

            plot_evaluation(evaluation)
    return tables


def choose_snapshots(loader: DLCLoader, index: int | str) -> list[Snapshot]:
    """The snapshots that an index, or ``"all"``, means in DeepLabCut's order.

    Raises:
        SnapshotError: There is none, or none of that number.
    """
    snapshots = loader.snapshots()
    if not snapshots:
        raise SnapshotError(f"{loader.model_folder}: there is no snapshot to evaluate; train the shuffle first.")
    if index == "all":
        return snapshots
    if not isinstance(index, int) or not -len(snapshots) <= index < len(snapshots):
        names = ", ".join(s.path.name for s in snapshots)
        raise SnapshotError(
            f"{loader.model_folder}: snapshotindex {index!r} is none of its {len(snapshots)} snapshots ({names}); "
            "use 0 for the first, -1 for the best, or 'all'."
        )
    return [snapshots[index]]


def _read_frame(path: Path) -> Frames:
    frame = read_image(path)
    if frame is None:
        raise MediaError(f"{path}: this labelled image is missing or broken; restore it, or remove its labels.")
    return frame


def _per_keypoint(pcutoff: PCutoff, bodyparts: Sequence[str]) -> float | list[float]:
    if isinstance(pcutoff, (int, float)):
        return float(pcutoff)
    if isinstance(pcutoff, Mapping):
        unknown = sorted(set(pcutoff) - set(bodyparts))
        if unknown:
            raise ConfigError(f"pcutoff: {unknown[0]} is no body part; use {', '.join(bodyparts)}.")
        return [float(pcutoff.get(name, 0.6)) for name in bodyparts]
    if len(pcutoff) != len(bodyparts):
        raise ConfigError(
            f"pcutoff: {len(pcutoff)} values for {len(bodyparts)} body parts; give one number, or one for each of "
            f"{', '.join(bodyparts)}."
        )
    return [float(value) for value in pcutoff]
