"""Frames of an analysed video -> images and machine labels in a project, for DeepLabCut's ``refine_labels``.

The layout is that of ``extract_outlier_frames``: ``labeled-data/VIDEO/imgNNNN.png`` and, with the predictions and their
likelihood under the model's own scorer, ``machinelabels-iterN.h5`` and ``machinelabels.csv``. The labelling window
turns these into ``CollectedData`` of the project's scorer once a person has corrected them.
"""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from rigpose.arrays import Floats, Frames
from rigpose.errors import MediaError, ProjectError
from rigpose.files.pickles import read_hdf
from rigpose.files.results import VIDEO_KEY, Results, animal_columns, video_columns
from rigpose.progress import Progress, silent
from rigpose.triage.recording import Recording
from rigpose.videos.video import Crop, Video
from rigpose_training.project.config import ProjectConfig
from rigpose_training.project.labels import MULTI_LEVELS, SINGLE_LEVELS
from rigpose_training.project.video_sets import added, find_listed

if TYPE_CHECKING:
    import pandas as pd

_IMAGE = re.compile(r"img(\d+)\.png$")


@dataclass(frozen=True)
class Extracted:
    """What came into the project.

    Attributes:
        images: The new images, in order.
        machine_labels: The table of their predictions.
        video_added: Whether the video is new in ``config.yaml``.
    """

    images: tuple[Path, ...]
    machine_labels: Path
    video_added: bool


def frames_in_project(project: ProjectConfig, video: Path) -> frozenset[int]:
    """Frames of a video that are labelled, or have an image or machine labels and wait for it.

    Raises:
        ProjectError: Its label files are damaged.
    """
    folder = _folder(project, video)
    images = [path.name for path in folder.glob("img*.png")]
    for file in (folder / f"CollectedData_{project.scorer}.h5", _machine_labels(project, video)):
        if file.is_file():
            # Either a row in three parts or a path in one, with either kind of slash.
            images += ["/".join(row) if isinstance(row, tuple) else str(row) for row in _read(file).index]
    return frozenset(int(found[1]) for image in images if (found := _IMAGE.search(image)) is not None)


def extract_frames(
    project: ProjectConfig, recording: Recording, frames: Collection[int], *, show: Progress = silent
) -> Extracted:
    """Put frames of a video into the project, each with its predictions as machine labels.

    Nothing that is there is overwritten: images and rows are added. The images show what the project's own images of
    that video show, which is all of it unless its ``config.yaml`` has cropping on; the predictions are moved to match.

    Args:
        project: Where.
        recording: The analysed video.
        frames: Rows of its results.
        show: How progress is shown.

    Raises:
        ProjectError: The results are not of this project's keypoints or animals, an image is there already, another
            video of that name is listed, ``config.yaml`` cannot be added to, or nothing can be written.
        MediaError: The video cannot be read, or ends before a frame.
        ConfigError: The project's crop of the video leaves its frames.
    """
    wanted = sorted(set(frames))
    _check_names(project, recording)
    listed = find_listed(project.path, recording.video)
    crop = listed.crop if listed is not None and project.cropping is not None else None
    folder = _folder(project, recording.video)
    digits = _digits(len(recording.results.xy))
    images = [folder / f"img{frame:0{digits}d}.png" for frame in wanted]
    if there := next((image for image in images if image.exists()), None):
        raise ProjectError(f"{there} is there already and is not overwritten; leave this frame out.")
    table = _table(project, recording, wanted, images, crop)
    machine_labels = _machine_labels(project, recording.video)
    if machine_labels.is_file():
        table = _after(_read(machine_labels), table, machine_labels)
    with Video(recording.video, crop=crop) as source, _together(folder) as temporary:
        content = None if listed is not None else _config_content(project, recording.video, source)
        with show(f"{recording.video.name}: frames", len(images), "frames") as advance:
            for row, picture in _pictures(source, recording, wanted):
                _write_png(temporary(images[wanted.index(row)]), picture)
                advance(1)
        _write_table(table, temporary(machine_labels))
        table.to_csv(temporary(machine_labels.with_name("machinelabels.csv")))
        if content is not None:
            config = temporary(project.path)
            config.write_bytes(content)
            shutil.copymode(project.path, config)
    return Extracted(tuple(images), machine_labels, video_added=content is not None)


def check_fits(project: ProjectConfig, recording: Recording) -> None:
    """Raise ``ProjectError`` unless frames of this video can come into the project."""
    _check_names(project, recording)
    find_listed(project.path, recording.video)


def _folder(project: ProjectConfig, video: Path) -> Path:
    return project.root / "labeled-data" / video.stem


def _machine_labels(project: ProjectConfig, video: Path) -> Path:
    return _folder(project, video) / f"machinelabels-iter{project.iteration}.h5"


def _digits(frames: int) -> int:
    """Of a frame's number in an image's name: DeepLabCut's ceil(log10(frames)), which is those of the last frame."""
    return len(str(frames - 1)) if frames > 1 else 0


def _read(file: Path) -> pd.DataFrame:
    import pandas as pd
    from tables import HDF5ExtError

    try:
        return pd.DataFrame(read_hdf(file, error=ProjectError))
    except (ValueError, KeyError, TypeError, AttributeError, OSError, HDF5ExtError) as error:
        raise ProjectError(f"{file} is no table of labels; restore it or move it away.") from error


def _check_names(project: ProjectConfig, recording: Recording) -> None:
    """The results must be of this project's keypoints and animals."""
    results, table = recording.results, recording.table
    kinds = (
        ("keypoint", results.keypoints, project.bodyparts),
        ("unique keypoint", results.unique_keypoints, project.unique_bodyparts),
    )
    for kind, found, known in kinds:
        if strange := [name for name in found if name not in known]:
            raise ProjectError(
                f"{table}: its {kind} {strange[0]} is not in {project.path}; name the project of this model."
            )
    if project.multi_animal:
        strange = [name for name in _individuals(project, results) if name not in project.individuals]
        if strange:
            raise ProjectError(
                f"{table}: its animal {strange[0]} is not among the individuals of {project.path}; add it there or "
                f"track again with --animals {len(project.individuals)}."
            )
    elif results.several:
        raise ProjectError(f"{table} is of several animals, but {project.path} is of one; name the right project.")


def _individuals(project: ProjectConfig, results: Results) -> tuple[str, ...]:
    """Names of the animals; a table of one animal has none of its own."""
    alone = len(results.individuals) == len(project.individuals) == 1
    return project.individuals if alone else results.individuals


def _table(
    project: ProjectConfig, recording: Recording, frames: Sequence[int], images: Sequence[Path], crop: Crop | None
) -> pd.DataFrame:
    """A row per image: x, y [image px] and likelihood in the columns that DeepLabCut's own results have."""
    import pandas as pd

    results = recording.results
    rows = list(frames)
    animals = np.concatenate([results.xy[rows], results.score[rows, ..., None]], axis=-1)
    values = animals.reshape(len(rows), -1)
    columns = video_columns(results.scorer, results.keypoints)
    if project.multi_animal:
        names = _individuals(project, results)
        columns = animal_columns(results.scorer, names, results.keypoints, results.unique_keypoints)
        if results.unique is not None:
            values = np.concatenate([values, results.unique[rows].reshape(len(rows), -1)], axis=1)
    values = _moved(values.astype(np.float64), recording.crop, crop)
    index = pd.MultiIndex.from_tuples([("labeled-data", image.parent.name, image.name) for image in images])
    return pd.DataFrame(values, index=index, columns=columns)


def _moved(values: Floats, analysed: Crop | None, shown: Crop | None) -> Floats:
    """From pixels of what was analysed to pixels of the image."""
    from_corner = np.array([analysed.x1, analysed.y1]) if analysed else np.zeros(2)
    to_corner = np.array([shown.x1, shown.y1]) if shown else np.zeros(2)
    points = values.reshape(len(values), -1, 3).copy()
    points[..., :2] += from_corner - to_corner
    return points.reshape(len(values), -1)


def _after(there: pd.DataFrame, new: pd.DataFrame, file: Path) -> pd.DataFrame:
    """The rows that are there, and the new ones below; columns that only one of them has are empty in the other."""
    import pandas as pd

    levels = list(there.columns.names)
    if levels not in (SINGLE_LEVELS, MULTI_LEVELS) or levels != list(new.columns.names):
        raise ProjectError(f"{file} has other column levels than the results; correct or move it away.")
    if not isinstance(there.index, pd.MultiIndex):
        parts = [tuple(str(row).replace("\\", "/").split("/")[-3:]) for row in there.index]
        there = there.set_axis(pd.MultiIndex.from_tuples(parts), axis=0)
    return pd.concat([there, new])


def _config_content(project: ProjectConfig, video: Path, source: Video) -> bytes:
    """What ``config.yaml`` is to say with this video in it."""
    height, width = source.full_size
    return added(project.path, {video: Crop(0, width, 0, height)})


@contextmanager
def _together(folder: Path) -> Iterator[Callable[[Path], Path]]:
    """Gives temporary paths, whose files come into place together in the end, or not at all.

    Else images without machine labels would stay, and look like frames that wait for a person. The folder goes, too,
    if it is new: DeepLabCut merges no labels as long as there is one without any.
    """
    waiting: list[tuple[Path, Path]] = []
    new = not folder.exists()

    def temporary(path: Path) -> Path:
        waiting.append((path.with_name(f".writing-{path.name}"), path))
        return waiting[-1][0]

    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield temporary
        for written, path in waiting:
            written.replace(path)
    except OSError as error:
        cause = error.strerror or "the disk may be full"
        raise ProjectError(
            f"{folder} or {waiting[-1][1].name if waiting else 'its parent'} cannot be written ({cause}); make room or "
            f"make it writable, then run the same command again."
        ) from error
    finally:
        for written, _ in waiting:
            with suppress(OSError):
                written.unlink()
        if new:
            with suppress(OSError):
                folder.rmdir()


def _write_table(table: pd.DataFrame, file: Path) -> None:
    from tables import HDF5ExtError

    try:
        table.to_hdf(file, key=VIDEO_KEY, mode="w")
        # HDF5 closes a file on a full disk without an error: read back what it wrote.
        whole = len(_read(file)) == len(table)
    except (HDF5ExtError, ProjectError):
        whole = False
    if not whole:
        raise OSError(errno.ENOSPC, "the disk may be full")


def _pictures(source: Video, recording: Recording, wanted: Collection[int]) -> Iterator[tuple[int, Frames]]:
    """The wanted rows' frames, decoded in order from the front: frame i is frame i, which seeking does not promise."""
    lost = np.array(recording.lost, int)
    # A lost frame has a row, but the decoder never shows it.
    row_of = {row - int((lost < row).sum()): row for row in wanted}
    left = len(row_of)
    for frame in source.frames(start=min(row_of, default=0)):
        if frame.index in row_of:
            yield row_of[frame.index], frame.image
            left -= 1
        if not left:
            return
    if left:
        raise MediaError(
            f"{recording.video}: ends before frame {max(wanted)} of {recording.table.name}, so these are not its "
            f"results; analyse it again."
        )


def _write_png(path: Path, picture: Frames) -> None:
    done, data = cv2.imencode(".png", picture)
    content: Any = data
    if not done:
        raise MediaError(f"{path}: OpenCV could not encode the frame as PNG; convert the video to 8 bits.")
    # imwrite of OpenCV cannot open names beyond the code page on Windows.
    path.write_bytes(content.tobytes())
