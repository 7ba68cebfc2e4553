"""A video of several animals through the whole analysis, and what happens when it is interrupted anywhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pandas as pd
import pytest
from drawn_herd import FRAMES, SPEC, Herd, expected, herd
from drawn_squares import MOVING, SquareDetector, SureOfSpots, walk
from drawn_video import damage_avi_frame, draw_frame, write_video

from rigpose import tracking
from rigpose.analyzers.analyzer import Analyzer, VideoAnalyzer
from rigpose.analyzers.top_down import BoxAnalyzer, CropAnalyzer, TopDownAnalyzer
from rigpose.arrays import Array
from rigpose.files import animal_files
from rigpose.files.pickles import load_among_strangers
from rigpose.files.results import ResultFiles
from rigpose.models.model_spec import DetectorSpec
from rigpose.tracking import TrackingSettings
from rigpose.videos import journalled_video
from rigpose.videos.analysis import AnalysisInterrupted, AnalysisOptions, VideoResult, analyze_video
from rigpose.videos.images import analyze_images
from rigpose.videos.journal import Journal
from rigpose.videos.metadata import ResultIdentity, read_meta, write_meta
from rigpose.videos.video import Crop

IDENTITY = ResultIdentity("DLC_Herd", "0123abcd", {"net_type": "dekr_w32"})
NO_IDENTITY = dataclasses.replace(SPEC, dense={"bodypart": {}})


def _analyze(video: Path, model: VideoAnalyzer | None = None, **options) -> VideoResult:
    return analyze_video(model or herd(), video, identity=IDENTITY, options=AnalysisOptions(**options))


def _table(h5: Path) -> pd.DataFrame:
    table = pd.read_hdf(h5, "df_with_missing")
    assert isinstance(table, pd.DataFrame)
    return table


def _poses(h5: Path) -> np.ndarray:
    """(F, 3, 2, 3) of the three animals."""
    return _table(h5).drop(columns="single", level="individuals").to_numpy().reshape(-1, 3, 2, 3)


def _expected(count: int) -> np.ndarray:
    return np.stack([expected(number) for number in range(count)])


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "a.mp4", range(FRAMES))


def test_every_animal_has_its_track_and_the_files_are_deeplabcuts(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    appeared: list[str] = []
    replace = Path.replace

    def noted(self: Path, target: Path) -> Path:
        appeared.append(target.name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", noted)
    result = _analyze(video)
    assert result.frames == FRAMES and result.warnings == ()
    names = {path.name.removeprefix("aDLC_Herd") for path in video.parent.iterdir()} - {"a.mp4"}
    assert names == {
        ".h5", ".csv", "_meta.pickle", "_full.pickle", "_assemblies.pickle", "_el.pickle", "_el.h5", "_el.csv",
    }  # fmt: skip
    table = _table(result.h5)
    assert list(table.columns.names) == ["scorer", "individuals", "bodyparts", "coords"]
    assert list(table.index) == list(range(FRAMES))
    np.testing.assert_array_equal(_poses(result.h5), _expected(FRAMES))
    food = table["DLC_Herd", "single", "food"].to_numpy()
    np.testing.assert_array_equal(food[:, 0], np.arange(FRAMES))
    assert len(appeared) == len(names) and appeared[-1] == result.h5.name


@pytest.mark.parametrize(("method", "suffix"), [("box", "_bx"), ("skeleton", "_sk")])
def test_another_tracker_has_other_files(video: Path, method, suffix: str) -> None:
    result = _analyze(video, tracking=TrackingSettings(method=method), save_csv=False)
    assert (video.parent / f"aDLC_Herd{suffix}.h5").exists() and result.csv is None
    assert not list(video.parent.glob("*_el.*")) and not list(video.parent.glob("*.csv"))
    np.testing.assert_array_equal(_poses(result.h5), _expected(FRAMES))


def test_without_a_tracker_animals_that_are_told_apart_have_their_places_all_the_same(video: Path) -> None:
    result = _analyze(video, tracking=None)
    names = {path.name.removeprefix("aDLC_Herd") for path in video.parent.iterdir()} - {"a.mp4"}
    assert names == {".h5", ".csv", "_meta.pickle", "_full.pickle", "_assemblies.pickle"}
    np.testing.assert_array_equal(_poses(result.h5), _expected(FRAMES))


def test_without_a_tracker_and_an_identity_they_are_in_the_order_of_the_frame(video: Path) -> None:
    class Anonymous(Herd):
        def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
            found = super().run(inputs)
            return {name: found[name] for name in ("poses", "center")}

    model = Analyzer(dataclasses.replace(NO_IDENTITY, unique_keypoints=()), Anonymous())
    found = _table(_analyze(video, model, tracking=None).h5).to_numpy().reshape(-1, 3, 2, 3)
    # Without its suppression DEKR's animals come by falling centre, which Herd makes from the row.
    for number, frame in enumerate(found):
        there = [animal for animal in range(3) if not np.isnan(expected(number)[animal, 0, 0])]
        there.sort(key=lambda animal: -((animal + number) % 4))
        np.testing.assert_array_equal(frame[: len(there)], expected(number)[there])
        assert np.isnan(frame[len(there) :]).all()


def test_more_tracks_than_names_and_fewer(video: Path) -> None:
    more = _table(_analyze(video, animals=4).h5)
    assert more.columns.get_level_values("individuals").unique().tolist() == ["ind1", "ind2", "ind3", "ind4", "single"]
    alone = _table(_analyze(video, animals=1, tracking=None, overwrite=True).h5)
    assert alone.columns.get_level_values("individuals").unique().tolist() == ["ann", "bob", "cat", "single"]


@pytest.mark.parametrize("then", ["skeleton", None])
def test_tracks_of_an_earlier_analysis_go_with_it(video: Path, then: Literal["skeleton"] | None) -> None:
    for method in ("ellipse", "box"):
        _analyze(video, tracking=TrackingSettings(method=method), overwrite=True)
    files = ResultFiles.of(video, "DLC_Herd")
    # Names that are no track file of this analysis stay.
    strangers = [video.with_name(name) for name in ("aDLC_Herd_el_filtered.h5", "aDLC_Other_el.h5", "aDLC_Herd_els.h5")]
    for path in strangers:
        path.touch()
    before = {path.name for path in video.parent.glob("*_bx*")}
    assert before == {path.name for path in files.tracked_by("_bx")}
    assert not [path for path in files.tracked_by("_el") if path.exists()]
    _analyze(video, tracking=None if then is None else TrackingSettings(method=then), overwrite=True)
    there = [path for suffix in ("_el", "_bx", "_sk") for path in files.tracked_by(suffix) if path.exists()]
    assert there == ([] if then is None else list(files.tracked_by("_sk")))
    assert all(path.exists() for path in strangers)


def test_another_choice_of_which_poses_are_one_animal_starts_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = _squares(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(journalled_video, "write_meta", _crash_after(0, None))
        with pytest.raises(_CrashError):
            _analyze(video, _pair(4))
    other = _pair(4)
    other.same_animal = 0.5
    assert _analyze(video, other).resumed_at == 0


def test_a_lost_frame_is_an_empty_row_and_the_tracks_go_on(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.avi", range(40), codec="MJPG")
    for number in (8, 9, 35):
        damage_avi_frame(video, number)
    result = _analyze(video)
    right = _expected(40)
    right[[8, 9, 35]] = np.nan
    np.testing.assert_array_equal(_poses(result.h5), right)
    assert np.isnan(_table(result.h5).to_numpy()[[8, 9, 35]]).all()
    assert "8, 9, 35" in result.warnings[0]


def test_the_metadata_names_animals_unique_keypoints_and_what_was_chosen(video: Path) -> None:
    model = herd(SPEC.regrouped(min_center_score=0.2))
    _analyze(video, model, tracking=TrackingSettings(method="box", max_age=9), animals=2)
    meta = read_meta(video.parent / "aDLC_Herd_meta.pickle")
    assert meta is not None
    assert meta["individuals"] == ["ann", "bob", "cat"] and meta["unique_bodyparts"] == ["food"]
    chosen = meta["rigpose"]["options"]
    assert chosen["grouping"]["min_center_score"] == 0.2 and chosen["animals"] == 2
    assert chosen["tracking"]["method"] == "box" and chosen["tracking"]["max_age"] == 9


def test_a_result_of_other_settings_is_left_alone_and_said_to_be_so(video: Path) -> None:
    h5 = _analyze(video).h5
    before = h5.read_bytes()
    for same in (_analyze(video), _analyze(video, animals=3)):
        assert same.skipped and same.warnings == ()
    others = (
        _analyze(video, animals=2),
        _analyze(video, tracking=TrackingSettings(method="box")),
        _analyze(video, cropping=Crop(0, 64, 0, 64)),
        _analyze(video, Analyzer(SPEC.regrouped(max_animals=2), Herd())),
    )
    for other in others:
        assert other.skipped and h5.read_bytes() == before
        assert other.warnings == (
            f"{h5}: was made with other settings than are asked for now; --overwrite analyses again with these.",
        )
    meta = ResultFiles.including(h5).meta
    facts = read_meta(meta)
    assert facts is not None
    del facts["rigpose"]["options"]["animals"]  # as an older version that knew no such setting
    write_meta(meta, facts)
    assert _analyze(video, animals=2).warnings == ()
    meta.write_bytes(b"damaged")
    assert _analyze(video, animals=2).warnings == ()


def test_tracking_shows_its_own_progress(video: Path) -> None:
    seen: dict[str, int] = {}

    @contextmanager
    def show(description: str, total: int | None, unit: str) -> Iterator:
        assert total == FRAMES and unit == "frames"

        def advance(count: int, note: str = "") -> None:
            del note
            seen[description] = seen.get(description, 0) + count

        yield advance

    analyze_video(herd(), video, identity=IDENTITY, show=show)
    assert seen == {"a.mp4": FRAMES, "aDLC_Herd: tracks": FRAMES}


class _CrashError(Exception):
    pass


def _contents(folder: Path) -> dict[str, object]:
    """What is in each result file; of the metadata, which has times, only its name."""
    return {
        path.name: (
            pd.DataFrame(pd.read_hdf(path)).to_csv()
            if path.suffix == ".h5"
            else ""
            if "_meta" in path.name
            else path.read_bytes()
        )
        for path in folder.iterdir()
        if path.suffix in {".h5", ".csv", ".pickle"}
    }


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("uninterrupted")
    _analyze(write_video(folder / "a.mp4", range(FRAMES)))
    return _contents(folder)


def _crash_after(calls: int, function):
    """``function``, which the call after so many of them does not reach."""
    made = 0

    def crashing(*args, **kwargs):
        nonlocal made
        if made == calls:
            raise _CrashError
        made += 1
        return function(*args, **kwargs)

    return crashing


POINTS = {
    **{f"after {n} batches": (Journal, "append", n) for n in range(6)},
    "metadata": (journalled_video, "write_meta", 0),
    "detections": (animal_files, "write_detections", 0),
    "assemblies": (animal_files, "_assemblies", 0),
    "tracking": (tracking, "track", 0),
    "tracklets": (animal_files, "_tracklets", 0),
    "tracks": (animal_files, "write_table", 0),
    "table": (animal_files, "write_table", 1),
    "tidying up": (Journal, "remove", 0),
}


@pytest.mark.parametrize("point", POINTS)
def test_after_a_crash_anywhere_the_same_call_ends_with_the_same_files(
    point: str, video: Path, uninterrupted: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, name, calls = POINTS[point]
    files = ResultFiles.of(video, "DLC_Herd")
    with monkeypatch.context() as patch:
        patch.setattr(place, name, _crash_after(calls, getattr(place, name)))
        with pytest.raises(_CrashError):
            _analyze(video)
    assert files.partial.exists()
    assert files.h5.exists() == (point == "tidying up")
    result = _analyze(video)
    if not result.skipped:
        assert result.resumed_at == (8 * calls if point.startswith("after") else FRAMES // 8 * 8)
    assert _contents(video.parent) == uninterrupted
    assert not files.partial.exists()


def _pair(detect_every: int) -> TopDownAnalyzer:
    detector = BoxAnalyzer(DetectorSpec(max_animals=3), SquareDetector())
    return TopDownAnalyzer(detector, CropAnalyzer(MOVING, SureOfSpots()), detect_every=detect_every)


def _squares(folder: Path) -> Path:
    """A video without loss of animals that are followed from detection to detection."""
    path = folder / "a.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), 25, (160, 120))
    for frame in walk(50):
        writer.write(frame)
    writer.release()
    return path


@pytest.mark.parametrize("batches", range(5))
def test_a_pair_that_detects_now_and_then_goes_on_as_if_nothing_had_been(
    batches: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = _squares(tmp_path)
    whole = _analyze(video, _pair(4), batch=9, destination=tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", _crash_after(batches, Journal.append))
        with pytest.raises(_CrashError):
            _analyze(video, _pair(4), batch=9)
    result = _analyze(video, _pair(4), batch=9)
    # Of 9 frames at a time the next multiple of 4.
    assert result.resumed_at == 12 * batches and result.frames == 50
    assert _contents(tmp_path) == _contents(whole.h5.parent)
    meta = read_meta(tmp_path / "aDLC_Herd_meta.pickle")
    assert meta is not None and meta["batch_size"] == 12 and meta["rigpose"]["options"]["detect_every"] == 4


def test_another_way_to_detect_starts_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = _squares(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(journalled_video, "write_meta", _crash_after(0, None))
        with pytest.raises(_CrashError):
            _analyze(video, _pair(4))
    assert _analyze(video, _pair(2)).resumed_at == 0


def test_ctrl_c_while_tracks_are_made_says_that_the_frames_are_kept(
    video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_args: object, **_kwargs: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tracking, "track", interrupted)
        with pytest.raises(AnalysisInterrupted, match="its frames are kept"):
            _analyze(video)
    assert _analyze(video).resumed_at == FRAMES // 8 * 8


def test_another_parameter_of_the_grouping_starts_anew(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(journalled_video, "write_meta", _crash_after(0, None))
        with pytest.raises(_CrashError):
            _analyze(video)
    other = _analyze(video, herd(SPEC.regrouped(min_center_score=0.55)))
    assert other.resumed_at == 0
    assert [warning.endswith("this one began anew.") for warning in other.warnings] == [True]
    # Centres are 0.5 + 0.1 * row: without the animals of row 0.
    row_0 = [(animal + number) % 4 == 0 for number in range(FRAMES) for animal in range(3)]
    right = _expected(FRAMES)
    right[np.reshape(row_0, (FRAMES, 3))] = np.nan
    np.testing.assert_array_equal(_poses(other.h5), right)


def test_images_of_several_animals_have_a_column_for_each_and_for_unique_keypoints(tmp_path: Path) -> None:
    for number in (3, 22, 31):
        (tmp_path / f"{number}.png").write_bytes(cv2.imencode(".png", draw_frame(number))[1].tobytes())
    (tmp_path / "4.png").write_bytes(b"broken")
    h5 = analyze_images(herd(), [tmp_path], scorer="DLC_Herd").h5
    table = pd.DataFrame(pd.read_hdf(h5, "predictions"))
    assert table.columns.get_level_values("individuals").unique().tolist() == ["ann", "bob", "cat", "single"]
    assert [Path(name).name for name in table.index] == ["22.png", "3.png", "31.png", "4.png"]
    found = table.to_numpy()[:, :-3].reshape(4, 3, 2, 3)
    np.testing.assert_array_equal(found[:3], [expected(22), expected(3), expected(31)])
    np.testing.assert_array_equal(table.to_numpy()[:3, -3], [22, 3, 31])
    assert np.isnan(table.to_numpy()[3]).all()


def test_the_pickles_hold_every_frame(video: Path) -> None:
    _analyze(video)
    assemblies = load_among_strangers((video.parent / "aDLC_Herd_assemblies.pickle").read_bytes())
    assert [len(assemblies[frame]) for frame in range(FRAMES)] == [
        int((~np.isnan(expected(frame)[:, 0, 0])).sum()) for frame in range(FRAMES)
    ]
