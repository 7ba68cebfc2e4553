"""Images -> ``image_predictions_{scorer}.h5``, in DeepLabCut's layout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from rigpose.analyzers.analyzer import PoseAnalyzer
from rigpose.arrays import Frames
from rigpose.errors import MediaError
from rigpose.files.animal_rows import animal_row
from rigpose.files.results import animal_columns, write_image_tables
from rigpose.models.model_spec import ModelSpec
from rigpose.poses import Poses
from rigpose.progress import Progress, silent

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})


@dataclass(frozen=True)
class ImageOptions:
    """How to analyse images.

    Attributes:
        batch: Neighbouring images of one size that go through the graph at once.
        destination: Folder of the table; none for the first image's own.
        save_csv: Write the table as text, too.
    """

    batch: int = 8
    destination: Path | None = None
    save_csv: bool = True


@dataclass(frozen=True)
class ImagesResult:
    """What came of some images.

    Attributes:
        h5: The table, a row per image.
        csv: The table as text; none if it was not wanted.
        images: The images, in the order of the rows.
        broken: Those that cannot be read; their rows are empty.
        warnings: A sentence that names the broken ones.
    """

    h5: Path
    csv: Path | None
    images: tuple[Path, ...]
    broken: tuple[Path, ...]
    warnings: tuple[str, ...]


def analyze_images(
    analyzer: PoseAnalyzer,
    sources: Iterable[str | Path],
    *,
    scorer: str,
    options: ImageOptions | None = None,
    show: Progress = silent,
) -> ImagesResult:
    """Write the poses of images, of any sizes, into one table.

    Args:
        analyzer: The model.
        sources: Images and folders of images.
        scorer: DeepLabCut's name for the predictions.
        options: How.
        show: Progress.

    Raises:
        MediaError: There is no image, or none of them can be read.
    """
    options = options or ImageOptions()
    images = [image.resolve() for source in sources for image in find_images(Path(source))]
    if not images:
        raise MediaError("no images were named; give image files or a folder of them.")
    found: list[Poses | None] = [None] * len(images)
    broken: list[Path] = []
    with show("images", len(images), "images") as advance:
        for rows, frames in _read(images, options.batch, broken):
            for row, poses in zip(rows, analyzer.predict(frames), strict=True):
                found[row] = poses
            advance(len(rows))
    if len(broken) == len(images):
        raise MediaError(f"{images[0]}: OpenCV can read none of the images; convert them to PNG.")
    h5 = (options.destination or images[0].parent) / f"image_predictions_{scorer}.h5"
    write_image_tables(h5, _table(images, found, scorer, analyzer.spec), save_csv=options.save_csv)
    warnings = (_broken_sentence(broken, len(images)),) if broken else ()
    csv = h5.with_suffix(".csv") if options.save_csv else None
    return ImagesResult(h5, csv, tuple(images), tuple(broken), warnings)


def find_images(source: Path) -> list[Path]:
    """The image itself, or those of a folder by name."""
    if not source.is_dir():
        return [source]
    images = [path for path in sorted(source.iterdir()) if path.suffix.lower() in SUFFIXES]
    if not images:
        raise MediaError(
            f"{source}: no image in this folder (looked for {' '.join(sorted(SUFFIXES))}); name the files."
        )
    return images


def read_image(path: Path) -> Frames | None:
    """(H, W, 3) uint8 BGR, or none if OpenCV cannot read the file."""
    if not path.is_file():
        return None
    # imread of OpenCV cannot open names beyond the code page on Windows.
    data = np.fromfile(path, np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None  # type: ignore[return-value]


def _table(images: list[Path], found: list[Poses | None], scorer: str, spec: ModelSpec) -> pd.DataFrame:
    import pandas as pd

    from rigpose.files.animal_files import named_tracks

    # A run may look for more animals than the model has names for.
    most = max([len(spec.individuals), *(len(poses) for poses in found if poses is not None)])
    individuals = named_tracks(spec.individuals, most)
    counts = {"animals": most, "keypoints": len(spec.keypoints), "unique": len(spec.unique_keypoints)}
    return pd.DataFrame(
        np.stack([animal_row(poses, **counts) for poses in found]),
        index=[str(image) for image in images],
        columns=animal_columns(scorer, individuals, spec.keypoints, spec.unique_keypoints),
    )


def _read(images: list[Path], batch: int, broken_out: list[Path]) -> Iterator[tuple[list[int], list[Frames]]]:
    """Rows and frames of the readable images, some at a time."""
    waiting = iter(enumerate(images))
    while some := list(islice(waiting, batch)):
        rows: list[int] = []
        frames: list[Frames] = []
        for row, path in some:
            frame = read_image(path)
            if frame is None:
                broken_out.append(path)
            else:
                rows.append(row)
                frames.append(frame)
        yield rows, frames


def _broken_sentence(broken: list[Path], of: int) -> str:
    names = ", ".join(path.name for path in broken[:20])
    more = f" and {len(broken) - 20} more" if len(broken) > 20 else ""
    return f"{len(broken)} of {of} images cannot be read and have empty rows: {names}{more}."
