"""DeepLabCut's files of several animals in a video: keypoints, animals, pieces of tracks, tracks."""

from __future__ import annotations

import pickle
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from rigpose.arrays import Array, Floats
from rigpose.files.animal_rows import joints, places_of
from rigpose.files.results import COORDS, TRACKS_KEY, ResultFiles, animal_columns, whole_file, write_table
from rigpose.poses import Poses
from rigpose.tracking import Tracklet, Tracks

NOTHING = -1.0
"""What DeepLabCut's detections have in the place of an animal that was not found; in no other file of ours."""


class AnimalNames(Protocol):
    """The names of a model's keypoints and animals, as ``ModelSpec`` has them."""

    @property
    def keypoints(self) -> tuple[str, ...]:
        """K names."""
        ...

    @property
    def individuals(self) -> tuple[str, ...]:
        """N names."""
        ...

    @property
    def unique_keypoints(self) -> tuple[str, ...]:
        """U names."""
        ...


def write_detections(
    files: ResultFiles, frames: Collection[Poses | None], spec: AnimalNames, *, box_scores: bool = True
) -> None:
    """Write ``_full.pickle`` and ``_assemblies.pickle``.

    Both are one dict with an entry per frame, as DeepLabCut wants to read them. They are written entry by entry, so
    that writing takes the memory of one frame; whoever reads them needs room for the whole video.

    Args:
        files: Where.
        frames: Per camera frame its animals; None for a lost frame, which holds no animal. Gone through three times.
        spec: Whose keypoints and animals these are.
        box_scores: Whether the animals' scores are those of their boxes; where they are those of rough poses, they are
            not written, as in DeepLabCut.
    """
    _write_dict(files.detections, _detections(frames, spec, box_scores=box_scores))
    _write_dict(files.assemblies, _assemblies(frames, spec))


def write_tracks(  # noqa: PLR0913  # the writer of everything that tracking makes, called in one place
    files: ResultFiles,
    frames: Collection[Poses | None],
    tracks: Tracks,
    *,
    spec: AnimalNames,
    scorer: str,
    suffix: str,
    save_csv: bool,
) -> None:
    """Write the tracklets (``_el.pickle``), the tracks (``_el.h5``) and, last, the video's table with the same poses.

    The table has the key and the name that other tools ask for. A track that is absent from a frame is NaN there; a
    keypoint that was not found in a tracked animal is NaN with likelihood 0. Both tables have a row per camera frame;
    DeepLabCut's own end with the last tracked one.

    Args:
        files: Where.
        frames: Per camera frame its animals; None for a lost frame.
        tracks: Which of them are the same animal.
        spec: Whose keypoints and animals these are. All its animals have columns, so that the tables of a model are
            alike; where there are more tracks than names, they are ind1, ind2, ...
        scorer: DeepLabCut's name for who made the predictions.
        suffix: The tracker's, such as ``_el``.
        save_csv: Whether the tables are wanted as text, too.
    """
    _write_dict(files.tracklets(suffix), _tracklets(frames, tracks, spec, scorer))
    individuals = named_tracks(spec.individuals, tracks.rows.shape[1])
    columns = animal_columns(scorer, individuals, spec.keypoints, spec.unique_keypoints)
    # DeepLabCut has doubles in a table of tracks and single precision in the other.
    for h5, key, dtype in ((files.tracks(suffix), TRACKS_KEY, "f8"), (files.h5, "df_with_missing", "f4")):
        rows = _track_rows(frames, tracks, (len(individuals), len(spec.keypoints), len(spec.unique_keypoints)), dtype)
        write_table(h5, rows, columns=columns, key=key, save_csv=save_csv)


def named_tracks(individuals: tuple[str, ...], tracks: int) -> tuple[str, ...]:
    """The animals' names, all of them, or DeepLabCut's ind1, ind2, ... where there are more tracks than names."""
    return individuals if tracks <= len(individuals) else tuple(f"ind{i + 1}" for i in range(tracks))


def _detections(
    frames: Collection[Poses | None], spec: AnimalNames, *, box_scores: bool
) -> Iterator[tuple[str, dict[str, Any]]]:
    names = [*spec.keypoints, *spec.unique_keypoints]
    yield (
        "metadata",
        {
            "nms radius": None,
            "minimal confidence": None,
            "sigma": 1,
            "PAFgraph": None,
            "PAFinds": np.arange(0),
            "all_joints": [[i] for i in range(len(names))],
            "all_joints_names": names,
            "nframes": len(frames),
            "key_str_width": _key_width(len(frames)),
        },
    )
    absent = Poses.empty(len(spec.keypoints))
    for frame, poses in enumerate(frames):
        yield (
            _key(frame, len(frames)),
            _frame_detections(absent if poses is None else poses, spec, box_scores=box_scores),
        )


def _frame_detections(poses: Poses, spec: AnimalNames, *, box_scores: bool) -> dict[str, Any]:
    """One frame: per keypoint the places (M, 2) and scores (M, 1) of M animals, found ones and others."""
    places = places_of(poses, len(spec.individuals))
    animals = max(len(spec.individuals), len(poses))

    def padded(values: Array) -> Array:
        whole = np.full((animals, *values.shape[1:]), NOTHING, values.dtype)
        whole[places] = values
        return whole

    parts = np.moveaxis(padded(joints(poses.to_array())), 1, 0)  # (K, M, 3)
    unique = _unique(poses, len(spec.unique_keypoints))[:, None]  # (U, 1, 3)
    entry: dict[str, Any] = {
        "coordinates": ([part[:, :2] for part in (*parts, *unique)],),
        "confidence": [part[:, 2:] for part in (*parts, *unique)],
        "costs": None,
    }
    if poses.boxes is not None:
        entry["bboxes"] = padded(poses.boxes)
        if box_scores and poses.animal_score is not None:
            entry["bbox_scores"] = padded(poses.animal_score)
    if poses.identity_scores is not None:
        scores = np.moveaxis(padded(poses.identity_scores), 1, 0)  # (K, M, I)
        nobody = np.full(scores.shape[1:], NOTHING)
        entry["identity"] = [*scores, *(nobody for _ in unique)]
    return entry


def _assemblies(frames: Collection[Poses | None], spec: AnimalNames) -> Iterator[tuple[str | int, Any]]:
    """Per frame its animals (n, K, 4); under ``single`` the unique keypoints (U, 3) of the frames that have them."""
    yield "single", _single(frames, spec)
    absent = Poses.empty(len(spec.keypoints))
    for frame, poses in enumerate(frames):
        found = absent if poses is None else poses
        yield frame, _animals(found)[np.argsort(places_of(found, len(spec.individuals)))]


def _tracklets(
    frames: Collection[Poses | None], tracks: Tracks, spec: AnimalNames, scorer: str
) -> Iterator[tuple[str | int, Any]]:
    """Header, unique keypoints, and per tracklet the frames (K, 4) that it goes through."""
    import pandas as pd

    names = [*spec.keypoints, *spec.unique_keypoints]
    columns = [(scorer, name, coord) for name in names for coord in COORDS]
    yield "header", pd.MultiIndex.from_arrays(list(zip(*columns, strict=True)), names=["scorer", "bodyparts", "coords"])
    if spec.unique_keypoints:
        yield "single", _single(frames, spec)
    yield from _tracklet_contents(frames, tracks.tracklets)


def _tracklet_contents(
    frames: Collection[Poses | None], tracklets: tuple[Tracklet, ...]
) -> Iterator[tuple[int, dict[str, Floats]]]:
    """Number and frames of each tracklet, given up when it ends so that only those under way are in memory."""
    if not tracklets:
        return
    frame_of = np.concatenate([tracklet.frames for tracklet in tracklets])
    row_of = np.concatenate([tracklet.rows for tracklet in tracklets])
    lengths = [len(tracklet.frames) for tracklet in tracklets]
    number_of = np.repeat(np.arange(len(tracklets)), lengths)
    order = np.argsort(frame_of, kind="stable")
    first = np.searchsorted(frame_of[order], np.arange(len(frames) + 1))
    under_way: dict[int, dict[str, Floats]] = {}
    for frame, poses in enumerate(frames):
        here = order[first[frame] : first[frame + 1]]
        if poses is None or not len(here):
            continue
        animals = _animals(poses)
        for number, row in zip(number_of[here].tolist(), row_of[here], strict=True):
            content = under_way.setdefault(number, {})
            content[_key(frame, len(frames))] = animals[row]
            if len(content) == lengths[number]:
                yield number, under_way.pop(number)


def _track_rows(
    frames: Collection[Poses | None], tracks: Tracks, counts: tuple[int, int, int], dtype: str
) -> Iterator[Floats]:
    """Per camera frame ((N * K + U) * 3,) x, y [frame px], likelihood of each track in turn, unique keypoints last."""
    individuals, keypoints, unique = counts
    for poses, row in zip(frames, tracks.rows, strict=True):
        animals = np.full((individuals, keypoints, 3), np.nan, dtype)
        single = np.full((unique, 3), np.nan, dtype)
        if poses is not None:
            present = np.flatnonzero(row >= 0)
            animals[present] = joints(poses.to_array())[row[present]]
            if poses.unique is not None:
                single[:] = _unique(poses, unique)
        yield np.concatenate([animals.ravel(), single.ravel()])


def _animals(poses: Poses) -> Floats:
    """(N, K, 4) x, y [frame px], score, the individual that the keypoint looks like or -1."""
    looks = np.full(poses.score.shape, NOTHING)
    if poses.identity_scores is not None and len(poses):
        looks = poses.identity_scores.argmax(axis=2)
    return np.concatenate([joints(poses.to_array()), looks[..., None]], axis=-1, dtype=np.float64)


def _unique(poses: Poses, count: int) -> Floats:
    """(U, 3) x, y [frame px], score of the unique keypoints; nothing where the frame has none."""
    if poses.unique is None:
        return np.full((count, 3), NOTHING, np.float32)
    return joints(poses.unique)


def _single(frames: Iterable[Poses | None], spec: AnimalNames) -> dict[int, Floats]:
    count = len(spec.unique_keypoints)
    return {
        frame: _unique(poses, count)
        for frame, poses in enumerate(frames)
        if count and poses is not None and poses.unique is not None
    }


def _key_width(frames: int) -> int:
    """Digits of a frame's number in DeepLabCut's keys: of the last frame's, and none for a single frame."""
    return len(str(frames - 1)) if frames > 1 else 0


def _key(frame: int, frames: int) -> str:
    return f"frame{frame:0{_key_width(frames)}d}"


def _write_dict(path: Path, entries: Iterable[tuple[str | int, Any]]) -> None:
    """Write a pickled dict, entry by entry.

    A pickle is a program; entries that were pickled apart may follow each other in it, because up to this protocol each
    numbers the objects that it refers to again, and a later entry takes the numbers of an earlier one.
    """
    protocol = 3

    def program(value: Any) -> bytes:
        head, end = pickle.PROTO + bytes([protocol]), pickle.STOP
        return pickle.dumps(value, protocol)[len(head) : -len(end)]

    with whole_file(path) as temporary, temporary.open("wb") as file:
        file.write(pickle.PROTO + bytes([protocol]) + pickle.EMPTY_DICT)
        for key, value in entries:
            file.write(program(key) + program(value) + pickle.SETITEM)
        file.write(pickle.STOP)
