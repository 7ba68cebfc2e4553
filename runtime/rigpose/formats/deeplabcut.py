"""``.csv`` and ``.h5`` in DeepLabCut's layout, with the coordinates of the analysed part as they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rigpose.errors import ResultError
from rigpose.files.results import VIDEO_KEY, Results, animal_columns, count_rows, video_columns
from rigpose.formats.new_file import new_file, unwritable

if TYPE_CHECKING:
    import pandas as pd

NAMELESS = "individual_1"
"""How a table that names no individual is read."""


def write_csv(path: Path, found: Results) -> None:
    """Write the table as text."""
    with new_file(path) as temporary:
        _table(found).to_csv(temporary)


def write_h5(path: Path, found: Results) -> None:
    """Write the table under the key and in the layout that DeepLabCut gives the table of a video."""
    with new_file(path) as temporary:
        _table(found).to_hdf(temporary, key=VIDEO_KEY, mode="w", format="table")
        # HDF5 closes a file on a full disk without an error: read back what it wrote.
        try:
            whole = count_rows(temporary) == len(found.xy)
        except ResultError:
            whole = False
        if not whole:
            raise unwritable(path, None)


def _table(found: Results) -> pd.DataFrame:
    import pandas as pd

    animals = np.concatenate([found.xy, found.score[..., None]], axis=-1)
    values = animals.reshape(len(animals), -1)
    if found.unique is not None:
        values = np.concatenate([values, found.unique.reshape(len(values), -1)], axis=1)
    if not found.several and found.individuals == (NAMELESS,):
        columns = video_columns(found.scorer, found.keypoints)
    else:
        columns = animal_columns(found.scorer, found.individuals, found.keypoints, found.unique_keypoints)
    return pd.DataFrame(values, columns=columns)
