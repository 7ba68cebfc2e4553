"""An analysed video: its file, its poses, and what the analysis wrote down about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rigpose.bundles.bundle import Display
from rigpose.errors import MediaError
from rigpose.files.results import ResultFiles, Results, read_results
from rigpose.schema import convert, parse
from rigpose.videos.labelled_video import find_results
from rigpose.videos.metadata import read_meta
from rigpose.videos.video import SUFFIXES, Crop


@dataclass(frozen=True)
class Recording:
    """An analysed video.

    Attributes:
        video: The file.
        table: Its results.
        results: The same, read: a row per camera frame.
        lost: Rows whose frame could not be decoded.
        crop: What the analysis was cropped to; coordinates count from its corner.
        pcutoff: The project's, at the time of the export.
        frames_per_second: Of the video; 0 where it is not known.
        project: The project that the model was trained in, as it was then called; none where it is not known.
    """

    video: Path
    table: Path
    results: Results
    lost: tuple[int, ...] = ()
    crop: Crop | None = None
    pcutoff: float = 0.6
    frames_per_second: float = 0.0
    project: Path | None = None


def open_recording(path: Path, *, video: Path | None = None) -> Recording:
    """An analysed video by its table of results, or by itself if its results are beside it.

    Args:
        path: A ``.h5`` or ``.csv`` table, or a video.
        video: The video of a table that is elsewhere; none for the one beside the table.

    Raises:
        ResultError: No results, or several of one video, or they cannot be read.
        MediaError: No video to the table.
    """
    if path.suffix.lower() in SUFFIXES:
        table, video = find_results(path), path
    else:
        table = path
    results = read_results(table)
    video = video or _video_of(table, results.scorer)
    if not video.is_file():
        raise MediaError(f"{video}: there is no such video file; check the name.")
    meta_path = ResultFiles.including(table).meta
    return _with_facts(Recording(video, table, results), read_meta(meta_path) or {}, meta_path)


def _video_of(table: Path, scorer: str) -> Path:
    """The video in a table's folder whose name and scorer the table's name begins with."""
    found = [
        path
        for path in sorted(table.parent.iterdir())
        if path.suffix.lower() in SUFFIXES and table.stem.startswith(path.stem + scorer)
    ]
    if len(found) != 1:
        count = "no video" if not found else f"{len(found)} videos ({', '.join(path.name for path in found)})"
        raise MediaError(f"{table}: {count} of this name beside it; name the video with --video.")
    return found[0]


def _with_facts(bare: Recording, meta: Mapping[str, Any], path: Path) -> Recording:
    ours = convert(dict[str, Any], meta.get("rigpose", {}), where=f"{path}: rigpose")
    display = parse(Display, ours.get("display", {}), where=f"{path}: display")
    crop = None
    if meta.get("cropping"):
        where = f"{path}: cropping_parameters"
        crop = Crop(*convert(tuple[int, int, int, int], meta.get("cropping_parameters"), where=where))
    rate = meta.get("fps")
    return Recording(
        bare.video,
        bare.table,
        bare.results,
        lost=convert(tuple[int, ...], ours.get("missing_frames", []), where=f"{path}: missing_frames"),
        crop=crop,
        pcutoff=display.pcutoff,
        frames_per_second=float(rate) if isinstance(rate, int | float) else 0.0,
        project=_project(meta.get("pytorch-config")),
    )


def _project(pytorch_config: object) -> Path | None:
    metadata = pytorch_config.get("metadata") if isinstance(pytorch_config, Mapping) else None
    path = metadata.get("project_path") if isinstance(metadata, Mapping) else None
    return Path(path) if isinstance(path, str) and path else None
