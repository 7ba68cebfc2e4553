"""Lightning Pose's CSV: DeepLabCut's three header lines, and the images that its rows name from its folder."""

from __future__ import annotations

from pathlib import Path, PureWindowsPath

import numpy as np

from rigpose.arrays import Floats
from rigpose.errors import ProjectError
from rigpose_training.imported.labels import (
    ImportedFrame,
    ImportedLabels,
    find_file,
    folder_name,
    not_there,
    shifted,
)

_LEVELS = ["scorer", "bodyparts", "coords"]
_FOLDER = "labeled-data"


def read_lightning_pose(path: Path, *, images: Path | None = None, corner: bool = False) -> ImportedLabels:
    """Read the labels of one view.

    Args:
        path: The ``.csv``.
        images: The folder from which its rows name images; none for its own.
        corner: Whether (0, 0) is the first pixel's outer corner.

    Raises:
        ProjectError: It is no such file, or an image is not there.
    """
    scorer, keypoints, rows, xy = _read(path)
    files = {row: find_file(row, path, images) for row in rows}
    if missing := [row for row, file in files.items() if file is None]:
        raise not_there(path, missing)
    frames = [
        ImportedFrame(_folder(row, path), file.name, file, shifted(animal[None], corner=corner))
        for row, animal in zip(rows, xy, strict=True)
        if (file := files[row]) is not None
    ]
    return ImportedLabels(
        source=path,
        keypoints=keypoints,
        individuals=("individual_1",),
        named=False,
        frames=tuple(frames),
        scorer=scorer,
    )


def _read(path: Path) -> tuple[str, tuple[str, ...], list[str], Floats]:
    """Scorer, keypoints, rows' names and their places (F, K, 2)."""
    import pandas as pd

    try:
        # Read in one go, a first row without a value would be taken for the index's name.
        names = pd.read_csv(path, header=None, index_col=0, nrows=len(_LEVELS), dtype=str, encoding="utf-8-sig")
        table = pd.read_csv(path, header=None, index_col=0, skiprows=len(_LEVELS), encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ProjectError(f"{path} does not exist; check the name.") from error
    except (OSError, ValueError) as error:
        raise ProjectError(f"{path} is no readable CSV ({error}); export it again.") from error
    if [str(level) for level in names.index] != _LEVELS or not len(table):
        raise ProjectError(f"{path} has no rows under the header lines {', '.join(_LEVELS)}; is it another file?")
    header = pd.MultiIndex.from_arrays(names.to_numpy().tolist(), names=_LEVELS)
    keypoints = tuple(dict.fromkeys(map(str, header.get_level_values("bodyparts"))))
    scorer = str(header.get_level_values("scorer")[0])
    wanted = pd.MultiIndex.from_product([[scorer], keypoints, ["x", "y"]], names=_LEVELS)
    try:
        values = table.set_axis(header, axis=1).reindex(columns=wanted).to_numpy(float)
    except ValueError as error:
        raise ProjectError(f"{path} holds a coordinate that is no number ({error}); correct the file.") from error
    xy = values.reshape(len(table), len(keypoints), 2)
    rows = [str(row) for row in table.index]
    if len(set(rows)) != len(rows):
        raise ProjectError(f"{path} labels an image twice; remove the extra rows.")
    return scorer, keypoints, rows, np.where(np.isnan(xy).any(axis=-1, keepdims=True), np.nan, xy)


def _folder(row: str, path: Path) -> str:
    parts = PureWindowsPath(row).parent.parts
    return folder_name(parts[parts.index(_FOLDER) + 1 :] if _FOLDER in parts else parts[-1:], path)
