"""Files of several animals against those that DeepLabCut wrote of the same numbers, and reading them back."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from animal_scenes import CASES, INDIVIDUALS, KEYPOINTS, SCORER, UNIQUE, Frame, scene, spelled

from rigpose.errors import ResultError
from rigpose.files.animal_files import write_detections, write_tracks
from rigpose.files.pickles import load_among_strangers, load_arrays
from rigpose.files.results import ResultFiles, count_rows, read_results
from rigpose.models.model_spec import DekrGrouping, ModelSpec
from rigpose.poses import Poses
from rigpose.tracking import Tracklet, Tracks

# DeepLabCut 3.0.2; made by tests/deeplabcut/record_animal_files.py.
RECORDED = {
    line["case"]: line
    for line in map(json.loads, (Path(__file__).parent / "recorded_animal_files.jsonl").read_text().splitlines())
}


def spec(*, unique: bool = False) -> ModelSpec:
    return ModelSpec(
        "dekr",
        "dekr_w18",
        KEYPOINTS,
        INDIVIDUALS,
        UNIQUE if unique else (),
        grouping=DekrGrouping(max_animals=3),
    )


def poses(frame: Frame) -> Poses:
    """As a decoder gives them: a missing keypoint is NaN in its score, too."""
    joints = frame["bodyparts"]
    found = Poses.from_array(np.where(np.isnan(joints[..., :1]), np.nan, joints))
    looks = frame.get("identity_scores")
    return Poses(
        found.xy,
        found.score,
        animal_score=frame.get("bbox_scores"),
        identity=None if looks is None else looks.sum(axis=1).argmax(axis=1),
        identity_scores=looks,
        unique=frame.get("unique"),
        boxes=frame.get("bboxes"),
    )


def tracks_in(frames: list[Poses | None], table: np.ndarray, tracklets: dict[str, list[list[int]]]) -> Tracks:
    """The tracks that are in a table ((F, T * K * 3), later frames without any), and these tracklets."""
    rows = np.full((len(frames), len(INDIVIDUALS)), -1)
    joints = table[:, : len(INDIVIDUALS) * len(KEYPOINTS) * 3].reshape(-1, len(INDIVIDUALS), len(KEYPOINTS), 3)
    for frame, found in enumerate(frames[: len(joints)]):
        assert found is not None
        for track in np.flatnonzero(np.isfinite(joints[frame]).any(axis=(1, 2))):
            rows[frame, track] = np.nanmean(abs(found.xy[..., 0] - joints[frame, track, :, 0]), axis=1).argmin()
    return Tracks(rows, tuple(Tracklet(*np.array(steps).T) for steps in tracklets.values()))


def written(folder: Path, frames: list[Poses | None], *, unique: bool = False, **rows: Any) -> ResultFiles:
    """Both steps for a video of red and, further down, green: track t is animal t unless ``rows`` says otherwise."""
    files = ResultFiles.of(folder / "cage.mp4", SCORER)
    write_detections(files, frames, spec(unique=unique))
    tracks = Tracks(rows.get("rows", np.full((len(frames), 3), -1)), ())
    write_tracks(files, frames, tracks, spec=spec(unique=unique), scorer=SCORER, suffix="_el", save_csv=True)
    return files


@pytest.mark.parametrize("case", CASES)
def test_the_pickles_hold_what_deeplabcut_puts_into_them(case: str, tmp_path: Path) -> None:
    frames: list[Poses | None] = [poses(frame) for frame in scene(**CASES[case])]
    files, theirs = ResultFiles.of(tmp_path / "a.mp4", SCORER), RECORDED[case]
    write_detections(files, frames, spec(unique=case == "unique"))
    full = spelled(load_arrays(files.detections.read_bytes(), files.detections, error=ResultError))
    # Where no animal is found, DeepLabCut's arrays are doubles by accident.
    empty = json.dumps(theirs["full"]["str frame10"]).replace("array float64", "array float32")
    assert full == theirs["full"] | {"str frame10": json.loads(empty)}
    found = load_arrays(files.assemblies.read_bytes(), files.assemblies, error=ResultError)
    expected = theirs["assemblies"]
    if case == "identity":
        expected = {key: without_absent(value) if key.startswith("int") else value for key, value in expected.items()}
    assert spelled(found) == expected


def without_absent(animals: list[Any]) -> list[Any]:
    """DeepLabCut keeps its rows of -1 in the assemblies when a model tells individuals apart, by an oversight."""
    values = np.array(animals[1:]).reshape(-1, len(KEYPOINTS), 4)
    return spelled(values[(values[..., 2] >= 0).any(axis=1)])


@pytest.mark.parametrize("case", CASES)
def test_tracks_are_the_tables_and_tracklets_that_deeplabcut_makes(case: str, tmp_path: Path) -> None:
    frames: list[Poses | None] = [poses(frame) for frame in scene(**CASES[case])]
    files, theirs = ResultFiles.of(tmp_path / "a.mp4", SCORER), RECORDED[case]
    table = np.array(theirs["tracks"], float)
    tracks = tracks_in(frames, table, theirs["goes_through"])
    write_tracks(
        files, frames, tracks, spec=spec(unique=case == "unique"), scorer=SCORER, suffix="_el", save_csv=True
    )  # fmt: skip
    # The pickle is our own; strangers read it, too, but for its header.
    tracklets = pickle.loads(files.tracklets("_el").read_bytes())
    order = list(theirs["goes_through"])
    expected = {key.replace("int64", "int"): value for key, value in theirs["tracklets"].items()}
    assert spelled({order[k] if isinstance(k, int) else k: v for k, v in tracklets.items()}) == {
        key.replace("int ", "str "): value for key, value in expected.items()
    }
    among_strangers = load_among_strangers(files.tracklets("_el").read_bytes())
    assert spelled(among_strangers[0]) == spelled(tracklets[0])

    for h5, key, dtype in ((files.tracks("_el"), "tracks", np.float64), (files.h5, "df_with_missing", np.float32)):
        found = pd.DataFrame(pd.read_hdf(h5, key))
        assert spelled(found.columns) == theirs["columns"]["tracks"] == theirs["columns"]["table"]
        assert set(found.dtypes) == {np.dtype(dtype)} and list(found.index) == list(range(12))
        np.testing.assert_allclose(found.to_numpy()[: len(table)], table, atol=1e-4)  # single precision at 300 px
        by_text = pd.read_csv(h5.with_suffix(".csv"), header=[0, 1, 2, 3], index_col=0)
        np.testing.assert_allclose(by_text.to_numpy(), found.to_numpy())
        assert list(by_text.columns) == list(found.columns)
    assert count_rows(files.h5) == 12


def animal(place: float, *, missing: int | None = None) -> np.ndarray:
    joints = np.concatenate([np.arange(8).reshape(4, 2) + place, np.full((4, 1), 0.9)], axis=1).astype(np.float32)
    if missing is not None:
        joints[missing] = np.nan
    return joints


def test_absent_tracks_are_nan_and_missing_keypoints_have_likelihood_0(tmp_path: Path) -> None:
    frames = [
        Poses.from_array(np.stack([animal(10), animal(50, missing=2)])),
        None,
        Poses.empty(4),
        Poses.from_array(animal(60)[None]),
    ]
    rows = np.array([[1, 0, -1], [-1, -1, -1], [-1, -1, -1], [0, -1, -1]])
    files = written(tmp_path, frames, rows=rows)
    for path in (files.tracks("_el"), files.tracks("_el").with_suffix(".csv"), files.h5, files.csv):
        found = read_results(path)
        assert found.individuals == INDIVIDUALS and found.unique is None and len(found.xy) == 4
        np.testing.assert_array_equal(found.score[0, 0], np.array([0.9, 0.9, 0, 0.9], np.float32))
        assert np.isnan(found.xy[0, 0, 2]).all()
        np.testing.assert_array_equal(found.xy[0, 1], animal(10)[:, :2])
        np.testing.assert_array_equal(found.xy[3, 0], animal(60)[:, :2])
        assert (
            np.isnan(found.score[1:3]).all() and np.isnan(found.score[:, 2]).all() and np.isnan(found.score[3, 1]).all()
        )


def test_unique_keypoints_are_told_from_the_animals(tmp_path: Path) -> None:
    single = np.array([[1, 2, 0.7], [np.nan, np.nan, np.nan]], np.float32)
    frames = [replace(Poses.from_array(animal(10)[None]), unique=single), None, replace(Poses.empty(4), unique=single)]
    files = written(tmp_path, frames, unique=True, rows=np.array([[0, -1, -1], [-1] * 3, [-1] * 3]))
    found = read_results(files.tracks("_el"))
    assert found.keypoints == KEYPOINTS and found.individuals == INDIVIDUALS and found.unique_keypoints == UNIQUE
    assert found.unique is not None and np.isnan(found.unique[1]).all()
    np.testing.assert_array_equal(found.unique[0], np.array([[1, 2, 0.7], [np.nan, np.nan, 0]], np.float32))
    np.testing.assert_array_equal(found.unique[2], found.unique[0])
    again = found.poses(2)
    assert len(again) == 3 and again.unique is not None and np.isnan(again.xy).all()
    assemblies = load_arrays(files.assemblies.read_bytes(), files.assemblies, error=ResultError)
    assert list(assemblies["single"]) == [0, 2] and assemblies[1].shape == (0, 4, 4)


def test_a_video_without_any_animal_has_all_files(tmp_path: Path) -> None:
    files = written(tmp_path, [Poses.empty(4), None, Poses.empty(4)])
    assert np.isnan(read_results(files.tracks("_el")).xy).all()
    assert list(pickle.loads(files.tracklets("_el").read_bytes())) == ["header"]
    assemblies = load_arrays(files.assemblies.read_bytes(), files.assemblies, error=ResultError)
    assert [assemblies[frame].shape for frame in range(3)] == [(0, 4, 4)] * 3
    names = sorted(path.name.removeprefix(files.stem) for path in tmp_path.iterdir())
    assert names == [".csv", ".h5", "_assemblies.pickle", "_el.csv", "_el.h5", "_el.pickle", "_full.pickle"]


@pytest.mark.parametrize(("frames", "last"), [(1, "frame0"), (10, "frame9"), (11, "frame10"), (101, "frame100")])
def test_frame_keys_are_as_wide_as_deeplabcuts(frames: int, last: str, tmp_path: Path) -> None:
    files = ResultFiles.of(tmp_path / "a.mp4", SCORER)
    write_detections(files, [Poses.empty(4)] * frames, spec())
    found = load_arrays(files.detections.read_bytes(), files.detections, error=ResultError)
    assert list(found)[-1] == last and found["metadata"]["key_str_width"] == int(np.ceil(np.log10(frames)))


def test_more_tracks_than_named_animals_are_numbered(tmp_path: Path) -> None:
    files = written(tmp_path, [Poses.from_array(animal(10)[None])], rows=np.array([[-1, -1, -1, 0]]))
    found = read_results(files.tracks("_el"))
    assert found.individuals == ("ind1", "ind2", "ind3", "ind4") and np.isfinite(found.xy[0, 3]).all()


def test_fewer_tracks_than_named_animals_leave_the_others_empty(tmp_path: Path) -> None:
    files = written(tmp_path, [Poses.from_array(animal(10)[None])], rows=np.array([[0]]))
    found = read_results(files.tracks("_el"))
    assert found.individuals == INDIVIDUALS and np.isfinite(found.xy[:, 0]).all() and np.isnan(found.xy[:, 1:]).all()


def test_animals_beyond_the_individuals_stay_in_the_detections(tmp_path: Path) -> None:
    five = Poses.from_array(np.stack([animal(20 * i) for i in range(5)]))
    files = written(tmp_path, [replace(five, identity=np.array([1, 0, 2, -1, -1]))])
    full = load_arrays(files.detections.read_bytes(), files.detections, error=ResultError)
    assert full["frame0"]["coordinates"][0][0][:, 0].tolist() == [20, 0, 40, 60, 80]
    assemblies = load_arrays(files.assemblies.read_bytes(), files.assemblies, error=ResultError)
    assert assemblies[0][:, 0, 0].tolist() == [20, 0, 40, 60, 80]


def test_a_tracklet_with_a_gap_keeps_its_frames(tmp_path: Path) -> None:
    frames = [Poses.from_array(np.stack([animal(50), animal(10 + f)])) if f != 2 else None for f in range(5)]
    tracklets = (Tracklet(np.array([0, 1, 4]), np.array([1, 1, 1])), Tracklet(np.array([3]), np.array([0])))
    files = ResultFiles.of(tmp_path / "a.mp4", SCORER)
    tracks = Tracks(np.full((5, 3), -1), tracklets)
    write_tracks(files, frames, tracks, spec=spec(), scorer=SCORER, suffix="_bx", save_csv=False)
    found = pickle.loads(files.tracklets("_bx").read_bytes())
    assert list(found[0]) == ["frame0", "frame1", "frame4"] and list(found[1]) == ["frame3"]
    assert [found[0][key][0, 0] for key in found[0]] == [10, 11, 14] and found[1]["frame3"][0, 0] == 50
    assert not files.csv.exists() and not files.tracks("_bx").with_suffix(".csv").exists()


def test_a_pickle_is_whole_or_not_there(tmp_path: Path) -> None:
    class Broken(list[Any]):
        def __iter__(self) -> Iterator[Any]:
            yield Poses.empty(4)
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        write_detections(ResultFiles.of(tmp_path / "a.mp4", SCORER), Broken([None, None]), spec())
    assert list(tmp_path.iterdir()) == []


def test_scores_of_rough_poses_are_no_scores_of_boxes(tmp_path: Path) -> None:
    frames = [poses(frame) for frame in scene(**CASES["boxes"])]
    assert frames[0].boxes is not None and frames[0].animal_score is not None
    files = ResultFiles.of(tmp_path / "a.mp4", SCORER)
    for scores in (True, False):
        write_detections(files, frames, spec(), box_scores=scores)
        entries = [
            entry for key, entry in load_among_strangers(files.detections.read_bytes()).items() if key != "metadata"
        ]
        assert all("bboxes" in entry and ("bbox_scores" in entry) == scores for entry in entries)
