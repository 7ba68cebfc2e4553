"""The files of an evaluation, named and laid out as DeepLabCut does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rigpose.errors import ResultError
from rigpose.metrics import Metrics
from rigpose.poses import Poses
from rigpose.results import image_columns, whole_file
from rigpose_training.data.loaders import DLCLoader, LabelledImage
from rigpose_training.project.shuffle import Snapshot

if TYPE_CHECKING:
    import pandas as pd

COMBINED = "CombinedEvaluation-results.csv"
SCORES_INDEX = [
    "%Training dataset",
    "Shuffle number",
    "Training epochs",
    "Detector epochs (TD only)",
    "pcutoff",
]
# What DeepLabCut writes where there is no detector, and for an animal that was not found.
NO_DETECTOR = -1
NOT_FOUND = -1.0


@dataclass(frozen=True)
class Evaluated:
    """Some labelled images, what was found in them, and how good it is."""

    images: Sequence[LabelledImage]
    poses: list[Poses]
    metrics: Metrics


@dataclass(frozen=True)
class Evaluation:
    """One snapshot on the two parts of its shuffle."""

    loader: DLCLoader
    snapshot: Snapshot
    pcutoff: float | list[float]
    train: Evaluated
    test: Evaluated

    @property
    def scorer(self) -> str:
        """The name that all its files begin with."""
        return self.loader.scorer(self.snapshot)

    def file(self, ending: str) -> Path:
        """The path of one of its files."""
        return self.loader.evaluation_folder / f"{self.scorer}{ending}"


def write_evaluation(evaluation: Evaluation, *, per_keypoint: bool = False) -> pd.DataFrame:
    """Write predictions and scores of one snapshot; return its row of scores.

    Files in the shuffle's evaluation folder: ``{scorer}.h5``, ``{scorer}-results.csv`` and, where asked for,
    ``{scorer}-keypoint-results.csv``. The row is also put into ``CombinedEvaluation-results.csv`` one level up,
    in place of an earlier one of the same snapshot and cutoff.

    Raises:
        ResultError: A file cannot be written, or the combined one not be read.
    """
    with whole_file(evaluation.file(".h5")) as temporary:
        predictions_table(evaluation).to_hdf(temporary, key="df_with_missing", mode="w")
    scores = scores_table(evaluation)
    with whole_file(evaluation.file("-results.csv")) as temporary:
        scores.to_csv(temporary)
    if per_keypoint:
        with whole_file(evaluation.file("-keypoint-results.csv")) as temporary:
            keypoints_table(evaluation).to_csv(temporary)
    combined = evaluation.loader.evaluation_folder.parent / COMBINED
    with whole_file(combined) as temporary:
        _updated(combined, scores).to_csv(temporary)
    return scores


def predictions_table(evaluation: Evaluation) -> pd.DataFrame:
    """A row per labelled image of the project, in the order of its merged labels; NaN for images in no part."""
    import pandas as pd

    loader = evaluation.loader
    rows = {}
    for part in (evaluation.train, evaluation.test):
        for image, poses in zip(part.images, part.poses, strict=True):
            rows[image.path.parts[-3:]] = _row(poses, len(loader.individuals))
    columns = image_columns(evaluation.scorer, loader.individuals, loader.bodyparts)
    index = pd.MultiIndex.from_tuples([tuple(name.split("/")) for name in loader.labels.images])
    missing = np.full(len(columns), np.nan, np.float32)
    return pd.DataFrame(np.stack([rows.get(name, missing) for name in index]), index=index, columns=columns)


def scores_table(evaluation: Evaluation) -> pd.DataFrame:
    """The one row of ``-results.csv``."""
    import pandas as pd

    shuffle, pcutoff = evaluation.loader.shuffle, evaluation.pcutoff
    listed = ", ".join(map(str, pcutoff)) if isinstance(pcutoff, list) else pcutoff
    names = [shuffle.train_fraction, shuffle.index, evaluation.snapshot.epoch, NO_DETECTOR, listed]
    scores: dict[str, object] = dict(zip(SCORES_INDEX, names, strict=True))
    for name, part in (("train", evaluation.train), ("test", evaluation.test)):
        for metric in ("rmse", "rmse_pcutoff", "mAP", "mAR"):
            scores[f"{name} {metric}"] = round(getattr(part.metrics, metric), 2)
    return pd.DataFrame([scores]).set_index(SCORES_INDEX)


def keypoints_table(evaluation: Evaluation) -> pd.DataFrame:
    """Mean error of each keypoint, train and test [image px]."""
    import pandas as pd

    return pd.DataFrame(
        [evaluation.train.metrics.per_keypoint, evaluation.test.metrics.per_keypoint],
        index=pd.Index(["Train error (px)", "Test error (px)"]),
        columns=pd.Index(evaluation.loader.bodyparts),
    )


def _row(poses: Poses, individuals: int) -> np.ndarray:
    """(N * K * 3,) x, y [image px], likelihood of each individual's keypoints in turn."""
    row = np.full((individuals, poses.keypoints, 3), NOT_FOUND, np.float32)
    row[: len(poses)] = poses.to_array()[:individuals]
    return row.ravel()


def _updated(path: Path, scores: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    if not path.exists():
        return scores
    try:
        former = pd.read_csv(path, index_col=list(range(len(SCORES_INDEX))))
    except (OSError, ValueError) as error:
        raise ResultError(
            f"{path}: cannot be read as a table of scores ({str(error).strip()}); move it away and evaluate again."
        ) from error
    # As text, since the cutoff may be a number in one row and a list in another.
    new = {tuple(map(str, row)) for row in scores.index}
    kept = former[[tuple(map(str, row)) not in new for row in former.index]]
    both = pd.concat([kept, scores]) if len(kept) else scores
    return both.sort_index(key=lambda level: level.map(str) if level.name == "pcutoff" else level)
