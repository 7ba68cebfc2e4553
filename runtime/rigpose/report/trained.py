"""What a training and its evaluations left on disk: csv files, and predictions beside labels."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rigpose.arrays import Floats
from rigpose.errors import ResultError
from rigpose.files.pickles import UNREADABLE, load_arrays, read_hdf
from rigpose.files.results import Results, read_results
from rigpose.measures.metrics import pair_poses
from rigpose.poses import Poses

Curve = list[tuple[float, float]]
"""Step, value."""
_PARTS = ("-pck-results", "-detector-results", "-keypoint-results", "-results")


@dataclass(frozen=True)
class Evaluated:
    """One snapshot's evaluation.

    Attributes:
        scorer: What its files begin with.
        tables: By ending, such as ``-results``: the rows of its csv file, the header first.
        predictions: The ``.h5`` with every labelled image; none where it is not there.
    """

    scorer: str
    tables: dict[str, list[list[str]]]
    predictions: Path | None


@dataclass(frozen=True)
class LabelledFrame:
    """A labelled image and what was found in it.

    Attributes:
        image: Path of the image.
        part: ``train`` or ``test``; empty where nobody knows.
        predicted: The animals that were found.
        truth: (N, K, 2) labels [image px].
        errors: (M, K) of the animals that were paired [image px]; NaN where the label or the prediction is missing.
    """

    image: Path
    part: str
    predicted: Poses
    truth: Floats
    errors: Floats


@dataclass(frozen=True)
class Compared:
    """Predictions against labels.

    Attributes:
        keypoints: K names.
        frames: Of the images with labels.
    """

    keypoints: tuple[str, ...]
    frames: tuple[LabelledFrame, ...]


def learning_curves(path: Path) -> dict[str, Curve]:
    """The columns of a ``learning_stats.csv``, by name; nothing where there is no such file.

    Raises:
        ResultError: It cannot be read.
    """
    if not path.is_file():
        return {}
    header, *rows = _rows(path) or [[]]
    if not header or header[0] != "step":
        raise ResultError(f"{path}: is no log of a training, whose first column is step; train again.")
    curves: dict[str, Curve] = {name: [] for name in header[1:]}
    for row in rows:
        for name, text in zip(header[1:], row[1:], strict=False):
            value = _number(text)
            if np.isfinite(value):
                curves[name].append((_number(row[0]), value))
    return {name: curve for name, curve in curves.items() if curve}


def evaluations(train: Path) -> list[Evaluated]:
    """Every evaluation of a shuffle, by snapshot, the last one last.

    Args:
        train: The shuffle's ``train`` folder.
    """
    folder = _evaluation_folder(train)
    if not folder.is_dir():
        return []
    found: dict[str, dict[str, list[list[str]]]] = {}
    for path in sorted(folder.glob("*-results.csv")):
        ending = next(ending for ending in _PARTS if path.stem.endswith(ending))
        found.setdefault(path.stem.removesuffix(ending), {})[ending] = _rows(path)
    made = [
        Evaluated(scorer, tables, predictions if (predictions := folder / f"{scorer}.h5").is_file() else None)
        for scorer, tables in found.items()
    ]
    return sorted(made, key=lambda one: [int(number) for number in re.findall(r"\d+", one.scorer)])


def compared(train: Path, evaluated: Evaluated) -> Compared | None:
    """Predictions laid beside the labels of the shuffle; none where either is not on disk.

    Raises:
        ResultError: A file that is there and cannot be read.
    """
    labels = _labels(train)
    if evaluated.predictions is None or labels is None:
        return None
    found = read_results(evaluated.predictions)
    names = [_name(row) for row in read_hdf(evaluated.predictions, error=ResultError).index]
    labelled = {_name(row): i for i, row in enumerate(read_hdf(labels, error=ResultError).index)}
    xy = _in_order(read_results(labels), found.keypoints)
    parts = _split(train, labels.parent)
    project = _project(train)
    rows = [(row, labelled[name]) for row, name in enumerate(names) if name in labelled]
    rows = [(row, number) for row, number in rows if np.isfinite(xy[number]).any()]
    predicted = [_there(found.poses(row)) for row, _ in rows]
    wanted = [xy[number][np.isfinite(xy[number]).any(axis=(1, 2))] for _, number in rows]
    # All at once, as whether there are several animals is asked of all frames.
    pairs = pair_poses(predicted, wanted)
    return Compared(
        found.keypoints,
        tuple(
            LabelledFrame(
                project.joinpath(*names[row]), parts.get(number, ""), poses, truth, pairs.error[pairs.frame == i]
            )
            for i, ((row, number), poses, truth) in enumerate(zip(rows, predicted, wanted, strict=True))
        ),
    )


def _there(poses: Poses) -> Poses:
    return Poses(poses.xy, poses.score).take(np.flatnonzero(np.isfinite(poses.xy).any(axis=(1, 2))))


def _in_order(labels: Results, keypoints: tuple[str, ...]) -> Floats:
    """(F, N, K, 2) labels of these keypoints; NaN where there are none."""
    place = {name: i for i, name in enumerate(labels.keypoints)}
    xy = np.full((*labels.xy.shape[:2], len(keypoints), 2), np.nan, labels.xy.dtype)
    for i, name in enumerate(keypoints):
        if name in place:
            xy[:, :, i] = labels.xy[:, :, place[name]]
    return xy


def _name(row: object) -> tuple[str, ...]:
    """Parts of an image's path, as newer tables have them and older ones write in one text."""
    return tuple(str(part) for part in row) if isinstance(row, tuple) else tuple(re.split(r"[/\\]", str(row)))


def _project(train: Path) -> Path:
    return train.absolute().parents[3]


def _evaluation_folder(train: Path) -> Path:
    shuffle = train.absolute().parent
    return _project(train) / "evaluation-results-pytorch" / shuffle.parent.name / shuffle.name


def _labels(train: Path) -> Path | None:
    """The merged labels of the shuffle's iteration; none where they are not there, or are more than one."""
    iteration = train.absolute().parents[1].name
    found = sorted((_project(train) / "training-datasets" / iteration).glob("*/CollectedData_*.h5"))
    return found[0] if len(found) == 1 else None


def _split(train: Path, dataset: Path) -> dict[int, str]:
    """Of every labelled image its part; nothing where the split is not on disk."""
    shuffle = train.absolute().parent.name
    number, percent = re.search(r"shuffle(\d+)$", shuffle), re.search(r"trainset(\d+)shuffle", shuffle)
    if number is None or percent is None:
        return {}
    found = sorted(dataset.glob(f"Documentation_data-*_{percent[1]}shuffle{number[1]}.pickle"))
    if len(found) != 1:
        return {}
    try:
        _, train_rows, test_rows, *_ = load_arrays(found[0].read_bytes(), found[0], error=ResultError)
        return {int(row): part for part, rows in (("train", train_rows), ("test", test_rows)) for row in rows}
    except (OSError, *UNREADABLE) as error:
        raise ResultError(f"{found[0]}: is no split of a shuffle; create the training dataset again.") from error


def _rows(path: Path) -> list[list[str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ResultError(f"{path}: cannot be read ({error}); train or evaluate again.") from error


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
