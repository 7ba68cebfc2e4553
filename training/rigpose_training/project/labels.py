"""Label files: ``CollectedData_*.h5`` or ``.csv`` of one video, and all videos' labels merged.

A table here is always in one form: rows ``("labeled-data", video, image)``, columns ``(scorer, [individuals,]
bodyparts, coords)`` in the order of ``config.yaml``, x and y only, NaN where nothing was labelled.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rigpose.arrays import Floats
from rigpose.errors import ProjectError
from rigpose.files.pickles import read_hdf
from rigpose_training.project.config import UNIQUE, ProjectConfig

if TYPE_CHECKING:
    import pandas as pd

LOG = logging.getLogger(__name__)
SINGLE_LEVELS = ["scorer", "bodyparts", "coords"]
MULTI_LEVELS = ["scorer", "individuals", "bodyparts", "coords"]


@dataclass(frozen=True)
class Labels:
    """The labels of F images.

    Attributes:
        images: F paths from the project's folder, with forward slashes.
        xy: (F, N, K, 2) x, y [image px]; NaN where nothing was labelled.
        unique_xy: (F, U, 2) x, y [image px] of the unique bodyparts; NaN likewise.
    """

    images: tuple[str, ...]
    xy: Floats
    unique_xy: Floats

    def __len__(self) -> int:
        return len(self.images)


def merge_labels(config: ProjectConfig) -> Labels:
    """The labels of all videos, in the order that the indices of every split count in."""
    return to_labels(merge_tables(config), config)


def merge_tables(config: ProjectConfig) -> pd.DataFrame:
    """All videos' tables in one, sorted by video and image: what ``create_training_dataset`` saves.

    Videos are those of ``video_sets``; where none of them has labels (a project moved from another machine, a
    placeholder in the file), every folder of ``labeled-data`` counts, as in DeepLabCut.

    Raises:
        ProjectError: No labels at all.
    """
    import pandas as pd

    folder = config.root / "labeled-data"
    tables = _tables([folder / video for video in config.videos], config)
    if not tables and folder.is_dir():
        tables = _tables(sorted(path for path in folder.iterdir() if path.is_dir()), config)
    if not tables:
        raise ProjectError(
            f"{folder} holds no CollectedData_{config.scorer}.h5 or .csv with labels of {config.scorer}; "
            f"label frames in DeepLabCut first, or correct scorer in {config.path.name}."
        )
    merged = pd.concat(tables).sort_index()
    if twice := list(merged.index[merged.index.duplicated()]):
        raise ProjectError(f"{'/'.join(twice[0])} is labelled more than once; remove the extra rows of its csv and h5.")
    return merged


def _tables(folders: list[Path], config: ProjectConfig) -> list[pd.DataFrame]:
    tables = [read_table(file, config) for folder in folders if (file := _label_file(folder, config)) is not None]
    return [table for table in tables if table is not None]


def _label_file(folder: Path, config: ProjectConfig) -> Path | None:
    files = [folder / f"CollectedData_{config.scorer}{suffix}" for suffix in (".h5", ".csv")]
    return next((file for file in files if file.is_file()), None)


def read_labels(path: str | Path, config: ProjectConfig) -> Labels:
    """The labels in one ``.h5`` or ``.csv``.

    Raises:
        ProjectError: A file that is damaged, of another scorer, or does not fit the project.
    """
    table = read_table(Path(path), config)
    if table is None:
        raise ProjectError(
            f"{path} was not labelled by {config.scorer}, the scorer in {config.path}; correct one of them."
        )
    return to_labels(table, config)


def read_table(path: Path, config: ProjectConfig) -> pd.DataFrame | None:
    """The table in one label file, or none (and a warning) if another scorer made it."""
    table = _read_csv(path) if path.suffix == ".csv" else _read_h5(path)
    levels = MULTI_LEVELS if config.multi_animal else SINGLE_LEVELS
    found = list(table.columns.names)
    if found != levels:
        kind = "multi" if config.multi_animal else "single"
        raise ProjectError(
            f"{path} has the column levels {', '.join(map(str, found))}, but a {kind}-animal project has "
            f"{', '.join(levels)}; correct multianimalproject in {config.path.name} or convert the labels "
            f"in DeepLabCut."
        )
    scorers = set(table.columns.get_level_values("scorer"))
    if config.scorer not in scorers:
        LOG.warning("%s was labelled by %s, not %s: skipped.", path, ", ".join(map(str, scorers)), config.scorer)
        return None
    table.index = _three_levels(table.index, path)
    try:
        return _in_config_order(table, config)
    except ValueError as cause:
        raise ProjectError(f"{path} holds a coordinate that is no number ({cause}); correct the file.") from cause


def to_labels(table: pd.DataFrame, config: ProjectConfig) -> Labels:
    """The arrays of a table in this module's form."""
    frames, individuals, keypoints = len(table), len(config.individuals), len(config.bodyparts)
    values = table.to_numpy(np.float32)  # (F, 2 (N K + U))
    shared = 2 * individuals * keypoints
    xy = values[:, :shared].reshape(frames, individuals, keypoints, 2)
    unique_xy = values[:, shared:].reshape(frames, len(config.unique_bodyparts), 2)
    return Labels(tuple("/".join(row) for row in table.index), _both_or_none(xy), _both_or_none(unique_xy))


def _both_or_none(xy: Floats) -> Floats:
    return np.where(np.isnan(xy).any(axis=-1, keepdims=True), np.float32("nan"), xy)


def image_shape(path: Path) -> tuple[int, int, int]:
    """Channels, height and width [px] that an image file's header states; nothing is decoded.

    Raises:
        ProjectError: A file that is missing or no image.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            return len(image.getbands()), image.height, image.width
    except OSError as cause:
        reason = "does not exist" if not path.exists() else "is not a readable image"
        raise ProjectError(f"{path} {reason} but has labels; restore it or remove its labels.") from cause


def columns(config: ProjectConfig) -> pd.MultiIndex:
    """The columns of every table: individuals with their bodyparts, then the unique ones."""
    import pandas as pd

    owners = [(name, part) for name in config.individuals for part in config.bodyparts]
    owners += [(UNIQUE, part) for part in config.unique_bodyparts]
    if config.multi_animal:
        rows: list[tuple[str, ...]] = [(config.scorer, *owner, axis) for owner in owners for axis in "xy"]
        return pd.MultiIndex.from_tuples(rows, names=MULTI_LEVELS)
    rows = [(config.scorer, part, axis) for _, part in owners for axis in "xy"]
    return pd.MultiIndex.from_tuples(rows, names=SINGLE_LEVELS)


def _in_config_order(table: pd.DataFrame, config: ProjectConfig) -> pd.DataFrame:
    table = table.loc[:, ~table.columns.duplicated()]
    # Leaves out the likelihood that labels refined from predictions carry, and bodyparts no longer in the project.
    ordered = table.reindex(columns=columns(config))
    return ordered.astype(np.float64)


def _three_levels(index: pd.Index, path: Path) -> pd.MultiIndex:
    """Rows as ``("labeled-data", video, image)``, from that or from one string with either kind of slash."""
    import pandas as pd

    rows = ["/".join(map(str, row)) if isinstance(row, tuple) else str(row) for row in index]
    parts = [tuple(row.replace("\\", "/").split("/"))[-3:] for row in rows]
    bad = [row for row, part in zip(rows, parts, strict=True) if len(part) != 3]
    if bad:
        raise ProjectError(f"{path} has the row {bad[0]!r} where labeled-data/VIDEO/IMAGE belongs; correct the file.")
    return pd.MultiIndex.from_tuples(parts)


def _read_h5(path: Path) -> pd.DataFrame:
    import pandas as pd
    from tables.exceptions import HDF5ExtError

    try:
        table: Any = read_hdf(path, error=ProjectError)
    except (OSError, HDF5ExtError, ValueError, KeyError, TypeError, AttributeError) as cause:
        reason = "does not exist" if not path.exists() else "is damaged or holds no label table"
        raise ProjectError(f"{path} {reason}; restore it, or delete it so that its csv is read.") from cause
    if not isinstance(table, pd.DataFrame) or not isinstance(table.columns, pd.MultiIndex):
        raise ProjectError(f"{path} holds {type(table).__name__} where a label table belongs; is it another file?")
    return table


def _read_csv(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        with path.open(encoding="utf-8-sig") as lines:
            first, second = lines.readline(), lines.readline()
        levels = MULTI_LEVELS if second.startswith("individuals") else SINGLE_LEVELS
        cells = first.strip().split(",")
        # The header's first cell is the level's name; empty cells after it stand over further index columns.
        index_columns = next((i for i, cell in enumerate(cells) if i and cell), 1)
        table: Any = pd.read_csv(
            path, header=list(range(len(levels))), index_col=list(range(index_columns)), encoding="utf-8-sig"
        )
    except (OSError, UnicodeDecodeError, ValueError, IndexError) as cause:
        raise ProjectError(f"{path} is not a readable label table ({cause}); save it again from DeepLabCut.") from cause
    if table.columns.nlevels != len(levels):
        raise ProjectError(f"{path} has no header of {', '.join(levels)}; save it again from DeepLabCut.")
    table.columns = table.columns.set_names(levels)
    return table
