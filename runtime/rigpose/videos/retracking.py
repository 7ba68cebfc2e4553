"""The animals of an analysed video -> its tracks once more, without running the network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rigpose.arrays import Floats
from rigpose.errors import ResultError
from rigpose.files.animal_files import write_tracks
from rigpose.files.pickles import UNREADABLE, load_arrays
from rigpose.files.results import UNIQUE, ResultFiles
from rigpose.grouping.identity import assign_identity
from rigpose.lock import only_process
from rigpose.poses import Poses
from rigpose.schema import convert
from rigpose.tracking import SUFFIXES, TrackingSettings, track
from rigpose.videos.metadata import read_meta


@dataclass(frozen=True)
class Retracked:
    """What came of one video.

    Attributes:
        h5: The table of tracks.
        tracks: Their number.
        tracklets: The number of pieces that they were made of.
        frames: The number of rows, which are camera frames.
    """

    h5: Path
    tracks: int
    tracklets: int
    frames: int


def track_again(
    video: Path,
    *,
    results: Path | None = None,
    settings: TrackingSettings,
    animals: int | None = None,
    save_csv: bool = True,
) -> Retracked:
    """Write the tracks of a video and its table anew, from the animals that an analysis found.

    The analysis may be DeepLabCut's.

    Args:
        video: The video.
        results: A file of the analysis; none for the only one beside the video.
        settings: How to follow the animals.
        animals: How many there are; none for as many as the model's individuals.
        save_csv: Whether the tables are wanted as text, too.

    Raises:
        ResultError: There is no analysis or there are several, one of its files is damaged, or the tracks cannot be
            written.
    """
    files = ResultFiles.including(find_assemblies(video) if results is None else results)
    if not files.stem.startswith(video.stem):
        raise ResultError(f"{results}: is not of {video.name}, whose results begin with its name; name those.")
    if results is not None and not results.exists():
        raise ResultError(f"{results}: there is no such file; run rigpose analyze first.")
    with only_process(files.lock):
        found = read_assemblies(files)
        count = len(found.individuals) if animals is None else animals
        tracks = track(found.frames, settings, animals=count)
        suffix = SUFFIXES[settings.method]
        write_tracks(
            files, found.frames, tracks, spec=found, scorer=found.scorer, suffix=suffix, save_csv=save_csv
        )  # fmt: skip
    return Retracked(files.tracks(suffix), tracks.rows.shape[1], len(tracks.tracklets), len(found.frames))


def find_assemblies(video: Path) -> Path:
    """The only ``_assemblies.pickle`` beside a video.

    Raises:
        ResultError: There is none, or more than one.
    """
    files = sorted(video.parent.glob("*_assemblies.pickle"))
    found = [path for path in files if path.name.startswith(f"{video.stem}DLC_")]
    if not found:
        raise ResultError(
            f"{video}: has no analysis of several animals beside it; run rigpose analyze, or name --results."
        )
    if len(found) > 1:
        raise ResultError(
            f"{video}: has several analyses, name one with --results: {', '.join(path.name for path in found)}."
        )
    return found[0]


@dataclass(frozen=True)
class Assemblies:
    """The animals that an analysis found, and whose they are.

    Attributes:
        frames: Per camera frame its animals; None for one that could not be decoded.
        scorer: DeepLabCut's name for who made the predictions.
        keypoints: K names.
        individuals: N names.
        unique_keypoints: U names.
    """

    frames: list[Poses | None]
    scorer: str
    keypoints: tuple[str, ...]
    individuals: tuple[str, ...]
    unique_keypoints: tuple[str, ...]


def read_assemblies(files: ResultFiles) -> Assemblies:
    """Read ``_assemblies.pickle`` and what ``_meta.pickle`` says about it.

    Raises:
        ResultError: One is missing or damaged, or they are not of the same analysis.
    """
    meta = read_meta(files.meta)
    if meta is None:
        raise ResultError(f"{files.meta}: is missing, and with it the names of the keypoints; analyse the video again.")

    def fact(form: Any, key: str) -> Any:
        return convert(form, meta.get(key), where=f"{files.meta}: {key}")

    keypoints, individuals = fact(tuple[str, ...], "bodyparts"), fact(tuple[str, ...], "individuals")
    unique_keypoints = fact(tuple[str, ...], "unique_bodyparts")
    ours = convert(dict[str, Any], meta.get("rigpose", {}), where=f"{files.meta}: rigpose")
    lost = convert(tuple[int, ...], ours.get("missing_frames", []), where=f"{files.meta}: missing_frames")
    try:
        content = load_arrays(files.assemblies.read_bytes(), files.assemblies, error=ResultError)
        frames: list[Poses | None] = [
            _poses(content[frame], content[UNIQUE].get(frame), len(keypoints), len(individuals))
            for frame in range(fact(int, "nframes"))
        ]
    except FileNotFoundError as cause:
        raise ResultError(f"{files.assemblies}: there is no such file; run rigpose analyze first.") from cause
    except (OSError, *UNREADABLE) as cause:
        raise ResultError(
            f"{files.assemblies} is damaged or not of the analysis that {files.meta.name} is of; analyse the video "
            "again with --overwrite."
        ) from cause
    for frame in lost:
        frames[frame] = None
    return Assemblies(frames, fact(str, "Scorer"), keypoints, individuals, unique_keypoints)


def _poses(animals: Any, unique: Floats | None, keypoints: int, individuals: int) -> Poses:
    """The animals of a frame from DeepLabCut's array (n, K, 4)."""
    found = np.asarray(animals, np.float64).reshape(-1, keypoints, 4)
    # DeepLabCut leaves rows of -1 for animals that were not found, where the model tells individuals apart.
    found = found[~(found[..., :3] == -1).all(axis=(1, 2))]
    xy = found[..., :2].astype(np.float32)
    there = np.isfinite(xy).all(axis=-1)
    score = np.where(there, found[..., 2], np.nan).astype(np.float32)
    poses = Poses(xy, score, unique=None if unique is None else np.asarray(unique, np.float32).reshape(-1, 3))
    looks = np.where(there, found[..., 3], -1).astype(int)
    if (looks < 0).all():
        return poses
    scores = np.zeros((*looks.shape, individuals), np.float32)
    np.put_along_axis(scores, looks.clip(min=0)[..., None], (looks >= 0)[..., None], axis=-1)
    return assign_identity(replace(poses, identity_scores=scores))
