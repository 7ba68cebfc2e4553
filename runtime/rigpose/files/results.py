"""Result files in DeepLabCut's layout: their names, writing them whole, reading them back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from rigpose.arrays import Floats
from rigpose.errors import ResultError
from rigpose.files.pickles import only_arrays_in_tables, read_hdf
from rigpose.poses import Poses

if TYPE_CHECKING:
    import pandas as pd

VIDEO_KEY = "df_with_missing"
TRACKS_KEY = "tracks"
IMAGES_KEY = "predictions"
COORDS = ("x", "y", "likelihood")
TRACK_SUFFIXES = ("_el", "_bx", "_sk")
"""What DeepLabCut puts after the stem of a table of tracks, by tracker: ellipse, box, skeleton."""
UNIQUE = "single"
"""The individual under which DeepLabCut keeps the keypoints that exist once per frame."""
ROWS_AT_A_TIME = 65536
"""Most rows in memory while a table is written."""
VALUES_AT_A_TIME = 1 << 22
"""Most numbers in memory then; it is what counts for many animals."""
_HDF5_REFUSED = "the disk may be full, or the table has more columns than HDF5 can name: then ask for fewer animals"


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

    @classmethod
    def including(cls, path: Path) -> ResultFiles:
        """All files of the analysis that made this one."""
        stem = path.stem.removesuffix("_filtered")
        for ending in ("_assemblies", "_full", "_meta", *TRACK_SUFFIXES):
            stem = stem.removesuffix(ending)
        return cls(path.parent, stem)

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

    @property
    def detections(self) -> Path:
        """Every frame's keypoints, of any animal; DeepLabCut takes a video for analysed when it is there."""
        return self.folder / f"{self.stem}_full.pickle"

    @property
    def assemblies(self) -> Path:
        """Every frame's animals, from which they can be tracked again."""
        return self.folder / f"{self.stem}_assemblies.pickle"

    def tracklets(self, suffix: str) -> Path:
        """Pieces of tracks before stitching, by a tracker's suffix such as ``_el``."""
        return self.folder / f"{self.stem}{suffix}.pickle"

    def tracks(self, suffix: str) -> Path:
        """The table of tracks."""
        return self.folder / f"{self.stem}{suffix}.h5"

    def tracked_by(self, suffix: str) -> tuple[Path, Path, Path]:
        """All files of a tracker: tracklets, the table of tracks, and that as text."""
        tracks = self.tracks(suffix)
        return self.tracklets(suffix), tracks, tracks.with_suffix(".csv")

    def labelled(self, pcutoff: float, colours: str = "") -> Path:
        """The video with the poses drawn in; ``colours`` is ``_id`` or ``_bp`` where there are several animals."""
        return self.folder / f"{self.stem}{colours}_p{round(100 * pcutoff)}_labeled.mp4"


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
        cause = error.strerror if isinstance(error, OSError) else _HDF5_REFUSED
        raise _unwritable(path, cause) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_video_tables(
    files: ResultFiles,
    frames: Iterable[Floats | None],
    *,
    columns: pd.MultiIndex,
    save_csv: bool,
) -> None:
    """Write ``.csv`` and then ``.h5``, a bounded number of rows at a time.

    Args:
        files: Where.
        frames: Per camera frame its animals (N, K, 3) x, y [frame px], score; none for a lost
            frame.
        columns: From ``video_columns``.
        save_csv: Whether the text form is wanted.
    """
    rows = (_first_animal(animals, width=len(columns)) for animals in frames)
    write_table(files.h5, rows, columns=columns, save_csv=save_csv)


def write_table(
    h5: Path,
    rows: Iterable[Floats],
    *,
    columns: pd.MultiIndex,
    key: str = VIDEO_KEY,
    save_csv: bool,
) -> None:
    """Write a video's table as ``.csv`` beside and then as ``.h5``, a bounded number of rows at a time.

    Args:
        h5: Where.
        rows: A row per camera frame, all of one type, which is the table's.
        columns: Its columns.
        key: Name of the table in the file.
        save_csv: Whether the text form is wanted; where it is not, an older one is deleted.
    """
    import pandas as pd

    csv = h5.with_name(f"{h5.stem}.csv")
    with ExitStack() as stack:
        table_file = stack.enter_context(whole_file(h5))
        text: TextIO | None = None
        if save_csv:
            text = stack.enter_context(stack.enter_context(whole_file(csv)).open("w", encoding="utf-8", newline=""))
        start = 0
        with pd.HDFStore(table_file, "w") as store:
            for block in _blocks(rows, width=len(columns)):
                table = pd.DataFrame(block, index=pd.RangeIndex(start, start + len(block)), columns=columns)
                # Without times of making, of which an index has some in any case, the same poses are the same bytes.
                store.put(key, table, format="table", append=True, index=False, track_times=False, dropna=False)
                if text is not None:
                    table.to_csv(text, header=start == 0)
                start += len(block)
        _check_written(table_file, h5, key=key, rows=start)
    if not save_csv:
        # An older text file would disagree with the new table.
        csv.unlink(missing_ok=True)


def video_columns(scorer: str, keypoints: Iterable[str]) -> pd.MultiIndex:
    """Columns of a single-animal table: scorer, bodyparts, coords."""
    import pandas as pd

    return pd.MultiIndex.from_product([[scorer], list(keypoints), COORDS], names=["scorer", "bodyparts", "coords"])


def image_columns(scorer: str, individuals: Iterable[str], keypoints: Iterable[str]) -> pd.MultiIndex:
    """Columns of a table of images, which names the individual even when there is one."""
    return animal_columns(scorer, individuals, keypoints)


def animal_columns(
    scorer: str, individuals: Iterable[str], keypoints: Iterable[str], unique: Iterable[str] = ()
) -> pd.MultiIndex:
    """Columns of a table of several animals, the keypoints that exist once per frame last."""
    import pandas as pd

    names = ["scorer", "individuals", "bodyparts", "coords"]
    columns = pd.MultiIndex.from_product([[scorer], list(individuals), list(keypoints), COORDS], names=names)
    if not (unique := list(unique)):
        return columns
    return columns.append(pd.MultiIndex.from_product([[scorer], [UNIQUE], unique, COORDS], names=names))


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
        unique_keypoints: U names of the keypoints that exist once per frame.
        unique: (F, U, 3) x, y [frame px], score of these; NaN where there is nothing. None where there are none.
    """

    scorer: str
    keypoints: tuple[str, ...]
    individuals: tuple[str, ...]
    xy: Floats
    score: Floats
    unique_keypoints: tuple[str, ...] = ()
    unique: Floats | None = None

    @property
    def several(self) -> bool:
        """Whether the table is one of several animals."""
        return len(self.individuals) > 1 or self.unique is not None

    def poses(self, row: int) -> Poses:
        """One frame's animals, each in the place of its name; an absent one is all NaN."""
        return Poses(self.xy[row], self.score[row], unique=None if self.unique is None else self.unique[row])


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


def _check_written(temporary: Path, path: Path, *, key: str, rows: int) -> None:
    """HDF5 closes a file on a full disk without an error: read back what it wrote."""
    try:
        whole = count_rows(temporary, key=key) == rows
    except ResultError as error:
        raise _unwritable(path, "the disk may be full") from error
    if not whole:
        raise _unwritable(path, "the disk may be full")


def _unwritable(path: Path, cause: str | None) -> ResultError:
    return ResultError(
        f"{path}: cannot be written ({cause}); make room or choose another --destination, then run the same "
        "command again."
    )


def count_rows(h5: Path, *, key: str = VIDEO_KEY) -> int:
    """Frames in a video's ``.h5``, without reading them."""
    import tables

    try:
        with only_arrays_in_tables(h5, error=ResultError), closing(tables.open_file(str(h5))) as file:
            table: Any = file.get_node(f"/{key}/table")
            return int(table.nrows)
    except (tables.HDF5ExtError, tables.NoSuchNodeError, OSError) as error:
        raise ResultError(
            f"{h5}: exists but is no result of a video; delete it or analyse with --overwrite."
        ) from error


def _first_animal(animals: Floats | None, *, width: int) -> Floats:
    """A table's row (3K,) of the first animal; NaN where there is none."""
    if animals is None or not len(animals):
        return np.full(width, np.nan, np.float32)
    return animals[0].ravel().astype(np.float32, copy=False)


def _blocks(rows: Iterable[Floats], *, width: int) -> Iterator[Floats]:
    """Rows stacked, as many at a time as memory is meant for."""
    waiting, most = iter(rows), max(1, min(ROWS_AT_A_TIME, VALUES_AT_A_TIME // width))
    while some := list(islice(waiting, most)):
        yield np.stack(some)


def _read_csv(path: Path) -> pd.DataFrame:
    import pandas as pd

    with path.open(encoding="utf-8") as file:
        file.readline()
        levels = 4 if file.readline().startswith("individuals") else 3
    # Read in one go, a first row without a value would be taken for the index's name.
    names = pd.read_csv(path, header=None, index_col=0, nrows=levels, dtype=str)
    table = pd.read_csv(path, header=None, index_col=0, skiprows=levels)
    return table.set_axis(pd.MultiIndex.from_arrays(list(names.to_numpy()), names=names.index.tolist()), axis=1)


def _from_table(table: pd.DataFrame) -> Results:
    names = table.columns.names
    scorer = str(table.columns.get_level_values("scorer")[0])
    if "individuals" not in names:
        keypoints = tuple(dict.fromkeys(table.columns.get_level_values("bodyparts")))
        values = _values(table, [[scorer], keypoints, COORDS])[:, None]
        return Results(scorer, keypoints, ("individual_1",), xy=values[..., :2], score=values[..., 2])
    bodyparts: dict[str, dict[str, None]] = {}
    for individual, keypoint in zip(*map(table.columns.get_level_values, ("individuals", "bodyparts")), strict=True):
        bodyparts.setdefault(individual, {})[keypoint] = None
    unique_keypoints = tuple(bodyparts.pop(UNIQUE)) if UNIQUE in bodyparts and len(bodyparts) > 1 else ()
    # A keypoint that an individual does not have becomes NaN.
    keypoints = tuple(dict.fromkeys(keypoint for its in bodyparts.values() for keypoint in its))
    values = _values(table, [[scorer], tuple(bodyparts), keypoints, COORDS])
    unique = None
    if unique_keypoints:
        unique = _values(table, [[scorer], [UNIQUE], unique_keypoints, COORDS])[:, 0]
    return Results(scorer, keypoints, tuple(bodyparts), values[..., :2], values[..., 2], unique_keypoints, unique)


def _values(table: pd.DataFrame, levels: list[Sequence[str]]) -> Floats:
    """(F, ..., 3) the columns of these levels, the scorer's aside."""
    import pandas as pd

    columns = pd.MultiIndex.from_product([list(names) for names in levels], names=table.columns.names)
    values = table.reindex(columns=columns).to_numpy(np.float32, na_value=np.nan)
    values = values.reshape(len(table), *map(len, levels[1:]))
    if len(levels) < 4:
        return values
    # DeepLabCut's multi-animal writer puts -1 in all three places of an absent animal.
    return np.where((values == -1).all(axis=-1, keepdims=True), np.nan, values)
