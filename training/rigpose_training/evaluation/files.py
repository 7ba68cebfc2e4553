"""The files of an evaluation, named and laid out as DeepLabCut does, and two more of rigpose's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rigpose.arrays import Floats
from rigpose.errors import ResultError
from rigpose.files.results import image_columns, whole_file
from rigpose.measures.box_metrics import BoxMetrics
from rigpose.measures.metrics import Metrics, percent_correct, percent_correct_by_size
from rigpose.poses import Poses
from rigpose_training.data.loaders import DLCLoader, LabelledImage
from rigpose_training.evaluation.parts import Parts
from rigpose_training.project.config import UNIQUE
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
PCK_PIXELS = (2, 5, 10)
PCK_SHARES = (0.05, 0.1, 0.2)


@dataclass(frozen=True)
class Evaluated:
    """Some labelled images, what was found in them, and how good it is.

    Attributes:
        images: With the labels of the keypoints that count.
        poses: With these keypoints.
        metrics: Of the poses.
        identity: (K,) accuracy [0, 1] of the identity head by keypoint, where there is one.
        boxes: Metrics of the detector, where there is one.
    """

    images: Sequence[LabelledImage]
    poses: list[Poses]
    metrics: Metrics
    identity: Floats | None = None
    boxes: BoxMetrics | None = None


@dataclass(frozen=True)
class Evaluation:
    """One snapshot, or pair of snapshots, on the two parts of its shuffle."""

    loader: DLCLoader
    snapshot: Snapshot
    detector: Snapshot | None
    parts: Parts
    pcutoff: float | list[float]
    train: Evaluated
    test: Evaluated

    @property
    def scorer(self) -> str:
        """The name that all its files begin with."""
        return self.loader.scorer(self.snapshot, self.detector)

    @property
    def by_name(self) -> dict[str, Evaluated]:
        """Both parts, by their names in DeepLabCut's files."""
        return {"train": self.train, "test": self.test}

    def file(self, ending: str) -> Path:
        """The path of one of its files."""
        return self.loader.evaluation_folder / f"{self.scorer}{ending}"


def write_evaluation(evaluation: Evaluation, *, per_keypoint: bool = False) -> pd.DataFrame:
    """Write predictions and scores of one snapshot; return its row of scores.

    DeepLabCut's files in the shuffle's evaluation folder are ``{scorer}.h5``, ``{scorer}-results.csv`` and, where
    asked for, ``{scorer}-keypoint-results.csv``; beside them are ``{scorer}-pck-results.csv`` and, of a top-down pair,
    ``{scorer}-detector-results.csv``, in files of their own since DeepLabCut has no such columns. The row is also put
    into ``CombinedEvaluation-results.csv`` one level up, in place of an earlier one of the same snapshot and cutoff.

    Raises:
        ResultError: A file cannot be written, or the combined one not be read.
    """
    with whole_file(evaluation.file(".h5")) as temporary:
        predictions_table(evaluation).to_hdf(temporary, key="df_with_missing", mode="w")
    scores = scores_table(evaluation)
    tables = {"-results.csv": scores, "-pck-results.csv": pck_table(evaluation)}
    if evaluation.detector is not None:
        tables["-detector-results.csv"] = boxes_table(evaluation)
    if per_keypoint:
        tables["-keypoint-results.csv"] = keypoints_table(evaluation)
    for ending, table in tables.items():
        with whole_file(evaluation.file(ending)) as temporary:
            table.to_csv(temporary)
    combined = evaluation.loader.evaluation_folder.parent / COMBINED
    with whole_file(combined) as temporary:
        _updated(combined, scores).to_csv(temporary)
    return scores


def predictions_table(evaluation: Evaluation) -> pd.DataFrame:
    """A row per labelled image of the project, in the order of its merged labels; NaN for images in no part."""
    import pandas as pd

    loader, parts = evaluation.loader, evaluation.parts
    rows = {}
    for part in evaluation.by_name.values():
        for image, poses in zip(part.images, part.poses, strict=True):
            rows[image.path.parts[-3:]] = _row(poses, len(loader.individuals), len(parts.unique))
    columns = image_columns(evaluation.scorer, loader.individuals, parts.bodyparts)
    if parts.unique:
        columns = columns.append(image_columns(evaluation.scorer, [UNIQUE], parts.unique))
    index = pd.MultiIndex.from_tuples([tuple(name.split("/")) for name in loader.labels.images])
    missing = np.full(len(columns), np.nan, np.float32)
    return pd.DataFrame(np.stack([rows.get(name, missing) for name in index]), index=index, columns=columns)


def scores_table(evaluation: Evaluation) -> pd.DataFrame:
    """The one row of ``-results.csv``."""
    import pandas as pd

    shuffle, pcutoff = evaluation.loader.shuffle, evaluation.pcutoff
    detector_epochs = NO_DETECTOR if evaluation.detector is None else evaluation.detector.epoch
    listed = ", ".join(map(str, pcutoff)) if isinstance(pcutoff, list) else pcutoff
    names = [shuffle.train_fraction, shuffle.index, evaluation.snapshot.epoch, detector_epochs, listed]
    scores: dict[str, object] = dict(zip(SCORES_INDEX, names, strict=True))
    for name, part in evaluation.by_name.items():
        for metric in ("rmse", "rmse_pcutoff", "mAP", "mAR"):
            scores[f"{name} {metric}"] = round(getattr(part.metrics, metric), 2)
        if part.identity is not None:
            for keypoint, accuracy in zip(evaluation.parts.bodyparts, part.identity, strict=True):
                scores[f"{name} id_head_{keypoint}_accuracy"] = round(float(accuracy), 2)
    return pd.DataFrame([scores]).set_index(SCORES_INDEX)


def keypoints_table(evaluation: Evaluation) -> pd.DataFrame:
    """Mean error of each keypoint, unique ones last, train and test [image px]."""
    import pandas as pd

    return pd.DataFrame(
        [evaluation.train.metrics.per_keypoint, evaluation.test.metrics.per_keypoint],
        index=pd.Index(["Train error (px)", "Test error (px)"]),
        columns=pd.Index(evaluation.parts.names),
    )


def pck_table(evaluation: Evaluation) -> pd.DataFrame:
    """Percentage of the animals' keypoints found within some image px, and within shares of the animal's size."""
    import pandas as pd

    rows = []
    for part in evaluation.by_name.values():
        truth = [image.xy for image in part.images]
        row = {f"PCK@{px}px": percent_correct(part.poses, truth, within=px) for px in PCK_PIXELS}
        row |= {f"PCK@{share}": percent_correct_by_size(part.poses, truth, share=share) for share in PCK_SHARES}
        rows.append(row)
    return pd.DataFrame(rows, index=pd.Index(["Train", "Test"])).round(2)


def boxes_table(evaluation: Evaluation) -> pd.DataFrame:
    """The detector's metrics, by the names that they have in DeepLabCut's training log."""
    import pandas as pd

    rows = []
    for part in evaluation.by_name.values():
        found = part.boxes
        assert found is not None
        precision = {"mAP@50:95": found.mAP, "mAP@50": found.mAP_50, "mAP@75": found.mAP_75}
        rows.append(precision | {"mAR@50:95": found.mAR, "mAR@50": found.mAR_50, "mAR@75": found.mAR_75})
    return pd.DataFrame(rows, index=pd.Index(["Train", "Test"])).round(2)


def _row(poses: Poses, individuals: int, unique: int) -> np.ndarray:
    """((N * K + U) * 3,) x, y [image px], likelihood of each individual's keypoints in turn, unique ones last."""
    animals = np.full((individuals, poses.keypoints, 3), NOT_FOUND, np.float32)
    place = np.arange(len(poses)) if poses.identity is None else poses.identity
    named = (place >= 0) & (place < individuals)
    animals[place[named]] = poses.to_array()[named]
    # DeepLabCut's decoders give a keypoint that they miss in a found animal no place, and the likelihood 0.
    animals[..., 2] = np.nan_to_num(animals[..., 2], nan=0.0)
    single = np.full((unique, 3), NOT_FOUND, np.float32) if poses.unique is None else poses.unique
    return np.concatenate([animals.ravel(), single[:unique].ravel()]).astype(np.float32)


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
