"""Results in other tools' formats, read back by those tools' own readers."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from analysed_animals import FRAMES, HEIGHT, WIDTH, analysed_project
from animal_scenes import INDIVIDUALS, KEYPOINTS, UNIQUE
from drawn_bundle import write_bundle
from live_recordings import SCORER, captured, one_mouse, recorder

from rigpose.bundles.bundle import seal
from rigpose.commands.convert import COMMAND
from rigpose.commands.main import run
from rigpose.files.results import (
    ResultFiles,
    Results,
    animal_columns,
    read_results,
    video_columns,
    write_table,
    write_video_tables,
)
from rigpose.formats import FORMATS
from rigpose.videos.metadata import read_meta, write_meta

SKELETON = (("nose", "neck"), ("neck", "hip"), ("corner", "lamp"))
START = "2026-11-20T14:03:00+01:00"


@pytest.fixture(scope="module")
def analysed(tmp_path_factory: pytest.TempPathFactory) -> ResultFiles:
    """Three animals that come and go and two unique keypoints, 30 frames per second, with a skeleton."""
    files = analysed_project(tmp_path_factory.mktemp("analysed") / "project")
    meta = read_meta(files.meta)
    assert meta is not None
    write_meta(files.meta, {**meta, "rigpose": {"skeleton": [list(pair) for pair in SKELETON]}})
    return files


def _convert(*words: str | Path) -> int:
    parser = ArgumentParser()
    COMMAND.configure(parser)
    return run(COMMAND, parser.parse_args([*map(str, words)]))


def _refused(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    """The sentence with which a conversion is refused."""
    assert _convert(*words) == 1
    (line,) = capsys.readouterr().err.splitlines()
    return line


def _with_gaps(found: Results) -> Results:
    """The scene is what these tests need: tracks with gaps, and keypoints missing from animals that are there."""
    there = np.isfinite(found.xy[..., 0])
    absent = ~there.any(axis=2)
    assert absent.any() and not absent.all() and (there.any(axis=2) & ~there.all(axis=2)).any()
    assert found.unique is not None and np.isfinite(found.unique).any() and len(found.xy) == FRAMES
    return found


def test_nwb_read_back_by_pynwb_says_the_same(analysed: ResultFiles, tmp_path: Path) -> None:
    pynwb = pytest.importorskip("pynwb")
    pytest.importorskip("ndx_pose")
    found = _with_gaps(read_results(analysed.h5))
    output = tmp_path / "cage.nwb"
    assert _convert(analysed.h5, "--to", "nwb", "-o", output, "--session-start", START) == 0
    with pynwb.NWBHDF5IO(str(output), "r") as file:
        nwb = file.read()
        assert nwb.session_start_time == datetime(2026, 11, 20, 14, 3, tzinfo=timezone(timedelta(hours=1)))
        behavior = nwb.processing["behavior"]
        for i, name in enumerate(INDIVIDUALS):
            _check_nwb(behavior[name], found.scorer, KEYPOINTS, found.xy[:, i], found.score[:, i])
            assert behavior[name].skeleton.edges[:].tolist() == [[0, 1], [1, 2]]
        assert found.unique is not None
        _check_nwb(behavior["single"], found.scorer, UNIQUE, found.unique[..., :2], found.unique[..., 2])
        assert behavior["single"].skeleton.edges[:].tolist() == [[0, 1]]
        video = nwb.acquisition["video"]
        assert video.external_file[0] == str(analysed.folder / "cage.mp4")
        assert video.rate == 30 and video.dimension[:].tolist() == [WIDTH, HEIGHT]
    assert pynwb.validate(path=str(output)) in ([], ([], 0))
    assert [path.name for path in tmp_path.iterdir()] == ["cage.nwb"]


def _check_nwb(poses: Any, scorer: str, keypoints: tuple[str, ...], xy: np.ndarray, score: np.ndarray) -> None:
    assert poses.scorer == scorer and list(poses.skeleton.nodes[:]) == list(keypoints)
    assert set(poses.pose_estimation_series) == set(keypoints)
    for k, name in enumerate(keypoints):
        series = poses[name]
        np.testing.assert_array_equal(series.data[:], xy[:, k])
        np.testing.assert_array_equal(series.confidence[:], score[:, k])
        assert series.rate == 30 and series.starting_time == 0
        assert "middle of the top left pixel" in series.reference_frame


def test_nwb_takes_the_time_of_each_frame(analysed: ResultFiles, tmp_path: Path) -> None:
    pynwb = pytest.importorskip("pynwb")
    times = np.cumsum(np.random.default_rng(0).uniform(0.02, 0.04, FRAMES))
    np.savetxt(tmp_path / "times.txt", times)
    output = tmp_path / "cage.nwb"
    words = ("--session-start", START, "--times", tmp_path / "times.txt")
    assert _convert(analysed.h5, "--to", "nwb", "-o", output, *words) == 0
    with pynwb.NWBHDF5IO(str(output), "r") as file:
        behavior = file.read().processing["behavior"]
        for owner, keypoint in ((INDIVIDUALS[0], KEYPOINTS[0]), ("single", UNIQUE[1])):
            np.testing.assert_array_equal(behavior[owner][keypoint].timestamps[:], times)
            assert behavior[owner][keypoint].rate is None


def test_nwb_has_the_only_animal_where_other_tools_look(tmp_path: Path) -> None:
    pynwb = pytest.importorskip("pynwb")
    pytest.importorskip("ndx_pose")
    files = _single(tmp_path)
    assert _convert(files.h5, "--to", "nwb", "--fps", "25.5", "--session-start", START) == 0
    with pynwb.NWBHDF5IO(str(files.h5.with_suffix(".nwb")), "r") as file:
        nwb = file.read()
        nose = nwb.processing["behavior"]["PoseEstimation"]["nose"]
        np.testing.assert_array_equal(nose.data[:], [[1, 1], [np.nan, np.nan], [3, 5], [4, 7], [5, 9]])
        assert nose.rate == 25.5 and not nwb.acquisition


def test_slp_read_back_by_sleap_io_says_the_same(analysed: ResultFiles, tmp_path: Path) -> None:
    sio = pytest.importorskip("sleap_io")
    found = _with_gaps(read_results(analysed.h5))
    output = tmp_path / "cage.slp"
    assert _convert(analysed.h5, "--to", "slp", "-o", output) == 0
    labels = sio.load_slp(str(output))
    (skeleton,) = labels.skeletons
    assert skeleton.node_names == [*KEYPOINTS, *UNIQUE]
    assert [(edge.source.name, edge.destination.name) for edge in skeleton.edges] == list(SKELETON)
    assert [track.name for track in labels.tracks] == [*INDIVIDUALS, "single"]
    assert labels.provenance["scorer"] == found.scorer
    # sleap-io opens the video that it is pointed to.
    (video,) = labels.videos
    assert Path(video.filename) == analysed.folder / "cage.mp4" and video.shape[:3] == (FRAMES, HEIGHT, WIDTH)
    assert video.fps == 30
    animals = np.full((FRAMES, len(INDIVIDUALS), len(KEYPOINTS), 3), np.nan)
    unique = np.full((FRAMES, len(UNIQUE), 3), np.nan)
    for frame in labels:
        for instance in frame.instances:
            points = instance.numpy(scores=True)
            if instance.track.name == "single":
                unique[frame.frame_idx] = points[len(KEYPOINTS) :]
                assert np.isnan(points[: len(KEYPOINTS), :2]).all()
            else:
                animals[frame.frame_idx, INDIVIDUALS.index(instance.track.name)] = points[: len(KEYPOINTS)]
    np.testing.assert_array_equal(animals[..., :2], found.xy)
    there = np.isfinite(found.xy[..., 0])
    np.testing.assert_array_equal(animals[there][:, 2], found.score[there])
    assert found.unique is not None
    np.testing.assert_array_equal(unique[..., :2], found.unique[..., :2])
    seen = np.isfinite(found.unique[..., 0])
    np.testing.assert_array_equal(unique[seen][:, 2], found.unique[seen][:, 2])


def test_parquet_read_back_by_pyarrow_says_the_same(
    analysed: ResultFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    found = _with_gaps(read_results(analysed.h5))
    # A few frames at a time, so that the table has several parts.
    monkeypatch.setattr("rigpose.formats.parquet.VALUES_AT_A_TIME", 300)
    output = tmp_path / "cage.parquet"
    assert _convert(analysed.h5, "--to", "parquet", "-o", output) == 0
    table = parquet.read_table(output)
    assert parquet.ParquetFile(output).num_row_groups > 1
    facts = json.loads(table.schema.metadata[b"rigpose"])
    assert facts["frames_per_second"] == 30 and facts["scorer"] == found.scorer and facts["video"] == "cage.mp4"
    assert facts["skeleton"] == [list(pair) for pair in SKELETON] and facts["frame_size"] == [HEIGHT, WIDTH]
    assert (facts["individuals"], facts["unique_keypoints"]) == (list(INDIVIDUALS), list(UNIQUE))
    rows = table.to_pandas()
    np.testing.assert_allclose(rows["time"], rows["frame"] / 30, rtol=1e-12)
    points = rows.set_index(["frame", "individual", "keypoint"])[["x", "y", "likelihood"]]
    assert len(points) == FRAMES * (len(INDIVIDUALS) * len(KEYPOINTS) + len(UNIQUE)) and points.index.is_unique
    for n, individual in enumerate(INDIVIDUALS):
        for k, keypoint in enumerate(KEYPOINTS):
            track = points.xs((individual, keypoint), level=("individual", "keypoint")).to_numpy()
            np.testing.assert_array_equal(track[:, :2], found.xy[:, n, k])
            np.testing.assert_array_equal(track[:, 2], found.score[:, n, k])
    assert found.unique is not None
    corner = points.xs(("single", UNIQUE[0]), level=("individual", "keypoint")).to_numpy()
    np.testing.assert_array_equal(corner, found.unique[:, 0])
    # What was not found is null for those who do not know NaN.
    absent = np.isnan(found.xy[..., 0]).sum() + np.isnan(found.unique[..., 0]).sum()
    assert table.column("x").null_count == absent


def test_csv_and_h5_are_those_of_the_analysis(analysed: ResultFiles, tmp_path: Path) -> None:
    assert _convert(analysed.h5, "--to", "csv", "-o", tmp_path / "x.csv") == 0
    assert (tmp_path / "x.csv").read_bytes() == analysed.csv.read_bytes()
    assert _convert(tmp_path / "x.csv", "--to", "h5") == 0
    ours, theirs = (pd.DataFrame(pd.read_hdf(path)) for path in (tmp_path / "x.h5", analysed.h5))
    pd.testing.assert_frame_equal(ours, theirs)
    # What it was made from is still there.
    assert (tmp_path / "x.csv").read_bytes() == analysed.csv.read_bytes()


def _single(folder: Path, *, frames: int = 5, crop: bool = False, name: str = "DLC_x") -> ResultFiles:
    """A result of one animal with a lost frame, without its video."""
    rows: list[Any] = [np.array([[[i + 1, 2 * i + 1, 0.5], [i + 3, 7, 0.25]]], np.float32) for i in range(frames)]
    rows[1] = None
    files = ResultFiles.of(folder / "mouse.mp4", name)
    columns = video_columns(name, ("nose", "tail"))
    write_video_tables(files, rows, columns=columns, save_csv=False)
    facts = {"fps": 29.97, "cropping": crop, "cropping_parameters": [100, 400, 20, 300], "frame_dimensions": (300, 280)}
    write_meta(files.meta, facts)
    return files


def test_one_animal_of_a_cropped_analysis_lands_in_the_whole_frame(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    files = _single(tmp_path, crop=True)
    assert _convert(files.h5, "--to", "parquet", "--fps", "25") == 0
    told = capsys.readouterr().out
    assert "no skeleton is known" in told and "rounds" not in told
    rows = parquet.read_table(files.h5.with_suffix(".parquet")).to_pandas()
    nose = rows[rows["keypoint"] == "nose"]
    np.testing.assert_array_equal(nose["x"], [101, np.nan, 103, 104, 105])
    np.testing.assert_array_equal(nose["y"], [21, np.nan, 25, 27, 29])
    np.testing.assert_allclose(nose["time"], np.arange(5) / 25)
    assert set(nose["individual"]) == {"individual_1"}
    # DeepLabCut's own tables keep the coordinates of the part.
    assert _convert(files.h5, "--to", "csv") == 0
    np.testing.assert_array_equal(read_results(files.csv).xy, read_results(files.h5).xy)


def test_a_result_that_deeplabcut_wrote_is_converted(golden: Path, tmp_path: Path) -> None:
    sio = pytest.importorskip("sleap_io")
    h5 = next((golden / "snapshots" / "openfield_resnet_50" / "deeplabcut_output").glob("*.h5"))
    found = read_results(h5)
    output = tmp_path / "mouse.slp"
    assert _convert(h5, "--to", "slp", "-o", output) == 0
    labels = sio.load_slp(str(output))
    assert labels.skeleton.node_names == list(found.keypoints) and labels.video.fps == 30
    xy = np.array([frame.instances[0].numpy() for frame in labels])
    np.testing.assert_array_equal(xy, found.xy[:, 0])


def test_the_rounded_rate_of_the_metadata_is_said_to_be_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pyarrow")
    assert _convert(_single(tmp_path).h5, "--to", "parquet") == 0
    assert "29.97 is the metadata's, which rounds" in capsys.readouterr().out


def test_deeplabcuts_minus_one_is_nothing(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [np.array([1, 2, 0.5], np.float32), np.full(3, -1, np.float32)]
    h5 = tmp_path / "mouseDLC_x.h5"
    write_table(h5, rows, columns=video_columns("DLC_x", ["nose"]), save_csv=False)
    assert _convert(h5, "--to", "parquet", "--fps", "30") == 0
    assert parquet.read_table(h5.with_suffix(".parquet")).column("x").to_pylist() == [1, None]


def test_an_individual_with_a_name_keeps_it(tmp_path: Path) -> None:
    columns = animal_columns("DLC_x", ["Ada"], ["nose"])
    rows = [np.array([1, 2, 0.5], np.float32)]
    h5 = tmp_path / "mouseDLC_x.h5"
    write_table(h5, rows, columns=columns, save_csv=False)
    assert _convert(h5, "--to", "csv") == 0
    assert read_results(h5.with_suffix(".csv")).individuals == ("Ada",)


def test_a_live_recording_brings_the_times_of_its_frames(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    # 100 frames per second, of which two were dropped.
    made = recorder(tmp_path, keep="poses")
    made.open()
    numbers = [0, 1, 2, 5, 6, 7, 8]
    for number in numbers:
        frame = captured(number)
        made.offer(frame)
        made.send(one_mouse(frame))
    made.close()
    made.finish()
    h5 = made.files.tables(SCORER).h5
    assert _convert(h5, "--to", "parquet") == 0
    table = parquet.read_table(h5.with_suffix(".parquet"))
    snout = table.to_pandas().query("keypoint == 'snout'")
    np.testing.assert_allclose(snout["time"], np.array(numbers) / 100, atol=1e-9)
    np.testing.assert_array_equal(snout["x"], numbers)
    facts = json.loads(table.schema.metadata[b"rigpose"])
    assert facts["frames_per_second"] == pytest.approx(100)
    # The drawn frames were exposed 5 s after the clock's beginning; when that was, the side-car says.
    assert datetime.fromisoformat(facts["began"]).tzinfo is not None


def test_nothing_is_overwritten_unasked(
    analysed: ResultFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "x.csv"
    output.write_text("mine")
    assert "exists already" in _refused(capsys, analysed.h5, "--to", "csv", "-o", output)
    assert output.read_text() == "mine"
    assert _convert(analysed.h5, "--to", "csv", "-o", output, "--overwrite") == 0
    assert output.read_bytes() == analysed.csv.read_bytes()
    assert "is a .h5 already" in _refused(capsys, analysed.h5, "--to", "h5", "--overwrite")


def test_what_is_not_known_is_asked_for_before_anything_is_written(
    analysed: ResultFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pynwb")
    pytest.importorskip("pyarrow")
    output = tmp_path / "x.nwb"
    assert "--session-start" in _refused(capsys, analysed.h5, "--to", "nwb", "-o", output)
    assert "there is no such result file" in _refused(capsys, tmp_path / "absent.h5", "--to", "csv")
    files = _single(tmp_path / "alone")
    files.meta.unlink()
    assert "give --video or --fps" in _refused(capsys, files.h5, "--to", "parquet")
    np.save(tmp_path / "times.npy", np.arange(4.0))
    words = ("--to", "parquet", "--times", tmp_path / "times.npy")
    assert "has 5 frames where" in _refused(capsys, files.h5, *words)
    np.save(tmp_path / "times.npy", np.zeros(5))
    assert "each later than the one before" in _refused(capsys, files.h5, *words)
    (tmp_path / "a_file").write_text("")
    assert "cannot be written" in _refused(capsys, files.h5, "--to", "csv", "-o", tmp_path / "a_file" / "x.csv")
    assert "--output names the file of one" in _refused(capsys, files.h5, files.h5, "--to", "csv", "-o", output)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a_file", "alone", "times.npy"]
    assert list(files.folder.iterdir()) == [files.h5]


def test_the_skeleton_of_a_bundle_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    files = _single(tmp_path)
    bundle = write_bundle(tmp_path / "my.bundle")

    def draw(*pairs: tuple[str, str]) -> None:
        seal(bundle.path, replace(bundle.manifest, model=replace(bundle.manifest.model, skeleton=pairs)))

    draw(("nose", "tail"))
    words = (files.h5, "--to", "parquet", "--bundle", bundle.path, "--fps", "30")
    assert _convert(*words) == 0
    facts = json.loads(parquet.read_schema(files.h5.with_suffix(".parquet")).metadata[b"rigpose"])
    assert facts["skeleton"] == [["nose", "tail"]]
    # Another model's bundle.
    draw(("nose", "left"))
    assert "no keypoint left" in _refused(capsys, *words, "--overwrite")


@pytest.mark.parametrize("to", FORMATS)
def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    to: str, analysed: ResultFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    resource = pytest.importorskip("resource")
    library = {"nwb": "ndx_pose", "slp": "sleap_io", "parquet": "pyarrow.parquet"}.get(to, "pandas")
    pytest.importorskip(library)
    before = {path: path.stat().st_size for path in analysed.folder.iterdir()}
    # Every format needs more than that: a file that may not grow meets the same errors as a full disk.
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limit[1]))
    try:
        line = _refused(capsys, analysed.h5, "--to", to, "-o", tmp_path / f"x.{to}", "--session-start", START)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert f"x.{to}: cannot be written (" in line and "make room" in line
    assert not list(tmp_path.iterdir())
    assert {path: path.stat().st_size for path in analysed.folder.iterdir()} == before


def test_a_skeleton_of_other_keypoints_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pyarrow")
    files = _single(tmp_path)
    write_meta(files.meta, {"fps": 30.0, "rigpose": {"skeleton": [["nose", "wing"]]}})
    assert "no keypoint wing" in _refused(capsys, files.h5, "--to", "parquet")


def test_a_missing_library_is_named_with_its_extra(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sleap_io", None)
    assert 'pip install "rigpose[sleap]"' in _refused(capsys, _single(tmp_path).h5, "--to", "slp")
