"""Result files in DeepLabCut's layout: their names, writing them whole, reading them back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from rigpose.arrays import Floats
from rigpose.errors import ResultError
from rigpose.pickles import only_arrays_in_tables, read_hdf

if TYPE_CHECKING:
    import pandas as pd

VIDEO_KEY = "df_with_missing"
IMAGES_KEY = "predictions"
COORDS = ("x", "y", "likelihood")
ROWS_AT_A_TIME = 65536
"""Rows in memory while a table is written."""


@dataclass(frozen=True)
class ResultFiles:
    """The files of one analysed video; DeepLabCut finds them by these exact names."""

    folder: Path
    stem: str
    """Video stem and scorer, with nothing between them."""

    @classmethod
    def of(cls, video: Path, scorer: str, destination: Path | None = None) -> ResultFiles:
        """Beside the video, or in ``destination``."""
        return cls(destination or video.parent, video.stem + scorer)

    @property
    def h5(self) -> Path:
        """The table; the last file to appear, so its presence means that all are whole."""
        return self.folder / f"{self.stem}.h5"

    @property
    def csv(self) -> Path:
        """The table as text."""
        return self.folder / f"{self.stem}.csv"

    @property
    def meta(self) -> Path:
        """What was run, on what."""
        return self.folder / f"{self.stem}_meta.pickle"

    @property
    def lock(self) -> Path:
        """There while a process analyses the video."""
        return self.folder / f"{self.stem}.lock"

    @property
    def partial(self) -> Path:
        """The journal of an analysis under way."""
        return self.folder / f"{self.stem}.partial"

    def labelled(self, pcutoff: float) -> Path:
        """The video with the poses drawn in."""
        return self.folder / f"{self.stem}_p{round(100 * pcutoff)}_labeled.mp4"


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder, moved to ``path`` at the end and deleted after an error.

    Raises:
        ResultError: The disk is full, the folder cannot be written, and the like.
    """
    from tables import HDF5ExtError

    # The suffix stays last: video writers choose the container by it.
    temporary = path.with_name(f"{path.stem}.writing{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except (OSError, HDF5ExtError) as error:
        cause = error.strerror if isinstance(error, OSError) else "the disk may be full"
        raise _unwritable(path, cause) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_video_tables(
    files: ResultFiles,
    frames: Iterable[Floats | None],
    *,
    columns: pd.MultiIndex,
    frame_count: int,
    save_csv: bool,
) -> None:
    """Write ``.csv`` and then ``.h5``, a bounded number of rows at a time.

    Args:
        files: Where.
        frames: Per camera frame its animals (N, K, 3) x, y [frame px], score; none for a lost
            frame.
        columns: From ``video_columns``.
        frame_count: How many frames there are, which sets the table's chunks.
        save_csv: Whether the text form is wanted.
    """
    import pandas as pd

    with ExitStack() as stack:
        h5 = stack.enter_context(whole_file(files.h5))
        text: TextIO | None = None
        if save_csv:
            csv = stack.enter_context(whole_file(files.csv))
            text = stack.enter_context(csv.open("w", encoding="utf-8", newline=""))
        start = 0
        with pd.HDFStore(h5, "w") as store:
            for block in _blocks(frames, width=len(columns)):
                rows = pd.RangeIndex(start, start + len(block))
                table = pd.DataFrame(block, index=rows, columns=columns)
                store.append(VIDEO_KEY, table, dropna=False, expectedrows=max(frame_count, 10000))
                if text is not None:
                    table.to_csv(text, header=start == 0)
                start += len(block)
        _check_written(h5, files.h5, start)
    if not save_csv:
        # An older text file would disagree with the new table.
        files.csv.unlink(missing_ok=True)


def video_columns(scorer: str, keypoints: Iterable[str]) -> pd.MultiIndex:
    """Columns of a single-animal table: scorer, bodyparts, coords."""
    import pandas as pd

    return pd.MultiIndex.from_product([[scorer], list(keypoints), COORDS], names=["scorer", "bodyparts", "coords"])


def image_columns(scorer: str, individuals: Iterable[str], keypoints: Iterable[str]) -> pd.MultiIndex:
    """Columns of a table of images, which names the individual even when there is one."""
    import pandas as pd

    return pd.MultiIndex.from_product(
        [[scorer], list(individuals), list(keypoints), COORDS],
        names=["scorer", "individuals", "bodyparts", "coords"],
    )


def write_image_tables(h5: Path, table: pd.DataFrame, *, save_csv: bool) -> None:
    """Write a table of images as ``.h5`` and, beside it, ``.csv``."""
    if save_csv:
        with whole_file(h5.with_suffix(".csv")) as csv:
            table.to_csv(csv)
    with whole_file(h5) as temporary:
        table.to_hdf(temporary, key=IMAGES_KEY, mode="w")


@dataclass(frozen=True)
class Results:
    """A result file in memory.

    Attributes:
        scorer: Who made the predictions.
        keypoints: K names.
        individuals: N names.
        xy: (F, N, K, 2) [frame px]; NaN where there is nothing.
        score: (F, N, K) [0, 1]; NaN where there is nothing.
    """

    scorer: str
    keypoints: tuple[str, ...]
    individuals: tuple[str, ...]
    xy: Floats
    score: Floats


def read_results(path: str | Path) -> Results:
    """Read a ``.h5`` or ``.csv`` of DeepLabCut's layout, with or without individuals.

    Raises:
        ResultError: A file that is missing, damaged, or holds more than arrays and plain values.
    """
    import pandas as pd
    from tables import HDF5ExtError

    path = Path(path)
    if not path.is_file():
        raise ResultError(f"{path}: there is no such result file; run rigpose analyze first.")
    try:
        table = _read_csv(path) if path.suffix == ".csv" else pd.DataFrame(read_hdf(path, error=ResultError))
        return _from_table(table)
    except (ValueError, KeyError, TypeError, AttributeError, OSError, HDF5ExtError) as error:
        raise ResultError(f"{path}: not a table of poses in DeepLabCut's layout; run rigpose analyze again.") from error


def _check_written(temporary: Path, path: Path, rows: int) -> None:
    """HDF5 closes a file on a full disk without an error: read back what it wrote."""
    try:
        whole = count_rows(temporary) == rows
    except ResultError as error:
        raise _unwritable(path, "the disk may be full") from error
    if not whole:
        raise _unwritable(path, "the disk may be full")


def _unwritable(path: Path, cause: str | None) -> ResultError:
    return ResultError(
        f"{path}: cannot be written ({cause}); make room or choose another --destination, then run the same "
        "command again."
    )


def count_rows(h5: Path) -> int:
    """Frames in a video's ``.h5``, without reading them."""
    import tables

    try:
        with only_arrays_in_tables(h5, error=ResultError), closing(tables.open_file(str(h5))) as file:
            table: Any = file.get_node(f"/{VIDEO_KEY}/table")
            return int(table.nrows)
    except (tables.HDF5ExtError, tables.NoSuchNodeError, OSError) as error:
        raise ResultError(
            f"{h5}: exists but is no result of a video; delete it or analyse with --overwrite."
        ) from error


def _blocks(frames: Iterable[Floats | None], *, width: int) -> Iterator[Floats]:
    """Frames as table rows (n, 3K): the first animal, NaN where there is none."""
    waiting = iter(frames)
    while some := list(islice(waiting, ROWS_AT_A_TIME)):
        block = np.full((len(some), width), np.nan, np.float32)
        for row, animals in zip(block, some, strict=True):
            if animals is not None and len(animals):
                row[:] = animals[0].ravel()
        yield block


def _read_csv(path: Path) -> pd.DataFrame:
    import pandas as pd

    with path.open(encoding="utf-8") as file:
        file.readline()
        levels = 4 if file.readline().startswith("individuals") else 3
    return pd.read_csv(path, header=list(range(levels)), index_col=0)


def _from_table(table: pd.DataFrame) -> Results:
    import pandas as pd

    columns = table.columns
    scorer = str(columns.get_level_values("scorer")[0])
    has_individuals = "individuals" in columns.names
    keypoints = list(dict.fromkeys(columns.get_level_values("bodyparts")))
    individuals = ["individual_1"]
    levels = [[scorer], keypoints, list(COORDS)]
    if has_individuals:
        individuals = list(dict.fromkeys(columns.get_level_values("individuals")))
        levels.insert(1, individuals)
    # A keypoint that an individual does not have becomes NaN.
    full = table.reindex(columns=pd.MultiIndex.from_product(levels, names=columns.names))
    values = full.to_numpy(np.float32, na_value=np.nan)
    values = values.reshape(len(table), len(individuals), len(keypoints), 3)
    if has_individuals:
        # DeepLabCut's multi-animal writer puts -1 in all three places of an absent animal.
        values = np.where((values == -1).all(axis=-1, keepdims=True), np.nan, values)
    return Results(scorer, tuple(keypoints), tuple(individuals), xy=values[..., :2], score=values[..., 2])
