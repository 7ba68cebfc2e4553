"""What to export: a project's shuffle, or a bare configuration and snapshot."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from rigpose.arrays import Floats, Frames
from rigpose.bundles.bundle import Display
from rigpose.errors import ConfigError, MediaError, ProjectError, RigposeError
from rigpose.models.model_spec import PafGrouping
from rigpose.models.paf_calibration import PafCalibration
from rigpose.schema import suggest
from rigpose.videos.video import SUFFIXES, Video
from rigpose_training.data.labelled import LabelledImage
from rigpose_training.data.loaders import DLCLoader
from rigpose_training.evaluation.paf_calibration import paf_calibration
from rigpose_training.pose_config.files import read_pose_config
from rigpose_training.project.config import ProjectConfig
from rigpose_training.project.shuffle import Shuffle, Snapshot, find_shuffle, scorer_from_paths
from rigpose_training.scene.world import Scene
from rigpose_training.spec import model_spec
from rigpose_training.task import Task

LOG = logging.getLogger(__name__)
PROOF_FRAMES = 8
"""Frames that parity is proved on; some of them become the golden frames."""
FRAMES_APART = 10
"""Between the frames of a video that are looked at."""


@dataclass(frozen=True)
class ExportSource:
    """Everything an export reads.

    Attributes:
        config: The whole ``pytorch_config.yaml``.
        config_path: Where it is.
        snapshot: The weights.
        detector: The weights of a top-down pair's detector; none for other models, and where there are none.
        scorer: DeepLabCut's name for the predictions.
        skeleton: Pairs of keypoint names to draw.
        display: Drawing defaults.
        frames: Frames of one size to prove parity on, uint8 BGR.
        animals: (N, K, 2) per frame, labelled keypoints [frame px], NaN where one is not visible; nothing where
            nobody labelled the frames.
        frames_described: Where they came from, for the certificate.
        described: Where the weights came from, for the manifest.
        calibration: How far the keypoints of labelled animals lie apart, for a model with part affinity fields; none
            for other models, and where nobody labelled enough animals.
        tested: Labelled images that the network was not trained on; nothing where nobody labelled any.
        trained: Labelled images that it was trained on.
        given: Videos, images or folders of images that the user named.
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
    detector: Path | None = None
    animals: tuple[Floats, ...] = ()
    calibration: PafCalibration | None = None
    tested: tuple[LabelledImage, ...] = ()
    trained: tuple[LabelledImage, ...] = ()
    given: tuple[Path, ...] = ()


def shuffle_source(
    project: ProjectConfig,
    *,
    shuffle: int,
    trainset_index: int = 0,
    snapshot: int | str = -1,
    detector_snapshot: int | str | None = None,
    model_prefix: str = "",
) -> ExportSource:
    """The export of a project's shuffle; parity is proved on its labelled images, the test images first.

    Args:
        project: The project.
        shuffle: Its number.
        trainset_index: Index into ``TrainingFraction``.
        snapshot: Index into the snapshots (the best is last), or a file's name.
        detector_snapshot: The same for the detector of a top-down pair; none for the project's
            ``detector_snapshotindex``.
        model_prefix: DeepLabCut's ``modelprefix``.

    Raises:
        ProjectError: No such shuffle or snapshot.
    """
    found = find_shuffle(project, index=shuffle, trainset_index=trainset_index, model_prefix=model_prefix)
    weights = choose_snapshot(found.snapshots(), snapshot, found.train_folder)
    config = read_pose_config(found.pose_config_path)
    detector = _detector(project, found, config, detector_snapshot)
    loader = DLCLoader(project.path, trainset_index=trainset_index, shuffle=shuffle, modelprefix=model_prefix)
    frames, labelled = _one_size((image.path, image) for mode in ("test", "train") for image in loader.images(mode))
    return ExportSource(
        config=config,
        config_path=found.pose_config_path,
        snapshot=weights,
        scorer=found.scorer(str(config.get("net_type") or "network"), weights, detector=detector),
        skeleton=project.skeleton,
        display=Display(project.pcutoff, project.colormap, project.dotsize),
        frames=frames,
        frames_described="labelled images of the project, the test split first",
        described=f"shuffle {found.name} of {project.root.name}",
        detector=detector,
        animals=labelled,
        calibration=_calibration(loader),
        tested=tuple(loader.images("test")),
        trained=tuple(loader.images("train")),
    )


def pair_source(
    config_path: Path, snapshot: Path, *, detector: Path | None = None, frames: Sequence[Path] = ()
) -> ExportSource:
    """The export of a bare ``pytorch_config.yaml`` and snapshot.

    Args:
        config_path: The configuration.
        snapshot: The weights.
        detector: Those of a top-down pair's detector.
        frames: Videos, images or folders of images to prove parity on; without them, drawn frames.

    Raises:
        ProjectError: No such snapshot, or a detector that the configuration has no use for.
    """
    config = read_pose_config(config_path)
    for path in (snapshot, detector):
        if path is not None and not path.is_file():
            raise ProjectError(f"{path}: there is no such snapshot; check the path.")
    if detector is not None:
        _check_pair(config, config_path)
    found = (
        _one_size(_given(frames))[0] if frames else tuple(Scene(seed=0, size=(256, 320)).frame(t)[0] for t in range(8))
    )
    return ExportSource(
        config=config,
        config_path=config_path,
        snapshot=snapshot,
        scorer=scorer_from_paths(config_path, config, snapshot, detector),
        skeleton=(),
        display=Display(),
        frames=found,
        frames_described=", ".join(f.name for f in frames) if frames else "drawn frames (give real ones with --frames)",
        described=f"config {config_path.name} and snapshot {snapshot.name}",
        detector=detector,
        given=tuple(frames),
    )


def frames_given(paths: Sequence[Path], most: int) -> Iterator[Frames]:
    """At most so many frames of videos, images and folders of images, about as many of each path.

    Of a video they are spread over its beginning, since it is read from the front; neighbours look alike.

    Raises:
        MediaError: One cannot be read.
    """
    chosen = [paths[row] for row in spread(len(paths), most)]
    share = most // max(len(chosen), 1)
    for path in chosen:
        if path.suffix.lower() in SUFFIXES and not path.is_dir():
            with Video(path) as video:
                step = min(max((video.frames_reported or 0) // share, 1), FRAMES_APART)
                yield from (frame.image for frame in islice(video.frames(), 0, share * step, step))
        else:
            pictures = _pictures(path)
            yield from (_picture(pictures[row]) for row in spread(len(pictures), share))


def spread(count: int, most: int) -> list[int]:
    """At most so many of ``count`` rows, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist() if count else []


def _calibration(loader: DLCLoader) -> PafCalibration | None:
    if not isinstance(model_spec(loader.model_cfg).grouping, PafGrouping):
        return None
    try:
        return paf_calibration(loader)
    except RigposeError as error:
        # Nothing else needs all of the training images, and most runs do not use a calibration.
        LOG.info("%s: the bundle gets no calibration: %s", loader.model_config_path, error)
        return None


def _detector(
    project: ProjectConfig, shuffle: Shuffle, config: Mapping[str, Any], wanted: int | str | None
) -> Path | None:
    """The detector's snapshot of a top-down shuffle, or none where it has none."""
    if Task(config.get("method") or "bu") is not Task.TOP_DOWN:
        if wanted is not None:
            _check_pair(config, shuffle.pose_config_path)
        return None
    snapshots = shuffle.snapshots(prefix=Task.DETECT.snapshot_prefix)
    if not snapshots and wanted is None:
        return None
    index = project.detector_snapshot_index if wanted is None else wanted
    # "all" is for evaluation; a bundle has one detector, and the last is the best.
    return choose_snapshot(snapshots, -1 if index == "all" else index, shuffle.train_folder)


def _check_pair(config: Mapping[str, Any], path: Path) -> None:
    if Task(config.get("method") or "bu") is not Task.TOP_DOWN:
        raise ProjectError(f"{path}: is no top-down model, so it has no detector; leave the detector's snapshot out.")


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


def _given(paths: Sequence[Path]) -> Iterator[tuple[Frames | Path, None]]:
    for path in paths:
        if path.suffix.lower() in SUFFIXES and not path.is_dir():
            with Video(path) as video:
                yield from ((frame.image, None) for frame in islice(video.frames(), PROOF_FRAMES))
        else:
            yield from ((picture, None) for picture in _pictures(path))


def _pictures(path: Path) -> list[Path]:
    """The pictures of a folder, or the one that a path is."""
    if not path.is_dir():
        return [path]
    return sorted(p for p in path.iterdir() if p.suffix.lower() in (".png", ".jpg", ".jpeg"))


def _one_size(
    given: Iterable[tuple[Frames | Path, LabelledImage | None]],
) -> tuple[tuple[Frames, ...], tuple[Floats, ...]]:
    """The first frames that have the first one's size, and the keypoints that are labelled in them."""
    chosen: list[Frames] = []
    animals: list[Floats] = []
    for what, image in given:
        frame = _picture(what) if isinstance(what, Path) else what
        if not chosen or frame.shape == chosen[0].shape:
            chosen.append(frame)
            if image is not None:
                animals.append(image.xy)
        if len(chosen) == PROOF_FRAMES:
            break
    if not chosen:
        raise ConfigError("no frames to prove parity on; give a video or images with --frames.")
    return tuple(chosen), tuple(animals)


def _picture(path: Path) -> Frames:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise MediaError(f"{path}: cannot be read as a picture; check the file.")
    return picture  # type: ignore[return-value]
