"""What to export: a project's shuffle, or a bare configuration and snapshot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import cv2

from rigpose.arrays import Frames
from rigpose.bundle import Display
from rigpose.errors import ConfigError, MediaError, ProjectError
from rigpose.schema import suggest
from rigpose.video import SUFFIXES, Video
from rigpose_training.data.loaders import DLCLoader
from rigpose_training.pose_config.files import read_pose_config
from rigpose_training.project.config import ProjectConfig
from rigpose_training.project.shuffle import Snapshot, find_shuffle, scorer_from_paths
from rigpose_training.scene.world import Scene

PROOF_FRAMES = 8
"""Frames that parity is proved on; the first of them become the golden frames."""


@dataclass(frozen=True)
class ExportSource:
    """Everything an export reads.

    Attributes:
        config: The whole ``pytorch_config.yaml``.
        config_path: Where it is.
        snapshot: The weights.
        scorer: DeepLabCut's name for the predictions.
        skeleton: Pairs of keypoint names to draw.
        display: Drawing defaults.
        frames: Frames of one size to prove parity on, uint8 BGR.
        frames_described: Where they came from, for the certificate.
        described: Where the weights came from, for the manifest.
    """

    config: Mapping[str, Any]
    config_path: Path
    snapshot: Path
    scorer: str
    skeleton: tuple[tuple[str, str], ...]
    display: Display
    frames: tuple[Frames, ...]
    frames_described: str
    described: str


def shuffle_source(
    project: ProjectConfig, *, shuffle: int, trainset_index: int = 0, snapshot: int | str = -1, model_prefix: str = ""
) -> ExportSource:
    """The export of a project's shuffle; parity is proved on its labelled images, the test images first.

    Args:
        project: The project.
        shuffle: Its number.
        trainset_index: Index into ``TrainingFraction``.
        snapshot: Index into the snapshots (the best is last), or a file's name.
        model_prefix: DeepLabCut's ``modelprefix``.

    Raises:
        ProjectError: No such shuffle or snapshot.
    """
    found = find_shuffle(project, index=shuffle, trainset_index=trainset_index, model_prefix=model_prefix)
    weights = choose_snapshot(found.snapshots(), snapshot, found.train_folder)
    config = read_pose_config(found.pose_config_path)
    loader = DLCLoader(project.path, trainset_index=trainset_index, shuffle=shuffle, modelprefix=model_prefix)
    paths = [image.path for mode in ("test", "train") for image in loader.images(mode)]
    return ExportSource(
        config=config,
        config_path=found.pose_config_path,
        snapshot=weights,
        scorer=found.scorer(str(config.get("net_type") or "network"), weights),
        skeleton=project.skeleton,
        display=Display(project.pcutoff, project.colormap, project.dotsize),
        frames=_one_size(_pictures(paths)),
        frames_described="labelled images of the project, the test split first",
        described=f"shuffle {found.name} of {project.root.name}",
    )


def pair_source(config_path: Path, snapshot: Path, *, frames: Sequence[Path] = ()) -> ExportSource:
    """The export of a bare ``pytorch_config.yaml`` and snapshot.

    Args:
        config_path: The configuration.
        snapshot: The weights.
        frames: Videos, images or folders of images to prove parity on; without them, drawn frames.
    """
    config = read_pose_config(config_path)
    if not snapshot.is_file():
        raise ProjectError(f"{snapshot}: there is no such snapshot; check the path.")
    found = _one_size(_given(frames)) if frames else tuple(Scene(seed=0, size=(256, 320)).frame(t)[0] for t in range(8))
    return ExportSource(
        config=config,
        config_path=config_path,
        snapshot=snapshot,
        scorer=scorer_from_paths(config_path, config, snapshot),
        skeleton=(),
        display=Display(),
        frames=found,
        frames_described=", ".join(f.name for f in frames) if frames else "drawn frames (give real ones with --frames)",
        described=f"config {config_path.name} and snapshot {snapshot.name}",
    )


def choose_snapshot(snapshots: Sequence[Snapshot], wanted: int | str, folder: Path) -> Path:
    """The snapshot at an index or of a name.

    Raises:
        ProjectError: The folder has none, or not this one; the ones there are are named.
    """
    names = [s.path.name for s in snapshots]
    if not snapshots:
        raise ProjectError(f"{folder}: holds no snapshot yet; train first with: rigpose train.")
    if isinstance(wanted, str) and not wanted.lstrip("-").isdigit():
        name = wanted if wanted.endswith(".pt") else f"{wanted}.pt"
        if name not in names:
            raise ProjectError(f"{folder}: has no {name}{suggest(name, names)}; there are {', '.join(names)}.")
        return snapshots[names.index(name)].path
    index = int(wanted)
    if not -len(snapshots) <= index < len(snapshots):
        raise ProjectError(f"{folder}: snapshot index {index} is out of range; there are {', '.join(names)}.")
    return snapshots[index].path


def _given(paths: Sequence[Path]) -> Iterable[Frames]:
    for path in paths:
        if path.is_dir():
            yield from _pictures(sorted(p for p in path.iterdir() if p.suffix.lower() in (".png", ".jpg", ".jpeg")))
        elif path.suffix.lower() in SUFFIXES:
            with Video(path) as video:
                yield from (frame.image for frame in islice(video.frames(), PROOF_FRAMES))
        else:
            yield from _pictures([path])


def _pictures(paths: Iterable[Path]) -> Iterable[Frames]:
    for path in paths:
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if picture is None:
            raise MediaError(f"{path}: cannot be read as a picture; check the file.")
        yield picture  # type: ignore[misc]


def _one_size(frames: Iterable[Frames]) -> tuple[Frames, ...]:
    """The first frames that have the first one's size."""
    chosen: list[Frames] = []
    for frame in frames:
        if not chosen or frame.shape == chosen[0].shape:
            chosen.append(frame)
        if len(chosen) == PROOF_FRAMES:
            break
    if not chosen:
        raise ConfigError("no frames to prove parity on; give a video or images with --frames.")
    return tuple(chosen)
