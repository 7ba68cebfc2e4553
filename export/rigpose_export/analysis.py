"""DeepLabCut's way to analyse: a project and a shuffle in; the bundle is made once and kept."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from rigpose.bundles.bundle import Bundle, file_sha256
from rigpose.bundles.certificate import read_certificate
from rigpose.errors import BundleError, ConfigError, MediaError
from rigpose.load import BundleAnalyzer, load
from rigpose.progress import progress
from rigpose.schema import suggest
from rigpose.tracking import SUFFIXES, TrackingSettings
from rigpose.videos.analysis import AnalysisOptions
from rigpose.videos.analysis import analyze_videos as analyze_with_bundle
from rigpose.videos.images import ImageOptions, ImagesResult
from rigpose.videos.images import analyze_images as images_with_bundle
from rigpose.videos.video import Crop
from rigpose_export.pack import export_bundle
from rigpose_export.replaced import held_by, lost_from
from rigpose_export.source import ExportSource, pair_source, shuffle_source
from rigpose_training.pose_config.conditions import FileConditions, ModelConditions, read_conditions
from rigpose_training.project.config import ProjectConfig, read_project_config
from rigpose_training.task import Task

LOG = logging.getLogger(__name__)


def analyze_videos(  # noqa: PLR0913  # the names that DeepLabCut's users write
    config: str | Path,
    videos: str | Path | Sequence[str | Path],
    shuffle: int = 1,
    trainingsetindex: int = 0,
    *,
    snapshot_index: int | str | None = None,
    detector_snapshot_index: int | str | None = None,
    device: str | None = None,
    destfolder: str | Path | None = None,
    batch_size: int | None = None,
    cropping: Sequence[int] | None = None,
    save_as_csv: bool = False,
    overwrite: bool = False,
    auto_track: bool = True,
    n_tracks: int | None = None,
) -> str:
    """Analyse videos or folders of videos with a project's shuffle.

    Args:
        config: The project's ``config.yaml`` or folder.
        videos: Videos and folders.
        shuffle: The shuffle's number.
        trainingsetindex: Index into ``TrainingFraction``.
        snapshot_index: Which snapshot, -1 is the best; none for the project's ``snapshotindex``.
        detector_snapshot_index: The same for the detector of a top-down pair; none for ``detector_snapshotindex``.
        device: ``cpu`` or ``cuda``; none or ``auto`` for CUDA where there is a GPU.
        destfolder: Folder of the results; none for each video's own.
        batch_size: Frames that go through the network at once; none for the project's.
        cropping: x1, x2, y1, y2 [frame px], the part to analyse; none for what the project says.
        save_as_csv: Write the tables as text, too.
        overwrite: Analyse again what has a whole result.
        auto_track: Follow several animals, in the way of the project's ``default_track_method``.
        n_tracks: How many; none for the number of individuals.

    Returns:
        The scorer's name, a part of every result file's name.

    A conditional model starts from the poses of the bottom-up model that its ``inference.conditions`` names.

    Raises:
        ConfigError: A top-down shuffle without detector, or a conditional one whose rough poses are in a file; a
            ``default_track_method`` that rigpose does not have.
        MediaError: One or more videos could not be analysed; the others are done.
    """
    project = read_project_config(config)
    tracking = _tracking(project) if auto_track else None
    analyzer = project_analyzer(
        project,
        shuffle,
        trainingsetindex,
        snapshots=Snapshots(snapshot_index, detector_snapshot_index),
        device=device,
    )
    corners = project.cropping if cropping is None else cropping
    options = AnalysisOptions(
        batch=project.batch_size if batch_size is None else batch_size,
        overwrite=overwrite,
        destination=None if destfolder is None else Path(destfolder),
        cropping=None if corners is None else Crop.parse(",".join(map(str, corners))),
        save_csv=save_as_csv,
        tracking=tracking,
        animals=n_tracks,
    )
    report = analyze_with_bundle(
        analyzer, _listed(videos), identity=analyzer.identity(), options=options, show=progress
    )
    if report.failures:
        raise MediaError("; ".join(sentence.rstrip(".") for _, sentence in report.failures) + ".")
    return analyzer.bundle.manifest.scorer


def analyze_images(  # noqa: PLR0913  # the names that DeepLabCut's users write
    config: str | Path,
    images: str | Path | Sequence[str | Path],
    shuffle: int = 1,
    trainingsetindex: int = 0,
    *,
    snapshot_index: int | str | None = None,
    detector_snapshot_index: int | str | None = None,
    device: str | None = None,
    destfolder: str | Path | None = None,
    batch_size: int | None = None,
    save_as_csv: bool = False,
) -> ImagesResult:
    """Analyse images or folders of images with a project's shuffle.

    Args:
        config: The project's ``config.yaml`` or folder.
        images: Images and folders.
        shuffle: The shuffle's number.
        trainingsetindex: Index into ``TrainingFraction``.
        snapshot_index: Which snapshot, -1 is the best; none for the project's ``snapshotindex``.
        detector_snapshot_index: The same for the detector of a top-down pair; none for ``detector_snapshotindex``.
        device: ``cpu`` or ``cuda``; none or ``auto`` for CUDA where there is a GPU.
        destfolder: Folder of the table; none for the first image's own.
        batch_size: Images that go through the network at once; none for the project's.
        save_as_csv: Write the table as text, too.

    Returns:
        The table's path, and which images cannot be read.

    Raises:
        MediaError: No image can be read.
    """
    project = read_project_config(config)
    analyzer = project_analyzer(
        project,
        shuffle,
        trainingsetindex,
        snapshots=Snapshots(snapshot_index, detector_snapshot_index),
        device=device,
    )
    options = ImageOptions(
        batch=project.batch_size if batch_size is None else batch_size,
        destination=None if destfolder is None else Path(destfolder),
        save_csv=save_as_csv,
    )
    scorer = analyzer.bundle.manifest.scorer
    return images_with_bundle(analyzer, _listed(images), scorer=scorer, options=options, show=progress)


@dataclass(frozen=True)
class Snapshots:
    """Which weights to analyse with; none for what the project says.

    Attributes:
        pose: Index or name of the snapshot.
        detector: The same for the detector of a top-down pair.
    """

    pose: int | str | None = None
    detector: int | str | None = None


def project_analyzer(
    project: ProjectConfig,
    shuffle: int,
    trainset_index: int,
    *,
    snapshots: Snapshots | None = None,
    device: str | None = None,
) -> BundleAnalyzer:
    """The analyzer of a shuffle's bundle, which is exported first if there is none for this snapshot.

    Raises:
        ConfigError: A shuffle that cannot find animals in videos by itself.
    """
    chosen = snapshots or Snapshots()
    wanted = project.snapshot_index if chosen.pose is None else chosen.pose
    source = shuffle_source(
        project,
        shuffle=shuffle,
        trainset_index=trainset_index,
        # "all" is for evaluation; an analysis has one network, and the last is the best.
        snapshot=-1 if wanted == "all" else wanted,
        detector_snapshot=-1 if chosen.detector == "all" else chosen.detector,
    )
    method = Task(source.config.get("method") or "bu")
    if method is Task.TOP_DOWN and source.detector is None:
        raise ConfigError(
            f"{source.config_path}: the shuffle's detector has no snapshot, and without boxes a top-down model does "
            "not know where the animals of a video are; train the detector with rigpose train."
        )
    conditions = _conditions_of(project, source) if method is Task.COND_TOP_DOWN else None
    return load(kept_bundle(project, source), device=device or "auto", conditions=conditions)


def _conditions_of(project: ProjectConfig, source: ExportSource) -> Bundle:
    """The bundle of the bottom-up model that a conditional shuffle's configuration names."""
    where = f"{source.config_path}: inference.conditions"
    section = (source.config.get("inference") or {}).get("conditions")
    if section is None:
        raise ConfigError(f"{where}: missing, so there are no rough poses to start from; name a bottom-up shuffle.")
    wanted = read_conditions(section, where=where)
    if isinstance(wanted, FileConditions):
        raise ConfigError(
            f"{where}: names the file {wanted.filepath}, which has no poses of a new video; name a bottom-up shuffle, "
            "e.g. {source: shuffle, shuffle: 1}."
        )
    if isinstance(wanted, ModelConditions):
        rough = pair_source(Path(wanted.config_path), Path(wanted.snapshot_path))
    else:
        project = read_project_config(wanted.config) if wanted.config else project
        rough = shuffle_source(
            project,
            shuffle=wanted.shuffle,
            trainset_index=wanted.trainset_index,
            snapshot=wanted.snapshot or (-1 if wanted.snapshot_index is None else wanted.snapshot_index),
            model_prefix=wanted.modelprefix,
        )
    if Task(rough.config.get("method") or "bu") is not Task.BOTTOM_UP:
        raise ConfigError(
            f"{where}: names a model of method {rough.config['method']}; only a bottom-up one finds rough poses."
        )
    return kept_bundle(project, rough)


def kept_bundle(project: ProjectConfig, source: ExportSource) -> Bundle:
    """The project's bundle of a snapshot; made if it is missing, damaged or of other weights.

    One that is made again holds what the old one held. What it cannot hold any more is logged as a warning.
    """
    folder = bundle_folder(project, source)
    try:
        bundle = Bundle.open(folder)
    except BundleError:
        return _made(source, folder)
    made_from = bundle.manifest.provenance
    if (made_from.snapshot_sha256, made_from.detector_sha256, made_from.config_sha256) == (
        file_sha256(source.snapshot),
        file_sha256(source.detector) if source.detector else None,
        file_sha256(source.config_path),
    ):
        return bundle
    return _made(source, folder)


def _made(source: ExportSource, folder: Path) -> Bundle:
    before = held_by(folder)
    bundle = export_bundle(source, folder, overwrite=True, options=before.options, show=progress)
    for one in read_certificate(bundle).left_out:
        LOG.warning("%s: %s", folder, one.reason)
    lost = lost_from(before, bundle)
    if lost:
        LOG.warning("%s: was made again and no longer holds %s.", folder, ", ".join(lost))
    return bundle


def bundle_folder(project: ProjectConfig, source: ExportSource) -> Path:
    """Where a project keeps the bundle of a snapshot."""
    return project.root / "exported-models-rigpose" / f"iteration-{project.iteration}" / source.scorer


def _tracking(project: ProjectConfig) -> TrackingSettings:
    method = project.track_method
    if method is None:
        return TrackingSettings()
    if method not in SUFFIXES:
        raise ConfigError(
            f"{project.path}: default_track_method: {method!r} is none of {', '.join(SUFFIXES)}"
            f"{suggest(method, SUFFIXES)}; change it, or give auto_track=False."
        )
    return TrackingSettings(method=cast(Any, method))


def _listed(sources: str | Path | Sequence[str | Path]) -> list[str | Path]:
    return [sources] if isinstance(sources, (str, Path)) else list(sources)
