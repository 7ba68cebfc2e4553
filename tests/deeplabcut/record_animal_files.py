"""Record what DeepLabCut writes about videos of several animals; needs its environment.

    python tests/deeplabcut/record_animal_files.py tests/runtime/recorded_animal_files.jsonl

A line per drawn scene: the two pickles of detections, the tracklets that its box tracker makes of them, the tracks
that its stitcher makes of these, and which of a frame's animals each tracklet goes through.
"""

from __future__ import annotations

import json
import pickle
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from animal_scenes import CASES, INDIVIDUALS, KEYPOINTS, SCORER, UNIQUE, Frame, scene, spelled
from deeplabcut.pose_estimation_pytorch.apis.tracklets import build_tracklets  # pyright: ignore[reportMissingImports]
from deeplabcut.pose_estimation_pytorch.apis.videos import (  # pyright: ignore[reportMissingImports]
    _generate_assemblies_file,
    _generate_output_data,
    create_df_from_prediction,
)
from deeplabcut.pose_estimation_pytorch.data.postprocessor import (  # pyright: ignore[reportMissingImports]
    AssignIndividualIdentities,
    PadOutputs,
)
from deeplabcut.refine_training_dataset.stitch import TrackletStitcher  # pyright: ignore[reportMissingImports]

TRACKING = {
    "max_age": 1,
    "min_hits": 1,
    "iou_threshold": 0.6,
    "pcutoff": 0.1,
    "topktoretain": 3,
    "boundingboxslack": 10,
}


def padded(frame: Frame) -> dict[str, np.ndarray]:
    """As DeepLabCut's runners give it to the writers: always three animals, the missing ones -1."""
    count = len(INDIVIDUALS)
    names = ("bodyparts", "identity_scores", "bboxes", "bbox_scores")
    shapes = {
        "bodyparts": (len(KEYPOINTS), 3), "identity_scores": (len(KEYPOINTS), count), "bboxes": (4,), "bbox_scores": ()
    }  # fmt: skip
    pad = PadOutputs(dict.fromkeys(names, count), -1, shapes)
    found, _ = pad({name: frame[name] for name in names if name in frame}, {})
    if "identity_scores" in found:
        found, _ = AssignIndividualIdentities("identity_scores", "bodyparts")(found, {})
    return found | ({"unique_bodyparts": frame["unique"][None]} if "unique" in frame else {})


def record(frames: list[Frame], folder: Path) -> dict[str, Any]:
    """What DeepLabCut's writers make of a video, spelled out."""
    unique = list(UNIQUE) if "unique" in frames[0] else []
    names = [*KEYPOINTS, *unique]
    predictions = [padded(frame) for frame in frames]
    full = _generate_output_data({"all_joints": names, "all_joints_names": names}, predictions)
    (folder / "full.pickle").write_bytes(pickle.dumps(full))
    _generate_assemblies_file(folder / "full.pickle", folder / "assemblies.pickle", len(KEYPOINTS), len(unique))
    assemblies = pickle.loads((folder / "assemblies.pickle").read_bytes())
    spelled_assemblies = spelled(assemblies)
    tracklets = build_tracklets(
        assemblies, "box", TRACKING, names, SCORER, len(frames), unique_bodyparts=unique
    )  # fmt: skip
    metadata = {"bodyparts": list(KEYPOINTS), "unique_bodyparts": unique, "individuals": list(INDIVIDUALS)}
    table = create_df_from_prediction(
        predictions, SCORER, multi_animal=True, model_cfg={"metadata": metadata}, output_path=folder, output_prefix="t"
    )
    goes_through = {
        str(number): [[int(key.removeprefix("frame")), row_of(value, frames[int(key.removeprefix("frame"))])]
                      for key, value in tracklets[number].items()]
        for number in tracklets if number not in ("header", "single")
    }  # fmt: skip
    found = {"full": spelled(full), "assemblies": spelled_assemblies, "tracklets": spelled(tracklets)}
    stitcher = TrackletStitcher.from_dict_of_dict(tracklets, n_tracks=3, min_length=3)
    stitcher.build_graph()
    stitcher.stitch()
    tracks = stitcher.format_df(list(INDIVIDUALS))
    tables = {"table": table, "tracks": tracks}
    columns = {name: spelled(table.columns) for name, table in tables.items()}
    return found | {"goes_through": goes_through, "columns": columns, "tracks": tracks.to_numpy().tolist()}


def row_of(value: np.ndarray, frame: Frame) -> int:
    """Which of the frame's animals it is."""
    gaps = np.abs(frame["bodyparts"][..., 0] - value[:, 0])
    return int(np.nanmean(gaps, axis=1).argmin())


def main(destination: Path) -> None:
    """Write one scene per line."""
    lines = []
    for name, options in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            found = record(scene(**options), Path(folder))
        lines.append(json.dumps({"case": name, **found}, separators=(",", ":")))
    destination.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
