"""DeepLabCut's way to analyse: a project and a shuffle in; the bundle is made once and kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rigpose.analysis import AnalysisOptions
from rigpose.analysis import analyze_videos as analyze_with_bundle
from rigpose.bundle import Bundle, file_sha256
from rigpose.errors import BundleError, MediaError
from rigpose.images import analyze_images as images_with_bundle
from rigpose.load import BundleAnalyzer, load
from rigpose.progress import progress
from rigpose.sessions.onnx_runtime import Device
from rigpose.video import Crop
from rigpose_export.pack import export_bundle
from rigpose_export.source import ExportSource, shuffle_source
from rigpose_training.project.config import ProjectConfig, read_project_config


def analyze_videos(
    config: str | Path,
    videos: str | Path | Sequence[str | Path],
    shuffle: int = 1,
    trainingsetindex: int = 0,
    *,
    snapshot_index: int | str = -1,
    device: Device = "auto",
    options: AnalysisOptions | None = None,
) -> str:
    """Analyse videos or folders of videos with a project's shuffle.

    Args:
        config: The project's ``config.yaml`` or folder; its ``cropping`` and ``batch_size`` are obeyed unless
            ``options`` are given.
        videos: Videos and folders.
        shuffle: The shuffle's number.
        trainingsetindex: Index into ``TrainingFraction``.
        snapshot_index: Which snapshot; -1 is the best.
        device: ``auto``, ``cpu`` or ``cuda``.
        options: Batch, destination, overwriting and so on.

    Returns:
        The scorer's name, a part of every result file's name.

    Raises:
        MediaError: One or more videos could not be analysed; the others are done.
    """
    project = read_project_config(config)
    analyzer = project_analyzer(project, shuffle, trainingsetindex, snapshot_index=snapshot_index, device=device)
    if options is None:
        crop = Crop(*project.cropping) if project.cropping else None
        options = AnalysisOptions(batch=project.batch_size, cropping=crop)
    listed = [videos] if isinstance(videos, (str, Path)) else list(videos)
    report = analyze_with_bundle(analyzer, listed, identity=analyzer.identity(), options=options, show=progress)
    if report.failures:
        raise MediaError(" ".join(sentence for _, sentence in report.failures))
    return analyzer.bundle.manifest.scorer


def analyze_images(
    config: str | Path,
    images: str | Path | Sequence[str | Path],
    shuffle: int = 1,
    trainingsetindex: int = 0,
    *,
    snapshot_index: int | str = -1,
    device: Device = "auto",
    destination: str | Path | None = None,
) -> Path:
    """Analyse images or folders of images with a project's shuffle; return the table's path.

    Raises:
        MediaError: No image can be read.
    """
    project = read_project_config(config)
    analyzer = project_analyzer(project, shuffle, trainingsetindex, snapshot_index=snapshot_index, device=device)
    listed = [images] if isinstance(images, (str, Path)) else list(images)
    return images_with_bundle(analyzer, listed, identity=analyzer.identity(), destination=destination).h5


def project_analyzer(
    project: ProjectConfig,
    shuffle: int,
    trainset_index: int,
    *,
    snapshot_index: int | str = -1,
    device: Device = "auto",
) -> BundleAnalyzer:
    """The analyzer of a shuffle's bundle, which is exported first if there is none for this snapshot."""
    source = shuffle_source(project, shuffle=shuffle, trainset_index=trainset_index, snapshot=snapshot_index)
    return load(kept_bundle(project, source), device=device)


def kept_bundle(project: ProjectConfig, source: ExportSource) -> Bundle:
    """The project's bundle of a snapshot; made if it is missing, damaged or of other weights."""
    folder = bundle_folder(project, source)
    try:
        bundle = Bundle.open(folder)
    except BundleError:
        return export_bundle(source, folder, overwrite=True)
    made_from = bundle.manifest.provenance
    if (made_from.snapshot_sha256, made_from.config_sha256) == (
        file_sha256(source.snapshot),
        file_sha256(source.config_path),
    ):
        return bundle
    return export_bundle(source, folder, overwrite=True)


def bundle_folder(project: ProjectConfig, source: ExportSource) -> Path:
    """Where a project keeps the bundle of a snapshot."""
    return project.root / "exported-models-rigpose" / f"iteration-{project.iteration}" / source.scorer
