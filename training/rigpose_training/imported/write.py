"""Imported labels -> a DeepLabCut project: a new one, or more labelled pictures for one that is there.

Everything is made ready in a folder beside, and moved to its place when it is whole.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rigpose.errors import ProjectError
from rigpose.files.pickles import read_hdf
from rigpose.videos.video import Crop
from rigpose.writable import check_writable
from rigpose_training.imported.fitting import fit_to_project
from rigpose_training.imported.labels import ImportedFrame, ImportedLabels
from rigpose_training.imported.new_project import new_config
from rigpose_training.imported.pictures import write_pictures
from rigpose_training.pose_config.files import write_mapping
from rigpose_training.project.config import ProjectConfig, read_project_config
from rigpose_training.project.labels import columns, image_shape, read_table
from rigpose_training.project.video_sets import added

if TYPE_CHECKING:
    import pandas as pd

_LABELED = "labeled-data"


@dataclass(frozen=True)
class Imported:
    """What was written.

    Attributes:
        config: The project's ``config.yaml``.
        images: How many pictures are labelled now that were not.
        folders: In ``labeled-data``, those they are in.
        new: Whether the project is new.
        notes: Sentences about what a project has no place for.
    """

    config: Path
    images: int
    folders: tuple[str, ...]
    new: bool
    notes: tuple[str, ...]


def write_labels(
    labels: ImportedLabels, project: Path, *, scorer: str | None = None, overwrite: bool = False
) -> Imported:
    """Write labels into a project.

    Args:
        labels: What was read.
        project: Its folder or ``config.yaml``; a new project if there is none.
        scorer: Who labelled, for a new project; none for the file's, or the one in the folder's name.
        overwrite: Whether pictures and labels of the same names may be replaced.

    Raises:
        ConfigError: The folder cannot be written.
        MediaError: A picture cannot be read.
        ProjectError: The labels do not fit the project, or something would be overwritten.
    """
    _check_names(labels)
    project = project.expanduser().absolute()
    folder = project.parent if project.name == "config.yaml" else project
    check_writable(folder.parent if not folder.exists() else folder, str(folder))
    if (folder / "config.yaml").is_file():
        return _add(labels, folder, overwrite=overwrite)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise ProjectError(f"{folder} is there and is no DeepLabCut project; choose another folder.")
    return _create(labels, folder, scorer)


def _check_names(labels: ImportedLabels) -> None:
    seen: set[tuple[str, str]] = set()
    for frame in labels.frames:
        name = (frame.video, frame.image)
        if name in seen:
            raise ProjectError(f"{labels.source} has two pictures that would be {'/'.join(name)}; rename one.")
        seen.add(name)


def _create(labels: ImportedLabels, folder: Path, scorer: str | None) -> Imported:
    with _building(folder.with_name(f".{folder.name}.partial")) as building:
        (building / "videos").mkdir()
        write_mapping(building / "config.yaml", new_config(folder, labels, scorer))
        config = read_project_config(building)
        write_pictures(labels.frames, building / _LABELED)
        _write_tables(building, _tables(labels, config), config.scorer)
        _write_videos(building, building / "config.yaml", _videos(labels, building, folder))
        if folder.is_dir():
            folder.rmdir()
        building.replace(folder)
    return _done(labels, folder, new=True)


def _add(labels: ImportedLabels, folder: Path, *, overwrite: bool) -> Imported:
    config = read_project_config(folder)
    labels = fit_to_project(labels, config)
    tables = {
        video: _joined(folder / _LABELED / video, table, config, overwrite=overwrite)
        for video, table in _tables(labels, config).items()
    }
    if not overwrite:
        for frame in labels.frames:
            if (taken := folder / _LABELED / frame.video / frame.image).exists():
                raise ProjectError(f"{taken} exists already; replace pictures and their labels with --overwrite.")
    with _building(folder / ".imported.partial") as building:
        write_pictures(labels.frames, building / _LABELED)
        _write_tables(building, tables, config.scorer)
        # What cannot be said in config.yaml is known before anything moves.
        _write_videos(building, config.path, _videos(labels, building, folder) | _forgotten(config))
        # The tables make the pictures count, and the configuration makes the tables count.
        for made in sorted(building.glob(f"{_LABELED}/*/*"), key=lambda path: path.name.startswith("CollectedData_")):
            place = folder / made.relative_to(building)
            place.parent.mkdir(parents=True, exist_ok=True)
            made.replace(place)
        if (changed := building / "config.yaml").is_file():
            changed.replace(config.path)
    return _done(labels, folder, new=False)


@contextmanager
def _building(folder: Path) -> Iterator[Path]:
    """A folder for what is being made, gone in the end."""
    from tables import HDF5ExtError

    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True)
        yield folder
    except (OSError, HDF5ExtError) as error:
        cause = getattr(error, "strerror", None) or "the disk may be full"
        raise ProjectError(f"{folder.parent}: cannot be written ({cause}); make room, then import again.") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _done(labels: ImportedLabels, folder: Path, *, new: bool) -> Imported:
    folders = tuple(dict.fromkeys(frame.video for frame in labels.frames))
    return Imported(folder / "config.yaml", len(labels.frames), folders, new, labels.notes)


def _tables(labels: ImportedLabels, config: ProjectConfig) -> dict[str, pd.DataFrame]:
    """Video -> its table in the project's form."""
    import pandas as pd

    frames: dict[str, list[ImportedFrame]] = defaultdict(list)
    for frame in labels.frames:
        frames[frame.video].append(frame)
    tables = {}
    for video, its in frames.items():
        rows = [np.concatenate([frame.xy.reshape(-1), frame.unique_xy.reshape(-1)]) for frame in its]
        index = pd.MultiIndex.from_tuples([(_LABELED, video, frame.image) for frame in its])
        tables[video] = pd.DataFrame(np.stack(rows).astype(np.float64), index, columns(config)).sort_index()
    return tables


def _joined(folder: Path, new: pd.DataFrame, config: ProjectConfig, *, overwrite: bool) -> pd.DataFrame:
    """The new rows with those that a folder's table has already, and with columns that only that has."""
    import pandas as pd

    h5 = folder / f"CollectedData_{config.scorer}.h5"
    if not h5.is_file():
        if h5.with_suffix(".csv").is_file():
            raise ProjectError(f"{h5.with_suffix('.csv')} has no .h5 beside it; save the labels in DeepLabCut first.")
        return new
    ordered = read_table(h5, config)
    if ordered is None:
        raise ProjectError(f"{h5} was not labelled by {config.scorer}; correct scorer in {config.path.name}.")
    # As it is on disk, with bodyparts that the project has no longer.
    old = pd.DataFrame(read_hdf(h5, error=ProjectError)).set_axis(ordered.index, axis=0)
    twice = old.index.intersection(new.index)
    if len(twice) and not overwrite:
        raise ProjectError(f"{'/'.join(twice[0])} is labelled in {h5} already; replace it with --overwrite.")
    return pd.concat([old.drop(index=twice), new]).sort_index()


def _write_tables(root: Path, tables: Mapping[str, pd.DataFrame], scorer: str) -> None:
    for video, table in tables.items():
        stem = root / _LABELED / video / f"CollectedData_{scorer}"
        table.to_csv(f"{stem}.csv")
        table.to_hdf(f"{stem}.h5", key="df_with_missing", mode="w")
        if not _holds(Path(f"{stem}.h5"), table):
            raise ProjectError(
                f"{root.parent}: cannot be written (the disk may be full); make room, then import again."
            )


def _holds(h5: Path, table: pd.DataFrame) -> bool:
    """HDF5 closes a file on a full disk without an error: whether it has the table."""
    import pandas as pd

    try:
        return table.equals(pd.read_hdf(h5))
    except ValueError:
        return False


def _videos(labels: ImportedLabels, made: Path, folder: Path) -> dict[str, tuple[int, int]]:
    """Path of each recording -> size of its first picture; in the project's ``videos`` where no file is known."""
    found = {}
    for frame in labels.frames:
        file = labels.videos.get(frame.video)
        # The stem is what leads from video_sets to the pictures.
        if file is None or file.stem != frame.video:
            file = folder / "videos" / f"{frame.video}{file.suffix if file else '.mp4'}"
        if (name := str(file.absolute())) not in found:
            _, height, width = image_shape(made / _LABELED / frame.video / frame.image)
            found[name] = (height, width)
    return found


def _forgotten(config: ProjectConfig) -> dict[str, tuple[int, int]]:
    """Labelled folders that count only because no video of ``video_sets`` has any label; from now on one has."""
    name = f"CollectedData_{config.scorer}.h5"
    folders = {path.parent.name: path for path in sorted((config.root / _LABELED).glob(f"*/{name}"))}
    if any(video in folders for video in config.videos):
        return {}
    found = {}
    for video, h5 in folders.items():
        table = read_table(h5, config)
        if table is not None and len(table):
            _, height, width = image_shape(config.root / Path(*table.index[0]))
            found[str(config.root / "videos" / f"{video}.mp4")] = (height, width)
    return found


def _write_videos(building: Path, config: Path, videos: Mapping[str, tuple[int, int]]) -> None:
    there = read_project_config(config).videos
    new = {Path(video): Crop(0, w, 0, h) for video, (h, w) in videos.items() if Path(video).stem not in there}
    if new:
        (building / "config.yaml").write_bytes(added(config, new))
