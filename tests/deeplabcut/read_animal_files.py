"""Run by the Python of another tool: opens the files of one video of several animals, and prints what it read as JSON.

Usage: python read_animal_files.py FOLDER READER ...

``FOLDER`` is a project that ``tests/analysed_animals.py`` made. A line per reader says ``READ`` and what it found, or
why it could not read.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Try each reader that was named."""
    folder = Path(sys.argv[1])
    for name in sys.argv[2:]:
        try:
            found: Any = READERS[name](folder)
        except Exception as error:  # noqa: BLE001  # whatever another tool raises is what there is to report
            found = f"{type(error).__name__}: {error}"
        print("READ " + json.dumps([name, found]))


def _stem(folder: Path) -> Path:
    (full,) = (folder / "videos").glob("*_full.pickle")
    return full.with_name(full.name.removesuffix("_full.pickle"))


def _scorer(folder: Path) -> str:
    return _stem(folder).name.removeprefix("cage")


def load_analyzed_data(folder: Path) -> Any:
    """DeepLabCut finds and opens both tables."""
    from deeplabcut.utils.auxiliaryfunctions import load_analyzed_data  # pyright: ignore[reportMissingImports]

    found = []
    for method in ("ellipse", ""):
        table, path, *_ = load_analyzed_data(folder / "videos", "cage", _scorer(folder), track_method=method)
        found.append([Path(path).name.removeprefix(_stem(folder).name), list(table.shape)])
    return found


def stitch(folder: Path) -> Any:
    """DeepLabCut's stitcher makes tracks of the tracklets."""
    from deeplabcut.refine_training_dataset.stitch import TrackletStitcher  # pyright: ignore[reportMissingImports]

    stitcher = TrackletStitcher.from_pickle(f"{_stem(folder)}_el.pickle", n_tracks=3)
    stitcher.build_graph()
    stitcher.stitch()
    table = stitcher.format_df(["red", "green", "blue"])
    return [len(stitcher), list(table.shape), list(table.columns.get_level_values("individuals").unique())]


def convert_detections(folder: Path) -> Any:
    """DeepLabCut tracks the assemblies with its own tracker, by boxes."""
    deeplabcut = importlib.import_module("deeplabcut")

    arguments = (str(folder / "config.yaml"), [str(folder / "videos" / "cage.mp4")])
    deeplabcut.convert_detections2tracklets(*arguments, track_method="box", overwrite=True)
    deeplabcut.stitch_tracklets(*arguments, track_method="box", n_tracks=3)
    return Path(f"{_stem(folder)}_bx.h5").is_file()


def filter_predictions(folder: Path) -> Any:
    """DeepLabCut smooths the tracks."""
    deeplabcut = importlib.import_module("deeplabcut")

    deeplabcut.filterpredictions(
        str(folder / "config.yaml"), [str(folder / "videos" / "cage.mp4")], track_method="ellipse"
    )  # fmt: skip
    return Path(f"{_stem(folder)}_el_filtered.h5").is_file()


def labeled_video(folder: Path) -> Any:
    """DeepLabCut draws the tracks; the name that it gives the video."""
    deeplabcut = importlib.import_module("deeplabcut")

    deeplabcut.create_labeled_video(
        str(folder / "config.yaml"),
        [str(folder / "videos" / "cage.mp4")],
        track_method="ellipse",
        color_by="individual",
        pcutoff=0.6,
    )
    return [path.name.removeprefix(_stem(folder).name) for path in (folder / "videos").glob("*_labeled.mp4")]


def all_detections(folder: Path) -> Any:
    """DeepLabCut draws every keypoint of the detections."""
    deeplabcut = importlib.import_module("deeplabcut")

    deeplabcut.create_video_with_all_detections(
        str(folder / "config.yaml"), [str(folder / "videos" / "cage.mp4")]
    )  # fmt: skip
    return Path(f"{_stem(folder)}_full.mp4").is_file()


def movement(folder: Path) -> Any:
    """Movement reads the table that has the key it asks for, and the text of the tracks."""
    from movement.io import load_poses  # pyright: ignore[reportMissingImports]

    found = {}
    for suffix in (".h5", ".csv", "_el.csv", "_el.h5"):
        try:
            data = load_poses.from_dlc_file(f"{_stem(folder)}{suffix}", fps=30)
            found[suffix] = [dict(data.sizes), data.individuals.values.tolist(), data.keypoints.values.tolist()]
        except (ValueError, KeyError, OSError) as error:  # noqa: PERF203
            found[suffix] = f"{type(error).__name__}: {error}"
    return found


def napari(folder: Path) -> Any:
    """The labelling plugin opens both tables as layers of points."""
    from napari_deeplabcut import _reader  # pyright: ignore[reportMissingImports]

    found = {}
    for suffix in ("_el.h5", ".h5"):
        path = f"{_stem(folder)}{suffix}"
        layers = _reader.get_hdf_reader(path)(path)
        found[suffix] = [[kind, list(data.shape)] for data, _, kind in layers]
    return found


def keypoint_moseq(folder: Path) -> Any:
    """Keypoint-MoSeq's loader, without the rest of it, which needs jax."""
    place = importlib.util.find_spec("keypoint_moseq")
    assert place is not None and place.origin is not None
    source = Path(place.origin).with_name("io.py").read_text(encoding="utf-8")
    begin = source.index("def _deeplabcut_loader")
    scope: dict[str, Any] = {}
    imports = "import os\nimport numpy as np\nimport pandas as pd\nfrom itertools import islice\n"
    exec(imports + source[begin : source.index("\ndef ", begin + 1)], scope)
    found = {}
    for suffix in ("_el.h5", "_el.csv", ".h5", ".csv"):
        places, _, bodyparts = scope["_deeplabcut_loader"](f"{_stem(folder)}{suffix}", "cage")
        found[suffix] = [{name: list(values.shape) for name, values in places.items()}, sorted(bodyparts)]
    return found


READERS = {
    "load_analyzed_data": load_analyzed_data,
    "stitch": stitch,
    "convert_detections": convert_detections,
    "filter_predictions": filter_predictions,
    "labeled_video": labeled_video,
    "all_detections": all_detections,
    "movement": movement,
    "napari": napari,
    "keypoint_moseq": keypoint_moseq,
}


if __name__ == "__main__":
    main()
