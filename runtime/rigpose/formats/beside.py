"""What lies beside a result and is needed in another format: its video, its times, its skeleton."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from rigpose.arrays import Floats
from rigpose.errors import ConfigError, ResultError
from rigpose.files.results import ResultFiles, Results
from rigpose.live.recording.read import read_recording
from rigpose.live.recording.recording_files import RecordingFiles
from rigpose.live.recording.side_car import read_header
from rigpose.schema import convert
from rigpose.videos.metadata import read_meta
from rigpose.videos.video import SUFFIXES, Video


@dataclass(frozen=True)
class Asked:
    """What the user says about the recording.

    Attributes:
        video: The file; none for the one beside the results.
        frames_per_second: None for the video's.
        times: A file with the time [s] of each frame; none for frame number / rate.
        began: When the recording began, with its time zone.
    """

    video: Path | None = None
    frames_per_second: float | None = None
    times: Path | None = None
    began: datetime | None = None


@dataclass(frozen=True, eq=False)
class Footage:
    """What is known of a result's video.

    Attributes:
        video: The file; none where it is not at hand.
        frames_per_second: Of the camera.
        frame_size: (height, width) of the whole frame [px], where they are known.
        offset: (x, y) of the analysed part's first pixel in the whole frame [px].
        times: (F,) of the frames [s] where they are known one by one.
        times_from: Who knows them.
        began: When the time was 0.
        notes: Sentences for the user about what is less than exact.
    """

    video: Path | None
    frames_per_second: float
    frame_size: tuple[int, int] | None = None
    offset: tuple[int, int] = (0, 0)
    times: Floats | None = None
    times_from: str = ""
    began: datetime | None = None
    notes: tuple[str, ...] = ()


def find_footage(path: Path, found: Results, asked: Asked) -> Footage:
    """What is known of a result's video: what the user says, else the video, else the metadata beside the result.

    Of a recording of ``rigpose live`` the side-car knows the time of each frame's exposure.

    Raises:
        ConfigError: Nobody knows the frame rate, or a file of times is none.
        LiveError: The side-car of a recording is damaged.
        MediaError: The video cannot be read.
        ResultError: The metadata is damaged, or several videos could be the one.
    """
    files = ResultFiles.including(path)
    meta = read_meta(files.meta) or {}
    video = asked.video or _video_beside(files, found.scorer)
    rate, size, reported, notes = asked.frames_per_second, _frame_size(meta, files), 0, []
    if video is not None:
        with Video(video) as source:
            rate, size, reported = rate or source.frames_per_second, source.full_size, source.frames_reported or 0
    times, times_from, began = _times(files, found, asked)
    if times is not None and not asked.frames_per_second:
        rate = _rate_of(times) or rate
    if not rate and (known := meta.get("fps")):
        rate = float(known)
        notes.append(f"the frame rate {rate:g} is the metadata's, which rounds it to two decimals (--video or --fps)")
    if not rate:
        raise ConfigError(f"{path}: neither a video nor metadata beside it says the frame rate; give --video or --fps.")
    if reported and reported != len(found.xy):
        notes.append(f"{len(found.xy)} frames in the results, {reported} in {video.name if video else 'the video'}")
    return Footage(
        video, float(rate), size, _offset(meta, files), times, times_from, asked.began or began, tuple(notes)
    )


@dataclass(frozen=True)
class Skeleton:
    """Pairs of names of keypoints that are drawn as lines.

    Attributes:
        pairs: None is a skeleton, too.
        said_by: The file that has it; none where no file says anything.
    """

    pairs: tuple[tuple[str, str], ...] = ()
    said_by: Path | None = None

    def check_fits(self, path: Path, found: Results) -> None:
        """Raise ``ConfigError`` unless every keypoint of it is in the results."""
        names = {*found.keypoints, *found.unique_keypoints}
        if strange := [name for pair in self.pairs for name in pair if name not in names]:
            raise ConfigError(
                f"{path}: has no keypoint {strange[0]}, which the skeleton in {self.said_by} joins; name the bundle "
                "that made these results."
            )


def find_skeleton(path: Path, bundle: Path | None) -> Skeleton:
    """The bundle's skeleton, or else that in the metadata beside the result; none where neither has one.

    Raises:
        BundleError: The bundle is damaged.
        ResultError: The metadata is.
    """
    if bundle is not None:
        from rigpose.bundles.bundle import Bundle

        return Skeleton(Bundle.open(bundle).manifest.model.skeleton, bundle)
    meta_path = ResultFiles.including(path).meta
    meta = read_meta(meta_path) or {}
    ours = convert(dict[str, Any], meta.get("rigpose", {}), where=f"{meta_path}: rigpose")
    pairs = convert(tuple[tuple[str, str], ...], ours.get("skeleton", []), where=f"{meta_path}: skeleton")
    return Skeleton(pairs, meta_path if pairs else None)


def _video_beside(files: ResultFiles, scorer: str) -> Path | None:
    stem = files.stem.removesuffix(scorer)
    if stem == files.stem or not files.folder.is_dir():
        return None
    videos = [path for path in sorted(files.folder.iterdir()) if path.stem == stem and path.suffix.lower() in SUFFIXES]
    if len(videos) > 1:
        names = ", ".join(path.name for path in videos)
        raise ResultError(f"{files.h5}: could be of several videos, name one with --video: {names}.")
    return videos[0] if videos else None


def _frame_size(meta: dict[str, Any], files: ResultFiles) -> tuple[int, int] | None:
    """Of the whole frame; the metadata of a cropped analysis has that of the part."""
    if meta.get("cropping") or "frame_dimensions" not in meta:
        return None
    # DeepLabCut's own are numbers of another kind, which may be strangers here.
    width, height = convert(tuple[float, float], meta["frame_dimensions"], where=f"{files.meta}: frame_dimensions")
    return int(height), int(width)


def _offset(meta: dict[str, Any], files: ResultFiles) -> tuple[int, int]:
    if not meta.get("cropping"):
        return 0, 0
    where = f"{files.meta}: cropping_parameters"
    x1, _, y1, _ = convert(tuple[int, int, int, int], meta.get("cropping_parameters"), where=where)
    return x1, y1


def _times(files: ResultFiles, found: Results, asked: Asked) -> tuple[Floats | None, str, datetime | None]:
    """Time of each frame [s], who knows them, and when the time was 0."""
    if asked.times is not None:
        return _read_times(asked.times), str(asked.times), None
    recorded = RecordingFiles(files.folder, files.stem.removesuffix(found.scorer))
    if asked.frames_per_second or not recorded.side_car.is_file():
        return None, "", None
    recording = read_recording(files.folder, read_header(recorded.side_car).camera)
    if not len(recording):
        return None, "", None
    began = datetime.fromtimestamp(float(recording.wall_clock[0]), timezone.utc)
    return recording.exposed - recording.exposed[0], str(recorded.side_car), began


def _read_times(path: Path) -> Floats:
    """(F,) the numbers in a ``.npy``, or in a text with one per line."""
    try:
        times = np.load(path) if path.suffix == ".npy" else np.loadtxt(path, ndmin=1)
        times = np.asarray(times, float)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: no .npy file and no text with a time in seconds on each line ({error}).") from error
    if times.ndim != 1 or not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise ConfigError(
            f"{path}: the times must be one row of seconds, each later than the one before; correct them."
        )
    return times


def _rate_of(times: Floats) -> float:
    """Frames per second: a dropped frame does not change the median."""
    return float(1 / np.median(np.diff(times))) if len(times) > 1 else 0.0
